"""The flags of `python -m search.evaluate`; free of heavy imports, so that --help is instant."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import config
from search.errors import InputError

PROG = "python -m search.evaluate"
GOLDEN = Path(__file__).with_name("golden.jsonl")
CACHE = Path(".search/eval")
DEFAULT_KS = (5, 10, 20, 50)
DEFAULT_BLENDS = (0.0, 0.5, 1.0, 2.0, 4.0)
EPILOG = """\
examples:
  %(prog)s ../datasets/scifact --split test
  %(prog)s ../datasets/scifact --limit-queries 20 --plots plots --json report.json
  %(prog)s ../datasets/liveqa-med --judged-pool --min-grade 2
  %(prog)s --queries data/medical/queries.jsonl --qrels data/medical/qrels/test.tsv
  %(prog)s ../datasets/scifact --tune --bound 0.005 --write search.yaml \\
      --dev ../datasets/squad --dev ../datasets/medquad --qrels-dir qrels_grouped
  %(prog)s ../datasets/medquad --dev A --dev B --tune --write-model --model my-model
  %(prog)s --golden

A folder (BEIR layout) is ingested once into its own store below --cache. Each (query, passage) is
scored once at the deepest K and kept there too: a second run costs nothing, an interrupted one
goes on where it stopped. K, blend and gate of the compared pipeline are those of the settings.

