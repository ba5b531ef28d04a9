"""The padded forward pass over any number of inputs, and what happens when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search.errors import ModelError
from search.nn.batches import make_batches
from search.nn.device import Placement, place
from search.nn.tokens import Tokens

logger = logging.getLogger(__name__)

# What allocators say; other faults of the same classes are not ours to hide.
MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
# A processor gains nothing from a larger batch, a GPU loses time to each launch.
MAX_PADDING = {"cpu": 0.1}

Head = Callable[[nn.Module, dict[str, Tensor]], Tensor]
"""Runs a model on one padded batch and gives (inputs, width)."""


class Runner:
    """Runs one model over token sequences, in length-sorted batches under a token budget.

    Out of memory halves `budget` and tries that batch again, down to one sequence, then moves to
    the CPU; the change stays, and is logged once as a warning.
    """

    def __init__(
        self,
        load: Callable[[Placement], nn.Module],
        head: Head,
        placement: Placement,
        budget: int,
        pad_id: int,
        type_ids: bool,
    ) -> None:
        self.placement = placement
        self.budget = budget
        self._load = load
        self._head = head
        self._pad_id = pad_id
        self._type_ids = type_ids
        self._model = load(placement)
        self._warned = False

    def __call__(self, inputs: Sequence[Tokens]) -> NDArray[np.float32]:
        """(inputs, width) in input order: what `head` gives for each."""
        results: list[tuple[list[int], Tensor]] = []
        pending = self._batches(inputs, range(len(inputs)))
        while pending:
            batch = pending.pop()
            output = self._try(inputs, batch)
            if output is None:
                pending += self._batches(inputs, batch)
            else:
                results.append((batch, output))
        # Collected here, not batch by batch, so that a GPU is never waited for in between.
        order = [index for batch, _ in results for index in batch]
        rows = torch.cat([output.float().cpu() for _, output in results]).numpy()
        sorted_rows: NDArray[np.float32] = np.empty_like(rows)
        sorted_rows[order] = rows
        return sorted_rows

    def _batches(self, inputs: Sequence[Tokens], indices: Sequence[int]) -> list[list[int]]:
        """Within the budget of now; the batch to run first stands last."""
        padding = MAX_PADDING.get(self.placement.device.type, 0.5)
        lengths = [len(inputs[i].ids) for i in indices]
        batches = make_batches(lengths, self.budget, padding)
        return [[indices[i] for i in batch] for batch in reversed(batches)]

    def _try(self, inputs: Sequence[Tokens], batch: list[int]) -> Tensor | None:
        """The batch's output, or None when memory ran out and the batch is to be cut anew."""
        longest = max(len(inputs[i].ids) for i in batch)
        if len(batch) > 1 and longest * len(batch) > self.budget:
            return None  # planned before the budget was halved
        try:
            with torch.inference_mode():
                return self._head(self._model, self._pad([inputs[i] for i in batch], longest))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = str(error).splitlines()[0] if str(error) else "MemoryError"
        # Left the handler first: the traceback would keep the failed batch's tensors alive.
        self._shrink(len(batch), longest, message)
        return None

    def _shrink(self, sequences: int, longest: int, message: str) -> None:
        device = self.placement.device
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if sequences > 1:
            self.budget = min(self.budget, sequences * longest) // 2
            self._warn(f"out of memory on {device}: batches are now {self.budget} tokens")
        elif device.type != "cpu":
            self._warn(f"out of memory on {device} for one input of {longest} tokens: now on cpu")
            self.placement = place("cpu")
            self._model = self._load(self.placement)
        else:
            raise ModelError(
                f"out of memory on the CPU for one input of {longest} tokens ({message}): "
                "lower max_length, or use a smaller model"
            )

    def _warn(self, message: str) -> None:
        if not self._warned:
            logger.warning(message)
        self._warned = True

    def _pad(self, batch: Sequence[Tokens], longest: int) -> dict[str, Tensor]:
        """The model's arguments, each (sequences, tokens), padded on the right."""
        ids = torch.full((len(batch), longest), self._pad_id)
        mask = torch.zeros_like(ids)
        types = torch.zeros_like(ids)
        for row, tokens in enumerate(batch):
            length = len(tokens.ids)
            ids[row, :length] = torch.tensor(tokens.ids)
            types[row, :length] = torch.tensor(tokens.type_ids)
            mask[row, :length] = 1
        arguments = {"input_ids": ids, "attention_mask": mask}
        if self._type_ids:
            arguments["token_type_ids"] = types
        return {name: tensor.to(self.placement.device) for name, tensor in arguments.items()}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator ran out, on any device; not any other fault."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(m in str(error) for m in MEMORY_MESSAGES)
