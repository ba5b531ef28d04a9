"""Who asks: what every part that a request passes through, in whatever thread, may know of it."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field


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


current_caller: ContextVar[Caller | None] = ContextVar("current_caller", default=None)
"""None outside of a request. Worker threads of a request have its value, too."""
