"""Where a service listens: its port, taken before it can answer, and its address in words."""

from __future__ import annotations

import socket
from typing import Any

from search.errors import InputError


def bind(host: str, port: int) -> socket.socket:
    """Take the port before the models are loaded, but answer nobody yet: not ready is refused.

    Raises InputError.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # TCP by name: asyncio switches Nagle's algorithm off for such sockets only, and with it each
    # answer, whose head and body are sent apart, would come 40 ms later.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(
            f"cannot listen on {host}:{port} ({error}); choose another --host or --port"
        ) from None
    return listener


def url(address: tuple[Any, ...]) -> str:
    """Of a socket's address, whose first two members are host and port."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"
