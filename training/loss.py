"""What a list of logits is trained towards. Shapes: (lists, passages); passage 0 is relevant."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

NEGATIVE_CEILING = 0.5
"""However sure a teacher is of a passage labelled irrelevant, its target stays at most this."""


def ensemble(first_stage: Tensor, teacher: Tensor | None, share: float) -> Tensor:
    """Log-odds that the teachers together give, up to a constant per list.

    `share` is the cross-encoder's. The factors bring z-scores and its logits to one scale
    (tests/benchmarks/training.md).
    """
    if teacher is None:
        return 2.0 * first_stage
    return 2.0 * (1 - share) * first_stage + share * teacher / 1.6


def listwise(logits: Tensor, targets: Tensor, label_share: float) -> Tensor:
    """KL divergence from softmax(targets), mixed with the label, to softmax(logits).

    With `label_share` 1 it is the localized contrastive estimation of Gao et al. (2101.08751).
    """
    label = torch.zeros_like(targets)
    label[:, 0] = 1.0
    wanted = (1 - label_share) * torch.softmax(targets, 1) + label_share * label
    given = torch.log_softmax(logits, 1)
    return (wanted * (wanted.clamp_min(1e-9).log() - given)).sum(1).mean()


def pointwise(logits: Tensor, teacher: Tensor | None) -> Tensor:
    """Binary cross-entropy, so that logits compare across queries and fit a probability.

    A negative that the teacher finds relevant may be an unlabelled positive: its target is soft.
    """
    wanted = torch.zeros_like(logits)
    if teacher is not None:
        wanted = NEGATIVE_CEILING * torch.sigmoid(teacher)
    wanted[:, 0] = 1.0
    weight = torch.ones_like(logits)
    weight[:, 0] = logits.shape[1] - 1.0  # as much for the one relevant as for all others
    return binary_cross_entropy_with_logits(logits, wanted, weight) / 2
