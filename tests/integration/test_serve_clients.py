"""Others' own clients against a real service with the real models."""

from __future__ import annotations

import base64
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from prometheus_client.parser import text_string_to_metric_families
from service_process import ROOT, free_port, service_process

import config
from search.embed import load_embedder
from search.rerank import CrossEncoder

QUERY = "how can I keep my heart healthy"
TEXTS = [
    "Complications after heart surgery include infection and bleeding.",
    "Cataracts cloud the lens of the eye.",
    "Regular exercise and a diet low in salt help to prevent heart disease.",
    "Cataracts cloud the lens of the eye.",
    "",
    "An inhaler relieves the wheezing of asthma.",
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service over an empty store."""
    port = free_port()
    store = tmp_path_factory.mktemp("service") / "store.db"
    with service_process("--set", f"store={store}", port=port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def v1(url: str) -> Iterator[cohere.Client]:
    with cohere.Client("no key", base_url=url) as client:
        yield client


@pytest.fixture
def v2(url: str) -> Iterator[cohere.ClientV2]:
    with httpx.Client() as connection:
        yield cohere.ClientV2("no key", base_url=url, httpx_client=connection)


@pytest.fixture
def open_ai(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="no key", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected() -> list[tuple[int, float]]:
    """The model's own order and probabilities, without any service."""
    return [(one.index, one.score) for one in CrossEncoder().rank(QUERY, TEXTS)]


def check(found: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
    # The same texts share one score, and equal scores may be told apart by a last bit.
    assert [TEXTS[i] for i, _ in found] == [TEXTS[i] for i, _ in expected]
    assert [score for _, score in found] == pytest.approx([s for _, s in expected], abs=5e-3)
    assert len({i for i, _ in found}) == len(found)


def test_cohere_v1(v1: cohere.Client, expected: list[tuple[int, float]]) -> None:
    answer = v1.rerank(query=QUERY, documents=TEXTS, model="rerank-v3.5", top_n=3)
    check([(one.index, one.relevance_score) for one in answer.results], expected[:3])
    assert answer.results[0].document is None
    assert answer.meta is not None
    assert answer.meta.api_version is not None
    assert answer.meta.api_version.version == "1"
    assert answer.meta.tokens is not None
    assert (answer.meta.tokens.input_tokens or 0) > len(TEXTS) * 9
    assert answer.meta.warnings is not None
    assert "rerank-v3.5" in answer.meta.warnings[0]
    documents = [{"text": text, "source": str(i)} for i, text in enumerate(TEXTS)]
    full = v1.rerank(query=QUERY, documents=documents, return_documents=True)
    check([(one.index, one.relevance_score) for one in full.results], expected)
    for one in full.results:
        assert one.document is not None
        assert one.document.text == TEXTS[one.index]
        assert one.document.model_extra == {"source": str(one.index)}


def test_cohere_v2(v2: cohere.ClientV2, expected: list[tuple[int, float]]) -> None:
    answer = v2.rerank(model="m", query=QUERY, documents=TEXTS, max_tokens_per_doc=512)
    check([(one.index, one.relevance_score) for one in answer.results], expected)
    assert answer.id


def test_a_long_document_is_cut_where_cohere_asks_for_it(v2: cohere.ClientV2) -> None:
    late = "The museum is closed on Mondays. " * 60 + TEXTS[2] * 20
    whole = v2.rerank(model="m", query=QUERY, documents=[late]).results[0]
    cut = v2.rerank(model="m", query=QUERY, documents=[late], max_tokens_per_doc=100).results[0]
    assert whole.relevance_score > 5 * cut.relevance_score


def test_cohere_hears_what_is_wrong(v2: cohere.ClientV2) -> None:
    with pytest.raises(cohere.BadRequestError) as none:
        v2.rerank(model="m", query=QUERY, documents=[])
    assert "documents" in none.value.body["message"]
    with pytest.raises(cohere.BadRequestError) as empty:
        v2.rerank(model="m", query="", documents=["a"])
    assert "query is empty" in empty.value.body["message"]


def test_one_thousand_documents(v1: cohere.Client) -> None:
    texts = [f"Note {i} of the archive." for i in range(999)] + [TEXTS[2]]
    answer = v1.rerank(query=QUERY, documents=texts, top_n=2)
    assert answer.results[0].index == 999


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_openai_embeddings(open_ai: openai.OpenAI, encoding: Any) -> None:
    extra = {} if encoding is None else {"encoding_format": encoding}
    texts = [text for text in TEXTS if text]
    answer = open_ai.embeddings.create(model="text-embedding-3-small", input=texts, **extra)
    embedder = load_embedder(config.load())
    ours = embedder.encode_passages(texts)
    for i, one in enumerate(answer.data):
        found: Any = one.embedding  # who asks for base64 gets it; who says nothing gets numbers
        decoded = base64.b64decode(found) if encoding == "base64" else np.array(found, "<f4")
        vector = np.frombuffer(decoded, "<f4")
        assert (one.index, vector.shape) == (i, (384,))
        assert float(vector @ ours[i]) == pytest.approx(1, abs=1e-3)
    assert answer.model == embedder.info.name
    read = sum(len(tokens.ids) for tokens in embedder.tokenizer.inputs(texts))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == read


def test_openai_hears_what_is_wrong(open_ai: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="token numbers"):
        open_ai.embeddings.create(model="m", input=[[1, 2], [3]])
    with pytest.raises(openai.BadRequestError, match="vectors have 384"):
        open_ai.embeddings.create(model="m", input="a", dimensions=256)
    names = [model.id for model in open_ai.models.list()]
    assert names[0] == load_embedder(config.load()).info.name
    assert open_ai.models.retrieve(names[1]).id == names[1]
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        open_ai.models.retrieve("gpt-9")


def test_tei_embeddings_with_hugging_faces_client(url: str) -> None:
    with InferenceClient(f"{url}/embed") as client:
        one = client.feature_extraction(TEXTS[0])
        many = client.feature_extraction(TEXTS, prompt_name="query", normalize=True, truncate=True)
    assert (one.shape, many.shape) == ((1, 384), (len(TEXTS), 384))
    ours = load_embedder(config.load()).encode_passages([TEXTS[0]])[0]
    assert float(one[0] @ ours) == pytest.approx(1, abs=1e-3)


def test_cohere_embeddings(v1: cohere.Client, v2: cohere.ClientV2) -> None:
    ours = load_embedder(config.load()).encode_passages(TEXTS)
    first = v1.embed(texts=TEXTS, model="m", input_type="search_document")
    second = v2.embed(texts=TEXTS, model="m", input_type="search_query", embedding_types=["float"])
    for found in (first.embeddings, second.embeddings.float_):
        cosines = (np.array(found, np.float32) * ours).sum(axis=1)
        assert cosines == pytest.approx(np.ones(len(TEXTS)), abs=1e-3)


EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "service.md").read_text(), re.S)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_the_documentation_run(
    url: str, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(example.replace("http://localhost:8090", url), {})
    assert re.match(r"Walk daily\. 0\.\d|\(1, 384\)|384 \S", capsys.readouterr().out)


def test_what_was_asked_for_is_counted(url: str, v2: cohere.ClientV2) -> None:
    def counted() -> float:
        with urllib.request.urlopen(f"{url}/metrics") as answer:
            families = text_string_to_metric_families(answer.read().decode())
        samples = [sample for family in families for sample in family.samples]
        name, labels = "two_stage_rerank_requests_total", {"protocol": "cohere"}
        return sum(s.value for s in samples if (s.name, s.labels) == (name, labels))

    before = counted()
    v2.rerank(model="m", query=QUERY, documents=["a"])
    assert counted() == before + 1
