"""Plain text and Markdown: one document a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import yaml

from ingest.read.source import Options, Source, read_text
from ingest.record import Record

FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def read_plain(source: Source, options: Options) -> Iterator[Record]:
    """The title is the file's name."""
    text = read_text(source, options)
    yield whole_file(source, {"text": text})


def read_markdown(source: Source, options: Options) -> Iterator[Record]:
    """The title is the front matter's, or the first heading; front matter becomes metadata."""
    from markdown_it import MarkdownIt

    from ingest.markup import page

    text = read_text(source, options)
    front, body = split_front_matter(text)
    heading, content = page(MarkdownIt("commonmark").enable("table").render(body), "h1, h2, h3")
    fields = {**front, "text": content}
    if not isinstance(front.get("title"), str):
        fields["title"] = heading
    yield whole_file(source, fields, plain=True)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """(fields, the text below); what is no YAML mapping counts as text."""
    match = FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    try:
        # BaseLoader: a date stays as it is spelt, and so does the id 007.
        fields = yaml.load(match[1], yaml.BaseLoader)
    except yaml.YAMLError:
        return {}, text
    if not isinstance(fields, dict):
        return {}, text
    return {str(key): value for key, value in fields.items()}, text[match.end() :]


def whole_file(source: Source, fields: dict[str, Any], plain: bool = False) -> Record:
    """A record whose id is the file's path, and whose title falls back to the file's name."""
    stem = PurePath(source.id.removesuffix(".gz")).stem
    return Record(fields, source.name, None, source.id, stem, plain)
