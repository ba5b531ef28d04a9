from __future__ import annotations

import asyncio

import pytest
from fakes import ListStore, TableEncoder, WaitingStore, candidate, searcher_over

pytest.importorskip("llama_index.core", reason="pip install -e '.[llamaindex]'")

from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from search.errors import InputError
from search.integrations.llamaindex import CrossEncoderRerank, TwoStageRetriever

FOUND = [candidate(name, name, 1 - rank / 10, rank) for rank, name in enumerate("abc", start=1)]
LOGITS = {"a": -1.0, "b": 3.0, "c": 1.0}


def ids(nodes: list[NodeWithScore]) -> list[str | None]:
    return [found.node.ref_doc_id for found in nodes]


def test_nodes_come_in_the_final_order_and_name_their_document() -> None:
    retriever = TwoStageRetriever(searcher_over(ListStore(FOUND), LOGITS), similarity_top_k=2)
    found = retriever.retrieve("q")
    assert ids(found) == ["b", "c"]
    assert [node.node_id for node in found] == ["b#0", "c#0"]
    assert found[0].score == found[0].metadata["probability"] > 0.9


def test_arguments_are_those_of_a_search() -> None:
    retriever = TwoStageRetriever(searcher_over(ListStore(FOUND), LOGITS), rerank=False)
    assert ids(retriever.retrieve("q")) == ["a", "b", "c"]


def test_a_language_model_reads_title_and_source_but_no_scores() -> None:
    (found, *_) = TwoStageRetriever(searcher_over(ListStore(FOUND), LOGITS)).retrieve("q")
    read = found.node.get_content(MetadataMode.LLM)
    assert "title: B" in read
    assert "rank" not in read
    assert "score" not in read


async def test_the_loop_goes_on_while_a_search_runs() -> None:
    store = WaitingStore(FOUND)
    search = asyncio.create_task(TwoStageRetriever(searcher_over(store, LOGITS)).aretrieve("q"))
    await asyncio.sleep(0.01)
    store.go.set()
    assert ids(await search) == ["b", "c", "a"]


def given() -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=n, text=n, metadata={"x": 1}), score=0.5) for n in "abc"
    ]


def test_the_postprocessor_gives_copies_best_first() -> None:
    nodes = given()
    rerank = CrossEncoderRerank(encoder=TableEncoder(LOGITS), top_n=2)
    found = rerank.postprocess_nodes(nodes, query_str="q")
    assert [node.node_id for node in found] == ["b", "c"]
    assert found[0].score == pytest.approx(0.9526, abs=1e-4)
    assert found[0].metadata["x"] == 1
    assert "probability" not in found[0].node.get_content(MetadataMode.LLM)
    assert nodes[1].score == 0.5
    assert nodes[1].metadata == {"x": 1}


async def test_a_failed_postprocessor_keeps_order_and_scores_and_says_so() -> None:
    rerank = CrossEncoderRerank(encoder=TableEncoder({}))
    found = await rerank.apostprocess_nodes(given(), query_str="q")
    assert [(node.node_id, node.score) for node in found] == [("a", 0.5), ("b", 0.5), ("c", 0.5)]
    assert found[0].metadata["reranked"] is False
    assert "the reranker failed" in found[0].metadata["reason"]


def test_without_a_query_the_error_says_what_to_pass() -> None:
    with pytest.raises(InputError, match="query_str"):
        CrossEncoderRerank(encoder=TableEncoder(LOGITS)).postprocess_nodes(given())
