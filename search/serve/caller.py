"""Who asks, and the answers that wait for a model: both may go away, and then so does the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from search.errors import Stopped

Result = TypeVar("Result")


@dataclass(slots=True)
class Caller:
    """One request. Times are of `time.monotonic`; `left` is set when nobody waits for the answer.

    `key` is the name of the key it came with. `deadline` is when the answer has to be there.
    `notes` go into the log's line of this request.
    """

    request_id: str
    key: str | None = None
    arrived: float = field(default_factory=time.monotonic)
    deadline: float | None = None
    left: threading.Event = field(default_factory=threading.Event)
    notes: dict[str, object] = field(default_factory=dict)
    _when_left: set[Callable[[], object]] = field(default_factory=set)
    _leaving: threading.Lock = field(default_factory=threading.Lock)

    def leave(self) -> None:
        """Nobody waits for the answer any more: what is under way for it is given up."""
        with self._leaving:
            self.left.set()
            waiting = list(self._when_left)
        for give_up in waiting:
            give_up()

    def when_left(self, give_up: Callable[[], object]) -> Callable[[], None]:
        """Call `give_up` once when the caller leaves, at once if it has; the result undoes this."""
        with self._leaving:
            if not (left := self.left.is_set()):
                self._when_left.add(give_up)
        if left:
            give_up()
        return lambda: self._when_left.discard(give_up)


current_caller: ContextVar[Caller | None] = ContextVar("current_caller", default=None)
"""None outside of a request. Worker threads of a request have its value, too."""


def request_id() -> str:
    """As the answer's X-Request-Id has it."""
    caller = current_caller.get()
    return caller.request_id if caller is not None else ""


class Answer(Future[list[Result]]):
    """The current caller's results, in order; Stopped when the caller leaves.

    Where a deadline passed there are only as many as were ready. `so_far` has them as they come.
    Any thread may end it; the first one does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.so_far: list[Result] = []
        self._ending = threading.Lock()
        if (caller := current_caller.get()) is not None:
            undo = caller.when_left(lambda: self.fail(Stopped("the caller has left")))
            self.add_done_callback(lambda _: undo())

    def abandon(self) -> None:
        """Nobody waits for it any more: what has not begun of it is given up."""
        self.cancel()

    def finish(self) -> None:
        """The results that there are now are the answer."""
        if self._is_mine():
            self.set_result(list(self.so_far))

    def fail(self, error: BaseException) -> None:
        """There will be no more results, because of this."""
        if self._is_mine():
            self.set_exception(error)

    def _is_mine(self) -> bool:
        """Whether this thread is the one to end it."""
        with self._ending:
            ended = self.running() or self.done()
            return not ended and self.set_running_or_notify_cancel()
