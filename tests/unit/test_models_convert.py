from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from search.errors import ModelError
from search.models.convert import convert
from search.models.weights import Weights

torch = pytest.importorskip("torch", reason="pip install -e '.[gpu]'")


def folder(path: Path, tensors: object) -> Path:
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text("{}")
    torch.save(tensors, path / "pytorch_model.bin")
    return path


def test_every_tensor_is_the_one_that_torch_saved(tmp_path: Path) -> None:
    """Oracle: torch itself."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(4, 5, generator=generator)
    tensors = {
        "words": shared,
        "a.row": shared[2],
        "half": torch.randn(3, 1, 2, generator=generator).half(),
        "bf16": torch.randn(7, generator=generator).bfloat16(),
        "scalar": torch.tensor(2.5),
    }
    made = convert(str(folder(tmp_path / "source", tensors)), tmp_path / "made")
    weights = Weights([made / "model.safetensors"])
    assert set(weights) == set(tensors)
    for name, tensor in tensors.items():
        assert np.array_equal(weights[name], tensor.float().numpy()), name
    assert (made / "1_Pooling" / "config.json").is_file()
    assert not (made / "pytorch_model.bin").exists()


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_a_program_is_refused_and_not_run(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {})
    with zipfile.ZipFile(source / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Harmful(tmp_path / "harm")}))
    with pytest.raises(ModelError, match=r"name posix\.mkdir"):
        convert(str(source), tmp_path / "made")
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "made").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_is_no_archive_of_torch_is_named(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {})
    (source / "pytorch_model.bin").write_bytes(b"no zip")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: cannot be read as the archive"):
        convert(str(source), tmp_path / "made")


def test_columns_stored_as_rows_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {"a": torch.zeros(3, 4).T})
    with pytest.raises(ModelError, match="another order"):
        convert(str(source), tmp_path / "made")
