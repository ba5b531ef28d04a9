"""Out of memory, simulated: the budget halves, then the CPU takes over; other faults are named."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from search.engine.batches import Batch
from search.engine.placement import Placement
from search.engine.run import Engine, Rows
from search.errors import ModelError
from search.models.tokens import Tokens

INPUTS = [Tokens([n] * (10 + n), [0] * (10 + n)) for n in range(1, 21)]
EXPECTED = [float(sum(tokens.ids)) for tokens in INPUTS]
CPU, GPU = Placement("cpu", "fp32", "sums"), Placement("cuda:0", "fp32", "sums")


class Sums:
    """Gives the sum of each sequence's ids; fails on batches of more than `room` tokens."""

    parallel = 1
    max_batch_tokens = 1 << 20
    max_padding = 0.1

    def __init__(self, placement: Placement, room: int, fault: Exception, late: bool) -> None:
        self.placement = placement
        self._room, self._fault, self._late = room, fault, late
        self.ran: list[int] = []

    def submit(self, batch: Batch) -> Callable[[], Rows]:
        def rows() -> Rows:
            if batch.ids.size > self._room:
                raise self._fault
            self.ran.append(batch.ids.size)
            return (batch.ids * batch.mask).sum(1, keepdims=True).astype(np.float32)

        if self._late:
            return rows
        done = rows()
        return lambda: done

    def release_memory(self) -> None: ...


class Loader:
    """Makes the models, with room for so many tokens by device, and counts them."""

    def __init__(self, fault: Exception, late: bool = False, **room: int) -> None:
        self._fault, self._late, self._room = fault, late, room
        self.loaded: list[Sums] = []

    def __call__(self, placement: Placement) -> Sums:
        room = self._room.get(placement.kind, 1 << 20)
        self.loaded.append(Sums(placement, room, self._fault, self._late))
        return self.loaded[-1]

    def engine(self, placement: Placement) -> Engine:
        return Engine(self, placement, CPU, 4096)


FAULTS = [
    RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("Exception from src/inference: std::bad_alloc"),
    MemoryError(),
]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "when waited for"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_budget_halves_until_batches_fit_and_each_step_is_logged(
    caplog: pytest.LogCaptureFixture, fault: Exception, late: bool
) -> None:
    load = Loader(fault, late, cpu=70)
    engine = load.engine(CPU)
    assert engine(INPUTS)[:, 0].tolist() == EXPECTED
    assert engine.budget <= 70
    budgets = [int(record.getMessage().split()[-2]) for record in caplog.records]
    assert budgets == sorted(budgets, reverse=True)
    assert budgets[-1] == engine.budget
    (model,) = load.loaded
    before = len(model.ran)
    caplog.clear()
    assert engine(INPUTS)[:, 0].tolist() == EXPECTED
    assert len(model.ran) - before <= before, "the smaller budget must stay"
    assert not caplog.records


def test_when_one_input_does_not_fit_the_cpu_takes_over(caplog: pytest.LogCaptureFixture) -> None:
    engine = Loader(MemoryError(), cuda=0).engine(GPU)
    assert engine(INPUTS)[:, 0].tolist() == EXPECTED
    assert engine.placement == CPU
    assert "for one input of 30 tokens: now on cpu" in caplog.text


def test_threads_that_run_out_of_memory_together_move_the_model_once() -> None:
    """Two queries at once: each gets its own rows, and the CPU's model is loaded a single time."""
    load = Loader(MemoryError(), cuda=25)
    engine = load.engine(GPU)
    together = threading.Barrier(8)

    def ask(seed: int) -> bool:
        inputs = [Tokens([seed] * (20 + n), [0] * (20 + n)) for n in range(12)]
        together.wait()
        return engine(inputs)[:, 0].tolist() == [float(seed * (20 + n)) for n in range(12)]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(1, 9)))
    assert [model.placement for model in load.loaded] == [GPU, CPU]


def test_one_input_too_large_for_the_cpu_is_an_error_with_a_fix() -> None:
    engine = Loader(RuntimeError("not enough memory"), cpu=15).engine(CPU)
    with pytest.raises(ModelError, match=r"one input of 30 tokens .*lower max_length"):
        engine(INPUTS)


@pytest.mark.parametrize("fault", [RuntimeError("shapes cannot be multiplied"), IndexError("a 7")])
def test_another_fault_is_logged_whole_and_raised_as_a_model_error(
    caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    with pytest.raises(ModelError, match=f"the model failed on cpu: {fault}"):
        Loader(fault, cpu=0).engine(CPU)(INPUTS)
    assert "Traceback" in caplog.text


def test_an_input_beyond_the_models_positions_is_refused() -> None:
    load = Loader(MemoryError())
    engine = Engine(load, CPU, CPU, 4096, positions=16)
    with pytest.raises(ModelError, match="has 30 tokens, the model reads at most 16"):
        engine(INPUTS)
