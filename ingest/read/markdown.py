"""Markdown: one document a file, its front matter as metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml

from ingest.markup import read_page
from ingest.read.source import InputFile, Options, read_text
from ingest.read.table import DECIMAL, INTEGER
from ingest.read.text import cut, whole_file
from ingest.record import Record, Section

if TYPE_CHECKING:
    from markdown_it.token import Token

FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)
MAX_FRONT_MATTER = 1 << 16
MAX_NESTING = 100
# Two blank lines or more, of which cleaning leaves one: lines could not be counted across them.
LONG_GAP = re.compile(r"\n(?:[^\S\n]*\n){2,}")


def read_markdown(file: InputFile, options: Options) -> Iterator[Record]:
    """The title is the front matter's, or the first heading."""
    from markdown_it import MarkdownIt

    front, body, line = split_front_matter(read_text(file, options))
    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).enable("table")
    sections = list(_sections(parser.parse(body), line))
    title = next((key for key in front if key.lower() == "title"), None)
    named = front.pop(title) if title and isinstance(front[title], str | int | Decimal) else ""
    heading = next((section.heading for section in sections if section.heading), "")
    yield whole_file(file, str(named).strip() or heading, sections, front)


def split_front_matter(text: str) -> tuple[dict[str, Any], str, int]:
    """(fields, the text below, its first line); what is no YAML mapping counts as text."""
    match = FRONT_MATTER.match(text[:MAX_FRONT_MATTER])
    if match is None:
        return {}, text, 1
    try:
        fields = yaml.load(match[1], _FrontMatter)  # builds plain values only
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError):
        return {}, text, 1
    if not isinstance(fields, dict):
        return {}, text, 1
    fields = {str(key): value for key, value in fields.items()}
    return fields, text[match.end() :], 1 + match[0].count("\n")


class _FrontMatter(yaml.SafeLoader):
    """Numbers, true and false as JSON spells them; a date, yes, and 007 stay as they are spelt."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Without aliases: a few lines of them stand for gigabytes."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("front matter with aliases")
        return super().compose_node(parent, index)

    def construct_decimal(self, node: yaml.ScalarNode) -> Decimal:
        """As it is spelt: the title 2.10 is not 2.1."""
        return Decimal(node.value)


_FrontMatter.add_constructor("tag:yaml.org,2002:float", _FrontMatter.construct_decimal)

for _tag, _pattern, _first in (
    ("int", INTEGER.pattern, "-0123456789"),
    ("float", DECIMAL.pattern, "-0123456789"),
    ("bool", "true|false", "tf"),
    ("null", "~|null|", ["~", "n", ""]),
):
    _FrontMatter.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z", re.ASCII), list(_first)
    )


def _sections(tokens: list[Token], first_line: int) -> Iterator[Section]:
    """A section for each block of text, which knows its line and the heading above it."""
    heading, row = "", list[str]()
    line = first_line
    in_heading = in_row = False
    for token in tokens:
        if token.map:
            line = token.map[0] + first_line
        match token.type:
            case "heading_open" | "heading_close":
                in_heading = token.type == "heading_open"
            case "tr_open":
                in_row, row = True, []
            case "tr_close":
                in_row = False
                yield Section(" ".join(row), line, heading=heading)
            case "inline":
                text = _inline(token.children or [])
                if in_row:
                    row.append(text)
                    continue
                heading = " ".join(text.split()) if in_heading else heading
                yield Section(text, line, heading=heading)
            case "fence" | "code_block":
                start = line + int(token.type == "fence")
                for part in cut(token.content, LONG_GAP, start):
                    yield replace(part, heading=heading)
            case "html_block":
                for part in read_page(token.content)[1]:
                    heading = part.heading or heading
                    yield Section(part.text, line, heading=heading)


def _inline(tokens: list[Token]) -> str:
    parts = []
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                parts.append(token.content)
            case "softbreak" | "hardbreak":
                parts.append("\n")
            case "html_inline" if token.content.lower().startswith("<br"):
                parts.append("\n")
    return "".join(parts)
