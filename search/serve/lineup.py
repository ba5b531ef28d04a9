"""The rerankers of a running service: the one in use, and those on trial beside it.

`two-stage models use`, `rollback`, `shadow` and `canary` take effect here: what the registry names
is loaded and probed beside what runs, and one assignment then puts it in place. Calls that wait go
on with the model they were made for, so that none is dropped.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from config import Settings
from search.errors import SearchError
from search.evaluate.compare import TOP, Orders
from search.models.registry import CURRENT, Registry
from search.rerank import Scored
from search.rerank.provider import Answered, Reranker, RerankerProvider, in_short
from search.serve.caller import Answer
from search.serve.metrics import Metrics

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""The registry, a small file, is looked at so often."""
RETRY_SECONDS = 60.0
"""A version that could not be loaded is tried again after so long, or when another is named."""
MAX_BACKLOG = 200
"""Answers that wait for a second opinion; when more come, the oldest go without."""
STEP = 8
"""Pairs of a second opinion that are scored at a time: an answer may have to wait for so many."""
IDLE_SECONDS = 0.02
PATIENCE_SECONDS = 30.0
"""A service that is never idle for so long has no capacity left for second opinions."""


class Named(NamedTuple):
    """A model as it is named now; `version` tells it from an earlier one of the same name."""

    name: str
    version: str


class Line(NamedTuple):
    """A reranker that is loaded, and answers through the service's queue."""

    named: Named
    reranker: Reranker
    provider: RerankerProvider
    submit: Callable[[Sequence[tuple[str, str]]], Answer[Scored]]
    """Scores for one who does not wait."""


class Roles(NamedTuple):
    """Who does what. A canary answers this share of the queries; a shadow answers none."""

    current: Line
    canary: Line | None = None
    share: float = 0.0
    shadow: Line | None = None

    def answering(self, query: str) -> Line:
        """Whose query this is; by a hash, so that a query keeps its model."""
        if self.canary is None or share_of(query) >= self.share:
            return self.current
        return self.canary

    def second(self, query: str) -> Line | None:
        """Who is asked for a second opinion: of the canary's queries the current one."""
        return self.shadow if self.answering(query) is self.current else self.current


