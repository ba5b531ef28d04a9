from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from search.errors import ModelError
from search.models.weights import Weights

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_types_become_float32_and_rows_are_read_one_by_one(tmp_path: Path) -> None:
    save_file({"a": TABLE, "b": TABLE.astype(np.float16)}, tmp_path / "x.safetensors")
    weights = Weights([tmp_path / "x.safetensors"])
    assert set(weights) == {"a", "b"}
    for name in weights:
        assert np.array_equal(weights[name], TABLE)
        assert weights[name].dtype == np.float32
        assert weights.rows(name, np.array([[3, 0]], np.int32)).tolist() == [
            [[9, 10, 11], [0, 1, 2]]
        ]
    assert weights.rows_named("b", "none") == 4
    assert weights.stored("b").dtype == np.float16


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    upper = (TABLE.view(np.uint32) >> 16).astype(np.uint16)
    save_file({"a": upper}, tmp_path / "x.safetensors")
    raw = (tmp_path / "x.safetensors").read_bytes().replace(b'"U16"', b'"BF16"', 1)
    size = int.from_bytes(raw[:8], "little") + 1
    (tmp_path / "y.safetensors").write_bytes(size.to_bytes(8, "little") + raw[8:])
    assert np.array_equal(Weights([tmp_path / "y.safetensors"])["a"], TABLE)


@pytest.mark.parametrize("size", [0, 4, 60, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    """Also where it is a later one of several."""
    save_file({"a": TABLE}, tmp_path / "1.safetensors")
    save_file({"b": TABLE}, tmp_path / "2.safetensors")
    content = (tmp_path / "2.safetensors").read_bytes()
    (tmp_path / "2.safetensors").write_bytes(content[:size])
    with pytest.raises(ModelError, match=r"2\.safetensors: cannot be read as safetensors .*again"):
        Weights([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
        b"{",
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        Weights([path])
