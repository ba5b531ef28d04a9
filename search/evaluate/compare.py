"""Two rerankers side by side: on judged queries which is better, on others where they disagree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Settings, change
from search.errors import InputError
from search.queries import numbered_lines, read_text

if TYPE_CHECKING:
    from search.evaluate.progress import Shown

TOP = 10
"""Documents of each order that are compared, as a page of results shows them."""
SHOWN = 5
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Judged:
    """nDCG@10 of two models on one judged set; `difference` is b - a, with its 95% interval."""

    name: str
    queries: int
    first: float
    a: float
    b: float
    difference: tuple[float, float, float]
    p: float
    better: int
    worse: int

    @property
    def verdict(self) -> str:
        """Which is better, if that is more than chance."""
        mean, low, high = self.difference
        if low <= 0 <= high or self.p >= SIGNIFICANT:  # few queries can make a narrow interval
            return "no difference beyond chance"
        return "B is better" if mean > 0 else "A is better"


@dataclass(frozen=True, slots=True)
class Orders:
    """The documents that each of two models puts first for one query, best first."""

    query: str
    a: tuple[str, ...]
    b: tuple[str, ...]

    @property
    def tau(self) -> float:
        """Kendall's τ: 1 for the same order, -1 for the reverse.

        Over all that either ranks; what only one of them has comes last in the other, as a tie
        (τ-b), so that two orders without a document in common agree in nothing.
        """
        return kendall(self.a, self.b)

    @property
    def same_top(self) -> bool:
        return self.a[:1] == self.b[:1]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two models agree without judgments; `furthest` are the queries to look at.

    Queries that not both of them scored, as one cannot read them or nothing was found, are left
    out and counted in `unscored`.
    """

    queries: int
    unscored: int
    tau: float
    top_changed: int
    furthest: tuple[Orders, ...]


def kendall(a: Sequence[str], b: Sequence[str]) -> float:
    """Kendall's τ-b (1945) of two orders; what one of them lacks is last there, all as one tie."""
    documents = list(dict.fromkeys([*a, *b]))
    in_a = {name: rank for rank, name in enumerate(a)}
    in_b = {name: rank for rank, name in enumerate(b)}
    concordant = ties_a = ties_b = pairs = 0
    for one, other in combinations(documents, 2):
        x = in_a.get(one, len(a)) - in_a.get(other, len(a))
        y = in_b.get(one, len(b)) - in_b.get(other, len(b))
        pairs += 1
        ties_a += x == 0
        ties_b += y == 0
        concordant += (x * y > 0) - (x * y < 0)
    scale = float((pairs - ties_a) * (pairs - ties_b)) ** 0.5
    return concordant / scale if scale else 1.0


def agreement(orders: Iterable[Orders]) -> Agreement:
    """Raises InputError without a query that both models scored."""
    orders = list(orders)
    found = [one for one in orders if one.a and one.b]
    if not found:
        raise InputError("nothing to compare: no query has documents that both models scored")
    furthest = sorted(found, key=lambda one: (one.tau, one.same_top))
    return Agreement(
        len(found),
        len(orders) - len(found),
        sum(one.tau for one in found) / len(found),
        sum(not one.same_top for one in found),
        tuple(one for one in furthest[:SHOWN] if one.tau < 1),
    )


def over_store(queries: Sequence[str], settings: Settings, a: str, b: str) -> Agreement:
    """Both models' orders of what the store finds for each query. Raises StoreError, ModelError."""
    from search.rerank.provider import RerankerProvider
    from search.searcher import Searcher
    from search.store.open import open_store

    with Searcher(open_store(settings), RerankerProvider.of(settings), settings) as base:
        orders: list[dict[str, tuple[str, ...]]] = []
        for name in (a, b):
            own = change(settings, model=name, rerank=True, gate=None, deadline_ms=None, limit=TOP)
            provider = RerankerProvider.of(own)
            provider.get()  # a model that cannot be loaded is an error here, and not an order
            searcher = Searcher(base.store, provider, own)
            found = {}
            for query in queries:
                ranking = searcher.search(query, highlight=False, threshold=0.0)
                found[query] = tuple(hit.id for hit in ranking.hits if ranking.reranked)
            orders.append(found)
    return agreement(Orders(q, orders[0][q], orders[1][q]) for q in dict.fromkeys(queries))


def from_log(path: Path, a: str, b: str) -> Agreement:
    """From the lines that a service wrote of queries that both models scored."""
    return agreement(
        orders
        for at, line in numbered_lines(path, read_text(path))
        if (orders := _logged(at, line, a, b)) is not None
    )


def _logged(at: str, line: str, a: str, b: str) -> Orders | None:
    """None for a query that other models scored."""
    try:
        entry = json.loads(line)
        orders: Mapping[str, Any] = entry["orders"]
        if not {a, b} <= orders.keys():
            return None
        return Orders(str(entry["query"]), tuple(orders[a]), tuple(orders[b]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f'{at}: expected {{"query": …, "orders": {{NAME: [id, …], …}}}}, found {line[:60]!r}'
        ) from None


def on_judged(
    folder: Path, split: str, settings: Settings, a: str, b: str, cache: Path, shown: Shown
) -> Judged:
    """nDCG@10 of the whole pipeline with each model and its own blend, on a BEIR folder's split."""
    from search.evaluate import derive
    from search.evaluate.data import read_folder
    from search.evaluate.metrics import MAIN, Metrics
    from search.evaluate.session import Session
    from search.evaluate.significance import estimate, randomization_test, win_tie_loss

    task = read_folder(folder, split)
    metrics = Metrics(task.qrels, [MAIN])
    values = []
    for name in (a, b):
        session = Session(
            change(settings, model=name, gate=None), cache, (settings.candidates,), shown
        )
        passed = session.run(task, folder)
        run = derive.final(passed.scored, session.pipeline(passed), session.blend)
        values.append(metrics(run)[MAIN])
    first = metrics({s.query_id: derive.first_stage(s, settings.candidates) for s in passed.scored})
    difference = values[1] - values[0]
    interval = estimate(difference)
    better, _, worse = win_tie_loss(difference)
    return Judged(
        task.name,
        len(task.queries),
        float(first[MAIN].mean()),
        float(values[0].mean()),
        float(values[1].mean()),
        (interval.mean, interval.low, interval.high),
        randomization_test(difference),
        better,
        worse,
    )
