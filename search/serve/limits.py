"""How much of a request is taken on, and when it is given up: bodies, and callers who leave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from search.serve.caller import Caller

SILENT_SECONDS = 30.0
"""A sender who is silent for so long in the middle of a body is given up."""
BODY_SECONDS = 120.0
"""All of a body has to be there by then, unless it brings documents."""


class Body:
    """A request's messages, bounded; once it has come, someone listens for the caller to leave."""

    def __init__(
        self,
        receive: Receive,
        caller: Caller,
        headers: Mapping[str, str],
        max_bytes: int,
        seconds: float = BODY_SECONDS,
    ) -> None:
        self._receive = receive
        self._caller = caller
        self._max_bytes = max_bytes
        self._end = caller.arrived + seconds
        self._announced = headers.get("content-length", "0")
        self._size = 0
        self._gone = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        if self._announced == "0" and "transfer-encoding" not in headers:
            self._listener = asyncio.create_task(self._listen())
            self._empty: Message | None = {"type": "http.request", "body": b"", "more_body": False}
        else:
            self._empty = None

    async def receive(self) -> Message:
        """The next message. Raises HTTPException: 413 for too large a body, 408 for a slow one."""
        if self._empty is not None:
            message, self._empty = self._empty, None
            return message
        if self._listener is not None:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        if self._announced.isdecimal() and int(self._announced[:20]) > self._max_bytes:
            raise self._too_large()
        message = await self._next()
        if message["type"] == "http.disconnect":
            self._leave()
            return message
        self._size += len(message.get("body", b""))
        if self._size > self._max_bytes:
            raise self._too_large()
        if not message.get("more_body", False):
            self._listener = asyncio.create_task(self._listen())
        return message

    def close(self) -> None:
        """The request is answered: nobody listens any more."""
        if self._listener is not None:
            self._listener.cancel()

    async def _next(self) -> Message:
        left = self._end - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, min(SILENT_SECONDS, left))):
                return await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the request did not come in time; send it again") from None

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self._caller.leave()
        self._gone.set()

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"the request is larger than {self._max_bytes:,} bytes, which is the most that this "
            "service takes",
        )
