"""Documents that are sent: kept on disk first, then stored through ingest's own pipeline.

They are stored when all of them have come: a slow sender holds no lock.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from email.message import Message
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import anyio.from_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from fastapi import HTTPException, Request
from starlette.formparsers import MultiPartException, MultiPartParser

from ingest.add import add_files
from ingest.fields import FieldNames
from ingest.read.source import ALLOW_MORE, InputFile, Options, check_encoding
from ingest.read.walk import uploaded
from ingest.record import Outcome, Rejection
from search.errors import InputError, SearchError, Stopped, StoreUnavailable
from search.serve.caller import current_caller
from search.serve.service import Service
from search.serve.shapes import Counted, DocumentLine, SummaryLine, UploadParameters
from search.store import Store

logger = logging.getLogger(__name__)

NDJSON = "application/x-ndjson"
FORMAT_OF = {
    "application/json": "json",
    **dict.fromkeys((NDJSON, "application/jsonl", "application/jsonlines"), "jsonl"),
}
MULTIPART = "multipart/form-data"
MAX_FILES = 1000
MAX_NAME = 500
LINES_AHEAD = 1000
"""Lines of an answer that wait for their reader; then the store waits for it, too …"""
READER_SECONDS = 30.0
"""… but no longer than this, since nobody else can write meanwhile."""
STOPPED = "the service stopped before the rest was stored; send it again"
_FLAGS = re.compile(r"--(id-field|title-field|text-field|encoding) ")


async def receive(service: Service, request: Request, wanted: UploadParameters) -> Upload:
    """What the request sends, on disk, and its storing begun.

    Raises HTTPException 413 and 415, InputError, and what keeps the store from being written to.
    """
    if wanted.encoding is not None:
        check_encoding(wanted.encoding)
    folder = TemporaryDirectory(prefix="two-stage-upload-")
    try:
        with _translate_errors():
            files = await _received(request, Path(folder.name), wanted)
        upload = Upload(service, folder, files, wanted)
        await upload.begin()
    except BaseException:
        await asyncio.to_thread(folder.cleanup)
        raise
    return upload


class Upload:
    """One run of the pipeline in a thread of its own, and the lines that it answers with."""

    def __init__(
        self,
        service: Service,
        folder: TemporaryDirectory[str],
        files: Sequence[InputFile | Rejection],
        wanted: UploadParameters,
    ) -> None:
        self._service = service
        self._folder = folder
        self._files = files
        self._wanted = wanted
        self._caller = current_caller.get()
        self._send: MemoryObjectSendStream[bytes]
        self._receive: MemoryObjectReceiveStream[bytes]
        self._send, self._receive = anyio.create_memory_object_stream[bytes](LINES_AHEAD)
        self._counts = {"stored": 0, "unchanged": 0, "rejected": 0}
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    async def begin(self) -> None:
        """Start, and wait until the store is ours. Raises what keeps it from that."""
        self._task = asyncio.create_task(self._run())
        begun = asyncio.create_task(self._begun.wait())
        await asyncio.wait({self._task, begun}, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if not self._begun.is_set():
            self._receive.close()
            await self._task

    async def lines(self) -> AsyncIterator[bytes]:
        """The answer; who stops reading ends the run."""
        with self._receive:
            async for line in self._receive:
                yield line

    async def _run(self) -> None:
        try:
            async with self._service.writers_turn():
                await anyio.to_thread.run_sync(self._store)
        except (anyio.BrokenResourceError, TimeoutError):
            logger.info("nobody reads the answer any more: the rest was not stored")
        finally:
            self._send.close()
            await asyncio.to_thread(self._folder.cleanup)

    def _store(self) -> None:
        started = time.monotonic()
        problem: str | None = None
        with self._service.writing() as store:
            anyio.from_thread.run_sync(self._begun.set)
            try:
                self._pass_through(store)
            except (anyio.BrokenResourceError, TimeoutError):
                raise
            except SearchError as error:
                problem = STOPPED if self._service.stopping.is_set() else str(error)
            except Exception:
                logger.exception("documents could not be stored")
                problem = "a fault of the service: its log says more"
        counts = Counted(
            read=sum(self._counts.values()),
            **self._counts,
            seconds=round(time.monotonic() - started, 3),
            problem=problem,
        )
        self._write(SummaryLine(summary=counts))

    def _pass_through(self, store: Store) -> None:
        wanted = self._wanted
        names = FieldNames(wanted.id_field, wanted.title_field, wanted.text_field)
        chunker = self._service.chunker
        options = Options(encoding=wanted.encoding)
        add_files(store, chunker, self._files, options, names, wanted.take_over, self._report)

    def _report(self, outcome: Outcome) -> None:
        if self._service.stopping.is_set() or (self._caller and self._caller.left.is_set()):
            raise Stopped(STOPPED)
        self._counts[outcome.status] += 1
        self._write(DocumentLine.model_validate(asdict(outcome) | {"reason": _in_words(outcome)}))

    def _write(self, line: DocumentLine | SummaryLine) -> None:
        anyio.from_thread.run(self._sent, line.model_dump_json().encode() + b"\n")

    async def _sent(self, line: bytes) -> None:
        try:
            self._send.send_nowait(line)
        except anyio.WouldBlock:
            with anyio.fail_after(READER_SECONDS):
                await self._send.send(line)


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"what was sent cannot be kept among the temporary files ({error.strerror}); the "
            "service needs room there, or another folder for them in the variable TMPDIR"
        ) from None


async def _received(
    request: Request, folder: Path, wanted: UploadParameters
) -> list[InputFile | Rejection]:
    """The body's files, on disk. Raises InputError, HTTPException 413 and 415."""
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    kind = header.get_content_type() if request.headers.get("content-type") else "nothing"
    if kind == MULTIPART:
        return await _received_files(request, folder, wanted)
    if kind not in FORMAT_OF:
        raise HTTPException(
            415,
            f"found the content type {kind}, expected one of {', '.join([*FORMAT_OF, MULTIPART])}",
        )
    path = folder / "body"
    with path.open("wb") as file:
        async for part in request.stream():
            await asyncio.to_thread(file.write, part)
    options = Options(format=wanted.format or FORMAT_OF[kind])
    return [uploaded(path, wanted.name or "documents", options)]


