"""Runs the stages on mined lists and writes the finished folder. torch loads here."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from search.engine.placement import place
from search.engine.torch_model import DTYPES
from search.errors import CheckpointError, InputError
from search.models.folder import read_json
from search.models.tokens import Tokenizer
from search.models.version import BLEND
from training.batch import PairEncoder
from training.lists import TrainingList
from training.loop import Loop, Report, Stage
from training.recipe import CHECKPOINT, UNSETTLED
from training.traps import trap_lists
from training.weights import Trainee, freeze, has_head, load_ranker

# Higher rates made the first shipped model forget what its start knew beyond the training sets.
DISTIL = Stage("distil", 1e-4, label_share=0.2, pointwise=0.2, final_rate=0.6)
RANK = Stage("rank", 6e-5, label_share=0.4, pointwise=0.3, with_teacher=False, final_rate=0.5)
SETTLE = Stage("settle", 5e-5, label_share=0.5, pointwise=0.4, with_teacher=False)
STAGES = (DISTIL, RANK, SETTLE)

LONGEST = 320
"""Tokens of an input that the model is said to be made for: those of the longest steps, and a few
more, so that a passage of 256 tokens with its title and an ordinary query is one window."""

AVERAGE = 0.985
"""Decay of the running average of weights, per step."""

TRAPS = 0.4
"""Trap lists per ordinary list of the last stage: more of them cost 0.03 on data/medical."""

SETTLED = 0.5
"""Share of the last stage in the finished weights. Traps alone make a model wary of plain answers
in the query's own words; half of each keeps both lessons (tests/benchmarks/training.md)."""

DISTILLED = 1440
"""Lists of the first stage, unless a run says otherwise."""

FEWEST = 32
"""Lists without which no stage could take a few steps."""

TRAPPED_KINDS = ("labelled", "reworded")
"""Questions, as people ask them: a title or a sentence of the text itself can be no trap."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train and from what."""

    start: Path
    keep_layers: tuple[int, ...]
    merge: Path | None
    teacher: Path | None
    distil_lists: int | None
    settle_lists: int
    precision: str
    work: Path
    keep_start: float = 0.0
    """Share of the start in the finished weights."""
    freeze: int | None = None
    """How many of the first layers, and the embeddings with them, stay as they are; None: not even
    the embeddings do."""
    teacher_share: float = 0.2
    """Of the teacher, in the opinion to learn."""


def check(plan: Plan) -> None:
    """InputError for what the start cannot give; worth knowing before anything is mined."""
    if plan.keep_start and not has_head(plan.start):
        raise InputError(
            f"--keep-start {plan.keep_start:g}: {plan.start} is no reranker (it has no "
            "classifier), so that nothing of it can be kept: leave the option out, or give another "
            "--start"
        )
    depth = len(plan.keep_layers) or int(read_json(plan.start / "config.json")["num_hidden_layers"])
    if plan.freeze is not None and not 0 <= plan.freeze < depth:
        raise InputError(f"--freeze {plan.freeze}: expected 0 to {depth - 1}, less than all layers")


