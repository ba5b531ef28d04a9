from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from fakes import ListStore, TableEncoder, WaitingStore, candidate, searcher_over

pytest.importorskip("haystack", reason="pip install -e '.[haystack]'")

from haystack import Document, Pipeline
from haystack.core.errors import DeserializationError

from search.errors import ConfigError, InputError
from search.integrations import haystack as ours
from search.integrations.haystack import CrossEncoderRanker, TwoStageRetriever, conditions
from search.searcher import Searcher
from search.types import Candidate, Condition

FOUND = [candidate(name, name, 1 - rank / 10, rank) for rank, name in enumerate("abc", start=1)]
LOGITS = {"a": -1.0, "b": 3.0, "c": 1.0}
MODULE = "search.integrations.haystack"


def retriever(
    monkeypatch: pytest.MonkeyPatch, store: ListStore | None = None, **arguments: object
) -> TwoStageRetriever:
    """A component whose searcher, once it opens one, has looked-up answers."""
    searcher = searcher_over(store or ListStore(FOUND), LOGITS)
    monkeypatch.setattr(Searcher, "open", lambda **settings: searcher)
    return TwoStageRetriever(**arguments)  # type: ignore[arg-type]


def ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


def test_documents_come_in_the_final_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = retriever(monkeypatch, top_k=2).run("q")["documents"]
    assert ids(found) == ["b#0", "c#0"]
    assert found[0].score == found[0].meta["probability"] > 0.9


def test_arguments_of_a_run_win(monkeypatch: pytest.MonkeyPatch) -> None:
    component = retriever(monkeypatch, top_k=2, search_kwargs={"rerank": False})
    assert ids(component.run("q", top_k=1)["documents"]) == ["a#0"]
    component = retriever(monkeypatch, search_kwargs={"limit": 3})
    assert ids(component.run("q", top_k=1)["documents"]) == ["b#0"]


async def test_filters_of_a_run_win(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Asked(ListStore):
        def retrieve(
            self, query: str, k: int, filters: Sequence[Condition] = (), *how: Any
        ) -> list[Candidate]:
            asked.append(tuple(filters))
            return super().retrieve(query, k, filters, *how)

    ours = {"field": "meta.language", "operator": "==", "value": "en"}
    theirs = {"field": "meta.language", "operator": "==", "value": "de"}
    for given in ({"search_kwargs": {"filters": "language=en"}}, {"filters": ours}):
        component = retriever(monkeypatch, Asked(FOUND), **given)
        component.run("q")
        component.run("q", filters=theirs)
        await component.run_async("q", filters=theirs)
        component.run("q", filters={})
    english, german = Condition("language", "=", "en"), Condition("language", "=", "de")
    assert asked == [(english,), (german,), (german,), ()] * 2


async def test_the_loop_goes_on_while_a_search_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    store = WaitingStore(FOUND)
    search = asyncio.create_task(retriever(monkeypatch, store).run_async("q"))
    await asyncio.sleep(0.01)
    store.go.set()
    assert ids((await search)["documents"]) == ["b#0", "c#0", "a#0"]


def test_the_searcher_is_opened_once_and_again_after_close(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_searcher(**settings: object) -> Searcher:
        opened.append(settings)
        return searcher_over(ListStore(FOUND), LOGITS)

    monkeypatch.setattr(Searcher, "open", open_searcher)
    component = TwoStageRetriever(settings={"store": "notes.db"})
    assert opened == []
    component.warm_up()
    component.run("q")
    assert opened == [{"store": "notes.db"}]
    component.close()
    component.close()
    component.run("q")
    assert len(opened) == 2


def test_a_pipeline_is_written_and_read_again() -> None:
    pipeline = Pipeline()
    retrieve = TwoStageRetriever(
        {"store": "notes.db"}, 7, {"field": "meta.year", "operator": ">", "value": 2000}
    )
    pipeline.add_component("retriever", retrieve)
    pipeline.add_component("ranker", CrossEncoderRanker("my-model", 3, None, {"device": "cpu"}))
    pipeline.connect("retriever.documents", "ranker.documents")
    text = pipeline.dumps()
    again = Pipeline.loads(text, allowed_modules=[MODULE])
    assert again.dumps() == text
    for name in ("retriever", "ranker"):
        one, other = pipeline.get_component(name), again.get_component(name)
        assert type(one) is type(other)
        assert one.to_dict() == other.to_dict()  # type: ignore[attr-defined]
    with pytest.raises(DeserializationError, match="can't be deserialized"):
        TwoStageRetriever.from_dict(CrossEncoderRanker().to_dict())


@pytest.mark.parametrize(
    "settings", [{"weaviate.api_key": "s"}, {"weaviate": {"headers": {"X-Key": "s"}}}]
)
def test_no_secret_is_saved_with_a_pipeline(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="in the environment"):
        TwoStageRetriever(settings)


def test_the_ranker_gives_copies_best_first(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(model: str, **arguments: object) -> TableEncoder:
        loaded.append((model, arguments))
        return TableEncoder(LOGITS)

    monkeypatch.setattr(ours, "CrossEncoder", load)
    given = [Document(id=n, content=n, score=0.5, meta={"x": 1}) for n in "abc"]
    ranker = CrossEncoderRanker(top_k=2, encoder_kwargs={"device": "cpu"})
    assert loaded == []
    ranker.warm_up()
    found = ranker.run("q", given)["documents"]
    assert loaded == [("bundled", {"device": "cpu"})]
    assert ids(found) == ["b", "c"]
    assert found[0].score == pytest.approx(0.9526, abs=1e-4)
    assert found[0].meta["x"] == 1
    assert (given[1].score, given[1].meta) == (0.5, {"x": 1})
    assert ids(ranker.run("q", given, top_k=1)["documents"]) == ["b"]


async def test_a_failed_ranker_keeps_order_and_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "CrossEncoder", lambda model: TableEncoder({}))
    given = [Document(id="x", content="unknown", score=0.5)]
    (found,) = (await CrossEncoderRanker().run_async("q", given))["documents"]
    assert (found.id, found.score, found.meta["reranked"]) == ("x", 0.5, False)
    assert "the reranker failed" in found.meta["reason"]


def test_haystacks_filters_become_conditions() -> None:
    year = {"field": "meta.year", "operator": ">=", "value": 2020}
    lang = {"field": "lang", "operator": "==", "value": "en"}
    expected = (Condition("year", ">=", 2020), Condition("lang", "=", "en"))
    assert conditions({"operator": "AND", "conditions": [year, lang]}) == expected
    assert conditions(None) == conditions({}) == ()


@pytest.mark.parametrize(
    "filters",
    [
        {"operator": "OR", "conditions": []},
        {"field": "year", "operator": "in", "value": [1, 2]},
        {"field": "year", "operator": "==", "value": [1, 2]},
        {"operator": "==", "value": 1},
        {"operator": "AND"},
        {"operator": "AND", "conditions": "year"},
        {"operator": "AND", "conditions": ["year"]},
        {"operator": "AND", "conditions": [{}]},
        {"field": 5, "operator": "==", "value": "en"},
        {"field": "year", "operator": ["=="], "value": 1},
        ["language=en"],
        "language=en",
    ],
)
def test_other_filters_are_refused(filters: Any) -> None:
    with pytest.raises(InputError, match="joined by AND"):
        conditions(filters)
