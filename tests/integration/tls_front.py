"""nginx in front of a Weaviate: TLS with a certificate of the test's own authority."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from weaviate_nodes import Server, free_ports

NEEDED = ("nginx", "openssl")
# REST and gRPC behind a TLS port each, as a server on the internet has them.
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_max_body_size 100m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    server {{
        listen 127.0.0.1:{rest} ssl;
        location / {{ proxy_pass {target.url}; }}
    }}
    server {{
        listen 127.0.0.1:{grpc} ssl http2;
        location / {{ grpc_pass grpc://127.0.0.1:{target.grpc_port}; }}
    }}
}}
"""
# What `openssl` is asked for: an authority, and a server that it signs, known as "localhost" only.
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
AUTHORITY = ("req", "-x509", *KEY, "-days", "2", "-subj", "/CN=Test authority")
REQUEST = ("req", *KEY, "-subj", "/CN=localhost")
SIGN = ("x509", "-req", "-days", "2", "-CA", "authority.pem", "-CAkey", "authority.key")


@dataclass(frozen=True)
class Front:
    """The https address, its gRPC port, and the certificate that a client has to trust."""

    url: str
    grpc_port: int
    authority: Path


def missing() -> list[str]:
    """The programs that this needs and this machine lacks."""
    return [program for program in NEEDED if shutil.which(program) is None]


@contextmanager
def tls_front(target: Server, folder: Path) -> Iterator[Front]:
    """nginx in `folder`, stopped at the end."""
    folder.mkdir(parents=True)
    _certificates(folder)
    rest, grpc = free_ports(2)
    text = CONFIGURATION.format(folder=folder, rest=rest, grpc=grpc, target=target)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen([*command, "-e", str(folder / "error.log")])
    try:
        _wait(grpc, process)
        yield Front(f"https://localhost:{rest}", grpc, folder / "authority.pem")
    finally:
        process.terminate()
        process.wait(timeout=30)


def _certificates(folder: Path) -> None:
    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl(*AUTHORITY, "-keyout", "authority.key", "-out", "authority.pem")
    openssl(*REQUEST, "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost", encoding="utf-8")
    names = ("-extfile", "names", "-CAcreateserial")
    openssl(*SIGN, *names, "-in", "server.csr", "-out", "server.pem")


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"nginx did not start (exit status {process.poll()})")
