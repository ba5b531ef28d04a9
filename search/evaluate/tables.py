"""A report as people read it; `__main__` prints what is made here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from search.evaluate.calibration import Calibration
from search.evaluate.compare import SIGNIFICANT
from search.evaluate.golden import Verdict
from search.evaluate.report import Report, Row
from search.evaluate.significance import Estimate
from search.evaluate.tune import HeldOut, Setting, Tuning
from search.terminal import printable

WORSE_SHOWN = 10
CHARACTERS_SHOWN = 90


def report(r: Report) -> Group:
    """One task: the comparison, the K-curve, other blends, and the queries that got worse."""
    parts: list[Any] = [
        Text(f"\n{printable(r.name)}", style="bold"),
        _about(r),
        Text(),
        _comparison(r),
        _notes(r),
    ]
    parts += [Text(), _curve(r)]
    if r.blends:
        factors = "  ".join(f"{factor:g}: {value:.3f}" for factor, value in r.blends.items())
        k = r.pipeline.candidates
        parts += [Text(f"nDCG@10 with the first stage's part times … (K = {k})  {factors}")]
    if r.worse:
        parts += [Text(), _worse(r)]
    return Group(*parts)


def tuning(t: Tuning) -> Group:
    """What was chosen on the dev splits, what it saves, and how each set does with it."""
    table = Table(title="Tuned on the dev splits", title_justify="left", box=None, pad_edge=False)
    for name in (
        "",
        "K",
        "blend",
        "gate",
        "nDCG@10",
        "passages scored per query",
        "queries reranked",
    ):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("first stage", "", "", "", f"{t.first:.4f}", "0", "0%")
    table.add_row("best, no gate", *_setting(t.best))
    table.add_row("chosen", *_setting(t.chosen), style="bold")
    saved = 1 - t.chosen.pairs / t.best.pairs if t.best.pairs else 0.0
    change = t.chosen.ndcg - t.best.ndcg
    note = f"{saved:.0%} fewer passages than the best; nDCG@10 {change:+.4f} (bound {t.bound:g})."
    if t.chosen.reranked_share == 0:
        note += " Reranking is not worth more than the bound here: the gate of 0 always skips it."
    return Group(Text(), table, Text(note), Text(), _held_out(t.held_out))


def _held_out(rows: Sequence[HeldOut]) -> Group:
    """How each dev set does under what was chosen, and the figures that choices go by."""
    table = Table(box=None, pad_edge=False)
    for name in ("dev set", "queries", "first stage", "rerank alone", "pipeline", "difference"):
        table.add_column(name, justify="left" if name == "dev set" else "right")
    for row in rows:
        figures = [f"{value:.3f}" for value in (row.first, row.rerank, row.pipeline)]
        label = Text(printable(row.name))
        table.add_row(label, str(row.queries), *figures, _interval(row.difference, sign="+"))
    gains = [row.difference.mean for row in rows]
    mean, worst = sum(gains) / len(gains), min(rows, key=lambda row: row.difference.mean)
    below = sum(gain < 0 for gain in gains)
    return Group(
        table,
        Text(
            f"Mean {mean:+.3f}; worst {worst.difference.mean:+.3f} ({printable(worst.name)}); "
            f"below their first stage {below} of {len(rows)}, by more than noise "
            f"{sum(row.below for row in rows)}."
        ),
    )


def calibration(name: str, c: Calibration) -> Group:
    """How far the probabilities are off, and whether the bands hold."""
    table = Table(
        title=Text(printable(f"Calibration on {name}")),
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    for column in ("band", "probability", "documents", "mean predicted", "relevant", "holds"):
        table.add_column(column, justify="left" if column == "band" else "right")
    for band in c.bands:
        filled = band.documents > 0
        table.add_row(
            band.name,
            f"{band.low:.1f}–{band.high:.1f}",
            f"{band.documents:,}",
            f"{band.predicted:.3f}" if filled else "",
            f"{band.observed:.3f}" if filled else "",
            ("yes" if band.holds else "NO") if filled else "",
        )
    line = f"Expected calibration error {c.expected_error:.4f} over {c.documents:,} documents, "
    return Group(Text(), table, Text(line + f"{c.relevant:.1%} of them relevant."))


def golden(verdicts: Sequence[Verdict]) -> Group:
    """The pairs that were ordered wrongly, and the count."""
    wrong = [v for v in verdicts if not v.right]
    parts = [
        Text.assemble(
            ("WRONG ", "bold red"),
            f"line {v.pair.line}: {v.pair.query}\n",
            f"  better {v.better:+.3f}  {_short(v.pair.better)}\n",
            f"  worse  {v.worse:+.3f}  {_short(v.pair.worse)}",
        )
        for v in wrong
    ]
    closest = min(v.better - v.worse for v in verdicts)
    counts = f"{len(verdicts) - len(wrong)} of {len(verdicts)} golden pairs in the right order"
    return Group(*parts, Text(f"{counts}; narrowest margin {closest:+.3f} (logits)"))


def _about(r: Report) -> Text:
    p = r.pipeline
    gate = "no gate" if p.gate is None else f"gate {p.gate:g} ({r.reranked_share:.0%} reranked)"
    return Text(f"{r.queries} queries · K = {p.candidates} · first stage × {p.blend:g} · {gate}")


def _comparison(r: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("metric")
    headings = (
        "first stage [95% CI]",
        "rerank alone",
        "pipeline",
        "difference",
        "p (Holm)",
        "W/T/L",
    )
    for name in headings:
        table.add_column(name, justify="right", no_wrap=True)
    for row in r.rows:
        table.add_row(
            row.metric,
            _interval(row.first),
            _interval(row.rerank),
            _interval(row.pipeline),
            _interval(row.difference, sign="+"),
            "" if row.p is None else f"{row.p:.4f}",
            f"{row.wins}/{row.ties}/{row.losses}",
            style=_style(row),
        )
    return table


def _notes(r: Report) -> Text:
    main = r.rows[0]
    lines = [f"Random order of the same candidates: {main.metric} {r.random:.3f}."]
    if main.rerank.mean <= r.random and r.random > 0:  # where nothing is found, no order is worse
        lines.append("The cross-encoder alone is no better than that: is its head's sign wrong?")
    if r.without_positive:
        lines.append(
            f"{len(r.without_positive)} queries have no relevant document and count as 0; over the "
            f"others: {main.metric} {main.first_positive:.3f} → {main.pipeline_positive:.3f}."
        )
    if r.unjudged:
        lines.append(f"{r.unjudged} queries have no judgments in this split and are left out.")
    return Text("\n".join(lines), style="dim")


def _curve(r: Report) -> Table:
    table = Table(
        title="nDCG@10 by depth, without a gate", title_justify="left", box=None, pad_edge=False
    )
    names = (
        "K",
        "first stage",
        "rerank alone",
        "blend",
        "ideal order",
        "R@K",
        "passages/query",
        "ms/query",
    )
    for name in names:
        table.add_column(name, justify="right")
    for p in r.curve:
        figures = [f"{value:.3f}" for value in (p.first, p.rerank, p.blend, p.ideal, p.recall)]
        table.add_row(str(p.k), *figures, f"{p.pairs:.1f}", f"{p.milliseconds:,.0f}")
    return table


def _worse(r: Report) -> Table:
    shown = r.worse[:WORSE_SHOWN]
    title = (
        f"Queries that got worse ({len(r.worse)}; the {len(shown)} with the largest loss, nDCG@10)"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("query", "first stage", "pipeline"):
        table.add_column(
            name, justify="left" if name == "query" else "right", no_wrap=name != "query"
        )
    for change in shown:
        label = f"{printable(change.query_id)}  {_short(change.query)}"
        table.add_row(Text(label), f"{change.first:.3f}", f"{change.pipeline:.3f}")
    return table


def _setting(s: Setting) -> list[str]:
    p = s.pipeline
    gate = "none" if p.gate is None else f"{p.gate:g}"
    cost = [f"{s.ndcg:.4f}", f"{s.pairs:.1f}", f"{s.reranked_share:.0%}"]
    return [str(p.candidates), f"{p.blend:g}", gate, *cost]


def _interval(e: Estimate, sign: str = "") -> str:
    return f"{e.mean:{sign}.3f} [{e.low:{sign}.3f}, {e.high:{sign}.3f}]"


def _style(row: Row) -> str:
    if row.p is None or row.p >= SIGNIFICANT:
        return ""
    return "green" if row.difference.mean > 0 else "red"


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= CHARACTERS_SHOWN else line[: CHARACTERS_SHOWN - 1] + "…"
