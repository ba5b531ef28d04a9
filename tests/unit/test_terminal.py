"""Text that is safe to show, and how commands end whatever happens to their streams."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from search.errors import InputError, MissingExtra, StoreError
from search.terminal import add_details_flag, json_text, printable, run_command, utf8

COMMAND = """\
import sys
from search.errors import SearchError
from search.terminal import run_command
def body():
    {body}
    return {status}
sys.exit(run_command("try", body))
"""


def shell(line: str, body: str, status: int = 0, **environment: str) -> tuple[int, str, str]:
    """Runs `line` in bash, where `try` is a command that does `body`; its status and streams."""
    code = COMMAND.format(body=body, status=status)
    command = f"try() {{ {sys.executable} -c {shlex.quote(code)}; }}; set -o pipefail; {line}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=os.environ | environment
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9 \u2192 \U0001f600", "caf\u00e9 \u2192 \U0001f600"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd"),
        ("\u202eevil", "\\u202eevil"),
        ("bytes \udcff", "bytes \\udcff"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_lines_can_be_kept() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_json_means_the_same_and_is_safe() -> None:
    value = {"a": "\x1b[31m\x9b\u2028\u202e\x7f\udcff", "b": ["\u00e9\n"]}
    for indent in (None, 2):
        text = json_text(value, indent)
        assert json.loads(text) == value
        assert printable(text, keep="\n") == text
    assert "\u00e9" in json_text(value)


def test_errors_end_as_a_message_and_their_status(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> int:
        raise error

    assert run_command("try", lambda: fail(InputError("bad \x1b[2J"))) == 2
    assert run_command("try", lambda: fail(StoreError("gone"))) == 1
    assert run_command("try", lambda: sys.exit(2)) == 2
    assert capsys.readouterr().err == "try: bad \\x1b[2J\ntry: gone\n"
    with pytest.raises(ZeroDivisionError):  # a fault of ours is not hidden
        run_command("try", lambda: 1 // 0)


def test_what_an_error_leaves_out_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    error = StoreError("is not as set")
    error.add_note("shards 1")
    error.add_note("tenant \x1b[2J")

    def fail(*arguments: str) -> int:
        parser = argparse.ArgumentParser()
        add_details_flag(parser)
        parser.parse_args(arguments)
        raise error

    assert run_command("try", lambda: fail("--details")) == 1
    assert capsys.readouterr().err == "try: is not as set\n  shards 1\n  tenant \\x1b[2J\n"
    assert run_command("try", fail) == 1
    assert capsys.readouterr().err == "try: is not as set (--details lists all 2 points)\n"


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    assert run_command("try", interrupt, "stopped") == 130
    assert capsys.readouterr().err == "try: stopped\n"


@pytest.mark.parametrize("status", [0, 3])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(status: int, unbuffered: str) -> None:
    environment = {"PYTHONUNBUFFERED": unbuffered}
    many = "[print('line') for n in range(100_000)]"
    assert shell("try | head -1", many, status, **environment) == (0, "line\n", "")
    few = "print('line'); __import__('time').sleep(0.3)"
    assert shell("try | true", few, status, PYTHONUNBUFFERED="") == (status, "", "")


@pytest.mark.parametrize("body", ["print('x')", "print('x' * 1_000_000)"])
@pytest.mark.parametrize("line", ["try >/dev/full", "try >&-"])
def test_output_that_cannot_be_written_is_one(line: str, body: str) -> None:
    status, _, error = shell(line, body)
    assert status == 1
    assert error.startswith("try: the output cannot be written: ")
    assert error.count("\n") == 1


def test_a_failure_keeps_its_status_where_nothing_can_be_said() -> None:
    body = "sys.stderr.write('x'); raise SearchError('y')"
    assert shell("try 2>/dev/full", body) == (1, "", "")
    assert shell("try 2>&-", body) == (1, "", "")
    assert shell("try <&- >&- 2>&-", "print(sys.stdin.isatty())") == (1, "", "")


def test_another_files_failure_is_not_taken_for_the_outputs() -> None:
    status, _, error = shell("try", "open('/dev/full', 'wb', 0).write(b'x')")
    assert status == 1
    assert "Traceback" in error


def test_log_messages_are_safe_to_show() -> None:
    body = r"import logging; logging.getLogger('x').warning('file \x1b[31m')"
    assert shell("try", body) == (0, "", "file \\x1b[31m\n")


def test_a_closed_stream_is_not_the_next_file_that_is_opened(tmp_path: Path) -> None:
    body = f"open({str(tmp_path / 'store')!r}, 'w').close(); print('lost')"
    assert shell("try >&-", body)[0] == 1
    assert (tmp_path / "store").read_bytes() == b""


def test_an_ascii_terminal_can_show_everything() -> None:
    body = r"from search.terminal import json_text; print('caf\u00e9', json_text('\u00e9\udcff'))"
    status, out, error = shell("try", body, PYTHONIOENCODING="ascii")
    assert (status, error) == (0, "")
    assert out == 'caf\\xe9 "\\u00e9\\udcff"\n'


@pytest.mark.parametrize("command", ["ingest", "search", "search.evaluate", "search.serve"])
def test_modules_beside_one_are_not_taken_for_ours(tmp_path: Path, command: str) -> None:
    """`python -m` puts the current folder first on the path."""
    for name in ("config", "yaml", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is the user\\'s own')\n")
    arguments = [sys.executable, "-m", command, "--set", "limit=none", "x"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert "user's own" not in done.stdout + done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_another_config_on_the_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "search", "x"],
        cwd=tmp_path.parent,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"found another module called config ({tmp_path / 'config.py'})" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_names_the_command_for_a_clone() -> None:
    root = Path(__file__).parents[2]
    assert f"pip install -e '.[pdf]' in {root}" in str(MissingExtra("pypdf", "pdf", "PDF"))


def test_an_argument_is_utf_8_whatever_the_locale() -> None:
    body = "from search.terminal import utf8; print(ascii(utf8(sys.argv[1])))"
    code = f"import sys; {body}"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, "caf\u00e9".encode()],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "'caf\\xe9'\n"
    with pytest.raises(argparse.ArgumentTypeError, match="not valid UTF-8"):
        utf8("caf\udce9")
