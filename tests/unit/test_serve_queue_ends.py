"""Whoever waits hears of the end: callers leave, models fail, hang and die, the queue closes."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import copy_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_bench import COST, Model, Reader, calling, hold, queue_of, submit

from search.errors import ModelError, Overloaded, Stopped
from search.serve import queue as queue_module
from search.serve.caller import Answer, Caller
from search.serve.metrics import Metrics
from search.serve.queue import MAX_WAITING_TOKENS, FairQueue


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
