"""A wire between client and server that can be slow, thin or cut."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Proxy:
    """Forwards 127.0.0.1:`port` to `target`; attributes may be changed while it runs."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.delay = 0.0  # seconds before each piece of an answer
        self.bytes_per_second: float | None = None  # towards the server
        self.refuse = False
        self.silent = False  # takes what comes, and passes nothing on
        self._closed = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every open connection, as a restarted router does."""
        for pair in self._pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._pairs.clear()

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target)
            except OSError:  # the server is dead: whoever called is to see that
                client.close()
                continue
            self._pairs.append((client, server))
            if self._closed:  # meanwhile: nobody else would close this pair
                self.cut()
                return
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(
                    target=self._pump, args=(source, sink, answers), daemon=True
                ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(16384):
                if self.silent:
                    continue
                if answers:
                    time.sleep(self.delay)
                elif self.bytes_per_second is not None:
                    time.sleep(len(piece) / self.bytes_per_second)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
