"""Which sequences go through the model together."""

from __future__ import annotations

from collections.abc import Sequence


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
