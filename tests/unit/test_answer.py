from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import candidate
from rich.console import Console, RenderableType

from search import render
from search.answer import as_json, band
from search.types import Hit, Location, PassageHit, Ranking, Source

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
    [(1.0, "strong"), (0.81, "strong"), (0.8, "fair"), (0.4, "fair"), (0.399, "weak"), (0, "weak")],
)
def test_bands(probability: float, name: str) -> None:
    assert band(probability) == name


def test_an_answer_shows_place_title_score_band_and_move() -> None:
    shown = text(render.answer(ranking()))
    first = next(line for line in shown.splitlines() if "Heart" in line)
    assert first.split() == ["1", "Heart", "0.934", "strong", "▲3", "was", "4"]
    second = next(line for line in shown.splitlines() if "Surgery" in line)
    assert second.split() == ["2", "Surgery", "0.050", "weak", "▼1", "was", "1"]
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
    assert "strong" not in shown
    assert "was" not in shown


def test_the_comparison_shows_both_orders_with_both_scores() -> None:
    lines = text(render.comparison(ranking()), 100).splitlines()
    row = next(line for line in lines if line.strip().startswith("1 "))
    assert row.split() == ["1", "Surgery", "0.900", "Heart", "0.934", "strong", "▲3", "was", "4"]


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
        *("query", "reranked", "scored", "reason", "failed", "hint"),
        *("notes", "hits", "timings_ms", "model"),
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
        "also_in": [],
    }


def hit(passage: str, document_id: str = "guide", **fields: Any) -> Hit:
    found = candidate(document_id, passage, 0.4, 1)
    places = {k: fields.pop(k) for k in ("title", "source", "location") if k in fields}
    return Hit(1, 0.9, 2.0, replace(found, **places), 3, 0.4, **fields)


def shown(*hits: Hit, width: int = 90, query: str = "q", **options: bool) -> str:
    answered = Ranking(query, hits, hits, True, None, False, TIMINGS, MODEL)
    return text(render.answer(answered, **options), width)


def test_an_answer_says_where_each_hit_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path / "notes" / "a.md")
    at = Location(line=12, heading="Upgrading")
    assert "notes/a.md:12 · Upgrading · id guide" in shown(
        hit("x", source=Source(here), location=at), width=200
    )
    record = hit("x", source=Source("/data/c.jsonl", 7))
    assert "/data/c.jsonl:7 · id guide" in shown(record)
    page = hit("x", document_id="/m/b.pdf", source=Source("/m/b.pdf"), location=Location(page=3))
    assert "/m/b.pdf · page 3\n" in "\n".join(map(str.strip, shown(page).splitlines())) + "\n"
    piped = hit("x", source=Source("-", 4))
    assert "standard input:4 · id guide" in shown(piped)
    assert "id guide" in shown(hit("x"))


def test_json_says_where_a_hit_is() -> None:
    found = hit(
        "One. Two.",
        source=Source("/m/b.pdf", None),
        location=Location(page=3),
        highlight=(5, 9),
        also_in=(candidate("copy", "One. Two.", 0.3, 2),),
        passages=(PassageHit(candidate("guide", "Three.", 0.2, 3, index=1), 0.6),),
    )
    made = Ranking("q", (found,), (found,), True, None, False, TIMINGS, MODEL)
    assert "passages" not in as_json(made)["hits"][0]
    answer = as_json(made, passages=True)
    (shown_hit,) = json.loads(json.dumps(answer))["hits"]
    assert shown_hit["source"] == {"file": "/m/b.pdf", "line": None}
    assert shown_hit["location"] == {"line": None, "page": 3, "heading": None}
    assert shown_hit["highlight"] == [5, 9]
    assert shown_hit["also_in"] == [
        {"id": "copy", "title": "Copy", "source": None, "location": None}
    ]
    assert shown_hit["passages"] == [{"passage": "Three.", "location": None, "score": 0.6}]


def test_the_excerpt_stands_around_the_sentence_that_decides_which_is_bold() -> None:
    passage = "Filler words stand here. " * 40 + "Walk daily. " + "More of the same follows. " * 40
    start = passage.index("Walk daily.")
    found = hit(passage, highlight=(start, start + len("Walk daily.")))
    said = " ".join(shown(found, width=200).split())
    assert "… " in said
    assert "stand here. Walk daily. More of the same" in said
    assert said.count("Filler") < 10
    excerpt = render._excerpt(found, "filler", full=False)
    assert [excerpt.plain[s.start : s.end] for s in excerpt.spans if s.style] == ["Walk daily."]
    assert len(excerpt) < render.EXCERPT_CHARACTERS + 20
    whole = render._excerpt(found, "q", full=True).plain
    assert whole == passage.strip()


