"""The training loop: micro-batches of like length, one loss over whole lists, one step."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training import loss as losses
from training.batch import PairEncoder
from training.lists import TrainingList
from training.weights import Trainee

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass over a part of the lists, with its own learning-rate schedule and mix of losses."""

    name: str
    learning_rate: float
    label_share: float
    """How much of the listwise target is the label, the rest being the teachers' opinion."""
    pointwise: float
    """Weight of the pointwise loss beside the listwise one."""
    with_teacher: bool = True
    """Whether the teacher cross-encoder, if there is one, takes part."""
    lists_per_step: int = 8
    lengths: tuple[int, ...] = (80, 112, 160, 304)
    """Maximum tokens of a step's pairs, drawn by `length_weights`: long inputs must not be news."""
    length_weights: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    warm_up: float = 0.05
    final_rate: float = 0.05
    """Share of the learning rate left at the end of the cosine."""


class Loop:
    """Runs stages; after every `save_every` steps the state goes to `checkpoint`."""

    def __init__(
        self,
        trainee: Trainee,
        encoder: PairEncoder,
        teacher: nn.Module | None,
        teacher_share: float,
        checkpoint: Path,
        report: Report,
        batch_tokens: int = 4096,
        save_every: int = 50,
    ) -> None:
        self._trainee, self._encoder = trainee, encoder
        self._teacher, self._teacher_share = teacher, teacher_share
        self._checkpoint, self._report = checkpoint, report
        self._batch_tokens, self._save_every = batch_tokens, save_every

    def run(self, stage: Stage, lists: Sequence[TrainingList], first_step: int = 0) -> None:
        """One pass over `lists`, from step `first_step`."""
        steps = len(lists) // stage.lists_per_step
        began, pairs, window = time.monotonic(), 0, list[float]()
        for step in range(first_step, steps):
            here = lists[step * stage.lists_per_step : (step + 1) * stage.lists_per_step]
            value, hits = self._step(stage, here, step)
            self._trainee.step(rate_at(stage, step, steps))
            pairs += sum(len(one.passages) for one in here)
            window = [*window[-9:], hits]
            if (step + 1) % 10 == 0 or step + 1 == steps:
                per_second = pairs / (time.monotonic() - began)
                left = (steps - step - 1) * pairs / (step + 1 - first_step) / per_second
                self._report(
                    f"{stage.name} {step + 1}/{steps}  loss {value:.3f}  "
                    f"relevant first {sum(window) / len(window):.0%}  "
                    f"{per_second:.0f} pairs/s  {left / 60:.0f} min left"
                )
            if (step + 1) % self._save_every == 0 or step + 1 == steps:
                self._save(stage.name, step + 1)

    def _step(self, stage: Stage, lists: Sequence[TrainingList], step: int) -> tuple[float, float]:
        """Gradients of one step; gives the loss, and the share of lists led by the answer."""
        draw = random.Random(step)  # by step, so that a resumed run draws the same
        length = draw.choices(stage.lengths, stage.length_weights)[0]
        encoded = self._encoder.pairs(lists, length)
        ours, theirs = [torch.zeros(())] * len(encoded), [torch.zeros(())] * len(encoded)
        teacher = self._teacher if stage.with_teacher else None
        for batch in self._encoder.micro_batches(encoded, self._batch_tokens):
            logits = self._trainee.compute(**batch.inputs()).logits[:, 0].float()
            opinion = torch.zeros_like(logits)
            if teacher is not None:
                with torch.no_grad():
                    opinion = teacher(**batch.inputs()).logits[:, 0].float()
            for row, index in enumerate(batch.indices):
                ours[index], theirs[index] = logits[row], opinion[row]
        size = (len(lists), -1)
        logits = torch.stack(ours).view(size)  # (lists, passages)
        opinions = None if teacher is None else torch.stack(theirs).view(size)
        scores = torch.tensor([one.scores for one in lists])
        total = objective(stage, logits, opinions, scores, self._teacher_share)
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach()), float((logits.argmax(1) == 0).float().mean())

    def _save(self, stage: str, step: int) -> None:
        part = self._checkpoint.with_suffix(".part")
        torch.save({"stage": stage, "step": step, **self._trainee.state()}, part)
        part.replace(self._checkpoint)


def objective(
    stage: Stage, logits: Tensor, teacher: Tensor | None, scores: Tensor, share: float
) -> Tensor:
    """The weighted sum of the losses that need logits only; shapes (lists, passages).

    `share` is the teacher's in the opinion that counts, beside that of `scores`.
    """
    targets = losses.ensemble(scores, teacher, share)
    total = losses.listwise(logits, targets, stage.label_share)
    if stage.pointwise:
        total = total + stage.pointwise * losses.pointwise(logits, teacher)
    return total


def rate_at(stage: Stage, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to `final_rate`."""
    warm = min(1.0, (step + 1) / max(1.0, stage.warm_up * steps))
    cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
    return stage.learning_rate * warm * (stage.final_rate + (1 - stage.final_rate) * cosine)
