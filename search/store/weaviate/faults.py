"""What the client and the server say when something fails, as our errors with cause and remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from weaviate.exceptions import (
    AuthenticationFailedError,
    InsufficientPermissionsError,
    UnexpectedStatusCodeError,
    WeaviateBaseError,
    WeaviateConnectionError,
    WeaviateRetryError,
    WeaviateTimeoutError,
)

from search.errors import StoreError, StoreUnavailable

REASON_LENGTH = 400
# Words in an object's refusal that blame the server and not the object: the whole import stops.
READ_ONLY = ("read-only", "read only")
VECTORIZER_DOWN = ("send POST request", "connection refused", "no such host", "connect: ")
NO_REPLICAS = ("cannot achieve consistency level", "not enough replicas", "cannot reach enough")


@contextmanager
def translate_errors(place: str) -> Iterator[None]:
    """Turn the client's errors into StoreError or StoreUnavailable that name place and fix."""
    try:
        yield
    except WeaviateBaseError as error:
        raise translated(error, place) from error


def translated(error: WeaviateBaseError, place: str) -> StoreError:
    """The error of ours that says what happened at `place` and what helps."""
    said = short(str(error))
    if isinstance(error, (AuthenticationFailedError, InsufficientPermissionsError)) or (
        isinstance(error, UnexpectedStatusCodeError) and error.status_code in (401, 403)
    ):
        return StoreUnavailable(
            f"Weaviate at {place} does not let us in ({said}); set weaviate.api_key "
            "(or WEAVIATE_API_KEY) to a key that may read, and for ingest write, the class"
        )
    if isinstance(error, WeaviateTimeoutError) or is_deadline(said):
        return StoreUnavailable(
            f"Weaviate at {place} did not answer in time ({said}); see whether it "
            "runs, and its load, or raise weaviate.timeout_query or weaviate.timeout_insert"
        )
    if isinstance(error, (WeaviateConnectionError, WeaviateRetryError)) or "UNAVAILABLE" in said:
        return StoreUnavailable(
            f"Weaviate at {place} stopped answering ({said}); see its log, start it again and "
            "run the same command: what it confirmed is kept, the rest is sent again"
        )
    return blamed_on_server(said, place) or StoreError(f"Weaviate at {place}: {said}")


def blamed_on_server(reason: str, place: str) -> StoreUnavailable | None:
    """The error for a refusal that no change to the document would cure, else None."""
    if any(words in reason for words in READ_ONLY):
        return StoreUnavailable(
            f"Weaviate at {place} is read-only ({reason}); free space on its disk (it stops at "
            "DISK_USE_READONLY_PERCENTAGE), restart it or set its shards READY, and run the same "
            "command again"
        )
    if any(words in reason for words in NO_REPLICAS):
        return StoreUnavailable(
            f"Weaviate at {place} has too few live replicas ({reason}); start the missing nodes, "
            "or lower weaviate.consistency_level"
        )
    if any(words in reason for words in VECTORIZER_DOWN):
        return StoreUnavailable(
            f"Weaviate at {place} cannot reach its vectorizer ({reason}); start that service "
            "(python -m search.serve is one)"
        )
    return None


def is_deadline(reason: str) -> bool:
    """Whether the client gave up waiting."""
    return "deadline exceeded" in reason.lower().replace("_", " ")  # its text, or its status' name


def is_too_large(reason: str) -> bool:
    """Whether a request passed the size limit of either side's gRPC."""
    return "larger than max" in reason


def short(text: str) -> str:
    """One line, cut: servers answer with pages."""
    line = " ".join(text.split())
    return line if len(line) <= REASON_LENGTH else f"{line[:REASON_LENGTH]}…"
