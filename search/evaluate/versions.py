"""Versions and comparisons as people read them, and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from search.models.known import known
from search.models.version import Check, Version
from search.terminal import printable

if TYPE_CHECKING:
    from search.evaluate.compare import Agreement, Judged


def judged_text(found: Judged, a: str, b: str) -> str:
    mean, low, high = found.difference
    return (
        f"{found.name}, {found.queries} queries, nDCG@10\n"
        f"  first stage  {found.first:.4f}\n"
        f"  A  {a}  {found.a:.4f}\n"
        f"  B  {b}  {found.b:.4f}\n"
        f"  B - A  {mean:+.4f}  95% {low:+.4f} to {high:+.4f}  p {found.p:.3f}; "
        f"{found.better} queries better, {found.worse} worse\n"
        f"  {found.verdict}"
    )


def judged_json(found: Judged, a: str, b: str) -> dict[str, Any]:
    mean, low, high = found.difference
    return {
        "set": found.name,
        "queries": found.queries,
        "metric": "nDCG@10",
        "first_stage": found.first,
        "a": {"model": a, "value": found.a},
        "b": {"model": b, "value": found.b},
        "difference": {"mean": mean, "low": low, "high": high, "p": found.p},
        "better": found.better,
        "worse": found.worse,
        "verdict": found.verdict,
    }


def agreement_text(found: Agreement, a: str, b: str) -> str:
    lines = [
        f"{found.queries} queries: Kendall's tau {found.tau:.3f} on average; another document "
        f"first for {found.top_changed}"
    ]
    if found.unscored:
        lines.append(f"{found.unscored} more were not scored by both, and are left out")
    if found.furthest:
        lines.append("The queries that differ most:")
    for one in found.furthest:
        lines.append(f"  {printable(one.query)}  (tau {one.tau:.2f})")
        lines.append(f"    A  {a}: {printable(', '.join(one.a[:3]))}")
        lines.append(f"    B  {b}: {printable(', '.join(one.b[:3]))}")
    return "\n".join(lines)


def agreement_json(found: Agreement, a: str, b: str) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "queries": found.queries,
        "unscored": found.unscored,
        "kendall_tau": found.tau,
        "top_changed": found.top_changed,
        "furthest": [
            {"query": one.query, "kendall_tau": one.tau, "a": list(one.a), "b": list(one.b)}
            for one in found.furthest
        ],
    }


def check_lines(checks: Sequence[Check]) -> list[str]:
    return [
        f"  {'ok    ' if check.passed else 'FAILED'}  {check.name}: {printable(check.detail)}"
        for check in checks
    ]


def version_json(version: Version) -> dict[str, Any]:

    published = known(version.source)
    return {
        "name": version.name,
        "source": version.source,
        "revision": version.revision,
        "copy": version.is_copy,
        "folder": str(version.folder),
        "added": version.added,
        "digest": version.digest,
        "checks": [
            {"check": check.name, "passed": check.passed, "detail": check.detail}
            for check in version.checks
        ],
        "calibration": version.calibration,
        "published": published._asdict() if published else None,
    }