def share_of(query: str) -> float:
    """Where a query lies between 0 and 1: evenly spread, and always the same.

    >>> share_of("signs of a stroke") == share_of(" signs of a stroke ")
    True
    """
    digest = blake2b(query.strip().encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class Lineup(RerankerProvider):
    """Gives each query the reranker that answers it; threads may share it."""

    def __init__(self, roles: Roles, metrics: Metrics) -> None:
        super().__init__(
            lambda: self.roles.current.reranker, blend=lambda: self.roles.current.reranker.blend
        )
        self.roles = roles
        self.second_opinions: SecondOpinions | None = None
        self._metrics = metrics
        metrics.model("reranker", roles.current.reranker.info)

    def line(self, query: str) -> Line:
        """Who answers this query."""
        roles = self.roles
        line = roles.answering(query)
        self._metrics.answered_by("current" if line is roles.current else "canary")
        return line

    def for_query(self, query: str) -> RerankerProvider:
        """The provider of who answers it."""
        return self.line(query).provider

    def answered(self, answer: Answered) -> None:
        """A second opinion is asked for, later."""
        if self.second_opinions is not None:
            self.second_opinions.ask(answer, self.roles.second(answer.query))

    def change(self, roles: Roles) -> None:
        """From now on, these."""
        self.roles = roles
        self._metrics.model("reranker", roles.current.reranker.info)

    def close(self) -> None:
        """End what goes on beside the answers."""
        super().close()
        if self.second_opinions is not None:
            self.second_opinions.close()


class SecondOpinions:
    """Has answers scored by another model too, whenever the models are idle, and compares."""

    def __init__(self, is_idle: Callable[[], bool], metrics: Metrics, log: Path | None) -> None:
        """`log` gets a line for each query, with the query in it; None: only the metrics count."""
        self._is_idle = is_idle
        self._metrics = metrics
        self._log = None if log is None else log.expanduser()
        self._log_fails = False
        self._backlog: deque[tuple[Answered, Line]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="second opinions", daemon=True)
        self._thread.start()

    def ask(self, answer: Answered, by: Line | None) -> None:
        """Returns at once; nothing is asked where `by` is who answered."""
        if by is None or by.reranker is answer.by:
            return
        with self._changed:
            if len(self._backlog) >= MAX_BACKLOG:
                self._backlog.popleft()
                self._metrics.second_opinion("dropped")
            self._backlog.append((answer, by))
            self._changed.notify()

    def close(self) -> None:
        """What waits is given up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(PATIENCE_SECONDS)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._backlog and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                answer, by = self._backlog.popleft()
            try:
                scored = self._scored(answer, by)
                if scored is None:
                    self._metrics.second_opinion("dropped")
                else:
                    self._compare(answer, by, scored)
            except Exception as error:  # noqa: BLE001  # the answer went out long ago
                logger.warning("%s gave no second opinion: %s", by.named.name, in_short(error))
                self._metrics.second_opinion("failed")

    def _scored(self, answer: Answered, by: Line) -> list[Scored] | None:
        """None where the models were never idle."""
        scored: list[Scored] = []
        query = by.reranker.readable(answer.query)
        pairs = [(query, text) for _, text in answer.pairs]
        for start in range(0, len(pairs), STEP):
            if not self._wait_until_idle():
                return None
            scored += by.reranker.score_pairs(pairs[start : start + STEP])
        return scored

    def _wait_until_idle(self) -> bool:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._is_idle():
            if self._closing or time.monotonic() > until:
                return False
            time.sleep(IDLE_SECONDS)
        return not self._closing

    def _compare(self, answer: Answered, by: Line, scored: list[Scored]) -> None:
        names = (str(answer.by.info["name"]), str(by.reranker.info["name"]))
        given = answer.order(answer.by, answer.scored)[:TOP]
        other = answer.order(by.reranker, scored)[:TOP]
        orders = Orders(answer.query, tuple(given), tuple(other))
        self._metrics.second_opinion("compared", orders.tau, orders.same_top)
        self._write(answer.query, names, orders)

    def _write(self, query: str, names: tuple[str, str], orders: Orders) -> None:
        if self._log is None:
            return
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "query": query,
            "answered_by": names[0],
            "orders": {names[0]: orders.a, names[1]: orders.b},
        }
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        except OSError as error:
            if not self._log_fails:
                logger.warning("%s cannot be written: %s", self._log, error.strerror)
            self._log_fails = True
        else:
            self._log_fails = False


class Follower:
    """Does what the registry says, in a thread of its own."""

    def __init__(
        self, lineup: Lineup, settings: Settings, load: Callable[[Named], Line], metrics: Metrics
    ) -> None:
        """`load` gives a model that is ready to answer. Raises SearchError where it cannot."""
        self._lineup = lineup
        self._settings = settings
        self._registry = Registry(settings.models)
        self._load = load
        self._metrics = metrics
        self._failed: dict[Named, float] = {}
        self._fault: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="versions", daemon=True)

    def start(self) -> None:
        """Look once, then go on looking."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """Look no more; a load under way is waited for."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Put in place what is named now. What cannot be loaded leaves things as they are."""
        try:
            current, canary, share, shadow = self._wanted()
        except (SearchError, OSError) as error:
            self._say(in_short(error))
            return
        self._fault = None
        before = self._lineup.roles
        roles = Roles(
            self._line(current) or before.current,
            self._line(canary) if canary else None,
            share,
            self._line(shadow) if shadow else None,
        )
        if roles == before:
            return
        self._lineup.change(roles)
        if roles.current is not before.current:
            self._metrics.switched("switched")
            logger.warning("the reranker in use is now %s", roles.current.named.name)

    def _work(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            self.look()

    def _wanted(self) -> tuple[Named, Named | None, float, Named | None]:
        """Settings of the service come before what the registry says. Raises SearchError."""
        settings, registry = self._settings, self._registry
        serve, trial = settings.serve, registry.trial
        current = registry.current if settings.model == CURRENT else settings.model
        canary, share = serve.canary or trial.canary, trial.canary_share
        shadow = serve.shadow or trial.shadow
        return (
            named(current, registry),
            named(canary, registry) if canary else None,
            serve.canary_share if serve.canary else share,
            named(shadow, registry) if shadow else None,
        )

    def _line(self, wanted: Named) -> Line | None:
        """The one that runs already, or loaded now; None where it cannot be."""
        roles = self._lineup.roles
        for line in (roles.current, roles.canary, roles.shadow):
            if line is not None and line.named == wanted:
                return line
        if time.monotonic() < self._failed.get(wanted, 0.0):
            return None
        try:
            return self._load(wanted)
        except Exception as error:  # noqa: BLE001  # the service goes on with what it has
            self._failed[wanted] = time.monotonic() + RETRY_SECONDS
            self._metrics.switched("refused")
            logger.warning("%s is not taken into use: %s", wanted.name, in_short(error))
            return None

    def _say(self, fault: str) -> None:
        """Once, not every second."""
        if fault != self._fault:
            logger.warning("the versions cannot be looked at: %s", fault)
        self._fault = fault


def named(name: str, registry: Registry) -> Named:
    """A model's name with what is behind it now. Raises ModelError for a broken manifest."""
    version = registry.find(name)
    return Named(name, "" if version is None else f"{version.digest} {version.added}")
