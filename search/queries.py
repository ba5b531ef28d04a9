"""Files of queries: as people list them, and as judged collections keep them."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search.errors import InputError

STDIN = Path("-")
TOPIC = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+).*?<title>\s*(?:Topic:)?\s*([^<]+)", re.DOTALL)


def read_queries(path: Path) -> list[str]:
    """One query a line, or JSON objects with `text`, as in BEIR's queries.jsonl; any may be mixed.

    The file is read once, so that a pipe will do. Raises InputError, also when there is no query.
    """
    queries = [_query(at, line) for at, line in numbered_lines(path, read_text(path))]
    if not queries:
        raise InputError(f"{_name(path)}: found no query; expected one a line")
    return queries


def read_queries_with_ids(path: Path) -> dict[str, str]:
    """query id → text, from BEIR JSONL, `id<TAB>text` lines, or TREC `<top>` topics."""
    content = read_text(path)
    start = content.lstrip()[:1]
    if start == "<":
        return {number: " ".join(title.split()) for number, title in TOPIC.findall(content)}
    lines = numbered_lines(path, content)
    return dict(_beir(at, line) if start == "{" else _tsv(at, line) for at, line in lines)


def read_text(path: Path) -> str:
    """The whole file ("-": standard input), without a byte order mark. Raises InputError."""
    try:
        if path == STDIN:
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{_name(path)}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{_name(path)}: cannot be read as UTF-8 text: {error}") from None


def numbered_lines(path: Path, content: str) -> Iterator[tuple[str, str]]:
    """("file:line", line) for each line that is not blank.

    Only \\n ends a line: other separators, such as U+2028, stand inside of JSON strings.
    """
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield f"{_name(path)}:{number}", line.rstrip("\r")


def _name(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def _query(at: str, line: str) -> str:
    if not line.lstrip().startswith("{"):
        return line
    text = _object(at, line).get("text")
    if not isinstance(text, str):
        raise InputError(f"{at}: found no 'text' in this JSON object; expected the query there")
    return text


def _beir(at: str, line: str) -> tuple[str, str]:
    record = _object(at, line)
    if not {"_id", "text"} <= record.keys():
        raise InputError(f'{at}: expected {{"_id": …, "text": …}}, found {line[:60]!r}')
    return str(record["_id"]), str(record["text"])


def _object(at: str, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:  # also a number too long for Python
        raise InputError(f"{at}: not valid JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{at}: not valid JSON: it is nested too deep") from None
    if not isinstance(found, dict):
        raise InputError(f"{at}: found {line[:60]!r}, expected a JSON object")
    return found


def _tsv(at: str, line: str) -> tuple[str, str]:
    cells = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE))
    if len(cells) != 2:
        raise InputError(f"{at}: found {len(cells)} columns; expected id<TAB>text")
    return cells[0], cells[1]
