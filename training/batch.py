"""Lists of texts to the tensors of one training step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from search.engine.batches import make_batches, pad
from search.models.tokens import Tokenizer, Tokens
from training.focus import asked, focused
from training.lists import TrainingList


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Pairs of similar length, padded to the longest; `indices` are theirs in the step."""

    indices: list[int]
    input_ids: Tensor  # (pairs, tokens)
    token_type_ids: Tensor  # (pairs, tokens)
    attention_mask: Tensor  # (pairs, tokens)

    def inputs(self) -> dict[str, Tensor]:
        """As keyword arguments of the model."""
        return {
            "input_ids": self.input_ids,
            "token_type_ids": self.token_type_ids,
            "attention_mask": self.attention_mask,
        }


class PairEncoder:
    """Query and passage to tokens; what a passage is cut to is the part that the query is about."""

    def __init__(self, tokenizer: Tokenizer, pad_id: int) -> None:
        self._tokenizer = tokenizer
        self._template = tokenizer.template("a", "b")
        self._pad_id = pad_id

    def pairs(self, lists: Sequence[TrainingList], max_length: int) -> list[Tokens]:
        """All pairs of the lists, in order, each at most `max_length` tokens, half of them the
        query's at most."""
        found = []
        for one in lists:
            query, *passages = self._tokenizer.encode([one.query, *one.passages])
            ids = query.ids[: max_length // 2]
            room = max_length - len(ids) - self._template.special_tokens
            stems = asked(one.query)
            for text, passage in zip(one.passages, passages, strict=True):
                found.append(self._template(ids, focused(text, passage, stems, room)))
        return found

    def micro_batches(self, pairs: Sequence[Tokens], budget: int) -> Iterator[MicroBatch]:
        """Batches of at most `budget` tokens, padding included."""
        for indices in make_batches([len(pair.ids) for pair in pairs], budget):
            yield self._padded(indices, [pairs[i] for i in indices])

    def _padded(self, indices: list[int], pairs: list[Tokens]) -> MicroBatch:
        batch = pad(pairs, self._pad_id)
        tensors = (batch.ids, batch.type_ids, batch.mask)
        return MicroBatch(indices, *(torch.from_numpy(values).long() for values in tensors))
