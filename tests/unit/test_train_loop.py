"""The loop on a two-layer BERT with eleven words: does it learn, resume, imitate?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_folders import write_json, write_tokenizer
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel
from transformers import BertForSequenceClassification as Ranker

from search.errors import CheckpointError, InputError
from training.fit import DISTIL, RANK, SETTLE, Plan, fit, mix, parts, save
from training.lists import TrainingList
from training.loop import rate_at
from training.weights import Trainee, load_ranker

ANSWERS = ("heart attack", "an emergency")
LISTS = [
    TrainingList("heart", "labelled", (answer, "x a x", "is a x", "x x x"), (1.0, 0.0, -0.5, -0.5))
    for answer in ANSWERS * 40
]


def write_start(folder: Path, layers: int = 2) -> Path:
    write_tokenizer(folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=11,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=1,
        initializer_range=0.2,  # as small as usual, random layers change nothing
    )
    Ranker(config).save_pretrained(folder)
    return folder


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "work").mkdir()
    start = write_start(tmp_path / "start")
    return Plan(start, (), None, None, 0, 0, "fp32", tmp_path / "work")


def logits(model: Any, folder: Path, passages: tuple[str, ...]) -> torch.Tensor:
    from search.models.tokens import Tokenizer
    from training.batch import PairEncoder

    encoder = PairEncoder(Tokenizer(folder), 0)
    one = TrainingList("heart", "labelled", passages, (0.0,) * len(passages))
    pairs = encoder.pairs([one], 32)
    [batch] = encoder.micro_batches(pairs, 4096)
    with torch.no_grad():
        found = model.eval()(**batch.inputs()).logits[:, 0].float()
    return found[torch.tensor(batch.indices).argsort()]


def test_it_learns_to_put_the_answer_first(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(RANK, learning_rate=5e-3)
    monkeypatch.setattr("training.fit.STAGES", (DISTIL, quick, SETTLE))
    said: list[str] = []
    model = fit(plan, LISTS, said.append)
    found = logits(model, plan.start, LISTS[0].passages)
    assert int(found.argmax()) == 0
    assert float(found[0] - found[1:].max()) > 1.0
    assert "min left" in said[-1]


def test_weights_are_mixed_by_the_share_that_is_asked_for(plan: Plan, tmp_path: Path) -> None:
    before, after = load_ranker(plan.start), load_ranker(write_start(tmp_path / "after"))
    with torch.no_grad():
        after.classifier.bias += 1.0
    expected = 0.25 * before.classifier.bias + 0.75 * after.classifier.bias
    mix(after, before.state_dict(), 0.25)
    assert torch.allclose(after.classifier.bias, expected)


def test_a_share_of_the_start_is_kept(plan: Plan, tmp_path: Path) -> None:
    found = {}
    for share in (0.0, 0.5, 1.0):
        work = tmp_path / f"work {share}"
        work.mkdir()
        model = fit(replace(plan, work=work, keep_start=share), LISTS, lambda line: None)
        found[share] = torch.cat([weight.flatten() for weight in model.parameters()])
    start = torch.cat([weight.flatten() for weight in load_ranker(plan.start).parameters()])
    assert torch.allclose(found[1.0], start)
    assert torch.allclose(found[0.5], (found[0.0] + start) / 2, atol=1e-6)
    assert not torch.allclose(found[0.0], start)


def test_a_finished_run_is_mixed_anew_with_another_share(plan: Plan) -> None:
    def weights(share: float) -> torch.Tensor:
        model = fit(replace(plan, keep_start=share), LISTS, said.append)
        return torch.cat([weight.flatten() for weight in model.parameters()])

    said: list[str] = []
    trained = weights(0.0)
    steps = len(said)
    start = torch.cat([weight.flatten() for weight in load_ranker(plan.start).parameters()])
    assert torch.allclose(weights(0.25), 0.75 * trained + 0.25 * start, atol=1e-6)
    assert len(said) == steps + 1  # where it went on from, and no step


def test_frozen_layers_stay_as_the_start_has_them(plan: Plan) -> None:
    trained = fit(replace(plan, freeze=1), LISTS, lambda line: None).state_dict()
    start = load_ranker(plan.start).state_dict()
    frozen = ("bert.embeddings.", "bert.encoder.layer.0.")
    for name, weight in start.items():
        assert torch.equal(trained[name], weight) is name.startswith(frozen), name


def test_freezing_all_layers_is_refused(plan: Plan) -> None:
    with pytest.raises(InputError, match="--freeze 2: expected 0 to 1"):
        fit(replace(plan, freeze=2), LISTS, lambda line: None)


def test_a_stopped_run_goes_on_and_ends_as_an_undisturbed_one(plan: Plan, tmp_path: Path) -> None:
    lists = LISTS * 6  # 60 steps; state is kept at step 50
    whole = fit(plan, lists, lambda line: None)
    stopped = replace(plan, work=tmp_path / "stopped")
    stopped.work.mkdir()
    said: list[str] = []

    def stop_at_the_last_step(line: str) -> None:
        if line.startswith("rank 60/60"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stopped, lists, stop_at_the_last_step)
    resumed = fit(stopped, lists, said.append)
    assert said[0].endswith("rank step 50")
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_teacher_is_followed_where_the_first_stage_says_nothing(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contrary: Any = load_ranker(plan.start)
    with torch.no_grad():
        contrary.classifier.weight *= -1
    teacher = write_start(tmp_path / "teacher")
    save(contrary, teacher, teacher)
    told = logits(load_ranker(teacher), teacher, LISTS[0].passages)
    quick = replace(DISTIL, learning_rate=5e-3)
    monkeypatch.setattr("training.fit.STAGES", (quick, RANK, SETTLE))
    lists = [replace(one, scores=(0.0,) * 4) for one in LISTS[::2]] * 8
    plan = replace(plan, teacher=teacher, distil_lists=len(lists) // 2)
    model = fit(plan, lists, lambda line: None)
    assert spread(logits(load_ranker(plan.start), plan.start, LISTS[0].passages), told) < -0.99
    assert spread(logits(model, plan.start, LISTS[0].passages), told) > 0.5


def spread(found: torch.Tensor, told: torch.Tensor) -> float:
    """Correlation over the negatives: the label alone gives them no order."""
    return float(torch.corrcoef(torch.stack([found[1:], told[1:]]))[0, 1])


def test_a_teacher_with_another_vocabulary_is_refused(plan: Plan, tmp_path: Path) -> None:
    odd = write_start(tmp_path / "odd")
    config = BertConfig(
        vocab_size=12, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=1,
    )  # fmt: skip
    Ranker(config).save_pretrained(odd)
    with pytest.raises(InputError, match="a vocabulary of 12 words; expected the start's own 11"):
        fit(replace(plan, teacher=odd), LISTS, lambda line: None)


def test_merging_gives_the_mean_of_what_both_have(plan: Plan, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = write_start(tmp_path / "other", layers=4)
    ours, theirs = load_ranker(plan.start), load_ranker(other, (0, 2))
    save(load_ranker(other, (0, 2)), other, tmp_path / "shallow")
    merged = load_ranker(plan.start, merge=tmp_path / "shallow").state_dict()
    name = "bert.encoder.layer.1.output.dense.weight"
    mean = (ours.state_dict()[name] + theirs.state_dict()[name]) / 2
    assert torch.allclose(merged[name], mean, atol=1e-3)  # saved in half precision
    assert torch.equal(merged["classifier.weight"], ours.state_dict()["classifier.weight"])


def test_merging_another_shape_is_refused(plan: Plan, tmp_path: Path) -> None:
    deep = write_start(tmp_path / "deep", layers=3)
    with pytest.raises(CheckpointError, match="3 layers of width 32; expected the start's shape"):
        load_ranker(plan.start, merge=deep)


def test_keeping_a_layer_that_is_not_there_is_refused(plan: Plan) -> None:
    with pytest.raises(CheckpointError, match="the start has layers 0 to 1"):
        load_ranker(plan.start, (1, 2))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded as a start"):
        load_ranker(tmp_path)


def test_another_models_checkpoint_is_refused(plan: Plan, tmp_path: Path) -> None:
    fit(plan, LISTS[:32], lambda line: None)
    other = replace(plan, start=write_start(tmp_path / "deep", layers=3))
    with pytest.raises(CheckpointError, match="does not fit this run"):
        fit(other, LISTS[:32], lambda line: None)


def test_what_is_saved_loads_as_an_ordinary_folder(plan: Plan, tmp_path: Path) -> None:
    model = load_ranker(plan.start)
    expected = logits(model, plan.start, ANSWERS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rerank.json").write_text("fitted for the weights that were here")
    save(model, plan.start, tmp_path / "out")
    again = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", dtype=torch.float32
    )
    assert again.config.num_labels == 1
    assert not (tmp_path / "out" / "rerank.json").exists()
    assert torch.allclose(logits(again, tmp_path / "out", ANSWERS), expected, atol=1e-3)


def test_half_precision_steps_move_the_master_weights() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=11, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=1,
    )  # fmt: skip
    trainee = Trainee(Ranker(config), torch.bfloat16, average=0.9)
    before = trainee.master.classifier.weight.detach().clone()
    for _ in range(3):
        trainee.compute(input_ids=torch.tensor([[2, 5, 3]])).logits.sum().backward()
        trainee.step(1e-5)
    moved = (trainee.master.classifier.weight.detach() - before).abs().max()
    assert 1e-5 < float(moved) < 1e-4  # bf16 alone would have rounded this to nothing


def test_the_rate_warms_up_and_ends_at_its_share() -> None:
    rates = [rate_at(RANK, step, 100) for step in range(100)]
    assert rates[0] < rates[4] > rates[50] > rates[99]
    assert max(rates) == pytest.approx(RANK.learning_rate, rel=0.02)
    assert rates[99] == pytest.approx(RANK.learning_rate * RANK.final_rate, rel=0.02)


def test_stages_share_out_the_lists(plan: Plan) -> None:
    counts = [len(part) for part in parts(replace(plan, settle_lists=20), LISTS)]
    assert counts == [0, 60, 20]  # one-word questions: no traps can be made of them


def test_few_lists_still_give_every_stage_its_part(plan: Plan, tmp_path: Path) -> None:
    usual = replace(plan, settle_lists=1200, distil_lists=None)
    assert [len(part) for part in parts(usual, LISTS)] == [0, 40, 40]
    taught = replace(usual, teacher=tmp_path)
    assert [len(part) for part in parts(taught, LISTS)] == [40, 20, 20]
    mostly = replace(taught, distil_lists=70)
    assert [len(part) for part in parts(mostly, LISTS)] == [70, 5, 5]
    wholly = replace(taught, distil_lists=1000)
    assert [len(part) for part in parts(wholly, LISTS)] == [80, 0, 0]
    with pytest.raises(InputError, match="found 31 lists to train on, expected at least 32"):
        fit(usual, LISTS[:31], lambda line: None)


def test_only_a_reranker_can_be_kept_a_share_of(plan: Plan, tmp_path: Path) -> None:
    start = write_start(tmp_path / "encoder")
    BertModel.from_pretrained(start).save_pretrained(start)
    with pytest.raises(InputError, match="is no reranker"):
        fit(replace(plan, start=start, keep_start=0.5), LISTS, lambda line: None)


def test_the_result_lies_halfway_between_before_and_after_the_traps(plan: Plan) -> None:
    model = fit(replace(plan, settle_lists=40), LISTS, lambda line: None)
    before = load_file(plan.work / "unsettled.safetensors")
    trainee = Trainee(load_ranker(plan.start), torch.float32, average=0.9)
    trainee.restore(torch.load(plan.work / "checkpoint.pt", weights_only=True))
    after = trainee.averaged().state_dict()
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, (before[name] + after[name]) / 2, atol=1e-7)
    assert not torch.equal(before["classifier.weight"], after["classifier.weight"])
