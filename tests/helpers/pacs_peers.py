"""Peers that misbehave as archives and networks do: one that says nothing, one that cuts connections, one that answers nonsense."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom


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


class Unmeasured(bytes):
    """A body whose length is not told: it is over when the connection is."""


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
            if not isinstance(body, Unmeasured):
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


Hook = Callable[[str, str], Any]


def archive_of(paths: Iterable[Path], hook: Hook = lambda method, path: None, *, empty: Sequence[str] = ()) -> Hook:
    """What a DICOMweb server of these files answers, for `answering`.

    Args:
        paths: of DICOM files, of one study.
        hook: from method and path, what is answered instead; None for nothing else.
        empty: modalities; of each, the study has a series without instances, 1.2.0, 1.2.1 and so on.

    Returns: an answer from method and path.
    """
    files = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in paths}
    series = {str(ds.SeriesInstanceUID): str(ds.Modality) for ds in files.values()}
    series |= {f"1.2.{number}": modality for number, modality in enumerate(empty)}
    study = {str(ds.StudyInstanceUID) for ds in files.values()}

    def answer(method: str, path: str) -> Any:
        if (instead := hook(method, path)) is not None:
            return instead
        place, _, query = path.partition("?")
        words = place.split("/")
        if "offset" in query or ("studies" in words and words[words.index("studies") + 1] not in study):
            return []
        if words[-1] == "series":
            listed = [
                {"0020000D": _of("UI", *study), "0020000E": _of("UI", u), "00080060": _of("CS", series[u])}
                for u in series
            ]
            return [one for one in listed if "SeriesInstanceUID=" not in query or one["0020000E"]["Value"][0] in query]
        if words[-1] == "instances":
            return [
                {"00080018": _of("UI", ds.SOPInstanceUID)} for ds in files.values() if ds.SeriesInstanceUID == words[-2]
            ]
        found = [p for p, ds in files.items() if ds.SOPInstanceUID == words[-1]]
        return (200, "application/dicom", found[0].read_bytes()) if found else (404, "text/plain", b"")

    return answer


def _of(vr: str, *values: str) -> dict[str, Any]:
    return {"vr": vr, "Value": [*values]}
