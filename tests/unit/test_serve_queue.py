"""Calls that wait become batches, in fair turns; every caller hears of its results or its fault."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import ModelError, Overloaded, Stopped
from search.serve import queue as queue_module
from search.serve import turns as turns_module
from search.serve.caller import Answer, Caller, current_caller
from search.serve.metrics import Metrics
from search.serve.queue import AT_LEAST, MAX_WAITING_TOKENS, FairQueue
from search.serve.turns import MIN_BATCH_TOKENS

COST = MIN_BATCH_TOKENS // 4
"""Of an item, where a batch of a model whose speed is not known has four."""


class Model:
    """Doubles numbers, waits to be let through, and notes its batches. 13 is a fault."""

    def __init__(self, *, open: bool = False) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []
        if open:
            self.open.set()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.entered.set()
        assert self.open.wait(10)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


class Reader:
    """Takes a millisecond for each item."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        time.sleep(0.001 * len(items))
        return items

    @property
    def read(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


@contextmanager
def queue_of(
    model: Callable[[list[int]], Sequence[int]], **options: float
) -> Iterator[FairQueue[int, int]]:
    queue: FairQueue[int, int] = FairQueue(model, "reranker", Metrics(), **options)  # type: ignore[arg-type]
    try:
        yield queue
    finally:
        if isinstance(model, Model):
            model.open.set()
        queue.close(5)


def submit(queue: FairQueue[int, int], items: Sequence[int], cost: int = COST) -> Answer[int]:
    return queue.submit(items, [cost] * len(items))


def hold(model: Model, queue: FairQueue[int, int]) -> Answer[int]:
    """Let the model be busy with one item: what comes now has to wait."""
    first = submit(queue, [0])
    assert model.entered.wait(5)
    return first


def test_what_arrives_while_a_batch_runs_is_the_next_batch() -> None:
    with queue_of(model := Model()) as queue:
        first = hold(model, queue)
        others = [submit(queue, [i, i + 1], cost=10) for i in (10, 20, 30)]
        model.open.set()
        assert first.result(5) == [0]
        assert [answer.result(5) for answer in others] == [[20, 22], [40, 42], [60, 62]]
    assert model.batches == [[0], [10, 11, 20, 21, 30, 31]]


def test_an_idle_model_starts_at_once() -> None:
    with queue_of(Model(open=True)) as queue:
        started = time.monotonic()
        assert submit(queue, [1]).result(5) == [2]
        assert time.monotonic() - started < 0.05
        assert submit(queue, []).result(0) == []


def test_a_batch_has_its_budget_of_tokens_and_a_larger_item_is_alone() -> None:
    with queue_of(model := Model(), batch_tokens=300) as queue:
        hold(model, queue)
        answers = [submit(queue, [i], cost) for i, cost in enumerate((100, 150, 100, 900, 10), 1)]
        model.open.set()
        assert [answer.result(5) for answer in answers] == [[2], [4], [6], [8], [10]]
    assert model.batches == [[0], [1, 2], [3], [4], [5]]


def test_calls_take_turns_and_a_batch_is_filled_up_with_the_next_turn() -> None:
    with queue_of(model := Model(), batch_tokens=4 * COST) as queue:
        hold(model, queue)
        large = submit(queue, range(100, 110))
        small, smaller = submit(queue, [1, 2]), submit(queue, [3])
        model.open.set()
        assert large.result(5) == [2 * n for n in range(100, 110)]
        assert (small.result(0), smaller.result(0)) == ([2, 4], [6])
    assert model.batches[1:] == [
        [100, 101, 102, 103],
        [1, 2, 3, 104],
        [105, 106, 107, 108],
        [109],
    ]


def test_a_thousand_do_not_hold_up_ten() -> None:
    with queue_of(reader := Reader()) as queue:
        submit(queue, range(50)).result(5)  # from now on the speed is known
        large = submit(queue, range(1000, 2000))
        while len(reader.batches) < 3:
            time.sleep(0.005)
        begun = len(reader.batches)
        small = submit(queue, range(10))
        assert small.result(5) == list(range(10))
        assert not large.done()
        (at,) = [i for i, batch in enumerate(reader.batches) if 0 in batch and i > 0]
        assert at <= begun + 1  # the next one, unless that was being put together just then
        assert large.result(10) == list(range(1000, 2000))
    assert max(len(batch) for batch in reader.batches) < 250


def test_new_calls_that_never_end_do_not_starve_one_that_has_begun() -> None:
    with queue_of(model := Model(), batch_tokens=4 * COST) as queue:
        hold(model, queue)
        large = submit(queue, range(100, 112))
        for n in range(1, 41):
            submit(queue, [n])
        model.open.set()
        large.result(5)
    turns = ["large" if batch[0] >= 100 else "small" for batch in model.batches[1:]]
    assert turns[:5] == ["large", "small", "large", "small", "large"]


def test_urgent_calls_go_first_and_alone() -> None:
    with queue_of(model := Model(), batch_tokens=4 * COST) as queue:
        hold(model, queue)
        slow = submit(queue, [1, 2, 3, 4, 5])
        queue.submit([7], [COST], urgent=True)
        model.open.set()
        slow.result(5)
    assert model.batches == [[0], [7], [1, 2, 3, 4], [5]]


def test_a_failing_item_fails_its_own_caller_only() -> None:
    with queue_of(model := Model()) as queue:
        hold(model, queue)
        good, bad, late = submit(queue, [1]), submit(queue, [13, 14]), submit(queue, [2])
        model.open.set()
        assert (good.result(5), late.result(5)) == ([2], [4])
        with pytest.raises(ValueError, match="thirteen"):
            bad.result(5)
        assert submit(queue, [5]).result(5) == [10]


def test_a_call_that_failed_is_not_read_to_its_end() -> None:
    with queue_of(model := Model(open=True)) as queue:
        with pytest.raises(ValueError, match="thirteen"):
            submit(queue, [13, *range(100, 200)]).result(5)
        assert submit(queue, [1]).result(5) == [2]
    assert len(model.batches) == 2


def test_a_short_answer_is_an_error_and_not_someone_elses() -> None:
    with (
        queue_of(lambda items: items[1:]) as queue,
        pytest.raises(RuntimeError, match="2 results for 3 items"),
    ):
        submit(queue, [1, 2, 3]).result(5)


def test_too_much_that_waits_is_refused_by_the_time_it_would_take() -> None:
    with queue_of(reader := Reader(), max_wait=0.8) as queue:
        submit(queue, range(100)).result(5)  # from now on the speed is known
        large = submit(queue, range(2000))
        others = [submit(queue, range(400)) for _ in range(AT_LEAST - 1)]  # a few, of any size
        with pytest.raises(Overloaded) as refused:
            submit(queue, range(1500))
        assert refused.value.seconds >= 1
        # It waits for as much of the others as it has itself: not for two seconds.
        small = submit(queue, range(5))
        assert small.result(5) == list(range(5))
        queue.submit(range(1500), [COST] * 1500, bounded=False).abandon()
        for answer in (large, *others):
            answer.abandon()
        submit(queue, [1]).result(5)
        assert len(reader.read) < 1500
        assert queue.seconds_ahead(100 * COST) < 0.2


def test_waiting_text_is_bounded_whatever_the_speed() -> None:
    with queue_of(model := Model()) as queue:
        hold(model, queue)
        submit(queue, [1], MAX_WAITING_TOKENS - 10)
        submit(queue, [1], 10)
        with pytest.raises(Overloaded):
            submit(queue, [1], 10)


@contextmanager
def calling(caller: Caller) -> Iterator[Caller]:
    token = current_caller.set(caller)
    try:
        yield caller
    finally:
        current_caller.reset(token)


def waiting(queue: FairQueue[int, int]) -> str:
    return queue._metrics.exposition().decode().split('queue_length{part="reranker"} ')[1][:3]


def test_a_caller_who_left_frees_its_place_at_once() -> None:
    """However long the batch that runs may take."""
    with queue_of(model := Model()) as queue:
        with calling(Caller("here")):
            hold(model, queue)
        with calling(Caller("gone")) as gone:
            answers = [
                submit(queue, [1, 2, 3]),
                submit(queue, [4], MAX_WAITING_TOKENS - 3 * COST - 1),
            ]
        stays = submit(queue, [5], 1)
        with pytest.raises(Overloaded):
            submit(queue, [6], 1)
        gone.leave()
        for answer in answers:
            with pytest.raises(Stopped, match="left"):
                answer.result(0)
        assert waiting(queue) == "1.0"
        fits = submit(queue, [7], 1)
        model.open.set()
        assert (stays.result(5), fits.result(5)) == ([10], [14])
    assert model.batches == [[0], [5, 7]]


def test_what_is_abandoned_is_not_kept() -> None:
    with queue_of(model := Model()) as queue:
        hold(model, queue)
        submit(queue, [1, 2]).abandon()
        assert waiting(queue) == "0.0"
        assert queue._turns.waiting() == []  # nor its texts in memory


def test_a_thread_that_waits_for_a_caller_who_leaves_is_free_at_once() -> None:
    with queue_of(model := Model()) as queue, ThreadPoolExecutor(1) as pool:
        hold(model, queue)
        with calling(Caller("gone")) as gone:
            waits = pool.submit(queue.result, submit(queue, [1]))
        time.sleep(0.05)
        started = time.monotonic()
        gone.leave()
        with pytest.raises(Stopped, match="left"):
            waits.result(5)
        assert time.monotonic() - started < queue_module.LOOK_SECONDS / 2


def test_who_has_left_already_is_not_read() -> None:
    with queue_of(model := Model()) as queue, calling(Caller("gone")) as gone:
        gone.leave()
        with pytest.raises(Stopped, match="left"):
            submit(queue, [1]).result(0)
        assert waiting(queue) == "0.0"
    assert model.batches == []


def test_an_answer_is_ended_once_whoever_is_first() -> None:
    for _ in range(200):
        answer: Answer[int] = Answer()
        ends = [answer.finish, lambda: answer.fail(Stopped("late")), answer.abandon] * 2  # noqa: B023
        with ThreadPoolExecutor(len(ends)) as pool:
            for end in [pool.submit(end) for end in ends]:
                end.result(5)
        assert answer.done()


def test_who_leaves_in_the_middle_is_not_read_on() -> None:
    with queue_of(model := Model()) as queue, calling(Caller("gone")) as gone:
        answer = submit(queue, range(20, 40))
        assert model.entered.wait(5)
        gone.leave()
        model.open.set()
        with pytest.raises(Stopped, match="left"):
            queue.result(answer)
    assert len(model.batches) == 1
    assert 'queue_length{part="reranker"} 0.0' in queue._metrics.exposition().decode()


def test_at_a_deadline_there_is_what_was_ready() -> None:
    with queue_of(reader := Reader()) as queue:
        submit(queue, range(50)).result(5)
        started = time.monotonic()
        deadline = started + 0.25
        answer = queue.submit(range(1000), [COST] * 1000, deadline=deadline)
        found = queue.result(answer, deadline)
        assert time.monotonic() - started < 0.25 * 1.1
        assert 100 <= len(found) <= 250
        assert found == list(range(len(found)))
        # Nothing of it is read any more.
        time.sleep(0.15)
        before = len(reader.read)
        assert submit(queue, [7]).result(5) == [7]
        assert len(reader.read) == before + 1


def test_of_calls_with_deadlines_each_has_some_in_a_batch() -> None:
    """Else the first of them would have all its results in time, and the last none."""
    with queue_of(model := Model(), batch_tokens=4 * COST) as queue:
        hold(model, queue)
        deadline = time.monotonic() + 60
        costs = [COST] * 4
        answers = [
            queue.submit(range(n, n + 4), costs, deadline=deadline) for n in (20, 30, 40, 50)
        ]
        model.open.set()
        for answer in answers:
            answer.result(5)
    assert sorted(model.batches[1]) == [20, 30, 40, 50]


def test_a_deadline_ends_the_wait_while_the_model_is_busy_with_others() -> None:
    with queue_of(model := Model()) as queue:
        hold(model, queue)
        deadline = time.monotonic() + 0.05
        answer = queue.submit([1, 2], [COST, COST], deadline=deadline)
        assert queue.result(answer, deadline) == []
        assert time.monotonic() < deadline + 0.05
        model.open.set()
        assert submit(queue, [3]).result(5) == [6]
    assert model.batches == [[0], [3]]


def test_a_machine_that_was_slow_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else, with deadlines only, nobody would ever find out that it is quick again."""
    monkeypatch.setattr(turns_module, "BELIEVED_SECONDS", 0.2)
    slow = threading.Event()
    slow.set()

    def model(items: list[int]) -> list[int]:
        time.sleep(0.4 if slow.is_set() else 0.0)
        return items

    def ask() -> list[int]:
        deadline = time.monotonic() + 0.3
        return queue.result(queue.submit([1], [COST], deadline=deadline), deadline)

    with queue_of(model) as queue:
        submit(queue, [1]).result(5)
        slow.clear()
        started = time.monotonic()
        assert ask() == []
        assert time.monotonic() - started < 0.1  # given up at once: it was slow just now
        time.sleep(0.25)
        assert ask() == [1]


def test_a_timeout_of_the_models_own_is_its_fault_and_not_a_deadline() -> None:
    def times_out(items: list[int]) -> list[int]:
        raise TimeoutError("the device did not answer")

    with queue_of(times_out) as queue, pytest.raises(TimeoutError, match="device"):
        queue.result(submit(queue, [1]), time.monotonic() + 5)


def test_a_stuck_model_shows_and_does_not_keep_the_service_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module, "STUCK_SECONDS", 0.1)
    monkeypatch.setattr(queue_module, "LOOK_SECONDS", 0.02)
    with queue_of(model := Model()) as queue:
        assert queue.fault() is None
        answer, waiting = hold(model, queue), submit(queue, [1])
        with pytest.raises(ModelError, match="the reranker has been at one batch for 0 s"):
            queue.result(answer)
        with pytest.raises(ModelError, match="at one batch"):
            submit(queue, [2])
        started = time.monotonic()
        queue.close(seconds=0.1)
        assert time.monotonic() - started < 1
        with pytest.raises(Stopped, match="stopping"):
            waiting.result(0)


def test_closing_finishes_what_waits() -> None:
    queue: FairQueue[int, int] = FairQueue(Reader(), "reranker", Metrics())
    answers = [submit(queue, range(20)) for _ in range(5)]
    queue.close(5)
    assert [answer.result(0) for answer in answers] == [list(range(20))] * 5
    assert not queue._thread.is_alive()
    with pytest.raises(Stopped, match="stopping"):
        submit(queue, [1])


def test_a_worker_that_dies_is_noticed() -> None:
    class Death(BaseException):
        pass

    def dies(items: list[int]) -> list[int]:
        raise Death("no more")

    with queue_of(dies) as queue:
        answer = submit(queue, [1])
        with pytest.raises(ModelError, match="the reranker has stopped"):
            answer.result(5)
        assert "has stopped" in (queue.fault() or "")
        with pytest.raises(ModelError, match="has stopped"):
            submit(queue, [2])


def test_what_happens_is_measured() -> None:
    metrics = Metrics()
    queue: FairQueue[int, int] = FairQueue(Model(open=True), "reranker", metrics)
    submit(queue, [1, 2, 3]).result(5)
    queue.close(5)
    shown = metrics.exposition().decode()
    assert f'two_stage_batch_tokens_sum{{part="reranker"}} {3 * COST}.0' in shown
    assert 'two_stage_batch_fill_sum{part="reranker"} 0.75' in shown
    assert 'two_stage_queue_wait_seconds_count{part="reranker"} 1.0' in shown
    assert 'two_stage_queue_length{part="reranker"} 0.0' in shown


CALL = st.fixed_dictionaries(
    {
        "size": st.integers(0, 40),
        "cost": st.integers(1, 900),
        "bad": st.booleans() | st.just(False),
        "ends": st.sampled_from(["waits", "waits", "waits", "abandons", "leaves", "deadline"]),
        "urgent": st.booleans(),
        "pause": st.sampled_from([0, 0, 0, 0.001, 0.004]),
    }
)


@settings(deadline=None, max_examples=25)
@given(st.lists(CALL, min_size=1, max_size=24))
def test_everything_is_answered_once_in_order_whatever_happens(
    calls: list[dict[str, object]],
) -> None:
    """Items are (call, position); a bad call has an item that the model cannot read."""
    threads = threading.active_count()
    read: list[tuple[int, int]] = []

    def model(items: list[tuple[int, int]]) -> list[tuple[int, int]]:
        time.sleep(0.0002 * len(items))
        if any(position < 0 for _, position in items):
            raise ValueError("bad")
        read.extend(items)
        return items

    queue: FairQueue[tuple[int, int], tuple[int, int]] = FairQueue(model, "reranker", Metrics())

    def call(number: int, plan: dict[str, object]) -> None:
        items = [(number, position) for position in range(int(plan["size"]))]  # type: ignore[call-overload]
        if plan["bad"]:
            items.append((number, -1))
        deadline = time.monotonic() + 0.02 if plan["ends"] == "deadline" else math.inf
        with calling(Caller(str(number))) as caller:
            answer = queue.submit(
                items,
                [int(plan["cost"])] * len(items),  # type: ignore[call-overload]
                urgent=bool(plan["urgent"]),
                deadline=deadline,
            )
            if plan["ends"] == "abandons":
                answer.abandon()
            if plan["ends"] == "leaves":
                caller.leave()
            try:
                found = queue.result(answer, deadline)
            except ValueError:
                assert plan["bad"]
            except Stopped:
                assert plan["ends"] == "leaves"
            except CancelledError:
                assert plan["ends"] == "abandons"
            else:
                assert found == items[: len(found)]
                assert len(found) == len(items) or plan["ends"] == "deadline"

    with ThreadPoolExecutor(8) as pool:
        runs = []
        for number, plan in enumerate(calls):
            time.sleep(float(plan["pause"]))  # type: ignore[arg-type]
            runs.append(pool.submit(copy_context().run, call, number, plan))
        for run in runs:
            run.result(20)
    queue.close(5)
    assert len(read) == len(set(read))
    assert queue._turns.waiting() == []
    assert threading.active_count() <= threads
