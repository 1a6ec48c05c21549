"""Peers that misbehave as archives and networks do: one that says nothing, one that cuts connections, one that answers nonsense."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(20)
        yield int(listening.getsockname()[1])


class Cutter:
    """Stands between us and an archive.

    limits: bytes of answers that each connection may carry, in order; then: that any later one may. tls: with which it is
    spoken to; None for none.
    """

    def __init__(
        self, port: int, limits: list[int], *, then: int | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self._port, self._limits, self._then = port, list(limits), then
        self.cut = 0  # connections
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if self._tls is not None:
                    try:
                        near = self._tls.wrap_socket(near, server_side=True)
                    except OSError:  # whoever asks does not trust us
                        near.close()
                        continue
                limit = self._limits.pop(0) if self._limits else self._then
                far = socket.create_connection(("127.0.0.1", self._port))
                threading.Thread(target=self._copy, args=(near, far, None), daemon=True).start()
                threading.Thread(target=self._copy, args=(far, near, limit), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        carried = 0
        with suppress(OSError):
            while block := source.recv(1 << 14):
                if limit is not None and carried + len(block) > limit:
                    target.sendall(block[: limit - carried])
                    self.cut += 1
                    break
                target.sendall(block)
                carried += len(block)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def cutting(
    port: int, limits: list[int], *, then: int | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Cutter]:
    """A `Cutter` for the block."""
    cutter = Cutter(port, limits, then=then, tls=tls)
    try:
        yield cutter
    finally:
        cutter.close()


Answer = tuple[int, str, bytes]  # status, Content-Type, body


@contextmanager
def answering(answer: Callable[[str, str], Any], shown: list[str] | None = None) -> Iterator[str]:
    """A DICOMweb server that answers as it is told, warns of a patient, and may note who asks.

    Args:
        answer: from method and path: an `Answer`, whose type is a URL where it is a redirect, or what is answered as JSON.
        shown: grows by the Authorization of every request, "" for none.

    Yields: its URL.
    """

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            if shown is not None:
                shown.append(self.headers.get("Authorization") or "")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made = answer(self.command, self.path)
            if not isinstance(made, tuple):
                made = (200, "application/dicom+json", json.dumps(made).encode())
            status, kind, body = made
            self.send_response(status)
            self.send_header("Location" if 300 <= status < 400 else "Content-Type", kind)
            self.send_header("Warning", "299 - Zqpatient")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 (names of the library)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()
