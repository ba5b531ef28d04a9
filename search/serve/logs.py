"""What the service writes to standard error: a line for a person, or JSON for a program."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import TextIO

from search.serve.caller import current_caller
from search.terminal import printable


def prepare_logs(stream: TextIO = sys.stderr) -> None:
    """All loggers write to `stream`: lines to read on a terminal, elsewhere a JSON object each."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Readable() if stream.isatty() else Json())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("uvicorn", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Json(logging.Formatter):
    """{"time": …, "level": …, "logger": …, "message": …, "request_id": …, and what it was given}.

    What a record is given stands in its `fields`: logger.info("…", extra={"fields": {…}}).
    """

    def format(self, record: logging.LogRecord) -> str:
        caller = current_caller.get()
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if caller is not None:
            line["request_id"] = caller.request_id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Readable(logging.Formatter):
    """`12:30:01 warning  message  name=value …`, which cannot steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        caller = current_caller.get()
        fields = getattr(record, "fields", {})
        known = {} if caller is None else {"request_id": caller.request_id}
        pairs = "".join(f"  {name}={value}" for name, value in (fields | known).items())
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        text = f"{at} {record.levelname.lower():<7} {record.getMessage()}{pairs}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return printable(text, keep="\n")
