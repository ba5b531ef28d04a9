from __future__ import annotations

import asyncio

import pytest
from fakes import ListStore, TableEncoder, WaitingStore, candidate, searcher_over

pytest.importorskip("langchain_core", reason="pip install -e '.[langchain]'")

from langchain_core.documents import Document

from search.integrations.langchain import CrossEncoderRerank, TwoStageRetriever

FOUND = [candidate(name, name, 1 - rank / 10, rank) for rank, name in enumerate("abc", start=1)]
LOGITS = {"a": -1.0, "b": 3.0, "c": 1.0}


def ids(documents: list[Document]) -> list[str]:
    return [document.metadata["id"] for document in documents]


def test_documents_come_in_the_final_order() -> None:
    found = TwoStageRetriever(searcher=searcher_over(ListStore(FOUND), LOGITS)).invoke("q")
    assert [(d.id, d.page_content) for d in found] == [("b#0", "b"), ("c#0", "c"), ("a#0", "a")]
    assert [d.metadata["retrieval_rank"] for d in found] == [2, 3, 1]


def test_arguments_of_a_call_win_over_the_retrievers_and_these_over_the_settings() -> None:
    searcher = searcher_over(ListStore(FOUND), LOGITS, limit=3)
    retriever = TwoStageRetriever(searcher=searcher, k=2, search_kwargs={"rerank": False})
    assert ids(retriever.invoke("q")) == ["a", "b"]
    assert ids(retriever.invoke("q", k=1)) == ["a"]
    assert ids(retriever.invoke("q", rerank=True)) == ["b", "c"]
    retriever = TwoStageRetriever(searcher=searcher, search_kwargs={"limit": 2})
    assert ids(retriever.invoke("q")) == ["b", "c"]
    assert ids(retriever.invoke("q", k=1)) == ["b"]


async def test_an_asynchronous_call_takes_the_same_arguments() -> None:
    retriever = TwoStageRetriever(searcher=searcher_over(ListStore(FOUND), LOGITS), k=2)
    assert ids(await retriever.ainvoke("q")) == ["b", "c"]
    assert ids(await retriever.ainvoke("q", k=1, rerank=False)) == ["a"]


async def test_the_loop_goes_on_while_a_search_runs() -> None:
    store = WaitingStore(FOUND)
    retriever = TwoStageRetriever(searcher=searcher_over(store, LOGITS))
    search = asyncio.create_task(retriever.ainvoke("q"))
    await asyncio.sleep(0.01)
    store.go.set()
    assert ids(await search) == ["b", "c", "a"]


def test_a_batch_shares_the_searcher() -> None:
    retriever = TwoStageRetriever(searcher=searcher_over(ListStore(FOUND), LOGITS))
    assert [ids(found) for found in retriever.batch(["q"] * 8)] == [["b", "c", "a"]] * 8


def test_the_compressor_gives_copies_best_first() -> None:
    given = [Document(page_content=n, id=n, metadata={"title": n.upper(), "x": 1}) for n in "abc"]
    found = CrossEncoderRerank(encoder=TableEncoder(LOGITS), top_n=2).compress_documents(given, "q")
    assert [document.id for document in found] == ["b", "c"]
    assert found[0].metadata["x"] == 1
    assert found[0].metadata["probability"] == pytest.approx(0.9526, abs=1e-4)
    assert "probability" not in given[1].metadata


def test_the_title_is_read_above_the_text_unless_there_is_to_be_none() -> None:
    read: list[str] = []

    class Reading(TableEncoder):
        def rank(self, query: str, texts: list[str], top_k: int | None = None) -> list:
            read.extend(texts)
            return []

    given = [Document(page_content="text", metadata={"title": "Title"}), Document(page_content="x")]
    for field in ("title", None):
        CrossEncoderRerank(encoder=Reading({}), title_field=field).compress_documents(given, "q")
    assert read == ["Title\ntext", "x", "text", "x"]


async def test_a_failed_compressor_keeps_the_order_and_says_so() -> None:
    given = [Document(page_content="unknown"), Document(page_content="other")]
    found = await CrossEncoderRerank(encoder=TableEncoder({})).acompress_documents(given, "q")
    assert [document.page_content for document in found] == ["unknown", "other"]
    assert found[0].metadata["reranked"] is False
    assert "the reranker failed" in found[0].metadata["reason"]
