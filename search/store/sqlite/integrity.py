"""Faults that a sound store never has, each looked for by one query."""

from __future__ import annotations

import apsw

# What must be 0, and how it is counted. `words_docsize` is where FTS5 lists its rows.
_COUNTS = {
    "documents without passages": """
        SELECT count(*) FROM documents WHERE key NOT IN (SELECT document FROM passages)""",
    "passages without a document": """
        SELECT count(*) FROM passages WHERE document NOT IN (SELECT key FROM documents)""",
    "documents with a gap in their passages": """
        SELECT count(*) FROM (SELECT 1 FROM passages GROUP BY document
        HAVING min(position) != 0 OR max(position) != count(*) - 1)""",
    "passages without a vector": """
        SELECT count(*) FROM passages WHERE key NOT IN (SELECT passage FROM vectors)""",
    "vectors without a passage": """
        SELECT count(*) FROM vectors WHERE passage NOT IN (SELECT key FROM passages)""",
    "vectors of the wrong size": """
        SELECT count(*) FROM vectors WHERE length(embedding) != 4 * :dimensions""",
    "passages missing from the word index": """
        SELECT count(*) FROM passages WHERE key NOT IN (SELECT id FROM words_docsize)""",
    "word index entries without a passage": """
        SELECT count(*) FROM words_docsize WHERE id NOT IN (SELECT key FROM passages)""",
}


def faults(connection: apsw.Connection, dimensions: int) -> list[str]:
    """One line for each kind of fault found, with its count."""
    found = [line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
    for fault, query in _COUNTS.items():
        count = connection.execute(query, {"dimensions": dimensions}).get
        if count:
            found.append(f"{fault}: {count}")
    return found
