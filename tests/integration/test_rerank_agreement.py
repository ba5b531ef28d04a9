"""Oracle: sentence_transformers.CrossEncoder on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder as Reference
from tiny_models import write_bert, write_xlm_roberta

from search.rerank import CrossEncoder
from search.rerank.checkpoint import BUNDLED

QUERY = "how to prevent heart disease"
TEXTS = [
    "Regular exercise and a healthy diet lower the risk.",
    "",
    "Heart surgery can be followed by bleeding, infection, stroke or an irregular heartbeat.",
    "The museum is closed on Mondays.",
    "Smoking. " * 8,
    "心臓病を防ぐには、運動と食事が大切です。",
    "Walking, swimming and cycling for half an hour a day keep the heart healthy. " * 2,
]
PAIRS = [(query, text) for query in (QUERY, "when is the museum open?") for text in TEXTS]
WRITERS = {"bert": write_bert, "xlm-roberta": write_xlm_roberta}
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}


@pytest.fixture(scope="module", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    write: Callable[[Path], Path] = WRITERS[request.param]
    return write(tmp_path_factory.mktemp("model"))


def reference(folder: Path, pairs: list[tuple[str, str]]) -> np.ndarray:
    # The bundled weights are stored in fp16, which would be the reference's precision, too.
    model = Reference(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    return np.asarray(
        model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    )


@pytest.mark.parametrize("precision", TOLERANCE)
def test_random_weights_score_as_the_reference_does(folder: Path, precision: str) -> None:
    """A small token budget makes many batches; every pair fits without truncation."""
    model = CrossEncoder(folder, device="cpu", precision=precision, batch_tokens=100)
    ours = [scored.logit for scored in model.score_pairs(PAIRS)]
    assert np.abs(ours - reference(folder, PAIRS)).max() < TOLERANCE[precision]


@pytest.mark.parametrize("precision", TOLERANCE)
def test_the_bundled_model_scores_and_orders_as_the_reference_does(precision: str) -> None:
    model = CrossEncoder("bundled", device="cpu", precision=precision)
    theirs = reference(BUNDLED, PAIRS)
    ours = np.array([scored.logit for scored in model.score_pairs(PAIRS)])
    assert np.abs(ours - theirs).max() < TOLERANCE[precision]
    for query in (slice(0, len(TEXTS)), slice(len(TEXTS), None)):
        assert (np.argsort(ours[query]) == np.argsort(theirs[query])).all()


def test_probabilities_are_the_references_own(folder: Path) -> None:
    """With one label, sentence-transformers applies one sigmoid, too."""
    model = CrossEncoder(folder, device="cpu", precision="fp32")
    theirs = Reference(str(folder), device="cpu").predict(
        [(QUERY, text) for text in TEXTS], show_progress_bar=False
    )
    assert np.abs(model.score(QUERY, TEXTS) - theirs).max() < 1e-4
