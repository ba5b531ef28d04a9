"""Model folders of a few kilobytes, to check what is read from files; nothing here can run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "heart", "attack", "is", "an", "emergency", "x"]


def write_tokenizer(folder: Path, words: list[str] = WORDS, kind: str = "bert") -> None:
    """A word-level tokenizer with the special tokens of BERT or of RoBERTa."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    cls, sep = ("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])
    tokenizer.post_processor = (
        processors.BertProcessing(sep, cls)
        if kind == "bert"
        else processors.RobertaProcessing(sep, cls)
    )
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_model(folder: Path, **config: object) -> Path:
    """A folder that passes every check made before the weights are loaded."""
    write_tokenizer(folder)
    defaults = {
        "model_type": "bert",
        "id2label": {"0": "LABEL_0"},
        "vocab_size": len(WORDS),
        "hidden_size": 2,
        "max_position_embeddings": 64,
    }
    write_json(folder / "config.json", defaults | config)
    table = np.zeros((len(WORDS), 2), np.float32)
    save_file({"bert.embeddings.word_embeddings.weight": table}, str(folder / "model.safetensors"))
    return folder


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
