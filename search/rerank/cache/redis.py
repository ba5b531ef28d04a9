"""Scores in a Redis, for several copies of the service. How much it keeps is its own setting."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from search.errors import ConfigError
from search.rerank.cache import CacheError
from search.rerank.encoder import Scored

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 0.1
"""A search must not wait longer for scores than it would take to compute them."""
KEPT_SECONDS = 30 * 24 * 3600
"""What nobody has asked for in so long goes, also from a Redis without a bound on its memory."""
PREFIX = b"two-stage:score:"
SCORE = struct.Struct(">dII")  # logit, first and last character of the window
AT_ONCE = 1000


class RedisScores:
    """Threads share its connections. Raises ConfigError for an address that cannot be one, and
    CacheError while nobody answers there."""

    def __init__(self, url: str) -> None:
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                # Once more at once, for a connection that was closed while nobody used it.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        except ValueError as error:
            raise ConfigError(
                f"serve.redis_url is no address of a Redis ({error}); expected for example "
                "redis://localhost:6379/0"
            ) from None
        with _translate_errors():
            self._client.ping()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Scored]:
        """The scores that are there."""
        found: dict[bytes, Scored] = {}
        with _translate_errors():
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                values: Any = self._client.mget([PREFIX + key for key in part])
                for key, value in zip(part, values, strict=True):
                    if value is not None and len(value) == SCORE.size:
                        logit, first, last = SCORE.unpack(value)
                        found[key] = Scored(logit, (first, last))
        return found

    def put(self, scores: Mapping[bytes, Scored]) -> None:
        """Keep these, too."""
        entries = list(scores.items())
        with _translate_errors():
            for start in range(0, len(entries), AT_ONCE):
                pipeline = self._client.pipeline(transaction=False)
                for key, scored in entries[start : start + AT_ONCE]:
                    value = SCORE.pack(scored.logit, *scored.span)
                    pipeline.set(PREFIX + key, value, ex=KEPT_SECONDS)
                pipeline.execute()

    def close(self) -> None:
        """Close its connections."""
        with _translate_errors():
            self._client.close()


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    # ValueError: a connection that another thread has just closed.
    except (redis.RedisError, OSError, ValueError) as error:
        raise CacheError(str(error)) from error
