"""Answers as a person reads them; `search.__main__` prints what is made here.

Whatever comes from documents goes through `_text`: neither markup nor escape sequences act.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from search.answer import band, good_passages
from search.terminal import printable
from search.types import Candidate, Hit, Ranking, Span

BAND_STYLES = {"strong": "bold green", "fair": "yellow", "weak": "dim"}
EXCERPT_CHARACTERS = 320
OTHER_EXCERPT_CHARACTERS = 160
QUERY_CHARACTERS = 150
MIN_WORD = 4  # shorter words of the query ("how", "to") are not worth highlighting
WIDE = 76  # columns; below that, what stands side by side goes one below the other
MAX_PASSAGES = 5
MAX_COPIES = 3


def answer(ranking: Ranking, full: bool = False, passages: bool = False) -> Group:
    """The whole answer: hits, how they moved, what it cost.

    `full` shows passages uncut, `passages` also the other good ones of each document.
    """
    parts: list[Any] = [_query(ranking), Text()]
    if ranking.hint is not None:
        parts += [_text(f"Nothing found: {ranking.hint}."), Text()]
    for hit in ranking.hits:
        parts += [_headline(hit), _indented(_where(hit.candidate))]
        parts += [_indented(_excerpt(hit, ranking.query, full))]
        parts += [_indented(line) for line in _others(hit, full)] if passages else []
        parts += [_indented(_copies(hit.also_in))] if hit.also_in else []
        parts += [Text()]
    return Group(*parts, footer(ranking))


def comparison(ranking: Ranking) -> Group:
    """The first stage's order and the final one, side by side, or in turn where that is narrow."""
    tables = _ByWidth(_side_by_side(ranking), _in_turn(ranking))
    return Group(_query(ranking), Text(), tables, Text(), footer(ranking))


def footer(ranking: Ranking) -> Text:
    """How the answer was made: milliseconds per stage, model, device; or why not reranked."""
    lines = [_text(f"Note: {note}.", "yellow") for note in ranking.notes]
    if ranking.reranked == "partial":
        lines.append(_text(f"Only partly reranked: {ranking.reason}.", "yellow"))
    elif not ranking.reranked:
        style = "bold red" if ranking.failed else "dim"
        lines.append(_text(f"First stage's order, not reranked: {ranking.reason}.", style))
    stages = " · ".join(f"{name} {ms:,.0f} ms" for name, ms in ranking.timings_ms.items())
    lines.append(Text(stages, "dim"))
    if model := ranking.model:
        how = ", ".join(str(model[key]) for key in ("precision", "engine") if key in model)
        lines.append(_text(f"{model['name']} on {model['device']}, {how}", "dim"))
    return Text("\n").join(lines)


def location_of(candidate: Candidate) -> str:
    """`path:line` (page, heading) as far as known: where to open the passage.

    A path below the current folder is shown from there.
    """
    source, location = candidate.source, candidate.location
    parts = []
    if source is not None:
        line = location.line if location and location.line is not None else source.line
        name = "standard input" if source.file == "-" else _short_path(source.file)
        parts.append(name if line is None else f"{name}:{line}")
    if location is not None and location.page is not None:
        parts.append(f"page {location.page}")
    if location is not None and location.heading:
        parts.append(location.heading)
    return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class _ByWidth:
    """One of two forms, by the room that there is."""

    wide: RenderableType
    narrow: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.wide if options.max_width >= WIDE else self.narrow


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def _query(ranking: Ranking) -> Text:
    """Its beginning: a pasted page would push the hits out of sight."""
    return _text(_first_words(ranking.query, QUERY_CHARACTERS), "bold")


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 2, 0, 4))


def _headline(hit: Hit) -> _ByWidth:
    """Rank and title at the left; score, band and move at the right, or below."""
    figures = Text("  ").join([_score(hit), _move(hit)])
    wide = Table.grid(expand=True, padding=(0, 1))
    wide.add_column(width=3, justify="right", style="bold")
    wide.add_column(ratio=1)
    wide.add_column(justify="right", no_wrap=True)
    wide.add_row(str(hit.rank), _title(hit, "bold cyan"), figures)
    narrow = Table.grid(padding=(0, 1))
    narrow.add_column(width=3, justify="right", style="bold")
    narrow.add_column()
    narrow.add_row(str(hit.rank), _title(hit, "bold cyan"))
    narrow.add_row("", figures)
    return _ByWidth(wide, narrow)


