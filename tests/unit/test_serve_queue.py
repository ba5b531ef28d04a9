"""Calls that wait become batches, in fair turns, and deadlines are kept."""

from __future__ import annotations

import threading
import time

import pytest
from queue_bench import COST, Model, Reader, hold, queue_of, submit

from search.errors import Overloaded
from search.serve import turns as turns_module
from search.serve.metrics import Metrics
from search.serve.queue import AT_LEAST, MAX_WAITING_TOKENS, FairQueue


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
