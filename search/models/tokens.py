"""Text to token ids, through the `tokenizers` library alone: no torch, instant to import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer

from search.errors import ModelError
from search.models import scripts
from search.models.remembered import remember

Span = tuple[int, int]
"""Characters of a text, end exclusive."""

UNKNOWN = ("[UNK]", "<unk>")


class Tokens(NamedTuple):
    """One input of the model, special tokens included."""

    ids: list[int]
    type_ids: list[int]


class Tokenizer:
    """A model folder's tokenizer.json, without the truncation and padding stored there."""

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(
                f"{folder}: found no tokenizer.json. If it has a slow tokenizer's files only, "
                "convert them once: transformers.AutoTokenizer.from_pretrained(FOLDER)"
                ".save_pretrained(FOLDER)"
            )
        try:
            self._tokenizer = FastTokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001  # the library raises nothing more specific
            raise ModelError(f"{path}: cannot be read as a tokenizer: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._path = path

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest token id."""
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Ids and character offsets of each text, without special tokens."""
        # A lone surrogate (a stray byte of a command line) has no UTF-8 form: it becomes "?".
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return self._tokenizer.encode_batch(clean, add_special_tokens=False)

    def token_offsets(self, text: str) -> list[Span]:
        """The characters of each token of `text`; nothing is cut off."""
        return self.encode([text])[0].offsets

    def unreadable(self, text: str) -> str | None:
        """What the model cannot read, if most of `text` is that: "Cyrillic letters"; else None."""
        if text.isascii():
            return None
        unknown = {self._tokenizer.token_to_id(name) for name in UNKNOWN}
        encoding = self.encode([text])[0]
        words: dict[int | None, list[tuple[str, bool]]] = {}
        for word, token, (start, end) in zip(
            encoding.word_ids, encoding.ids, encoding.offsets, strict=True
        ):
            words.setdefault(word, []).append((text[start:end], token not in unknown))
        return scripts.mostly_lost(words.values(), self._scripts)

    @cached_property
    def _scripts(self) -> frozenset[str]:
        """The scripts that the model reads; remembered, as a large vocabulary takes a second."""
        found = remember(
            "scripts", [self._path], lambda: " ".join(sorted(scripts.read_by(self._words())))
        )
        return frozenset(found.split())

    def _words(self) -> Iterator[str]:
        """The vocabulary as text; some tokenizers spell other letters than ASCII in bytes."""
        ids = range(self.vocabulary_size)
        return iter(self._tokenizer.decode_batch([[i] for i in ids], skip_special_tokens=False))

    def template(self, first: str, second: str | None = None) -> Template:
        """How this tokenizer wraps one text, or a pair, in special tokens; from an example."""
        return Template(self._tokenizer, first, second)


class Template:
    """The special tokens around one text or a pair, learnt from the tokenizer's own post-processor.

    That is run once, on an example; inputs are then assembled from ids that are already there.
    """

    def __init__(self, tokenizer: FastTokenizer, first: str, second: str | None = None) -> None:
        whole = tokenizer.encode(first, second)
        example = [first] if second is None else [first, second]
        self._fixed: list[tuple[list[int], list[int]]] = [([], [])]
        self._type_ids: list[int] = []
        previous: int | None = None
        for token, type_id, part in zip(whole.ids, whole.type_ids, whole.sequence_ids, strict=True):
            if part is None:
                self._fixed[-1][0].append(token)
                self._fixed[-1][1].append(type_id)
            elif part != previous:
                self._fixed.append(([], []))
                self._type_ids.append(type_id)
            previous = part
        self.special_tokens = sum(len(ids) for ids, _ in self._fixed)
        plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in example]
        if len(plain) != len(self._type_ids) or self(*plain).ids != whole.ids:
            raise ModelError(
                f"this tokenizer joins {len(example)} text(s) in a way that is not understood: "
                "expected special tokens around each text, and nothing else changed"
            )

    def __call__(self, *parts: list[int]) -> Tokens:
        """The model's input for token ids `parts`: one list for a text, two for a pair."""
        ids, type_ids = (list(fixed) for fixed in self._fixed[0])
        for part, type_id, (fixed, fixed_types) in zip(
            parts, self._type_ids, self._fixed[1:], strict=True
        ):
            ids += part
            ids += fixed
            type_ids += [type_id] * len(part)
            type_ids += fixed_types
        return Tokens(ids, type_ids)
