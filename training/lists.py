"""The training data once mined: a query, one relevant passage and its negatives, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from search.errors import InputError


@dataclass(frozen=True, slots=True)
class TrainingList:
    """`passages[0]` is relevant, the others are taken not to be; texts as the model reads them.

    `scores` is what the first stage and the panel think of each passage: z-scores over the query's
    candidates, weighted.
    """

    query: str
    kind: str
    passages: tuple[str, ...]
    scores: tuple[float, ...]


def write_lists(lists: Iterable[TrainingList], path: Path) -> None:
    """All or nothing: the file appears under its name when it is complete."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in lists)
    part.replace(path)


def read_lists(path: Path) -> list[TrainingList]:
    """Raises InputError with the line's number for a line that is not a list of `passages`."""
    lists = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                one = json.loads(line)
                passages, scores = tuple(one["passages"]), tuple(one["scores"])
                lists.append(TrainingList(one["query"], one["kind"], passages, scores))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path}:{number}: not a training list ({error!r}); "
                    "delete the file to mine anew"
                ) from None
    return lists