def test_a_passage_of_one_sentence_has_the_words_of_the_query_in_bold_instead() -> None:
    excerpt = render._excerpt(hit("Walk every day.", highlight=(0, 15)), "day walking walk", False)
    assert [excerpt.plain[s.start : s.end] for s in excerpt.spans if s.style] == ["Walk"]


def test_other_good_passages_of_a_document_are_shown_on_request() -> None:
    def other(passage: str, score: float) -> PassageHit:
        found = candidate("guide", passage, 0.1, 2, index=1)
        return PassageHit(replace(found, source=Source("/g.md"), location=Location(88)), score)

    found = hit("best", passages=(other("nearly as good", 0.8), other("poor", 0.2)))
    assert "nearly" not in shown(found)
    said = shown(found, passages=True)
    assert "+ 0.800 /g.md:88" in said
    assert "nearly as good" in said
    assert "poor" not in said


def test_the_same_passage_elsewhere_is_named_not_repeated() -> None:
    copies = tuple(
        replace(candidate(f"c{i}", "same", 0.1, 2), source=Source(f"/c{i}.md")) for i in range(5)
    )
    said = shown(hit("same", also_in=copies))
    assert "also in: /c0.md, /c1.md, /c2.md and 2 more" in said


NASTY = "a\x1b[31mred\x07\x9b2J\u202eabc"


def test_nothing_from_a_document_steers_the_terminal() -> None:
    found = hit(
        NASTY,
        document_id=NASTY,
        title=NASTY,
        source=Source(NASTY),
        location=Location(heading=NASTY),
        highlight=(0, 3),
        passages=(PassageHit(candidate("x", NASTY, 1, 1), 1.0),),
        also_in=(replace(candidate("x", NASTY, 1, 1), source=Source(NASTY)),),
    )
    made = Ranking(
        NASTY,
        (found,),
        (found,),
        "partial",
        NASTY,
        False,
        TIMINGS,
        {**MODEL, "name": NASTY},
        hint=NASTY,
        notes=(NASTY,),
    )
    for renderable in (render.answer(made, passages=True), render.comparison(made)):
        for width in (40, 100):
            said = text(renderable, width)
            assert "\\x1b" in said
            assert not set(said) & set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize("width", [40, 100])
def test_titles_are_no_markup_in_a_comparison(width: int) -> None:
    odd = (hit("x", title="[not available]"), hit("x", title="[/etc/hosts]"))
    said = text(render.comparison(Ranking("q", odd, odd, True, None, False, TIMINGS, MODEL)), width)
    assert said.count("[not available]") == 2
    assert said.count("[/etc/hosts]") == 2


def test_a_comparison_in_40_columns_keeps_titles_readable() -> None:
    titled = (hit("x", title="Preventing heart disease"), hit("x", title="Heart surgery"))
    before = tuple(replace(h, probability=None, logit=None) for h in titled)
    made = Ranking("q", titled, before, True, None, False, TIMINGS, MODEL)
    lines = text(render.comparison(made), 40).splitlines()
    assert max(map(len, lines)) <= 40
    assert sum("Preventing heart disease" in line for line in lines) == 2
    assert {"First stage", "Reranked"} <= {line.strip() for line in lines}
    assert sum("0.400" in line for line in lines) == 2


def test_a_partly_reranked_answer_says_so_and_notes_are_shown() -> None:
    one = hit("x")
    made = Ranking(
        "q", (one,), (one,), "partial", "too late", False, TIMINGS, MODEL, notes=("the gate 1 …",)
    )
    said = text(render.answer(made))
    assert "Only partly reranked: too late." in said
    assert "Note: the gate 1 …." in said


def test_no_hits_come_with_the_hint() -> None:
    made = Ranking("q", (), (), False, "x", False, TIMINGS, {}, hint="the store is empty")
    assert "Nothing found: the store is empty." in text(render.answer(made))


@pytest.mark.parametrize("query", ["how to prevent heart disease " * 100, "心" * 3000])
def test_a_long_query_is_shown_by_its_beginning_and_whole_in_json(query: str) -> None:
    made = replace(ranking(), query=query)
    for renderable in (render.answer(made), render.comparison(made)):
        head = text(renderable, 80).partition("\n\n")[0]
        assert head.startswith(query[:20])
        assert head.endswith(" …")
        assert len(head.splitlines()) <= 4
    assert as_json(made)["query"] == query


def test_an_excerpt_of_a_text_without_spaces_is_not_empty() -> None:
    passage = "一" * 500 + "心" * 20 + "二" * 500
    excerpt = render._excerpt(hit(passage, highlight=(500, 520)), "q", full=False).plain
    assert "一" * 100 + "心" * 20 + "二" * 100 in excerpt
    assert len(excerpt) < render.EXCERPT_CHARACTERS + 20
