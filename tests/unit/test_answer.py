from __future__ import annotations

import io
import json

import pytest
from fakes import candidate
from rich.console import Console, RenderableType

from search import render
from search.answer import as_json, band
from search.types import Hit, Ranking

TIMINGS = {"retrieve": 12.3, "rerank": 345.6, "total": 358.0}
MODEL = {
    "name": "tiny",
    "revision": "abc",
    "device": "cpu",
    "precision": "bf16",
    "engine": "openvino",
}


def ranking(reranked: bool = True, failed: bool = False, reason: str | None = None) -> Ranking:
    heart = candidate("heart", "Walk every day. Do not smoke, " + "and sleep well, " * 30, 0.4, 4)
    surgery = candidate("surgery", "Bleeding may follow heart surgery.", 0.9, 1)
    before = (Hit(1, None, None, surgery, 1, 0.9), Hit(2, None, None, heart, 2, 0.4))
    after = (Hit(1, 0.934, 2.6, heart, 4, 0.4), Hit(2, 0.05, -3.0, surgery, 1, 0.9))
    hits = after if reranked else before
    model = MODEL if reranked else {}
    return Ranking("prevent heart disease", hits, before, reranked, reason, failed, TIMINGS, model)


def text(renderable: RenderableType, width: int = 90) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("probability", "name"),
    [(1.0, "high"), (0.81, "high"), (0.8, "medium"), (0.4, "medium"), (0.399, "low"), (0, "low")],
)
def test_bands(probability: float, name: str) -> None:
    assert band(probability) == name


def test_an_answer_shows_place_title_score_band_and_move() -> None:
    shown = text(render.answer(ranking()))
    first = next(line for line in shown.splitlines() if "Heart" in line)
    assert first.split() == ["1", "Heart", "0.934", "high", "▲3", "was", "4"]
    second = next(line for line in shown.splitlines() if "Surgery" in line)
    assert second.split() == ["2", "Surgery", "0.050", "low", "▼1", "was", "1"]
    assert "retrieve 12 ms · rerank 346 ms · total 358 ms" in shown
    assert "tiny on cpu, bf16, openvino" in shown


def test_long_passages_are_cut_at_a_word_unless_full() -> None:
    assert " …" in text(render.answer(ranking()))
    full = text(render.answer(ranking(), full=True))
    assert " …" not in full
    assert full.count("sleep well") > text(render.answer(ranking())).count("sleep well")


def test_a_fallback_never_passes_for_a_reranked_answer() -> None:
    shown = text(render.answer(ranking(False, True, "the reranker failed: no weights")))
    assert "First stage's order, not reranked: the reranker failed: no weights." in shown
    assert "high" not in shown
    assert "was" not in shown


def test_the_comparison_shows_both_orders_with_both_scores() -> None:
    lines = text(render.comparison(ranking()), 100).splitlines()
    row = next(line for line in lines if line.strip().startswith("1 "))
    assert row.split() == ["1", "Surgery", "0.900", "Heart", "0.934", "high", "▲3", "was", "4"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for renderable in (render.answer(ranking()), render.comparison(ranking())):
        assert max(map(len, text(renderable, width).splitlines())) <= width


def test_markup_in_documents_is_shown_not_obeyed() -> None:
    hit = Hit(1, 0.9, 1.0, candidate("a", "[red]x[/red] [/] [link=http://x]y", 0.1, 1), 1, 0.1)
    odd = Ranking("[bold]q[/]", (hit,), (hit,), True, None, False, TIMINGS, MODEL)
    shown = text(render.answer(odd))
    assert "[red]x[/red] [/] [link=http://x]y" in shown
    assert "[bold]q[/]" in shown


def test_json_has_the_documented_keys() -> None:
    answer = json.loads(json.dumps(as_json(ranking())))
    assert list(answer) == [
        *("query", "reranked", "scored", "reason", "hint", "notes", "hits", "timings_ms", "model")
    ]
    assert answer["hits"][0] == {
        "rank": 1,
        "id": "heart",
        "title": "Heart",
        "passage": ranking().hits[0].passage,
        "highlight": None,
        "source": None,
        "location": None,
        "score": 0.934,
        "probability": 0.934,
        "logit": 2.6,
        "retrieval": {"rank": 4, "score": 0.4},
        "metadata": {},
        "passages": [],
        "also_in": [],
    }
