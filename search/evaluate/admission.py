"""All that is looked at before a model becomes a version, and the fit of its probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import Settings, change
from search.errors import ModelError
from search.evaluate import golden
from search.models.version import BLEND, Check, Version, check_unchanged
from search.rerank import CrossEncoder
from search.rerank.encoder import PROBE_QUERY, PROBE_RIGHT, PROBE_WRONG

if TYPE_CHECKING:
    from search.evaluate.progress import Shown

GOLDEN = Path(golden.__file__).with_name("golden.jsonl")
MAX_DIFFERENCE = 0.05
"""Two precisions may differ by this share of the range of scores over the golden pairs; bf16 and
fp32 of the bundled model differ by 0.003 of it (0.027 of 8.4)."""
MIN_IN_BAND = 20
"""Fewer documents than this say nothing about a band."""


def check(version: Version, settings: Settings) -> list[Check]:
    """What can be known without judged queries, in order; ends at the first that makes no sense of
    the rest. Raises ConfigError or MissingExtra where this machine cannot run the model."""
    try:
        check_unchanged(version, trust_stamps=False)
        model = _load(version, settings)
    except ModelError as error:
        return [Check("files", False, str(error))]
    size = sum((version.folder / name).stat().st_size for name in version.files)
    files = f"{len(version.files)} files, {size / 1e6:,.0f} MB, hash {version.digest}"
    pairs = golden.read(GOLDEN)
    verdicts = golden.judge(pairs, model)
    return [
        Check("files", True, f"{files}: weights, one label, vocabulary and positions fit"),
        _known_pair(model),
        _golden(verdicts),
        _precision(version, model, verdicts, settings),
    ]


def _load(version: Version, settings: Settings) -> CrossEncoder:
    return CrossEncoder.load(change(settings, model=str(version.folder)))


def _known_pair(model: CrossEncoder) -> Check:
    right, wrong = model.score(PROBE_QUERY, [PROBE_RIGHT, PROBE_WRONG], raw=True)
    detail = (
        f"{right:.2f} for a text that answers {PROBE_QUERY!r}, {wrong:.2f} for one that does not"
    )
    return Check("known pair", right > wrong, detail)


def _golden(verdicts: Sequence[golden.Verdict]) -> Check:
    wrong = [verdict.pair.line for verdict in verdicts if not verdict.right]
    detail = f"{len(verdicts) - len(wrong)} of {len(verdicts)} pairs in the right order"
    if wrong:
        detail += f"; wrong: {GOLDEN.name} line {', '.join(map(str, wrong))}"
    return Check("golden pairs", not wrong, detail)


def _precision(
    version: Version, model: CrossEncoder, verdicts: Sequence[golden.Verdict], settings: Settings
) -> Check:
    """Whether scores in the precision that this machine chooses are those of fp32."""
    used = str(model.info["precision"])
    if used == "fp32":
        return Check("precision", True, "fp32, in which the model was published or trained")
    exact = golden.judge(
        [verdict.pair for verdict in verdicts], _load(version, change(settings, precision="fp32"))
    )
    found = [score for v in verdicts for score in (v.better, v.worse)]
    wanted = [score for v in exact for score in (v.better, v.worse)]
    span = max(wanted) - min(wanted)
    furthest = max(abs(a - b) for a, b in zip(found, wanted, strict=True))
    detail = f"{used} and fp32 differ by {furthest:.3f} at most; scores span {span:.1f}"
    return Check("precision", furthest <= MAX_DIFFERENCE * span, detail)


def calibrate(
    version: Version, settings: Settings, folder: Path, split: str, cache: Path, shown: Shown
) -> dict[str, Any]:
    """Fit blend and probabilities on a BEIR folder's judged queries, and put them beside the draft.

    Raises InputError where that cannot be done.
    """
    from scipy.special import expit

    from search.evaluate import calibration, writing
    from search.evaluate.data import read_folder
    from search.evaluate.fit import fit_blend
    from search.evaluate.session import Session

    task = read_folder(folder, split)
    own = change(settings, model=str(version.folder))
    session = Session(own, cache, (own.candidates,), shown)
    passed = session.run(task, folder)
    passes = [(task, passed.scored)]
    blend = fit_blend(passes, own.candidates, embedding=session.embedding)
    writing.write_model(version.home, blend)
    log_odds, labels = calibration.outcomes(task, passed.scored, own.candidates, blend, 1)
    measured = calibration.measure(expit(log_odds), labels)
    return {
        "fitted_on": f"{task.name} {split}",
        "queries": len(task.queries),
        "expected_error": round(measured.expected_error, 4),
        "bands": {
            band.name: {
                "documents": band.documents,
                "predicted": round(band.predicted, 3),
                "observed": round(band.observed, 3),
                "trusted": band.holds and band.documents >= MIN_IN_BAND,
            }
            for band in measured.bands
        },
    }


def brought_along(version: Version) -> dict[str, Any] | None:
    """The calibration of a folder that had a rerank.json; None where it had none."""
    return (
        {"fitted_on": f"{BLEND} of {version.source}"} if (version.home / BLEND).is_file() else None
    )


def trust(calibration: Mapping[str, Any] | None) -> str:
    """Which bands are to be trusted, in a sentence."""
    if calibration is None:
        return (
            "not calibrated: a probability is the sigmoid of the model's logit, and none of the "
            "bands (strong, fair, weak) is to be trusted; add it with --judged FOLDER to fit them"
        )
    fitted = f"fitted on {calibration['fitted_on']}"
    bands = calibration.get("bands")
    if bands is None:
        return f"{fitted}; how far each band comes true was not measured here"
    doubtful = [name for name, band in bands.items() if not band["trusted"]]
    if not doubtful:
        return f"{fitted}; every band comes true there"
    return (
        f"{fitted}; not to be trusted: {', '.join(doubtful)} (too few documents there, or another "
        "share of them relevant than the band says)"
    )
