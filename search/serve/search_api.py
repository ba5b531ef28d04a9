"""`POST /search` and `GET /search?q=`: the searcher over HTTP."""

from __future__ import annotations

import asyncio
import math
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query

from search.answer import as_json
from search.errors import InputError
from search.filters import parse_filters
from search.searcher import UNSET
from search.serve.admission import Admitted
from search.serve.caller import Caller, current_caller, request_id
from search.serve.service import Service
from search.serve.shapes import (
    SearchAnswer,
    SearchAnswers,
    SearchOptions,
    SearchParameters,
    SearchRequest,
)
from search.types import Ranking

# Where null means something of its own, and is not "as the settings say".
NULLABLE = ("gate", "blend", "deadline_ms")
PLAIN = ("limit", "candidates", "retrieval", "alpha", "threshold", "rerank", "highlight")


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
            with _admitted(service, wanted) as admitted:
                return await answer(service, wanted.query, wanted, admitted)
        most = service.settings.serve.max_queries
        if len(wanted.queries) > most:
            raise InputError(f"found {len(wanted.queries)} queries, expected at most {most}")
        with _admitted(service, wanted, len(wanted.queries)) as admitted:
            answers = [answer(service, query, wanted, admitted) for query in wanted.queries]
            return {"answers": await asyncio.gather(*answers), "request_id": request_id()}

    @routes.get("/search", response_model=SearchAnswer, response_model_exclude_unset=True)
    async def search_by_address(wanted: Annotated[SearchParameters, Query()]) -> dict[str, Any]:
        """The same for one query in the address, as browsers and links have it."""
        with _admitted(service, wanted) as admitted:
            return await answer(service, wanted.q, wanted, admitted)

    return routes


def _admitted(
    service: Service, wanted: SearchOptions, queries: int = 1
) -> AbstractContextManager[Admitted]:
    """Raises Overloaded where these searches would wait too long for others."""
    settings = service.settings
    reranks = settings.rerank if wanted.rerank is None else wanted.rerank
    candidates = _candidates(service, wanted) if reranks else 0
    return service.admission.enter(queries, candidates, _deadline_seconds(service, wanted))


async def answer(
    service: Service, query: str, wanted: SearchOptions, admitted: Admitted
) -> dict[str, Any]:
    """One query's answer. Raises InputError, StoreError, Overloaded."""
    most = service.settings.serve.max_query_characters
    if len(query) > most:
        raise InputError(f"the query has {len(query):,} characters, expected at most {most:,}")
    given = {name: getattr(wanted, name) for name in PLAIN}
    given |= {
        name: getattr(wanted, name) if name in wanted.model_fields_set else UNSET
        for name in NULLABLE
    }
    filters = parse_filters(wanted.where)
    caller = current_caller.get()
    if caller is not None and (deadline := _deadline_seconds(service, wanted)) != math.inf:
        # It counts from the request's arrival: who waits in a queue waits, too.
        caller.deadline = caller.arrived + deadline
    ranking = await service.in_thread(
        lambda: service.searcher.search(query, filters=filters, **given)
    )
    found_in = ranking.timings_ms.get("retrieve", 0.0) / 1000
    admitted.first_stage = max(admitted.first_stage, found_in)
    if ranking.cause == "deadline":
        admitted.unread += _candidates(service, wanted) - ranking.scored
    if caller is not None:
        _note(caller, service, query, ranking)
    if caller is None or not caller.left.is_set():
        service.metrics.searched(ranking)
    found = as_json(ranking, wanted.passages)
    if wanted.before:
        found["before"] = as_json(replace(ranking, hits=ranking.before), wanted.passages)["hits"]
    return found | {"request_id": request_id()}


def _candidates(service: Service, wanted: SearchOptions) -> int:
    return wanted.candidates or service.settings.candidates


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
