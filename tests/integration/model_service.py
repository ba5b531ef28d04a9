"""A vectorizer that needs no model, as Weaviate's text2vec-transformers calls it; it can hang."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from store_support import HashedWords


class ModelService:
    """HashedWords over HTTP. While `answers` is not set it takes requests and is silent."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.query_prefix = ""

    def vector(self, wanted: dict[str, Any]) -> list[float]:
        query = wanted["config"]["task_type"] == "query"
        text = (self.query_prefix if query else "") + wanted["text"]
        return [float(number) for number in HashedWords().encode_query(text)]


@contextmanager
def model_service(host: str, port: int) -> Iterator[ModelService]:
    service = ModelService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.answers.wait()
            self.answer({"model": "hashed words"})

        def do_POST(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.answers.wait()
            vector = service.vector(wanted)
            self.answer({"text": wanted["text"], "vector": vector, "dim": len(vector)})

        def answer(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        service.answers.set()
        server.shutdown()
        server.server_close()
