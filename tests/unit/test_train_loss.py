"""The losses, against values worked out by hand or by torch itself."""

from __future__ import annotations

import math

import pytest
import torch

from training import loss


def test_with_the_label_alone_listwise_is_cross_entropy() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0]))
    found = loss.listwise(logits, torch.randn(2, 3), label_share=1.0)
    assert float(found) == pytest.approx(float(expected), abs=1e-5)


def test_listwise_is_zero_where_the_logits_are_the_targets() -> None:
    targets = torch.tensor([[1.0, 2.0, 3.0]])
    assert float(loss.listwise(targets + 7.0, targets, label_share=0.0)) == pytest.approx(
        0, abs=1e-6
    )


def test_a_negative_that_the_teacher_likes_is_not_pushed_below_one_half() -> None:
    plain = loss.pointwise(torch.tensor([[4.0, 0.0]]), None)
    assert float(plain) == pytest.approx((math.log1p(math.exp(-4)) + math.log(2)) / 4)
    # The teacher is sure of the negative, yet its target stays at one half, at logit 0.
    gradient = torch.tensor([[4.0, 0.0]], requires_grad=True)
    loss.pointwise(gradient, torch.tensor([[9.0, 20.0]])).backward()
    assert gradient.grad is not None
    assert float(gradient.grad[0, 1]) == pytest.approx(0.0, abs=1e-6)


def test_the_teachers_order_decides_the_ensemble() -> None:
    first_stage = torch.tensor([[1.0, -1.0]])
    teacher = torch.tensor([[-20.0, 20.0]])
    assert int(loss.ensemble(first_stage, None, 0.2).argmax()) == 0
    assert int(loss.ensemble(first_stage, teacher, 0.2).argmax()) == 1


def test_the_share_says_whose_opinion_counts() -> None:
    first_stage, teacher = torch.tensor([[1.0, -1.0]]), torch.tensor([[-1.0, 1.0]])
    assert int(loss.ensemble(first_stage, teacher, 0.2).argmax()) == 0
    assert int(loss.ensemble(first_stage, teacher, 0.8).argmax()) == 1
    assert loss.ensemble(first_stage, teacher, 0.0).equal(loss.ensemble(first_stage, None, 0.0))
