"""What every engine shares: batches, input order, and what happens when memory runs out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from search.engine.batches import Batch, make_batches, pad
from search.engine.placement import Placement, graph_knows, place
from search.errors import ModelError
from search.models.folder import read_json, usable_positions
from search.models.tokens import Tokens

logger = logging.getLogger(__name__)

T = TypeVar("T")
Head = Literal["logits", "mean", "cls"]
Rows = NDArray[np.float32]  # (sequences, width)

# Smaller batches than this are not made only to keep every part of a device busy.
MIN_BATCH_TOKENS = 256
# What allocators say; other faults of the same classes are not ours to hide.
MEMORY_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
    "bad_alloc",
    "bad allocation",
)


class Model(Protocol):
    """One model on one device, safe under threads."""

    placement: Placement
    parallel: int
    """How many batches run side by side."""
    max_batch_tokens: int
    """Larger batches gain nothing here."""
    max_padding: float
    """The share of a batch that may be padding: what it costs against one more batch."""

    def submit(self, batch: Batch) -> Callable[[], Rows]:
        """Start a batch; the result waits for it and gives its rows."""

    def release_memory(self) -> None:
        """Give back what is cached, after an allocation has failed."""


class Engine:
    """Runs one model over token sequences, in length-sorted batches under a token budget.

    Out of memory halves `budget` and tries that batch again, down to one sequence, then moves to
    the CPU; the change stays, and each is logged as a warning. Threads may share an engine: each
    batch runs on the model that its caller saw when it began.
    """

    def __init__(
        self,
        load: Callable[[Placement], Model],
        placement: Placement,
        on_cpu: Placement,
        budget: int,
        *,
        pad_id: int = 0,
        positions: int | None = None,
    ) -> None:
        """`load` gives the model at `placement`, and later at `on_cpu` should memory run out."""
        self.budget = budget
        self._load = load
        self._on_cpu = on_cpu
        self._pad_id = pad_id
        self._positions = positions
        self._change = Lock()
        self._model = load(placement)

    @property
    def placement(self) -> Placement:
        """Where the model is now."""
        return self._model.placement

    def __call__(self, inputs: Sequence[Tokens]) -> Rows:
        """(inputs, width) in input order. Raises ModelError; the engine's own fault is logged."""
        self._check(inputs)
        model = self._model
        pending = self._plan(model, inputs, range(len(inputs)))
        running: deque[tuple[list[int], Callable[[], Rows]]] = deque()
        results: list[tuple[list[int], Rows]] = []
        while pending or running:
            # Every batch is started before the first is waited for: a device is never idle.
            if pending:
                indices = pending.pop()
                started = self._try(
                    model, inputs, indices, partial(self._start, model, inputs, indices)
                )
                if started is not None:
                    running.append((indices, started))
                    continue
            else:
                indices, wait = running.popleft()
                rows = self._try(model, inputs, indices, wait)
                if rows is not None:
                    results.append((indices, rows))
                    continue
            model = self._model
            pending += self._plan(model, inputs, indices)
        return _in_order(results, len(inputs))

    def _check(self, inputs: Sequence[Tokens]) -> None:
        longest = max(len(tokens.ids) for tokens in inputs)
        if self._positions is not None and longest > self._positions:
            raise ModelError(
                f"an input has {longest} tokens, the model reads at most {self._positions}"
            )

    def _plan(
        self, model: Model, inputs: Sequence[Tokens], indices: Sequence[int]
    ) -> list[list[int]]:
        """Batches within the budget of now; the one to run first stands last."""
        lengths = [len(inputs[i].ids) for i in indices]
        # Two batches for each part of the device, so that none waits long for the other's last one.
        share = max(MIN_BATCH_TOKENS, -(-sum(lengths) // (2 * model.parallel)))
        budget = min(self.budget, model.max_batch_tokens, share)
        batches = make_batches(lengths, budget, model.max_padding)
        return [[indices[i] for i in batch] for batch in reversed(batches)]

    def _start(
        self, model: Model, inputs: Sequence[Tokens], indices: Sequence[int]
    ) -> Callable[[], Rows]:
        return model.submit(pad([inputs[i] for i in indices], self._pad_id))

    def _try(
        self,
        model: Model,
        inputs: Sequence[Tokens],
        indices: Sequence[int],
        action: Callable[[], T],
    ) -> T | None:
        """What `action` gives, or None when memory ran out and the batch is to be cut anew."""
        try:
            return action()
        except Exception as error:
            message = str(error).partition("\n")[0] or type(error).__name__
            if not is_out_of_memory(error):
                logger.exception("the model failed on %s", model.placement.device)
                raise ModelError(
                    f"the model failed on {model.placement.device}: {message}"
                ) from error
        # Left the handler first: the traceback would keep the failed batch's tensors alive.
        self._shrink(model, [len(inputs[i].ids) for i in indices], message)
        return None

    def _shrink(self, model: Model, lengths: Sequence[int], message: str) -> None:
        """Halve the budget or move to the CPU, unless another thread has just done it."""
        device, tokens = model.placement.device, max(lengths) * len(lengths)
        model.release_memory()
        with self._change:
            if self._model is not model or (len(lengths) > 1 and self.budget < tokens):
                return
            if len(lengths) > 1:
                self.budget = tokens // 2
                logger.warning(
                    "out of memory on %s: batches are now %s tokens", device, self.budget
                )
            elif device != "cpu":
                logger.warning(
                    "out of memory on %s for one input of %s tokens: now on cpu", device, tokens
                )
                self._model = self._load(self._on_cpu)
            else:
                raise ModelError(
                    f"out of memory on the CPU for one input of {tokens} tokens ({message}): "
                    "lower max_length, or use a smaller model"
                )


def open_engine(
    folder: Path, head: Head, *, device: str, precision: str, engine: str, batch_tokens: int
) -> Engine:
    """The model in `folder`. Raises ModelError, ConfigError, MissingExtra.

    `head` is what its rows are: "logits" (sequences, labels), or unit vectors
    (sequences, dimensions) by "mean" or "cls" pooling.
    """
    config = read_json(folder / "config.json")
    known = graph_knows(config)
    pad_id = config.get("pad_token_id")
    return Engine(
        partial(_load, folder, head),
        place(device, precision, engine, graph=known),
        place("cpu", graph=known),
        batch_tokens,
        pad_id=pad_id if isinstance(pad_id, int) else 0,
        positions=usable_positions(config),
    )


def _load(folder: Path, head: Head, placement: Placement) -> Model:
    if placement.engine == "openvino":
        from search.engine.openvino_model import OpenVinoModel

        return OpenVinoModel(folder, head, placement)
    from search.engine.torch_model import TorchModel

    return TorchModel(folder, head, placement)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator ran out, on any device; not any other fault."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(m in str(error) for m in MEMORY_MESSAGES)


def _in_order(results: Sequence[tuple[list[int], Rows]], count: int) -> Rows:
    rows = np.empty((count, results[0][1].shape[1]), np.float32)
    for indices, found in results:
        rows[indices] = found
    return rows
