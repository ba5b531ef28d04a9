"""python -m search.serve, up to the point where models are loaded."""

from __future__ import annotations

import socket

import pytest

from search.serve.__main__ import describe, main


def test_a_taken_port_is_named_before_any_model_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--port", "99999"], ["--set", "nonsense=1"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("search.serve: ")


def test_the_first_line_names_both_models() -> None:
    embedding = {"name": "mini", "dimensions": 384}
    line = describe({"embedding": embedding, "reranker": {"name": "bundled"}})
    assert line == "embedding mini (384 dimensions), reranker bundled"
    assert describe({"embedding": embedding, "reranker": None}).endswith("reranker none")
