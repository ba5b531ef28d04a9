from __future__ import annotations

import logging

import pytest

from search.engine import placement
from search.engine.placement import Placement, graph_knows, place
from search.errors import ConfigError, MissingExtra


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No GPU, bf16 instructions, torch installed; tests change what they are about."""
    monkeypatch.setattr(placement, "found_devices", lambda: ["cpu"])
    monkeypatch.setattr(placement, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(placement, "has_torch", lambda: True)
    placement._say_that_a_gpu_is_unused.cache_clear()
    return monkeypatch


def test_the_processor_runs_openvino_where_it_knows_the_architecture(
    machine: pytest.MonkeyPatch,
) -> None:
    assert place() == Placement("cpu", "bf16", "openvino")
    assert place(graph=False) == Placement("cpu", "bf16", "torch")
    assert place(engine="torch") == Placement("cpu", "bf16", "torch")


def test_a_gpu_runs_torch(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(placement, "found_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    machine.setattr(placement, "_cuda_has_bf16", lambda device: device == "cuda:0")
    assert place() == Placement("cuda:0", "bf16", "torch")
    assert place("cuda:1") == Placement("cuda:1", "fp16", "torch")
    assert place("cpu") == Placement("cpu", "bf16", "openvino")
    assert place(engine="openvino").device == "cpu"
    with pytest.raises(ConfigError, match="engine 'openvino' runs on the cpu, but device is 'cuda"):
        place("cuda:0", engine="openvino")


def test_without_torch_a_gpu_is_left_alone_and_that_is_said_once(
    machine: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine.setattr(placement, "found_devices", lambda: ["cuda:0", "cpu"])
    machine.setattr(placement, "has_torch", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert [place().device for _ in range(2)] == ["cpu", "cpu"]
    assert caplog.text.count("cuda:0") == 1
    with pytest.raises(MissingExtra, match=r"device 'cuda:0' needs the package 'torch'.*gpu"):
        place("cuda:0")


def test_without_torch_other_architectures_name_the_extra(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(placement, "has_torch", lambda: False)
    with pytest.raises(MissingExtra, match=r"a model of this architecture needs .*'torch'.*gpu"):
        place(graph=False)
    with pytest.raises(MissingExtra, match=r"engine 'torch' needs .*gpu"):
        place(engine="torch")
    with pytest.raises(ConfigError, match="does not know this model's architecture"):
        place(engine="openvino", graph=False)


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_only_from_processors_that_have_it(
    machine: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    machine.setattr(placement, "cpu_has_bf16", lambda: native)
    assert place().precision == expected


def test_what_the_graph_knows() -> None:
    assert graph_knows({"model_type": "xlm-roberta", "hidden_act": "gelu"})
    assert graph_knows({"model_type": "modernbert", "hidden_activation": "gelu"})
    assert not graph_knows({"model_type": "modernbert", "hidden_activation": "silu"})
    assert not graph_knows({"model_type": "modernbert", "classifier_activation": "silu"})
    stretched = {"full_attention": {"rope_type": "yarn", "factor": 4.0}, "sliding_attention": None}
    assert not graph_knows({"model_type": "modernbert", "rope_parameters": stretched})
    assert not graph_knows({"model_type": "deberta-v2"})
    assert not graph_knows({"model_type": "bert", "hidden_act": "silu"})
    assert not graph_knows({"model_type": "bert", "position_embedding_type": "relative_key"})
