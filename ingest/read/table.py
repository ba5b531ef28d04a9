"""CSV and TSV with a header line; numbers become numbers, so that ranges can filter on them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from typing import Any

from ingest.read.lines import BadLine, Lines
from ingest.read.source import InputFile, Options, Undecodable, open_utf8
from ingest.record import Record, RecordError, Rejection

DELIMITERS = ",;\t|"
# As JSON writes numbers: 007 is a code, and more digits may not fit into 64 bits.
INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
DECIMAL = re.compile(r"-?(0|[1-9]\d{0,17})\.\d{1,17}", re.ASCII)


def read_table(file: InputFile, options: Options) -> Iterator[Record | Rejection]:
    """A record a row; a row that does not fit the header is rejected, and the next one is read."""
    csv.field_size_limit(options.max_record_bytes)
    with open_utf8(file, options) as stream:
        lines = Lines(stream, options.max_record_bytes)
        first = next(lines, "")
        if not first.strip():
            raise RecordError("found no header line, expected the names of the columns")
        delimiter = "\t" if file.format == "tsv" else max(DELIMITERS, key=first.count)
        rows = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
        try:
            header = _header(next(rows))
        except csv.Error as error:
            raise RecordError(f"the header cannot be read: {error} (an open quote?)") from None
        columns = tuple(filter(None, header))
        while True:
            start = lines.number + 1
            try:
                row = next(rows)
                if row:
                    yield replace(file.record(_fields(header, row), start), columns=columns)
            except StopIteration:
                return
            except Undecodable:
                raise
            except RecordError as error:
                raw = error.raw if isinstance(error, BadLine) else delimiter.join(row)
                yield file.rejection(str(error), start, raw)
            except csv.Error as error:
                # An open quote swallows the rows after it, up to the next quote or the end.
                reason = f"broken CSV, lines {start} to {lines.number}: {error} (an open quote?)"
                yield file.rejection(reason, start, incomplete=lines.number > start)


def _header(cells: list[str]) -> list[str]:
    # A spreadsheet breaks long names over several lines.
    names = [" ".join(map(str.strip, cell.strip().splitlines())) for cell in cells]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise RecordError(f"the header names {', '.join(map(repr, repeated))} more than once")
    return names


def _fields(header: list[str], row: list[str]) -> dict[str, Any]:
    """Empty cells and columns without a name are left out."""
    if len(row) != len(header):
        raise RecordError(f"found {len(row)} cells, the header has {len(header)}")
    return {name: _value(cell) for name, cell in zip(header, row, strict=True) if name and cell}


def _value(cell: str) -> str | int | Decimal:
    if INTEGER.fullmatch(cell):
        return int(cell) if cell != "-0" else cell
    return Decimal(cell) if DECIMAL.fullmatch(cell) else cell
