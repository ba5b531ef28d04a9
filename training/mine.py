"""Hard negatives and first-stage scores for each training query, from the project's own store."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.store import Embedder
from search.store.fusion import relative_score_fusion
from search.store.sqlite import FUSION_DEPTH, SqliteStore
from search.types import Document, Entry, Passage, passage_input
from training.corpus import TrainingSet
from training.lists import TrainingList
from training.panel import Opinion
from training.phrasing import words
from training.queries import Example

POOL = 60
"""Negatives come from the first stage's top POOL."""

HEAD, FROM_HEAD, RANDOM = 12, 3, 1
"""Of a list's negatives, FROM_HEAD are from the first HEAD ranks and RANDOM from anywhere."""

SIBLINGS = 3
"""At most so many negatives share the answer's title: same topic, other aspect."""

SAME_TEXT = 0.8
"""Share of common words from which a passage counts as a copy of the answer, not a negative."""

ALONE, BESIDE_PANEL = (2 / 3, 1 / 3), (1 / 4, 1 / 4)
"""Weights of the vector ranking's and BM25's z-scores in `TrainingList.scores`: without a panel,
and with one, whose mean has the rest (tests/benchmarks/training.md has the comparison)."""

PAGE = 512


class Miner:
    """One data set's documents in a store, and the lists made from it."""

    def __init__(
        self,
        data: TrainingSet,
        path: Path,
        embedder: Embedder,
        draw: random.Random,
        panel: Sequence[Opinion] = (),
    ) -> None:
        self._data, self._draw, self._panel = data, draw, panel
        self._store = SqliteStore(path, embedder, create=True)
        self._questions = data.questions()
        self._ids = list(data.documents)
        self._by_title: dict[str, list[str]] = {}
        for document in data.documents.values():
            if document.title:
                self._by_title.setdefault(document.title, []).append(document.id)

    def fill(self, report: Callable[[str], None]) -> None:
        """Embed what the store does not hold as it is; a killed run goes on where it was.

        What the corpus no longer has is removed.
        """
        self._store.delete([i for i in self._store.ids() if i not in self._data.documents])
        for start in range(0, len(self._ids), PAGE):
            page = self._ids[start : start + PAGE]
            held = {i: stored.content_hash for i, stored in self._store.stored(page).items()}
            entries = [_entry(self._data.documents[i]) for i in page]
            self._store.put([e for e in entries if held.get(e.document.id) != e.content_hash])
            report(f"embedded {self._data.name} {start + len(page)}/{len(self._ids)}")
        for opinion in self._panel:
            opinion.fill(list(self._data.documents.values()), report)

    def lists(self, examples: Sequence[Example], size: int) -> Iterator[TrainingList]:
        """One list of `size` passages per example; none where too few passages are no answer.

        (An answer of one short word stands in nearly every text.)
        """
        for example in examples:
            answer = self._draw.choice(example.relevant)
            found, scores = self._first_stage(example.query)
            chosen = [answer, *self._negatives(example, answer, found, size - 1)]
            if len(chosen) < size:
                continue
            yield TrainingList(
                example.query,
                example.kind,
                tuple(self._passage(i, example, answer) for i in chosen),
                tuple(round(scores.get(i, min(scores.values(), default=0.0)), 3) for i in chosen),
            )

    def _first_stage(self, query: str) -> tuple[list[str], dict[str, float]]:
        """The fused order of the top POOL, and z-scores over all that either ranking found."""
        rankings = [
            {c.document_id: c.score for c in self._store.retrieve(query, FUSION_DEPTH, mode=mode)}
            for mode in ("near_text", "bm25")
        ]
        found = list(dict.fromkeys([*rankings[0], *rankings[1]]))
        number = {i: n for n, i in enumerate(found)}
        numbered = [{number[i]: score for i, score in ranking.items()} for ranking in rankings]
        fused = relative_score_fusion(numbered[0], numbered[1], alpha=0.5)
        z = self._opinions(query, found, *rankings)
        return [found[n] for n in fused][:POOL], dict(zip(found, z.tolist(), strict=True))

    def _opinions(
        self, query: str, found: list[str], near: dict[str, float], bm25: dict[str, float]
    ) -> NDArray[np.float64]:
        """The weighted z-scores of both rankings and the panel for each of `found`."""
        mixed = np.zeros(len(found))
        shares = BESIDE_PANEL if self._panel else ALONE
        for share, ranking in zip(shares, (near, bm25), strict=True):
            if ranking:
                mixed += share * z_scores([ranking.get(i, min(ranking.values())) for i in found])
        for opinion in self._panel:
            share = (1 - sum(BESIDE_PANEL)) / len(self._panel)
            mixed += share * z_scores(opinion.similarities(query, found))
        return mixed

    def _negatives(self, example: Example, answer: str, found: list[str], count: int) -> list[str]:
        pool = [i for i in found if self._is_negative(i, example, answer)]
        siblings = self._by_title.get(self._data.documents[answer].title, [])
        siblings = [i for i in siblings if self._is_negative(i, example, answer)]
        chosen = self._sample(siblings, self._draw.randint(1, SIBLINGS))
        chosen += self._sample([i for i in pool[:HEAD] if i not in chosen], FROM_HEAD)
        rest = [i for i in pool if i not in chosen]
        chosen += self._sample(rest, count - RANDOM - len(chosen))
        others = [
            i
            for i in self._sample(self._ids, 4 * count)
            if i not in chosen and self._is_negative(i, example, answer)
        ]
        return [*chosen, *others][:count]

    def _is_negative(self, document_id: str, example: Example, answer: str) -> bool:
        """Not judged relevant, without the answer's words in it, and no copy of the answer."""
        if document_id in example.relevant:
            return False
        text = self._data.documents[document_id].text
        if any(a.lower() in text.lower() for a in example.answers):
            return False
        return overlap(text, self._data.documents[answer].text) <= SAME_TEXT

    def _sample(self, ids: Sequence[str], count: int) -> list[str]:
        return self._draw.sample(ids, max(0, min(count, len(ids))))

    def _passage(self, document_id: str, example: Example, answer: str) -> str:
        document = self._data.documents[document_id]
        text = document.text
        if example.cut and document_id == answer:
            text = text.replace(example.cut, " ")
        title = {
            "own": document.title,
            "none": "",
            "question": self._questions.get(document_id, document.title),
        }[example.titles]
        return passage_input(title, text)


def z_scores(values: Sequence[float]) -> NDArray[np.float64]:
    """(values - mean) / standard deviation, cut to ±4; zeros where all values are equal."""
    array = np.asarray(values, dtype=np.float64)
    spread = array.std()
    return np.clip((array - array.mean()) / spread, -4, 4) if spread > 0 else np.zeros(len(array))


def overlap(text: str, other: str) -> float:
    """Common words over the smaller vocabulary, of each text's first 150 words."""
    a, b = ({word.lower() for word in words(t)[:150]} for t in (text, other))
    return len(a & b) / max(1, min(len(a), len(b)))


def _entry(document: Document) -> Entry:
    text = document.title + "\0" + document.text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return Entry(document, (Passage(document.text),), digest)
