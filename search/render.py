"""Answers as a person reads them; `search.__main__` prints what is made here."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from search.answer import band
from search.types import Hit, Ranking

BAND_STYLES = {"high": "bold green", "medium": "yellow", "low": "dim"}
EXCERPT_CHARACTERS = 320
MIN_WORD = 4  # shorter words of the query ("how", "to") are not worth highlighting


def answer(ranking: Ranking, full: bool = False) -> Group:
    """The whole answer: hits, how they moved, what it cost; `full` shows passages uncut."""
    parts: list[Any] = [Text(ranking.query, style="bold"), Text()]
    if not ranking.hits:
        parts += [Text("Nothing found. Fewer --where filters or other words may help."), Text()]
    for hit in ranking.hits:
        parts += [_headline(hit), _passage(hit, ranking.query, full), Text()]
    return Group(*parts, footer(ranking))


def comparison(ranking: Ranking) -> Group:
    """The first stage's order and the final one, side by side."""
    table = Table(box=None, pad_edge=False, expand=True, padding=(0, 1))
    table.add_column("", justify="right", style="bold")
    for title, unit in (("First stage", "score"), ("Reranked", "probability")):
        table.add_column(title, ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(unit, justify="right")
    table.add_column("moved")
    pairs = zip_longest(ranking.before, ranking.hits)
    for place, (left, right) in enumerate(pairs, start=1):
        table.add_row(
            str(place),
            _title(left) if left else "",
            f"{left.score:.3f}" if left else "",
            _title(right) if right else "",
            _score(right) if right else "",
            _move(right) if right else "",
        )
    return Group(Text(ranking.query, style="bold"), Text(), table, Text(), footer(ranking))


def footer(ranking: Ranking) -> Text:
    """How the answer was made: milliseconds per stage, model, device; or why not reranked."""
    stages = " · ".join(f"{name} {ms:,.0f} ms" for name, ms in ranking.timings_ms.items())
    if not ranking.reranked:
        style = "bold red" if ranking.failed else "dim"
        label = f"First stage's order, not reranked: {ranking.reason}."
        return Text.assemble((label, style), ("\n" + stages, "dim"))
    model = ranking.model
    how = ", ".join(str(model[key]) for key in ("precision", "engine") if key in model)
    return Text(f"{stages}\n{model['name']} on {model['device']}, {how}", "dim")


def _headline(hit: Hit) -> Table:
    """Place and title at the left; score, band and move at the right."""
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(width=3, justify="right", style="bold")
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(
        str(hit.rank),
        Text(_title(hit), style="bold cyan"),
        Text("  ").join([_score(hit), _move(hit)]),
    )
    return line


def _score(hit: Hit) -> Text:
    if hit.logit is None:
        return Text(f"{hit.score:.3f}")
    name = band(hit.score)
    return Text(f"{hit.score:.3f} {name:<6}", style=BAND_STYLES[name])


def _move(hit: Hit) -> Text:
    """Where the first stage had placed it, and how far it moved."""
    if hit.logit is None:
        return Text()
    moved = hit.retrieval_rank - hit.rank
    arrow = f"▲{moved}" if moved > 0 else f"▼{-moved}" if moved < 0 else "="
    style = "green" if moved > 0 else "red" if moved < 0 else "dim"
    return Text.assemble((f"{arrow:<3}", style), (f" was {hit.retrieval_rank:>2}", "dim"))


def _title(hit: Hit) -> str:
    return hit.candidate.title or hit.candidate.document_id


def _passage(hit: Hit, query: str, full: bool) -> Padding:
    words = " ".join(hit.candidate.passage.split())
    if not full and len(words) > EXCERPT_CHARACTERS:
        words = words[:EXCERPT_CHARACTERS].rsplit(" ", 1)[0] + " …"
    text = Text(words)
    for word in re.findall(r"\w+", query):
        if len(word) >= MIN_WORD:
            text.highlight_regex(rf"(?i)\b{re.escape(word)}\w*", "bold")
    return Padding(text, (0, 2, 0, 4))
