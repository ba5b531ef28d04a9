"""What the client and the server say when something fails, as our errors with cause and remedy."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
from weaviate.exceptions import (
    AuthenticationFailedError,
    InsufficientPermissionsError,
    UnexpectedStatusCodeError,
    WeaviateBaseError,
    WeaviateConnectionError,
    WeaviateQueryError,
    WeaviateRetryError,
    WeaviateTimeoutError,
)

from search.errors import StoreError, StoreUnavailable

REASON_LENGTH = 400
STARTING_SECONDS = 60
# What the server or gRPC says, by what it means.
READ_ONLY = ("read-only", "read only")
MODEL_SERVICE_DOWN = ("send POST request", "connection refused", "no such host", "connect: ")
NO_REPLICAS = ("cannot achieve consistency level", "not enough replicas", "cannot reach enough")
BROKEN_OFF = ("RST_STREAM", "Socket closed", "GOAWAY", "Connection reset")
GONE = ("UNAVAILABLE", "failed to connect to all addresses", *BROKEN_OFF)
# We have seen the class when we opened it: a server that does not find it has not loaded it yet.
STARTING = re.compile(
    r"\b(class|index|shard|collection|leader)\b.{0,100}not found"
    r"|(could not|cannot) find (class|index)|not ready"
)
INACTIVE_TENANT = ("tenant not active", "tenant is not active", "not active", "COLD", "FROZEN")
NO_DISK = ("no space left on device",)
NO_KEY = re.compile(r"no api key found|incorrect api key|invalid api key", re.IGNORECASE)

T = TypeVar("T")


@contextmanager
def translate_errors(address: str) -> Iterator[None]:
    """Turn the client's errors into StoreError or StoreUnavailable that name address and fix."""
    try:
        yield
    except (WeaviateBaseError, httpx.HTTPError) as error:
        raise translate(error, address) from error


def translate(error: WeaviateBaseError | httpx.HTTPError, address: str) -> StoreError:
    """The error of ours that says what happened at `address` and what helps."""
    said = short(str(error))
    if isinstance(error, (AuthenticationFailedError, InsufficientPermissionsError)) or _status_of(
        error
    ) in (401, 403):
        return StoreUnavailable(
            f"Weaviate at {address} does not let us in ({said}); set weaviate.api_key "
            "(or WEAVIATE_API_KEY) to a key that may read, and for ingest write, the class"
        )
    if isinstance(error, (WeaviateTimeoutError, httpx.TimeoutException)) or is_deadline(said):
        return StoreUnavailable(
            f"Weaviate at {address} did not answer in time ({said}); see whether it "
            "runs, and its load, or raise weaviate.timeout_query or weaviate.timeout_insert"
        )
    gone = isinstance(error, (WeaviateConnectionError, WeaviateRetryError, httpx.TransportError))
    if gone or any(words in said for words in GONE):
        return StoreUnavailable(
            f"Weaviate at {address} stopped answering ({said}); see its log, start it again and "
            "run the same command: what it confirmed is kept, the rest is sent again"
        )
    known = server_fault(said, address)
    if known is not None:
        return known
    if is_starting(said):
        return StoreUnavailable(
            f"Weaviate at {address} does not have the class ({said}): it is still starting, or "
            "somebody removed the class; see its log, and try again in a moment"
        )
    return StoreError(f"Weaviate at {address}: {said}")


def server_fault(reason: str, address: str) -> StoreUnavailable | None:
    """The error for a refusal that no change to the document would cure, else None."""
    if _says(reason, READ_ONLY):
        return StoreUnavailable(
            f"Weaviate at {address} is read-only ({reason}); free space on its disk (it stops at "
            "DISK_USE_READONLY_PERCENTAGE), restart it or set its shards READY, and run the same "
            "command again"
        )
    if _says(reason, NO_DISK):
        return StoreUnavailable(
            f"the disk of the Weaviate at {address} is full ({reason}); free space there, restart "
            "it, and run the same command again: what it could not finish is then sent anew"
        )
    if _says(reason, NO_REPLICAS):
        return StoreUnavailable(
            f"Weaviate at {address} has too few live replicas ({reason}); start the missing nodes, "
            "or lower weaviate.consistency_level"
        )
    if NO_KEY.search(reason):
        return StoreUnavailable(
            f"the model provider behind the Weaviate at {address} wants a key ({reason}); send it "
            "along: --set 'weaviate.headers={X-OpenAI-Api-Key: KEY}', with that provider's header"
        )
    if _says(reason, MODEL_SERVICE_DOWN):
        return StoreUnavailable(
            f"Weaviate at {address} cannot reach its vectorizer ({reason}); start that service "
            "(python -m search.serve is one)"
        )
    if "tenant" in reason.lower() and _says(reason, INACTIVE_TENANT):
        return StoreUnavailable(
            f"the tenant that weaviate.tenant names is not active at {address} ({reason}); set its "
            "activity status to ACTIVE on the server, or turn on autoTenantActivation in the "
            "class's multiTenancyConfig"
        )
    return None


def ask(question: Callable[[], T], *, patient: bool = False, replicated: bool = False) -> T:
    """The answer, asked again where the next time may find it.

    A server that starts says for a while that it has no such class. And for some seconds after a
    node died, Weaviate 1.39.0 still asks it and waits until the client gives up; asked again, it
    turns to a replica that lives. An ingest is `patient`: it waits for a server that comes back.
    """
    started, again = time.monotonic(), True
    while True:
        try:
            return question()
        except WeaviateQueryError as error:
            said = str(error)
            in_time = time.monotonic() - started < STARTING_SECONDS
            passing = is_starting(said) or (patient and is_broken_off(said))
            if passing and in_time:
                time.sleep(0.5)
            elif again and (is_broken_off(said) or (replicated and is_deadline(said))):
                again = False
            else:
                raise


def is_deadline(reason: str) -> bool:
    """Whether the client gave up waiting."""
    return "deadline exceeded" in reason.lower().replace("_", " ")  # its text, or its status' name


def is_too_large(reason: str) -> bool:
    """Whether a request passed the size limit of either side's gRPC."""
    return "larger than max" in reason


def is_starting(reason: str) -> bool:
    """Whether the server may just not have loaded its schema yet."""
    return STARTING.search(reason) is not None


def is_broken_off(reason: str) -> bool:
    """Whether the connection ended before the answer did."""
    return _says(reason, GONE)


def short(text: str) -> str:
    """One line, cut: servers answer with pages."""
    line = " ".join(text.split())
    return line if len(line) <= REASON_LENGTH else f"{line[:REASON_LENGTH]}…"


def _status_of(error: Exception) -> int | None:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code
    return error.status_code if isinstance(error, UnexpectedStatusCodeError) else None


def _says(reason: str, words: tuple[str, ...]) -> bool:
    return any(part in reason for part in words)
