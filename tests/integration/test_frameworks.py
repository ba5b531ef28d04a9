"""The frameworks themselves, with a real store and the bundled model: their own conformance tests
where they have some, and a pipeline of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.__main__ import main as ingest
from search import CrossEncoder, Searcher

ROOT = Path(__file__).parents[2]
QUERY = "how to prevent heart disease"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "notes.db"
    assert ingest([str(ROOT / "data" / "medical.json"), "--store", str(path), "--quiet"]) == 0
    return path


@pytest.fixture(scope="module")
def searcher(store: Path) -> Iterator[Searcher]:
    with Searcher.open(environment={}, store=store) as opened:
        yield opened


@pytest.fixture(scope="module")
def encoder() -> CrossEncoder:
    return CrossEncoder()


@pytest.fixture(scope="module")
def expected(searcher: Searcher) -> list[str]:
    return [hit.id for hit in searcher.search(QUERY, limit=5).hits]


DOCS = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
PACKAGES = {"LangChain": "langchain_core", "LlamaIndex": "llama_index.core", "Haystack": "haystack"}
EXAMPLES = re.findall(r"## (\w+)\n(?:(?!## ).)*?```python\n(.*?)```", DOCS, re.DOTALL)


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_examples_of_the_documentation_run(
    name: str,
    code: str,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"pip install -e '.[{name.lower()}]'")
    monkeypatch.chdir(store.parent)
    exec(compile(code, f"integrations.md, {name}", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line.split()[0] != "None" for line in lines)  # a rank or a probability


def test_every_framework_has_an_example() -> None:
    assert [name for name, _ in EXAMPLES] == ["Python", *PACKAGES]


try:
    from langchain_tests.integration_tests import RetrieversIntegrationTests
except ModuleNotFoundError:

    def test_langchains_standard_tests() -> None:
        pytest.skip("LangChain's standard tests need langchain-tests: pip install -e '.[dev]'")

else:
    from search.integrations.langchain import TwoStageRetriever

    class TestLangchainStandard(RetrieversIntegrationTests):
        """LangChain's own tests of what a retriever has to do."""

        @pytest.fixture(autouse=True)
        def _searcher(self, searcher: Searcher) -> None:
            self.searcher = searcher

        @property
        def retriever_constructor(self) -> type[TwoStageRetriever]:
            return TwoStageRetriever

        @property
        def retriever_constructor_params(self) -> dict[str, Any]:
            return {"searcher": self.searcher}

        @property
        def retriever_query_example(self) -> str:
            return QUERY


def test_langchain_in_a_chain(
    searcher: Searcher, encoder: CrossEncoder, expected: list[str]
) -> None:
    pytest.importorskip("langchain_core", reason="pip install -e '.[langchain]'")
    from search.integrations.langchain import CrossEncoderRerank, TwoStageRetriever

    retriever = TwoStageRetriever(searcher=searcher, k=5)
    found = (retriever | (lambda documents: [d.metadata["id"] for d in documents])).invoke(QUERY)
    assert found == expected
    bm25 = TwoStageRetriever(searcher=searcher, search_kwargs={"retrieval": "bm25"})
    first_stage = bm25.invoke(QUERY, rerank=False)
    compressed = CrossEncoderRerank(encoder=encoder, top_n=3).compress_documents(first_stage, QUERY)
    texts = [f"{d.metadata['title']}\n{d.page_content}" for d in first_stage]
    ranked = encoder.rank(QUERY, texts, top_k=3)
    assert [d.id for d in compressed] == [first_stage[best.index].id for best in ranked]
    assert [d.metadata["probability"] for d in compressed] == [best.score for best in ranked]
    foreign = CrossEncoderRerank(encoder=encoder).compress_documents(
        first_stage, "心臓病を予防する"
    )
    assert [d.id for d in foreign] == [d.id for d in first_stage]
    assert "cannot read this query" in foreign[0].metadata["reason"]


def test_llamaindex_in_a_query_engine(
    searcher: Searcher, encoder: CrossEncoder, expected: list[str]
) -> None:
    pytest.importorskip("llama_index.core", reason="pip install -e '.[llamaindex]'")
    from llama_index.core.llms import MockLLM
    from llama_index.core.query_engine import RetrieverQueryEngine

    from search.integrations.llamaindex import CrossEncoderRerank, TwoStageRetriever

    retriever = TwoStageRetriever(searcher, similarity_top_k=5)
    engine = RetrieverQueryEngine.from_args(
        retriever,
        llm=MockLLM(),
        node_postprocessors=[CrossEncoderRerank(encoder=encoder, top_n=3)],
    )
    response = engine.query(QUERY)
    found = response.source_nodes
    assert [found.node.ref_doc_id for found in retriever.retrieve(QUERY)] == expected
    assert len(found) == 3
    assert {node.node.ref_doc_id for node in found} <= set(expected)
    assert found[0].score > found[1].score > found[2].score
    assert found[0].text in str(response)  # the mock repeats the prompt
    assert "retrieval_rank" not in str(response)


def test_haystack_in_a_pipeline(store: Path, expected: list[str], tmp_path: Path) -> None:
    pytest.importorskip("haystack", reason="pip install -e '.[haystack]'")
    from haystack import Pipeline

    from search.integrations.haystack import CrossEncoderRanker, TwoStageRetriever

    pipeline = Pipeline()
    pipeline.add_component("retriever", TwoStageRetriever({"store": str(store)}, top_k=5))
    pipeline.add_component("ranker", CrossEncoderRanker(top_k=3))
    pipeline.connect("retriever", "ranker")
    (tmp_path / "pipeline.yaml").write_text(pipeline.dumps())
    text = (tmp_path / "pipeline.yaml").read_text()
    again = Pipeline.loads(text, allowed_modules=["search.integrations.haystack"])
    try:
        again.warm_up()
        answer = again.run(
            {"retriever": {"query": QUERY}, "ranker": {"query": QUERY}},
            include_outputs_from={"retriever"},
        )
    finally:
        again.close()
    assert [document.meta["id"] for document in answer["retriever"]["documents"]] == expected
    ranked = answer["ranker"]["documents"]
    assert len(ranked) == 3
    assert ranked[0].score > ranked[1].score
    assert ranked[0].meta["reranked"] is True


async def test_a_haystack_pipeline_runs_asynchronously(store: Path, expected: list[str]) -> None:
    pytest.importorskip("haystack", reason="pip install -e '.[haystack]'")
    from haystack import Pipeline

    from search.integrations.haystack import TwoStageRetriever

    pipeline = Pipeline()
    pipeline.add_component("retriever", TwoStageRetriever({"store": str(store)}, top_k=5))
    answer = await pipeline.run_async({"retriever": {"query": QUERY}})
    pipeline.close()
    assert [document.meta["id"] for document in answer["retriever"]["documents"]] == expected
