"""Which sequences go through the model together, and how they are padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.models.tokens import Tokens

Ids = NDArray[np.int32]


class Batch(NamedTuple):
    """Sequences padded on the right to the longest."""

    ids: Ids  # (sequences, tokens)
    type_ids: Ids  # (sequences, tokens)
    lengths: Ids  # (sequences,)

    @property
    def mask(self) -> Ids:
        """(sequences, tokens): 1 for a token, 0 for padding."""
        return (np.arange(self.ids.shape[1]) < self.lengths[:, None]).astype(np.int32)


def make_batches(lengths: Sequence[int], budget: int, max_padding: float = 1.0) -> list[list[int]]:
    """Indices of `lengths` in batches, longest first, each index exactly once.

    A batch padded to its longest member holds at most `budget` tokens, of which at most the share
    `max_padding` is padding. A sequence longer than the budget is a batch of its own.
    """
    batches: list[list[int]] = []
    longest = tokens = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        tokens += lengths[index]
        padded = longest * (len(batches[-1]) + 1) if batches else 0
        if batches and padded <= budget and padded - tokens <= max_padding * padded:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = tokens = lengths[index]
    return batches


def pad(inputs: Sequence[Tokens], pad_id: int) -> Batch:
    """All `inputs` in one batch, as long as the longest."""
    lengths = np.array([len(tokens.ids) for tokens in inputs], np.int32)
    ids = np.full((len(inputs), lengths.max()), pad_id, np.int32)
    type_ids = np.zeros_like(ids)
    for row, tokens in enumerate(inputs):
        ids[row, : len(tokens.ids)] = tokens.ids
        type_ids[row, : len(tokens.ids)] = tokens.type_ids
    return Batch(ids, type_ids, lengths)
