"""`POST /search` and `GET /search?q=`: the searcher over HTTP."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query

from search.answer import as_json
from search.errors import InputError
from search.filters import parse_filters
from search.searcher import UNSET
from search.serve.caller import Caller, current_caller, request_id
from search.serve.service import Service
from search.serve.shapes import (
    SearchAnswer,
    SearchAnswers,
    SearchOptions,
    SearchParameters,
    SearchRequest,
)
from search.types import Condition, Ranking

# Where null means something of its own, and is not "as the settings say".
NULLABLE = ("gate", "blend", "deadline_ms")
PLAIN = ("limit", "candidates", "retrieval", "alpha", "threshold", "rerank", "highlight")
AT_ONCE = 2
"""So many queries of one request are searched at once: candidates of one are found while the model
reads those of another. All at once would be no sooner done, and would hold up everybody else."""


def router(service: Service) -> APIRouter:
    """The routes of the search."""
    routes = APIRouter(tags=["search"])

    @routes.post(
        "/search", response_model=SearchAnswer | SearchAnswers, response_model_exclude_unset=True
    )
    async def search(wanted: SearchRequest) -> dict[str, Any]:
        """The documents that answer, best first, and how the answer was made."""
        if wanted.queries is None:
            assert wanted.query is not None
            (found,) = await answers(service, [wanted.query], wanted)
            return found
        most = service.settings.serve.max_queries
        if len(wanted.queries) > most:
            raise InputError(f"found {len(wanted.queries)} queries, expected at most {most}")
        found_for_each = await answers(service, wanted.queries, wanted)
        return {"answers": found_for_each, "request_id": request_id()}

    @routes.get("/search", response_model=SearchAnswer, response_model_exclude_unset=True)
    async def search_by_address(wanted: Annotated[SearchParameters, Query()]) -> dict[str, Any]:
        """The same for one query in the address, as browsers and links have it."""
        (found,) = await answers(service, [wanted.q], wanted)
        return found

    return routes


async def answers(
    service: Service, queries: Sequence[str], wanted: SearchOptions
) -> list[dict[str, Any]]:
    """Each query's answer, in order. Raises InputError, StoreError, Overloaded."""
    most = service.settings.serve.max_query_characters
    for query in queries:
        if len(query) > most:
            raise InputError(f"the query has {len(query):,} characters, expected at most {most:,}")
    filters = parse_filters(wanted.where)
    caller = current_caller.get() or Caller("nobody")
    # It counts from the request's arrival: who waits in a queue waits, too.
    end = caller.arrived + _deadline_seconds(service, wanted)
    service.admission.check(end - caller.arrived)
    room, left = asyncio.Semaphore(AT_ONCE), len(queries)

    async def in_turn(query: str) -> dict[str, Any]:
        nonlocal left
        async with room:
            mine = _with_share(caller, end, left)
            left -= 1
            current_caller.set(mine)  # for this task and its thread
            return await _answer(service, mine, query, wanted, filters)

    tasks = [asyncio.create_task(in_turn(query)) for query in queries]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:  # where one failed, nobody waits for the others
            task.cancel()


def _with_share(caller: Caller, end: float, queries: int) -> Caller:
    """For one of so many queries that are left: its share of the time until `end`."""
    if end == math.inf:
        return caller
    now = time.monotonic()
    seconds = max(0.0, end - now) * min(1.0, AT_ONCE / queries)
    return replace(caller, arrived=now, deadline=now + seconds)


async def _answer(
    service: Service,
    caller: Caller,
    query: str,
    wanted: SearchOptions,
    filters: Sequence[Condition],
) -> dict[str, Any]:
    given = {name: getattr(wanted, name) for name in PLAIN}
    given |= {
        name: getattr(wanted, name) if name in wanted.model_fields_set else UNSET
        for name in NULLABLE
    }
    reranks = service.settings.rerank if wanted.rerank is None else wanted.rerank
    candidates = (wanted.candidates or service.settings.candidates) if reranks else 0
    deadline = math.inf if caller.deadline is None else caller.deadline - caller.arrived
    with service.admission.searching(candidates, deadline) as searched:
        ranking = await service.in_thread(
            lambda: service.searcher.search(query, filters=filters, **given)
        )
        searched.first_stage = ranking.timings_ms.get("retrieve", 0.0) / 1000
        if ranking.cause == "deadline":
            searched.unread = candidates - ranking.scored
    _note(caller, service, query, ranking)
    if not caller.left.is_set():
        service.metrics.searched(ranking)
    found = as_json(ranking, wanted.passages)
    if wanted.before:
        found["before"] = as_json(replace(ranking, hits=ranking.before), wanted.passages)["hits"]
    return found | {"request_id": request_id()}


def _deadline_seconds(service: Service, wanted: SearchOptions) -> float:
    """How long the answer may take; infinite where nobody says."""
    given = "deadline_ms" in wanted.model_fields_set
    milliseconds = wanted.deadline_ms if given else service.settings.deadline_ms
    return math.inf if milliseconds is None else milliseconds / 1000


def _note(caller: Caller, service: Service, query: str, ranking: Ranking) -> None:
    """For the log: how it was answered, and nothing of what was asked unless that is wanted."""
    caller.notes |= {"reranked": ranking.reranked, "hits": len(ranking.hits)}
    if ranking.failed:
        caller.notes["reason"] = ranking.reason
    if service.settings.serve.log_queries:
        caller.notes["query"] = query
