"""Out of memory, simulated: the budget halves, then the CPU takes over; other faults are raised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.errors import ModelError
from search.nn.device import Placement
from search.nn.runner import Head, Runner, is_out_of_memory
from search.nn.tokens import Tokens

INPUTS = [Tokens([n] * (10 + n), [0] * (10 + n)) for n in range(1, 21)]
EXPECTED = [float(sum(tokens.ids)) for tokens in INPUTS]


def sum_of_ids(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return (batch["input_ids"] * batch["attention_mask"]).sum(1, keepdim=True).float()


def with_room_for(tokens: int, on: str, fault: Exception) -> tuple[Head, list[int]]:
    """A head that fails on batches of more than `tokens` on a device, and the batches that ran."""
    ran: list[int] = []

    def head(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if batch["input_ids"].device.type == on and batch["input_ids"].numel() > tokens:
            raise fault
        ran.append(batch["input_ids"].numel())
        return sum_of_ids(model, batch)

    return head, ran


def runner(head: Head, device: str) -> Runner:
    return Runner(
        load=lambda placement: nn.Identity(),
        head=head,
        placement=Placement(torch.device(device), "fp32"),
        budget=4096,
        pad_id=0,
        type_ids=False,
    )


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_the_budget_halves_until_batches_fit_and_is_reported_once(
    caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    head, ran = with_room_for(70, "cpu", fault)
    run = runner(head, "cpu")
    assert run(INPUTS)[:, 0].tolist() == EXPECTED
    assert max(ran) <= 70
    assert run.budget <= 70
    assert len(caplog.records) == 1
    assert "out of memory on cpu: batches are now" in caplog.text
    before = len(ran)
    assert run(INPUTS)[:, 0].tolist() == EXPECTED
    assert len(ran) == 2 * before, "the smaller budget must stay"


def test_when_one_input_does_not_fit_the_cpu_takes_over(caplog: pytest.LogCaptureFixture) -> None:
    """torch's "meta" device stands in for a GPU that has no memory at all."""
    head, _ = with_room_for(0, "meta", torch.OutOfMemoryError("out of memory"))
    run = runner(head, "meta")
    assert np.array_equal(run(INPUTS)[:, 0], EXPECTED)
    assert run.placement.device.type == "cpu"
    assert len(caplog.records) == 1


def test_one_input_too_large_for_the_cpu_is_an_error_with_a_fix() -> None:
    head, _ = with_room_for(15, "cpu", RuntimeError("DefaultCPUAllocator: not enough memory"))
    with pytest.raises(ModelError, match=r"one input of 30 tokens .*lower max_length"):
        runner(head, "cpu")(INPUTS)


def test_another_fault_is_raised_as_it_is() -> None:
    head, ran = with_room_for(0, "cpu", RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        runner(head, "cpu")(INPUTS)
    assert ran == []


def test_the_real_cpu_allocators_message_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)
