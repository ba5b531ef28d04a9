"""`python -m training`: fine-tune a checkpoint as a cross-encoder on BEIR folders."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import InputError, MissingExtra
from search.terminal import run_command

if TYPE_CHECKING:
    from training.recipe import Source

EPILOGUE = """\
examples:
  your own data, from the packaged all-MiniLM-L6-v2:
    python -m training --data my-set --out my-model
  from a larger cross-encoder, every second layer kept, the whole of it as teacher:
    python -m training --data my-set=5000 --start BIG --keep-layers 1,3,5,7,9,11 \\
        --teacher BIG --out my-model
then fit its calibration and blend: python -m search.evaluate --help

A killed run goes on where it was: give the same command again (WORK refuses any other). Everything
but the finished folder is in WORK, which may be deleted afterwards. Of a set without a dev split,
WORK/SET.dev.tsv has judgments that were kept back: search.evaluate reads them as SET/qrels/dev.tsv.
"""


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0, or that of the error printed."""
    given = sys.argv[1:] if argv is None else argv
    stopped = "stopped; the same command goes on from here"
    return run_command("training", lambda: _train(_arguments(given), given), stopped)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Fine-tune a checkpoint as a cross-encoder on BEIR folders.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", action="append", required=True, metavar="DIR[=LISTS]",
        help="BEIR folder (corpus.jsonl, queries.jsonl, qrels/), and how many lists to make of it "
        "(default 3000); repeatable")  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR", help="model folder to write")
    add("--start", type=Path, metavar="DIR",
        help="BERT-type checkpoint to start from (default: packaged all-MiniLM-L6-v2)")  # fmt: skip
    add("--keep-layers", type=_layers, default=(), metavar="N,N…",
        help="keep only these layers of the start, counted from 0")  # fmt: skip
    add("--freeze", type=int, metavar="N",
        help="leave the embeddings and the first N layers (0: none) as the start has them: "
        "faster, and less is forgotten (default: all of the model is trained)")  # fmt: skip
    add("--merge", type=Path, metavar="DIR",
        help="average the start, once pruned, with this model of the same shape and descent; "
        "`packaged` is all-MiniLM-L6-v2")  # fmt: skip
    add("--teacher", type=Path, metavar="DIR",
        help="cross-encoder with the same vocabulary to learn from besides the first stage; "
        "`python -m training.convert` makes such a folder from int8 ONNX")  # fmt: skip
    add("--teacher-share", type=_share, default=0.2, metavar="SHARE",
        help="the teacher's share in the opinion to learn, beside the first stage and the panel, "
        "from 0 to 1 (default 0.2)")  # fmt: skip
    add("--panel", type=Path, action="append", default=[], metavar="DIR",
        help="sentence encoder whose similarities join the first stage's among the teachers; "
        "repeatable")  # fmt: skip
    add("--distil-lists", type=int, metavar="N",
        help="lists of the first stage, where the teacher is asked too (default 1440, but half of "
        "all at most)")  # fmt: skip
    add("--settle-lists", type=int, default=1200, metavar="N",
        help="lists kept for the last stage, beside keyword traps (default 1200)")  # fmt: skip
    add("--keep-start", type=_share, default=0.0, metavar="SHARE",
        help="of a start that is a reranker already: its share in the finished weights, from 0 "
        "(default) to 1, so that less of what it knew is lost; of a finished run, the same command "
        "with another share mixes anew")  # fmt: skip
    add("--split", default="train", help="the judgments to train on (default train)")
    add("--list-size", type=int, default=8, metavar="N", help="passages in a list (default 8)")
    add("--precision", default="auto", choices=("auto", "bf16", "fp32"),
        help="of the forward and backward pass (default auto)")  # fmt: skip
    add("--seed", type=int, default=1, help="of every random choice (default 1)")
    add("--work", type=Path, metavar="DIR",
        help="where stores, lists and checkpoints are kept (default: OUT.work)")  # fmt: skip
    return parser


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.list_size < 2:
        parser.error("--list-size: a list needs at least 2 passages")
    return arguments


def _train(args: argparse.Namespace, argv: list[str]) -> int:
    sources = [_source(text) for text in args.data]
    out = args.out.resolve()
    work = args.work or out.with_name(out.name + ".work")
    try:
        work.mkdir(parents=True, exist_ok=True)
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be made: {error.strerror}") from None
    from config import change, load
    from search.embed import PACKAGED, load_embedder

    try:
        from training.card import write_card
        from training.fit import Plan, check, fit, save
        from training.panel import load_panel
        from training.recipe import claim, mined
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "train", "training") from None

    # What these say matters only once the training is done.
    apart = {n: value for n, value in vars(args).items() if n not in ("out", "work", "keep_start")}
    settings = load(environment=os.environ)
    apart |= {n: getattr(settings, n) for n in ("embedding_model", "embedding_max_tokens")}
    claim(work, {name: _plain(value) for name, value in apart.items()})
    embedder = load_embedder(settings)
    start, merge = args.start, args.merge
    if start is None or merge == Path("packaged"):
        packaged = load_embedder(change(settings, embedding_model=PACKAGED)).folder
        start, merge = start or packaged, packaged if merge == Path("packaged") else merge
    plan = Plan(
        start,
        args.keep_layers,
        merge,
        args.teacher,
        args.distil_lists,
        args.settle_lists,
        args.precision,
        work,
        args.keep_start,
        args.freeze,
        args.teacher_share,
    )
    check(plan)
    panel = load_panel(args.panel)
    lists = mined(sources, args.split, args.list_size, args.seed, work, embedder, _report, panel)
    model = fit(plan, lists, _report)
    save(model, start, args.out)
    write_card(
        args.out,
        shlex.join(["python", "-m", "training", *argv]),
        {
            "First stage": f"{embedder.info.name} and BM25, fused",
            "Start": _name(start),
            "Layers kept": ", ".join(map(str, args.keep_layers)),
            "Averaged with": _name(merge),
            "Left as they were": _frozen(args.freeze),
            "Share of the start kept": f"{args.keep_start:g}" if args.keep_start else "",
            "Teacher (cross-encoder)": _name(args.teacher),
            "Its share in the teachers' opinion": f"{args.teacher_share:g}" if args.teacher else "",
            "Teachers (sentence encoders)": ", ".join(map(_name, args.panel)),
        },
        model.config.max_position_embeddings,
        lists,
        [source.folder for source in sources],
    )
    _report(f"wrote {args.out}")
    return 0


def _plain(value: object) -> object:
    """An argument as JSON keeps it; a folder by its whole path, wherever the command is given."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value.resolve()) if isinstance(value, Path) else value


def _name(folder: Path | None) -> str:
    return folder.resolve().name if folder else ""


def _frozen(layers: int | None) -> str:
    if layers is None:
        return ""
    return f"the embeddings and the first {layers} layers" if layers else "the embeddings"


def _source(text: str) -> Source:
    """DIR or DIR=LISTS."""
    from training.recipe import Source

    folder, equals, count = text.rpartition("=")
    if not equals or not count.isdigit():
        folder, count = text, "3000"
    if not Path(folder).is_dir():
        raise InputError(f"--data {text}: no such folder; expected one in BEIR layout")
    return Source(Path(folder), int(count))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to 1")
    return share


def _layers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected layer numbers, such as 1,3,5"
        ) from None


def _report(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
