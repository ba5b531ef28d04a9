"""Our cross-encoder against sentence_transformers.CrossEncoder on the same weights, in one run.

    python tests/benchmarks/engine.py [--model bundled] [--passages 50] [--rounds 5]

One query with passages of mixed length, as a search has it. The engines take turns, so that other
work on the machine slows both; the best of the rounds counts. Prints one row per engine.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from machine import processor
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder as Reference

from search.rerank import CrossEncoder
from search.rerank.checkpoint import open_checkpoint

DATA = Path(__file__).parents[2] / "data" / "medical.json"
QUERY = "how to prevent heart disease"
Scores = NDArray[np.float32]


def passages(count: int) -> list[str]:
    """Of 10 to 400 words, most of them short, from the example data."""
    words = " ".join(record["text"] for record in json.loads(DATA.read_text("utf-8"))).split()
    lengths = islice(cycle([60, 120, 200, 80, 400, 30, 150, 100, 10, 250]), count)
    starts = (i * 97 % (len(words) - 400) for i in range(count))
    return [" ".join(words[start : start + n]) for start, n in zip(starts, lengths, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--passages", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    texts = passages(args.passages)
    pairs = [(QUERY, text) for text in texts]
    folder = open_checkpoint(args.model).folder
    fast = CrossEncoder(folder, device=args.device)
    exact = CrossEncoder(folder, device=args.device, precision="fp32")
    device = str(fast.info["device"])
    reference = Reference(str(folder), device=device, max_length=fast.max_length)

    def predict(batch_size: int) -> Scores:
        scores: Scores = reference.predict(
            pairs,
            batch_size=batch_size,
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
        )
        return scores

    engines: dict[str, Callable[[], Scores]] = {
        "sentence-transformers fp32, batches of 32": lambda: predict(32),
        "sentence-transformers fp32, batches of 8": lambda: predict(8),
        "ours fp32": lambda: np.asarray(exact.score(QUERY, texts, raw=True), np.float32),
        f"ours {fast.info['precision']}": lambda: np.asarray(
            fast.score(QUERY, texts, raw=True), np.float32
        ),
    }
    best = dict.fromkeys(engines, float("inf"))
    logits = {name: run() for name, run in engines.items()}  # warm-up
    for _ in range(args.rounds):
        for name, run in engines.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)

    where = processor() if device == "cpu" else torch.cuda.get_device_name()
    print(f"{len(texts)} pairs, {args.model} {fast.info['revision']}, {where}")
    print(f"torch {torch.__version__}, best of {args.rounds} rounds\n")
    print("| engine | pairs/s | ratio | largest logit difference |\n|---|---|---|---|")
    baseline = next(iter(engines))
    for name in engines:
        difference = np.abs(logits[name] - logits[baseline]).max()
        ratio = best[baseline] / best[name]
        print(f"| {name} | {len(texts) / best[name]:.1f} | {ratio:.2f} | {difference:.1e} |")


if __name__ == "__main__":
    main()