async def _received_files(
    request: Request, folder: Path, wanted: UploadParameters
) -> list[InputFile | Rejection]:
    async def body() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            yield chunk
        if not parser.ended:
            raise MultiPartException("It ends before its last boundary.")

    async with aclosing(body()) as chunks:
        parser = _Parts(request.headers, chunks, max_files=MAX_FILES, max_fields=MAX_FILES)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise InputError(
                f"the multipart body cannot be read: {error.message} Expected the boundary that "
                f"its content type names, and at most {MAX_FILES:,} parts, each of them a file "
                "with a filename"
            ) from None
    try:
        parts = form.multi_items()
        _check_files(parts)
        return [
            await asyncio.to_thread(_kept, part, folder / str(number), wanted)
            for number, (_, part) in enumerate(parts)
        ]
    finally:
        await form.close()


class _Parts(MultiPartParser):
    """Tells, as Starlette's own does not, whether the boundary came that is the last one."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


def _check_files(parts: Sequence[tuple[str, Any]]) -> None:
    """Raises InputError where something of the body would be passed over."""
    if names := [name for name, part in parts if isinstance(part, str)]:
        raise InputError(
            f"found the field {names[0]!r:.60} in the multipart body, expected files alone, each "
            "with a filename; what is no file goes into the address, as in ?format=csv"
        )
    if not parts:
        raise InputError("found no file in the multipart body, expected at least one")


def _kept(part: Any, path: Path, wanted: UploadParameters) -> InputFile | Rejection:
    with path.open("wb") as file:
        shutil.copyfileobj(part.file, file)
    name = (part.filename or "file").strip() or "file"
    return uploaded(path, name[:MAX_NAME], Options(format=wanted.format))


def _in_words(outcome: Outcome) -> str | None:
    """The reason as a caller of this API can act on it: `--text-field NAME` is `text_field=NAME`
    here, and the largest record is not for a caller to choose."""
    if outcome.reason is None:
        return None
    reason = outcome.reason.replace(ALLOW_MORE, "; split it")
    return _FLAGS.sub(lambda flag: flag[1].replace("-", "_") + "=", reason)
