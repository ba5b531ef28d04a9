"""python -m search.serve, up to the point where models are loaded."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys

import pytest

from search.serve.__main__ import address, describe, main
from search.serve.listening import bind


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


def test_an_address_for_others_needs_keys(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEARCH_SERVE__KEYS", raising=False)
    assert main(["--host", "0.0.0.0", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "there are no keys" in said
    assert "SEARCH_SERVE__KEYS" in said


@pytest.mark.parametrize("given", ["8091", "host:", ":8091", "host:port"])
def test_the_modules_address_is_host_and_port(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--weaviate", given]) == 2
    assert "expected HOST:PORT" in capsys.readouterr().err
    assert address("[::1]:8091") == ("::1", 8091)


def test_the_modules_need_a_port_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "8090", "--weaviate", "127.0.0.1:8090"]) == 2
    assert "a port of its own" in capsys.readouterr().err


def test_the_first_line_names_both_models() -> None:
    embedding = {"name": "mini", "dimensions": 384}
    line = describe({"embedding": embedding, "reranker": {"name": "bundled"}})
    assert line == "embedding mini (384 dimensions), reranker bundled"
    assert describe({"embedding": embedding, "reranker": None}).endswith("reranker none")


def test_an_answer_is_sent_at_once() -> None:
    """Head and body are sent apart; with Nagle's algorithm the body would wait for 40 ms."""

    async def nodelay() -> int:
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            found.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=listener):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            option = await found
            writer.close()
        return option

    assert asyncio.run(nodelay())


def test_it_can_be_stopped_while_the_models_are_loaded() -> None:
    """The first process of a container has no default for SIGTERM: unheeded, it would be killed."""
    slow = (
        "import sys, time\n"
        "from search.serve.__main__ import main\n"
        "from search.serve.service import Service\n"
        "Service.load = lambda *_: print('loading', flush=True) or time.sleep(60)\n"
        "sys.exit(main(['--port', '0']))\n"
    )
    command = [sys.executable, "-c", slow]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "search.serve: stopped\n")
