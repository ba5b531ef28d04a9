from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import ListStore, TableReranker, candidate
from hypothesis import given
from hypothesis import strategies as st

import config
from search.errors import InputError
from search.evaluate.compare import Judged, Orders, agreement, from_log, kendall, over_store
from search.rerank import Blend
from search.rerank.provider import RerankerProvider

stats = pytest.importorskip("scipy.stats", reason="pip install -e '.[evaluate]'")

orders = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def test_the_same_order_agrees_and_the_reverse_does_not() -> None:
    assert kendall("abcd", "abcd") == 1
    assert kendall("abcd", "dcba") == -1
    assert kendall("abcd", "abdc") == pytest.approx(1 - 2 / 6)
    assert kendall("", "") == kendall("a", "a") == 1


@given(orders, orders)
def test_agreement_is_that_of_scipy(a: list[str], b: list[str]) -> None:
    """Oracle: scipy's tau-b over ranks, where a document that one lacks is last there."""
    documents = sorted({*a, *b})
    ranks = [[o.index(d) if d in o else len(o) for d in documents] for o in (a, b)]
    constant = any(len(set(row)) < 2 for row in ranks)
    expected = 1.0 if constant else stats.kendalltau(*ranks).statistic
    assert kendall(a, b) == pytest.approx(expected)


def test_the_queries_that_differ_most_come_first() -> None:
    same = [Orders(f"same {i}", ("a", "b"), ("a", "b")) for i in range(10)]
    turned = Orders("turned", ("a", "b", "c"), ("c", "b", "a"))
    near = Orders("near", ("a", "b", "c"), ("a", "c", "b"))
    everything = [
        *same,
        near,
        turned,
        Orders("nothing found", (), ()),
        Orders("unread", (), ("a",)),
    ]
    random.Random(0).shuffle(everything)
    found = agreement(everything)
    assert (found.queries, found.unscored, found.top_changed) == (12, 2, 1)
    assert [one.query for one in found.furthest] == ["turned", "near"]
    assert found.tau == pytest.approx((10 - 1 + 1 / 3) / 12)


def test_one_query_makes_no_winner() -> None:
    one = Judged("set", 1, 0.5, 0.4, 0.6, (0.2, 0.2, 0.2), 1.0, 1, 0)
    assert one.verdict == "no difference beyond chance"
    many = replace(one, queries=100, difference=(0.2, 0.1, 0.3), p=0.001)
    assert many.verdict == "B is better"
    assert replace(many, difference=(-0.2, -0.3, -0.1)).verdict == "A is better"


def test_without_a_document_there_is_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="no query has documents"):
        agreement([Orders("q", (), ())])


def line(query: str, **models: Sequence[str]) -> str:
    return json.dumps({"query": query, "orders": models})


def test_a_log_is_read_for_the_two_models_named(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [line("one", a=["x", "y"], b=["y", "x"]), line("two", a=["x"], c=["x"]), ""]
    log.write_text("\n".join(lines))
    found = from_log(log, "b", "a")
    assert (found.queries, found.tau) == (1, -1)
    assert found.furthest[0].a == ("y", "x")
    with pytest.raises(InputError, match="nothing to compare"):
        from_log(log, "a", "d")


@pytest.mark.parametrize("content", ["{", "[]", '{"query": "a"}', '{"orders": {"a": 1, "b": 2}}'])
def test_a_line_of_another_kind_is_named(tmp_path: Path, content: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(f"\n{content}\n")
    with pytest.raises(InputError, match=r"log\.jsonl:2: expected"):
        from_log(log, "a", "b")


def test_orders_over_a_store_are_those_of_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [candidate("x", "one", 0.9, 1), candidate("y", "two", 0.8, 2)]
    logits = {"first": {"one": 2.0, "two": 1.0}, "second": {"one": 1.0, "two": 2.0}}
    store = ListStore(found)
    monkeypatch.setattr("search.store.open.open_store", lambda settings: store)

    def provider(settings: Any) -> RerankerProvider:
        return RerankerProvider(lambda: TableReranker(logits[settings.model], Blend()))

    monkeypatch.setattr(RerankerProvider, "of", provider)
    settings = config.load({"rerank": False, "threshold": 0.9, "model": "first"}, {}, [])
    result = over_store(["q", "q", "r"], settings, "first", "second")
    assert (result.queries, result.tau, result.top_changed) == (2, -1, 2)
    assert (result.furthest[0].a, result.furthest[0].b) == (("x", "y"), ("y", "x"))
