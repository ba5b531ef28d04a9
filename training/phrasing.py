"""Other ways people put a question: keywords, chatter around it, MedQuAD's templates reworded."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "after",
        "all",
        "also",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "been",
        "before",
        "being",
        "between",
        "both",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "during",
        "each",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "his",
        "how",
        "i",
        "in",
        "into",
        "is",
        "it",
        "its",
        "may",
        "might",
        "more",
        "most",
        "my",
        "no",
        "not",
        "of",
        "on",
        "only",
        "or",
        "other",
        "our",
        "over",
        "own",
        "same",
        "she",
        "should",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "too",
        "under",
        "used",
        "using",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]  # a list would take 90 lines
)

CHATTER = (
    "Hello.",
    "Hi, I hope someone here can help me with this.",
    "Sorry for the long message.",
    "I have been reading a lot about this and I am still confused.",
    "My family is worried.",
    "I am 45 years old and otherwise healthy.",
    "My mother asked me to look this up.",
    "I could not find anything useful on the website.",
    "I live in a small town and there is nobody to ask.",
    "I am writing a report for school.",
    "A friend told me about this last week.",
    "Not sure whether this is the right place to ask.",
    "Any information would be appreciated, thanks in advance.",
    "Please reply soon.",
    "Thank you so much for your time.",
)

REWORDINGS = {
    "information": (
        "{x}",
        "what is {x}",
        "{x} overview",
        "information about {x}",
        "can you explain {x} in simple words",
        "I was just diagnosed with {x}. What does that mean?",
        "what kind of disease is {x}",
        "Please send me anything you have on {x}.",
    ),
    "symptoms": (
        "{x} symptoms",
        "signs of {x}",
        "how do I know if I have {x}",
        "My son may have {x}. What should we look out for?",
        "what does {x} feel like",
        "could it be {x}",
        "how does {x} show itself at first",
        "what happens to the body in {x}",
    ),
    "treatment": (
        "{x} treatment",
        "how is {x} treated",
        "is there a cure for {x}",
        "medication for {x}",
        "My doctor says I have {x}. How can I get rid of it?",
        "what can be done about {x}",
        "which drugs help with {x}",
        "does {x} need surgery",
        "I suffer from {x} and nothing has worked so far. What else is there to try?",
    ),
    "inheritance": (
        "is {x} hereditary",
        "{x} inheritance",
        "{x} runs in my family, will my children get it",
        "can {x} be passed on to a child",
        "My father had {x}. Do I carry it?",
    ),
    "frequency": (
        "how common is {x}",
        "{x} prevalence",
        "number of people with {x}",
        "is {x} rare",
        "how many cases of {x} are there",
    ),
    "genetic changes": (
        "{x} gene",
        "which gene mutation causes {x}",
        "genetics of {x}",
        "chromosome involved in {x}",
    ),
    "causes": (
        "{x} causes",
        "why do people get {x}",
        "what leads to {x}",
        "where does {x} come from",
        "can stress or food bring on {x}",
        "how does one get {x}",
    ),
    "exams and tests": (
        "{x} diagnosis",
        "test for {x}",
        "how do doctors find out if it is {x}",
        "which blood test or scan shows {x}",
        "I want to be checked for {x}. What will they do?",
    ),
    "research": (
        "{x} clinical trials",
        "new research on {x}",
        "are there studies for {x} that one can join",
        "latest findings on {x}",
    ),
    "outlook": (
        "{x} prognosis",
        "life expectancy with {x}",
        "can you recover from {x}",
        "how long can a person live with {x}",
        "does {x} get worse with age",
        "is {x} fatal",
    ),
    "susceptibility": (
        "who gets {x}",
        "{x} risk factors",
        "am I at risk of {x}",
        "what makes {x} more likely",
    ),
    "considerations": (
        "living with {x}",
        "what should I do if I have {x}",
        "coping with {x}",
        "advice for {x}",
    ),
    "prevention": (
        "how to prevent {x}",
        "{x} prevention",
        "how can I avoid getting {x}",
        "ways to lower the risk of {x}",
        "what protects against {x}",
    ),
    "stages": ("{x} stages", "how far does {x} progress", "what does stage 3 mean in {x}"),
    "complications": (
        "{x} complications",
        "what problems can {x} lead to",
        "what else can go wrong with {x}",
    ),
}

SUBJECTS = ("{x}", "question about {x}", "{x} help", "re {x}", "{x} info needed")
"""What people write in the subject line above a message."""

SLIP = 0.06
"""Chance that a long word of a carelessly typed message is misspelt."""


def words(text: str) -> list[str]:
    """Words that start with a letter, hyphens and digits kept."""
    return re.findall(r"[A-Za-z][A-Za-z0-9-]+", text)


def stem(word: str) -> str:
    """Words are the same here when they begin with the same five letters."""
    return word.lower()[:5]


def most_asked(parts: Sequence[str], stems: frozenset[str]) -> int:
    """The place of the first of these sentences that has most of the stems."""
    found = [len(stems & {stem(word) for word in words(part)}) for part in parts]
    return found.index(max(found))


def sentences(text: str) -> list[str]:
    """Sentences of 40–280 characters."""
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)
    return [part.strip() for part in parts if 40 <= len(part.strip()) <= 280]


def keywords(question: str) -> str:
    """The question without its stop words; itself when little would be left."""
    kept = [word for word in words(question) if word.lower() not in STOP_WORDS]
    return " ".join(kept) if len(kept) > 1 else question


def ramble(question: str, draw: random.Random) -> str:
    """The question somewhere among one to three sentences of small talk."""
    talk = draw.sample(CHATTER, draw.choice((1, 2, 3)))
    talk.insert(draw.randrange(len(talk) + 1), question)
    return " ".join(talk)


def message(topic: str, question: str, draw: random.Random) -> str:
    """Subject line and body run together, with small talk and slips, as contact forms send them."""
    subject = draw.choice(SUBJECTS).format(x=_spoken(topic, draw))
    body = ramble(question, draw) if draw.random() < 0.6 else question
    return mistyped(f"{subject} {body}", draw)


def mistyped(text: str, draw: random.Random) -> str:
    """Two neighbouring letters swapped, or one lost, in a few long words; at times no capitals."""
    parts = text.split()
    for i, part in enumerate(parts):
        if len(part) > 5 and part.isalpha() and draw.random() < SLIP:
            at = draw.randrange(1, len(part) - 2)
            middle = part[at + 1] + part[at] if draw.random() < 0.5 else part[at]
            parts[i] = part[:at] + middle + part[at + 2 :]
    text = " ".join(parts)
    return text.lower() if draw.random() < 0.3 else text


def reword(topic: str, aspect: str, draw: random.Random) -> str | None:
    """A question on `aspect` of `topic` as people type it; None for an aspect without wordings."""
    if aspect not in REWORDINGS:
        return None
    return draw.choice(REWORDINGS[aspect]).format(x=_spoken(topic, draw))


def _spoken(topic: str, draw: random.Random) -> str:
    name = topic.split("(")[0].strip()
    return name.lower() if draw.random() < 0.6 else name
