"""Searches are refused at the door by the time they would wait for others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from search.errors import Overloaded
from search.serve import admission as admission_module
from search.serve.admission import AT_LEAST, FIRST_STAGE, Admission, Searched


class Clock:
    now = 100.0

    @classmethod
    def monotonic(cls) -> float:
        return cls.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(admission_module, "time", Clock)
    return Clock


K = 25 - FIRST_STAGE


@contextmanager
def enter(
    admission: Admission, searches: int, candidates: int, deadline: float = math.inf
) -> Iterator[list[Searched]]:
    """So many searches, one after the other, each of which is looked at on its own."""
    with ExitStack() as running:
        searched = []
        for _ in range(searches):
            admission.check(deadline)
            searched.append(running.enter_context(admission.searching(candidates, deadline)))
        yield searched


def take(admission: Admission, clock: type[Clock], seconds: float, candidates: int = K) -> None:
    with enter(admission, 1, candidates):
        clock.now += seconds


def test_who_would_wait_too_long_is_refused_and_told_when_to_come_back(clock: type[Clock]) -> None:
    admission = Admission(max_wait=1.0, most=100)
    take(admission, clock, 0.25)  # a hundredth of a second for each passage
    with ExitStack() as running:
        for _ in range(5):
            running.enter_context(enter(admission, 1, K))
        with pytest.raises(Overloaded) as refused:
            running.enter_context(enter(admission, 1, K))
        assert refused.value.seconds == 1
    take(admission, clock, 0.25)


def test_large_searches_weigh_more(clock: type[Clock]) -> None:
    admission = Admission(max_wait=1.0, most=100)
    take(admission, clock, 0.25)
    with enter(admission, AT_LEAST, 4000):
        with pytest.raises(Overloaded) as refused, enter(admission, 1, 1):
            pass
        assert refused.value.seconds > 30
    with enter(admission, 32, 4000):
        pass


def test_a_few_are_taken_on_however_slow_the_model(clock: type[Clock]) -> None:
    admission = Admission(max_wait=1.0, most=100)
    take(admission, clock, 60)
    with ExitStack() as running:
        for _ in range(AT_LEAST):
            running.enter_context(enter(admission, 1, K))
        with pytest.raises(Overloaded):
            running.enter_context(enter(admission, 1, K))


def test_no_more_at_once_than_there_are_threads(clock: type[Clock]) -> None:
    admission = Admission(max_wait=1.0, most=3)
    with enter(admission, 3, K), pytest.raises(Overloaded), enter(admission, 1, K):
        pass
    with enter(admission, 3, K):
        pass


def test_it_learns_that_the_machine_is_faster_now(clock: type[Clock]) -> None:
    admission = Admission(max_wait=1.0, most=100)
    take(admission, clock, 10.0)
    with enter(admission, AT_LEAST, K), pytest.raises(Overloaded), enter(admission, 1, K):
        pass
    for _ in range(20):
        take(admission, clock, 0.1)
    with enter(admission, AT_LEAST, K), enter(admission, 1, K):
        pass


def test_a_search_that_failed_says_nothing_of_the_time(clock: type[Clock]) -> None:
    clock.now = 100.0
    admission = Admission(max_wait=1e-9, most=100)
    with pytest.raises(ZeroDivisionError), enter(admission, 1, K):
        _ = 1 / (clock.now - 100.0)
    with enter(admission, AT_LEAST, K), enter(admission, 1, K):
        pass


def test_whoever_has_a_deadline_waits_for_nobodys_passages(clock: type[Clock]) -> None:
    """It reads what it can until then; without one it would be refused."""
    admission = Admission(max_wait=1.0, most=100)
    take(admission, clock, 0.25)  # a hundredth of a second for each passage
    with ExitStack() as running:
        for _ in range(50):
            running.enter_context(enter(admission, 1, 100, deadline=0.5))
        with pytest.raises(Overloaded):
            running.enter_context(enter(admission, 1, 100))


def test_a_deadline_of_which_finding_would_take_a_third_is_refused(clock: type[Clock]) -> None:
    """The first stage cannot be cut short: three at once took 0.075 s for it."""
    admission = Admission(max_wait=1.0, most=100)
    with enter(admission, 3, K) as searched:
        for beside, one in enumerate(searched, 1):
            one.first_stage = 0.025 * beside
    with ExitStack() as running:
        for _ in range(7):
            running.enter_context(enter(admission, 1, K, deadline=0.5))
        with pytest.raises(Overloaded):
            running.enter_context(enter(admission, 1, K, deadline=0.5))
        running.enter_context(enter(admission, 1, K, deadline=0.6))


def test_a_deadline_as_long_as_anybody_waits_helps_nobody_in(clock: type[Clock]) -> None:
    admission = Admission(max_wait=1.0, most=100)
    take(admission, clock, 0.25)
    with (
        enter(admission, AT_LEAST, 100),
        pytest.raises(Overloaded),
        enter(admission, 1, 100, deadline=60.0),
    ):
        pass


def test_what_a_deadline_left_unread_took_no_time(clock: type[Clock]) -> None:
    """A thousand passages, of which half a second was enough for 45 and the first stage."""
    admission = Admission(max_wait=1.0, most=100)
    for _ in range(20):
        with enter(admission, 1, 1000, deadline=0.5) as (searched,):
            searched.unread = 1000 - 45
            clock.now += 0.5
    with (
        enter(admission, AT_LEAST, K),
        enter(admission, 1, K),
        pytest.raises(Overloaded),
        enter(admission, 1, 1),
    ):
        pass


def test_whoever_has_a_deadline_holds_others_up_no_longer(clock: type[Clock]) -> None:
    admission = Admission(max_wait=1.0, most=100)
    take(admission, clock, 0.25)
    with (
        enter(admission, 1, 1000, deadline=0.5),
        enter(admission, 1, K),
        enter(admission, 1, K),
        enter(admission, 1, K),
        pytest.raises(Overloaded),
        enter(admission, 1, K),
    ):
        pass
