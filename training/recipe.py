"""From BEIR folders to a model folder: mine once, keep the lists, hold out a dev set."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.errors import InputError
from search.store import Embedder
from training.corpus import TrainingSet, read_set
from training.lists import TrainingList, read_lists, write_lists
from training.mine import Miner
from training.panel import Opinion
from training.queries import Example, labelled, made

HELD_OUT = 150
"""Queries of a set without a dev split that are kept for choosing K, blend and calibration."""

LABELLED_SHARE, REPEATS = 0.65, 2
"""At most this share of a set's lists are judged queries, each at most so often."""

DOCUMENTS_PER_LIST = 1.0
"""A corpus is thinned to this: embedding more would cost more time than it gives variety."""

MIN_DOCUMENTS = 2000

CHECKPOINT, UNSETTLED = "checkpoint.pt", "unsettled.safetensors"
"""In the work folder: where a run is, and the weights before its last stage."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """A BEIR folder, and how many lists to make from it."""

    folder: Path
    lists: int


def claim(work: Path, arguments: Mapping[str, object]) -> None:
    """Let only these arguments use the work files in `work`, so that a run resumes as it began.

    Raises InputError naming what differs.
    """
    path = work / "arguments.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in arguments if before.get(name) != arguments[name]]
        if differing:
            name = differing[0]
            raise InputError(
                f"{work}: holds the work of a run with other arguments ({name}: "
                f"{before.get(name)!r} there, {arguments[name]!r} now): give those again, "
                "or another --work, or delete it"
            )
    elif (work / "lists.jsonl").is_file() or (work / CHECKPOINT).is_file():
        raise InputError(
            f"{work}: holds work of unknown arguments (no {path.name} in it): "
            "give another --work, or delete it"
        )
    path.write_text(json.dumps(dict(arguments), indent=1) + "\n", encoding="utf-8")


def mined(
    sources: list[Source],
    split: str,
    size: int,
    seed: int,
    work: Path,
    embedder: Embedder,
    report: Report,
    panel: Sequence[Embedder] = (),
) -> list[TrainingList]:
    """The lists of all sources, shuffled; kept in `work/lists.jsonl` and read from there next time.

    The judgments of held-out queries go to `work/SET.dev.tsv`, for `search.evaluate`. What was
    trained on other lists is removed. Raises InputError where two sources have one name.
    """
    names = [source.folder.resolve().name for source in sources]
    if len(set(names)) < len(names):
        raise InputError(
            f"--data: folders must differ in name, which stores go by: {', '.join(names)}"
        )
    path = work / "lists.jsonl"
    if path.is_file():
        report(f"using the lists mined before: {path} (delete it to mine anew)")
        return read_lists(path)
    for name in (CHECKPOINT, UNSETTLED):
        (work / name).unlink(missing_ok=True)
    lists: list[TrainingList] = []
    for source in sources:
        draw = random.Random(f"{seed} {source.folder.resolve().name}")
        room = max(MIN_DOCUMENTS, int(DOCUMENTS_PER_LIST * source.lists))
        data = _hold_out(read_set(source.folder, split, room, draw), source.folder, work, draw)
        lists += _of_set(data, source.lists, size, work, embedder, draw, report, panel)
    if not lists:
        raise InputError("no training query could be made: the sets have no judged or usable text")
    random.Random(seed).shuffle(lists)
    write_lists(lists, path)
    return lists


def _of_set(
    data: TrainingSet,
    count: int,
    size: int,
    work: Path,
    embedder: Embedder,
    draw: random.Random,
    report: Report,
    panel: Sequence[Embedder],
) -> list[TrainingList]:
    if len(data.documents) < 4 * size:
        raise InputError(
            f"{data.name}: found {len(data.documents)} documents to train on; "
            f"lists of {size} passages need at least {4 * size}"
        )
    examples: list[Example] = []
    for _ in range(REPEATS):
        wanted = int(LABELLED_SHARE * count) - len(examples)
        examples += list(labelled(data, wanted, draw)) if wanted > 0 else []
    examples += list(made(list(data.documents.values()), count - len(examples), draw))
    opinions = [Opinion(encoder, data.name, work) for encoder in panel]
    miner = Miner(data, work / f"{data.name}.db", embedder, draw, opinions)
    miner.fill(report)
    lists = []
    for number, one in enumerate(miner.lists(examples, size), start=1):
        lists.append(one)
        if number % 500 == 0 or number == len(examples):
            report(f"mined {data.name} {number}/{len(examples)} lists")
    return lists


def _hold_out(data: TrainingSet, folder: Path, work: Path, draw: random.Random) -> TrainingSet:
    """Without a dev split, keep some queries back and write their judgments beside the lists."""
    if (folder / "qrels" / "dev.tsv").is_file():
        return data
    held = set(draw.sample(sorted(data.qrels), min(HELD_OUT, len(data.qrels) // 5)))
    lines = ["query-id\tcorpus-id\tscore\n"]
    lines += [f"{q}\t{d}\t{g}\n" for q in sorted(held) for d, g in data.qrels[q].items()]
    (work / f"{data.name}.dev.tsv").write_text("".join(lines), encoding="utf-8")
    return data.without(held)