def _side_by_side(ranking: Ranking) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, padding=(0, 1))
    table.add_column("", justify="right", style="bold")
    for title, unit in (("First stage", "score"), ("Reranked", "probability")):
        table.add_column(title, ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(unit, justify="right")
    table.add_column("moved")
    for rank, (left, right) in enumerate(zip_longest(ranking.before, ranking.hits), start=1):
        table.add_row(
            str(rank),
            _title(left) if left else "",
            f"{left.score:.3f}" if left else "",
            _title(right) if right else "",
            _score(right) if right else "",
            _move(right) if right else "",
        )
    return table


def _in_turn(ranking: Ranking) -> Group:
    parts: list[Any] = []
    for name, hits in (("First stage", ranking.before), ("Reranked", ranking.hits)):
        table = Table(box=None, pad_edge=False, expand=True, padding=(0, 1, 0, 0))
        table.add_column("", justify="right", style="bold")
        table.add_column(name, ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("", justify="right", no_wrap=True, min_width=5)
        table.add_column("", min_width=3)
        for hit in hits:
            table.add_row(str(hit.rank), _title(hit), f"{hit.score:.3f}", _arrow(hit))
        parts += [table, Text()]
    return Group(*parts[:-1])


def _score(hit: Hit) -> Text:
    if hit.probability is None:
        return Text(f"{hit.score:.3f}")
    name = band(hit.probability)
    return Text(f"{hit.score:.3f} {name:<6}", style=BAND_STYLES[name])


def _arrow(hit: Hit) -> Text:
    """How far the cross-encoder moved it; nothing where that did not read it."""
    if hit.logit is None:
        return Text()
    moved = hit.retrieval_rank - hit.rank
    arrow = f"▲{moved}" if moved > 0 else f"▼{-moved}" if moved < 0 else "="
    return Text(arrow, "green" if moved > 0 else "red" if moved < 0 else "dim")


def _move(hit: Hit) -> Text:
    """The same, and where the first stage had placed it."""
    if hit.logit is None:
        return Text()
    arrow = _arrow(hit)
    arrow.pad_right(max(0, 3 - len(arrow)))
    return Text.assemble(arrow, (f" was {hit.retrieval_rank:>2}", "dim"))


def _title(hit: Hit, style: str = "") -> Text:
    return _text(" ".join((hit.title or hit.id).split()), style)


def _where(candidate: Candidate) -> Text:
    """Location and id; the id alone where it says both."""
    location, name = location_of(candidate), candidate.document_id
    is_the_file = candidate.source is not None and candidate.source.file == name
    parts = [location] if is_the_file else [location, f"id {name}"]
    return _text(" · ".join(part for part in parts if part), "dim")


def _short_path(file: str) -> str:
    path = Path(file)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def _excerpt(hit: Hit, query: str, full: bool) -> Text:
    """The passage around the sentence that decides, in bold; else its beginning."""
    marked = hit.highlight is not None and hit.highlight != (0, len(hit.passage))
    before, best, after = _cut(hit.passage, hit.highlight or (0, 0), EXCERPT_CHARACTERS, full)
    text = Text.assemble(_text(before), _text(best, "bold" if marked else ""), _text(after))
    for word in () if marked else re.findall(r"\w+", query):
        if len(word) >= MIN_WORD:
            text.highlight_regex(rf"(?i)\b{re.escape(word)}\w*", "bold")
    return text


def _cut(passage: str, span: Span, size: int, full: bool) -> tuple[str, str, str]:
    """What stands before, in and after `span`, in about `size` characters cut at words."""
    start, end = span
    before, best, after = (
        re.sub(r"\s+", " ", part) for part in (passage[:start], passage[start:end], passage[end:])
    )
    before, after = before.lstrip(), after.rstrip()
    if full:
        return before, best, after
    best = _first_words(best, size)
    room = max(0, size - len(best))
    # A third of the room leads up to the sentence, and more where little follows it.
    before = _last_words(before, max(room // 3, room - len(after)))
    return before, best, _first_words(after, max(0, room - len(before)))


def _first_words(text: str, size: int) -> str:
    """Cut at a word; in the middle of one where spaces are rare, as in Chinese."""
    if len(text) <= size:
        return text
    whole = text[: size + 1].rpartition(" ")[0]
    return (whole if 2 * len(whole) >= size else text[:size]) + " …"


def _last_words(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    start = len(text) - size
    whole = text[start - 1 :].partition(" ")[2]
    return "… " + (whole if 2 * len(whole) >= size else text[start:])


def _others(hit: Hit, full: bool) -> list[Text]:
    """The document's other passages that are nearly as good, each with its location."""
    lines = []
    for other in good_passages(hit)[:MAX_PASSAGES]:
        _, _, start = _cut(other.candidate.passage, (0, 0), OTHER_EXCERPT_CHARACTERS, full)
        head = f"{other.score:.3f} {location_of(other.candidate)}".rstrip()
        lines.append(Text.assemble(("+ ", "bold"), _text(head, "dim"), "\n  ", _text(start)))
    return lines


def _copies(also_in: Sequence[Candidate]) -> Text:
    names = [location_of(copy) or copy.document_id for copy in also_in[:MAX_COPIES]]
    more = len(also_in) - len(names)
    ending = f" and {more} more" if more > 0 else ""
    return _text(f"also in: {', '.join(names)}{ending}", "dim")
