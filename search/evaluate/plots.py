"""Pictures of a report: the K-curve, the gain of every query, the gate, and reliability."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import MissingExtra
from search.evaluate.calibration import BANDS, Calibration
from search.evaluate.report import Report
from search.evaluate.tune import Tuning
from search.evaluate.work import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's palette: colour-blind readers can tell them apart, too.
FIRST, RERANK, BLEND, CEILING = "#0072B2", "#E69F00", "#009E73", "#999999"
LOSS = "#D55E00"


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """A figure without a display, and its axes; MissingExtra without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "evaluate", "drawing plots (--plots)") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for ax in axes if columns > 1 else [axes]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", alpha=0.3)
    return figure, axes


def save_all(folder: Path, outcome: Outcome) -> list[Path]:
    """Write every picture as PNG; the paths written."""
    figures = {}
    for name, report in outcome.reports.items():
        if len(report.curve) > 1:  # a judged pool has one depth, its own
            figures[f"{name}.k-curve.png"] = k_curve(report)
        figures[f"{name}.gain.png"] = gains(report)
    if outcome.tuning:
        figures["gate.png"] = gate(outcome.tuning)
    for name, calibration in outcome.calibrations.items():
        figures[f"{name.replace(', ', '.')}.reliability.png"] = reliability(name, calibration)
    folder.mkdir(parents=True, exist_ok=True)
    for file, figure in figures.items():
        figure.savefig(folder / file, dpi=144)
    return [folder / file for file in figures]


def k_curve(report: Report) -> Figure:
    """nDCG@10 of each stage against K at the left, against its cost at the right."""
    figure, (left, right) = new_figure(10, 4.2, columns=2)
    curve = report.curve
    ks, cost = [p.k for p in curve], [p.milliseconds for p in curve]
    lines = [
        ("cross-encoder alone", [p.rerank for p in curve], RERANK, "s-"),
        ("blend", [p.blend for p in curve], BLEND, "D-"),
    ]
    left.plot(ks, [p.ideal for p in curve], ":", color=CEILING, label="ideal order (ceiling)")
    for label, values, colour, style in lines:
        left.plot(ks, values, style, color=colour, label=label)
        right.plot(cost, values, style, color=colour, label=label)
    left.plot(ks, [p.first for p in curve], "o--", color=FIRST, label="first stage")
    right.axhline(curve[-1].first, color=FIRST, linestyle="--", label="first stage, no cost")
    for point in curve:
        right.annotate(
            f"K={point.k}",
            (point.milliseconds, max(point.blend, point.rerank)),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    left.set(xlabel="K, passages reranked", ylabel="nDCG@10", xticks=ks, title="Quality by depth")
    right.set(xlabel="scoring, ms per query (as this pass ran)", title="Quality by cost")
    right.margins(x=0.1, y=0.2)
    for ax in (left, right):
        ax.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{report.name}: {report.queries} queries")
    return figure


def gains(report: Report) -> Figure:
    """nDCG@10 gained or lost by every query, sorted."""
    figure, ax = new_figure(10, 3.8)
    ordered = sorted(report.gains, reverse=True)
    colours = [BLEND if gain > 0 else LOSS for gain in ordered]
    ax.bar(range(len(ordered)), ordered, width=1.0, color=colours)
    ax.axhline(0, color="black", linewidth=0.6)
    row = report.rows[0]
    ax.axhline(row.difference.mean, color="black", linewidth=1, linestyle=":")
    ax.annotate(
        f"mean {row.difference.mean:+.3f}",
        (1, row.difference.mean),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    ax.set(
        xlabel="queries, by gain",
        ylabel="nDCG@10, pipeline − first stage",
        title=f"{report.name}: {row.wins} better, {row.ties} equal, {row.losses} worse",
        xlim=(-0.5, len(ordered) - 0.5),
    )
    return figure


def gate(tuning: Tuning) -> Figure:
    """What each gate costs and keeps, at the chosen K and blend, on the dev sets."""
    figure, ax = new_figure(7, 4.2)
    chosen = tuning.chosen.pipeline
    line = sorted(
        (s.pairs, s.ndcg)
        for s in tuning.grid
        if (s.pipeline.candidates, s.pipeline.blend) == (chosen.candidates, chosen.blend)
    )
    ax.plot(
        *zip(*line, strict=True), "D-", color=BLEND, markersize=4, label="gates, strict to none"
    )
    ax.plot(tuning.chosen.pairs, tuning.chosen.ndcg, "*", color=LOSS, markersize=16, label="chosen")
    ax.plot(tuning.best.pairs, tuning.best.ndcg, "o", color="black", label="best, no gate")
    ax.axhline(
        tuning.best.ndcg - tuning.bound,
        color=CEILING,
        linestyle="--",
        label=f"bound: best − {tuning.bound:g}",
    )
    ax.axhline(tuning.first, color=FIRST, linestyle=":", label="first stage")
    ax.set(
        xlabel="passages scored per query",
        ylabel="nDCG@10, mean of the dev sets",
        title=f"Gate at K = {chosen.candidates}",
    )
    ax.legend(frameon=False, fontsize=9)
    return figure


def reliability(name: str, calibration: Calibration) -> Figure:
    """Predicted probability against the share that is relevant; the area of a dot is its count."""
    figure, ax = new_figure(4.8, 4.8)
    ax.plot([0, 1], [0, 1], color=CEILING, linestyle="--")
    predicted, observed, counts = zip(*calibration.bins, strict=True)
    sizes = [20 + 380 * count / max(counts) for count in counts]
    ax.scatter(predicted, observed, s=sizes, color=FIRST, alpha=0.7, clip_on=False)
    for _, low, _ in BANDS[:2]:
        ax.axvline(low, color=CEILING, linewidth=0.8, linestyle=":")
    ax.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="predicted probability",
        ylabel="share relevant",
        title=f"{name}: expected calibration error {calibration.expected_error:.3f}",
    )
    return figure