exit status: 0 done; 1 an error, or a golden pair in the wrong order; 2 wrong usage;
130 interrupted.
"""


def parse(given: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """The arguments, which go together. Raises InputError."""
    args = build_parser(prog).parse_args(given)
    check(args)
    return args


def build_parser(prog: str = PROG) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Measure the first stage, the cross-encoder and their blend on judged queries.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_data(parser)
    _add_pass(parser)
    _add_output(parser)
    _add_work(parser)
    _add_settings(parser)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("what is measured")
    data.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="BEIR layout; one report each",
    )
    data.add_argument("--split", default="test", help="the qrels file to report on (default test)")
    data.add_argument(
        "--qrels-dir",
        default="qrels",
        metavar="NAME",
        help="folder of qrels, e.g. qrels_grouped; where a FOLDER has none so named: qrels",
    )
    data.add_argument(
        "--queries",
        type=Path,
        metavar="FILE",
        help="instead of FOLDER, over the configured store: JSONL, id<TAB>text, or TREC topics",
    )
    data.add_argument(
        "--qrels", type=Path, metavar="FILE", help="with --queries: BEIR TSV or TREC qrels"
    )
    data.add_argument(
        "--judged-pool", action="store_true", help="rank exactly the judged documents of each query"
    )
    data.add_argument(
        "--min-grade",
        type=_positive,
        default=1,
        metavar="G",
        help="lowest grade that counts for RR, Success, R and, where a set has grades so high, "
        "for probabilities (default 1); nDCG uses all",
    )
    data.add_argument(
        "--limit-queries", type=_positive, metavar="N", help="only N queries of each set, at random"
    )
    data.add_argument("--seed", type=int, default=0, help="of samples and resampling (default 0)")


def _add_pass(parser: argparse.ArgumentParser) -> None:
    one = parser.add_argument_group("what is compared")
    one.add_argument(
        "--k",
        type=_integers,
        default=DEFAULT_KS,
        metavar="K,K…",
        help="depths of the K-curve (default 5,10,20,50), derived from the deepest",
    )
    one.add_argument(
        "--blend",
        type=_numbers,
        default=DEFAULT_BLENDS,
        metavar="W,W…",
        dest="blends",
        help="factors of the first stage's part of the score to try; 1 is the model's own blend",
    )
    one.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        metavar="DIR",
        help=f"stores and scores ({CACHE})",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("what is written besides the tables")
    output.add_argument("--json", type=Path, metavar="FILE", help="the whole report, for programs")
    output.add_argument(
        "--runs", type=Path, metavar="DIR", help="TREC run files: first stage, rerank, pipeline"
    )
    output.add_argument(
        "--plots",
        type=Path,
        metavar="DIR",
        help="PNG: K-curve, gain per query, gate, reliability",
    )


def _add_work(parser: argparse.ArgumentParser) -> None:
    work = parser.add_argument_group("tuning, calibration, golden pairs")
    work.add_argument(
        "--tune",
        action="store_true",
        help="choose K, blend and gate on dev, then report with them; with --write-model the blend "
        "is fitted anew, and each dev set judged by what the others gave",
    )
    work.add_argument(
        "--dev",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="dev set, repeatable, each of equal weight (default: the FOLDERs reported on)",
    )
    work.add_argument(
        "--dev-split", default="dev", metavar="NAME", help="their qrels (default dev)"
    )
    work.add_argument(
        "--bound",
        type=_fraction,
        default=0.005,
        metavar="D",
        help="nDCG@10 on dev that tuning may give up to save passages scored (default 0.005)",
    )
    work.add_argument(
        "--write",
        type=Path,
        metavar="YAML",
        help="write the tuned settings, e.g. search.yaml",
    )
    work.add_argument(
        "--calibrate", action="store_true", help="report how far the probabilities can be trusted"
    )
    work.add_argument(
        "--write-model",
        action="store_true",
        help="fit blend and probabilities on dev, and write them to the model's folder",
    )
    work.add_argument(
        "--judged",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="with --write-model: a dev set whose judgments are complete, repeatable; "
        "probabilities are fitted on these alone (default: on all)",
    )
    work.add_argument(
        "--golden",
        type=Path,
        nargs="?",
        const=GOLDEN,
        metavar="FILE",
        help="only check the order of golden pairs (default: the 35 that are packaged); "
        "any wrong: status 1",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    settings = parser.add_argument_group("settings, as in search")
    settings.add_argument(
        "--model", metavar="NAME", help="bundled, current, a version, a folder, or a hub name"
    )
    settings.add_argument("--device", help="auto, cpu, cuda, cuda:1 or mps")
    settings.add_argument(
        "--store", metavar="FILE", help="a store that holds the FOLDER's corpus already"
    )
    settings.add_argument(
        "--retrieval", choices=("hybrid", "near_text", "bm25"), help="first stage (default hybrid)"
    )
    config.add_shared_flags(parser)


def check(args: argparse.Namespace) -> None:
    """InputError for flags that do not go together, with what would."""
    if args.golden:
        return
    files = (args.queries, args.qrels)
    if any(files) and not all(files):
        raise InputError("--queries and --qrels go together; give both, or a FOLDER")
    if bool(args.folders) == all(files):
        raise InputError(
            "give a BEIR FOLDER, or --queries FILE and --qrels FILE over the configured store"
            + (", not both" if args.folders else "; see --help for examples")
        )
    if args.store and len({*args.folders, *(args.dev or [])}) > 1:
        raise InputError("--store names the store of one FOLDER; leave it out for several")
    if args.write and not args.tune:
        raise InputError("--write needs --tune: it writes what tuning chose")
    dev = {folder.resolve() for folder in args.dev or args.folders}
    for folder in args.judged or ():
        if not args.write_model or folder.resolve() not in dev:
            raise InputError(f"--judged {folder}: goes with --write-model, and names a --dev set")
    if (args.tune or args.write_model) and not (args.folders or args.dev):
        raise InputError("tuning and fitting need dev judgments: give --dev FOLDER")


def note_on_store(args: argparse.Namespace, settings: config.Settings) -> str | None:
    """What to say where Weaviate is configured but folders are not looked for in it."""
    if not args.folders or args.store or settings.weaviate_url is None:
        return None
    return (
        "folders are measured in an embedded store of their own, not in the Weaviate that is "
        "configured; to measure that, ingest the corpus there and give --queries and --qrels"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _integers(text: str) -> Sequence[int]:
    return sorted({_positive(part) for part in text.split(",")})


def _numbers(text: str) -> Sequence[float]:
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers such as 0,2,4") from None
    if not all(0 <= value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"{text!r}: weights are 0 or more")
    return values
