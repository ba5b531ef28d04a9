from __future__ import annotations

from pathlib import Path

import pytest
from tiny_folders import write_tokenizer

from search.errors import ModelError
from search.models.tokens import Tokenizer

TEXT = "heart attack is an emergency"


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_templates_equal_the_tokenizers_own_pairs(tmp_path: Path, kind: str) -> None:
    """Oracle: the tokenizers library encoding the whole text or pair at once."""
    from tokenizers import Tokenizer as Library

    write_tokenizer(tmp_path, kind=kind)
    library = Library.from_file(str(tmp_path / "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    tokenizer = Tokenizer(tmp_path)
    first, second = (encoding.ids for encoding in tokenizer.encode([TEXT, "a heart"]))
    single, pair = tokenizer.template("a"), tokenizer.template("a", "a")
    whole = library.encode(TEXT, "a heart")
    assert pair(first, second) == (whole.ids, whole.type_ids)
    assert single(first) == (library.encode(TEXT).ids, library.encode(TEXT).type_ids)
    assert pair(first, []).ids == library.encode(TEXT, "").ids
    assert pair.special_tokens == library.num_special_tokens_to_add(True)


def test_offsets_cover_the_whole_text_despite_stored_truncation(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    spans = Tokenizer(tmp_path).token_offsets(TEXT)
    assert [TEXT[start:end] for start, end in spans] == TEXT.split()


def test_a_lone_surrogate_is_an_unknown_character_not_a_crash(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    assert Tokenizer(tmp_path).token_offsets("a \udc80 x") == [(0, 1), (2, 3), (4, 5)]


def test_vocabulary_size_counts_to_the_highest_id(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    assert Tokenizer(tmp_path).vocabulary_size == 11


def test_a_folder_without_tokenizer_json_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\n")
    with pytest.raises(ModelError, match=r"found no tokenizer\.json.*save_pretrained"):
        Tokenizer(tmp_path)


def test_a_broken_tokenizer_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json: cannot be read as a tokenizer"):
        Tokenizer(tmp_path)
