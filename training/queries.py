"""Training queries: those with judgments, and ones made from the documents themselves."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.types import Document
from training.corpus import TrainingSet
from training.phrasing import STOP_WORDS, keywords, message, ramble, reword, sentences, words

RAMBLING, BARE_KEYWORDS = 0.07, 0.05
"""Shares of labelled questions that are rewritten."""

REWORDED, AS_FAQ, AS_MESSAGE = 0.75, 0.5, 0.3
"""Shares of template questions reworded; of those, asked of passages under FAQ titles, and sent
as a message to a help desk."""


@dataclass(frozen=True, slots=True)
class Example:
    """A query and the documents that answer it.

    `cut` is a sentence taken out of the answer, since the query is that sentence; `titles` says how
    the list's passages are headed: "own", "none", or "question" (the question each answers).
    """

    query: str
    kind: str
    relevant: tuple[str, ...]
    cut: str = ""
    titles: str = "own"
    answers: tuple[str, ...] = ()


def labelled(data: TrainingSet, limit: int, draw: random.Random) -> Iterator[Example]:
    """At most `limit` judged queries, one for each document, spread over their aspects if known."""
    ids = list(data.qrels)
    draw.shuffle(ids)
    per_document: Counter[str] = Counter()
    per_aspect: Counter[str] = Counter()
    abundant = len(ids) > len(data.documents)
    found = 0
    for query_id in ids:
        relevant = data.relevant(query_id)
        metadata = data.metadata.get(query_id, {})
        aspect = str(metadata.get("qtype", ""))
        crowded = aspect and per_aspect[aspect] >= limit / 6
        # One question a document where questions abound (squad has five to a paragraph).
        asked = abundant and relevant and per_document[relevant[0]]
        if not relevant or crowded or asked:
            continue
        per_document[relevant[0]] += 1
        per_aspect[aspect] += 1
        yield _phrased(data.queries[query_id], relevant, metadata, draw)
        found += 1
        if found == limit:
            return


def _phrased(
    text: str, relevant: tuple[str, ...], metadata: Mapping[str, Any], draw: random.Random
) -> Example:
    answers = _answers(metadata.get("answers"))
    topic, aspect = str(metadata.get("focus", "")), str(metadata.get("qtype", ""))
    other = reword(topic, aspect, draw) if topic and draw.random() < REWORDED else None
    if other is not None:
        titles = "question" if draw.random() < AS_FAQ else "own"
        text = message(topic, other, draw) if draw.random() < AS_MESSAGE else other
        return Example(text, "reworded", relevant, titles=titles, answers=answers)
    chance = draw.random()
    if chance < RAMBLING:
        text = ramble(text, draw)
    elif chance < RAMBLING + BARE_KEYWORDS:
        text = keywords(text)
    return Example(text, "labelled", relevant, answers=answers)


def _answers(found: object) -> tuple[str, ...]:
    """The strings that answer a query, in whatever form its record has them."""
    several = found if isinstance(found, list) else [found]
    return tuple(str(answer) for answer in several if answer not in (None, ""))


def made(documents: Sequence[Document], count: int, draw: random.Random) -> Iterator[Example]:
    """`count` queries from the documents: titles, sentences taken out, and their rarest words."""
    frequency: Counter[str] = Counter()
    for document in documents:
        frequency.update({word.lower() for word in words(document.text)})
    own_title = Counter(document.title for document in documents)
    pool = list(documents)
    draw.shuffle(pool)
    for document in pool[:count]:
        untitled = "none" if draw.random() < 0.3 else "own"
        kind = draw.choices(("title", "sentence", "keywords"), (0.45, 0.35, 0.2))[0]
        # A title shared by many documents (an article's, a disease's) does not ask for one of them.
        if kind == "title" and document.title and own_title[document.title] == 1:
            yield Example(document.title.rstrip("."), kind, (document.id,), titles="none")
            continue
        inside = sentences(document.text)
        if kind != "keywords" and len(inside) > 2:
            cut = draw.choice(inside)
            yield Example(cut, "sentence", (document.id,), cut, untitled)
            continue
        rare = _rarest(document.text, frequency, len(documents))
        if len(rare) > 2:
            query = " ".join(draw.sample(rare, draw.randint(2, min(5, len(rare)))))
            yield Example(query, "keywords", (document.id,), titles=untitled)


def _rarest(text: str, frequency: Counter[str], documents: int) -> list[str]:
    """The seven words with the highest √tf · idf."""
    counts = Counter(w.lower() for w in words(text) if w.lower() not in STOP_WORDS)
    weight = {w: n**0.5 * math.log(documents / (1 + frequency[w])) for w, n in counts.items()}
    return sorted(weight, key=lambda word: -weight[word])[:7]