def fit(plan: Plan, lists: list[TrainingList], report: Report) -> Any:
    """The trained model (fp32, averaged weights); goes on from `work/checkpoint.pt`, if there.

    Raises InputError where there is too little to train on.
    """
    check(plan)
    if len(lists) < FEWEST:
        raise InputError(
            f"found {len(lists)} lists to train on, expected at least {FEWEST}: give more --data, "
            "or ask for more lists of it (DIR=LISTS)"
        )
    torch.manual_seed(0)
    model: Any = load_ranker(plan.start, plan.keep_layers, plan.merge)
    dtype = DTYPES[place("cpu", plan.precision, "torch").precision]
    teacher = _teacher(plan.teacher, model.config, dtype) if plan.teacher else None
    if plan.freeze is not None:
        freeze(model, plan.freeze)
    trainee = Trainee(model, dtype, AVERAGE)
    encoder = PairEncoder(Tokenizer(plan.start), model.config.pad_token_id or 0)
    checkpoint = plan.work / CHECKPOINT
    loop = Loop(trainee, encoder, teacher, plan.teacher_share, checkpoint, report)
    reached, step = _resume(checkpoint, trainee, report)
    unsettled = plan.work / UNSETTLED
    for number, (stage, part) in enumerate(zip(STAGES, parts(plan, lists), strict=True)):
        if len(part) >= stage.lists_per_step and number >= reached:
            first = step if number == reached else 0
            if stage is SETTLE and first == 0:
                save_file(trainee.averaged().state_dict(), unsettled)
            loop.run(stage, part, first)
    trained = trainee.averaged()
    if unsettled.is_file():
        mix(trained, load_file(unsettled), 1 - SETTLED)
    if plan.keep_start:
        start: Any = load_ranker(plan.start, plan.keep_layers, plan.merge)
        mix(trained, start.state_dict(), plan.keep_start)
    return trained


@torch.no_grad()
def mix(model: Any, other: Mapping[str, torch.Tensor], share: float) -> None:
    """Move the model's weights towards `other`, by this share of the way (Wortsman et al., ICML
    2022; of a start, CVPR 2022): what the one has forgotten, the other still knows."""
    for name, weight in model.state_dict().items():
        weight.lerp_(other[name], share)


def parts(plan: Plan, lists: list[TrainingList]) -> tuple[list[TrainingList], ...]:
    """The lists of each stage: none to distil without a teacher, traps among the last ones.

    The first stage gets as many as the plan says, else DISTILLED, and of few lists half; the last
    one half of the rest at most.
    """
    draw = random.Random(0)
    wanted = plan.distil_lists
    distil = min(DISTILLED, len(lists) // 2) if wanted is None else min(wanted, len(lists))
    distil = distil if plan.teacher else 0
    settle = len(lists) - min(plan.settle_lists, (len(lists) - distil) // 2)
    questions = [one for one in lists if one.kind in TRAPPED_KINDS]
    draw.shuffle(questions)
    last = lists[settle:]
    last += list(trap_lists(questions, draw))[: int(TRAPS * len(last))]
    draw.shuffle(last)
    return lists[:distil], lists[distil:settle], last


def _resume(checkpoint: Path, trainee: Trainee, report: Report) -> tuple[int, int]:
    """The stage (its index) and step reached by an earlier run; (0, 0) without one."""
    if not checkpoint.is_file():
        return 0, 0
    try:
        state = torch.load(checkpoint, weights_only=True)
        trainee.restore(state)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint}: does not fit this run ({error}); delete it to start over"
        ) from None
    report(f"going on from {checkpoint}: {state['stage']} step {state['step']}")
    return [stage.name for stage in STAGES].index(state["stage"]), state["step"]


def _teacher(folder: Path, config: Any, dtype: torch.dtype) -> nn.Module:
    model: Any = load_ranker(folder)
    if model.config.vocab_size != config.vocab_size:
        raise InputError(
            f"--teacher {folder}: a vocabulary of {model.config.vocab_size} words; expected the "
            f"start's own {config.vocab_size}, since both read the same tokens"
        )
    model.set_attn_implementation("sdpa")  # without gradients the faster one
    reader: nn.Module = model.to(dtype).eval().requires_grad_(False)
    return reader


def save(model: Any, start: Path, out: Path) -> None:
    """A standard Hugging Face folder: config, fp16 safetensors, tokenizer without fixed padding.

    A blend that lies there was fitted for other weights, and is removed.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / BLEND).unlink(missing_ok=True)
    model.config.id2label, model.config.label2id = {0: "relevance"}, {"relevance": 0}
    model.half().save_pretrained(out)
    tokenizer = read_json(start / "tokenizer.json") | {"padding": None, "truncation": None}
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    settings = read_json(start / "tokenizer_config.json") | {
        "model_max_length": min(model.config.max_position_embeddings, LONGEST)
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
