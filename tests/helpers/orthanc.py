"""Start a real Orthanc for tests: DIMSE and DICOMweb on loopback, free ports, a folder of its own, ended by its process.

Rules:
- It listens on 127.0.0.1 alone, runs its own folder's files only, and is ended with all that it wrote when the block is left.
- Whoever asks it over HTTP says who he is, by `USER` and `PASSWORD` or by `TOKEN`; over DIMSE he calls it `TITLE`.
- Where Orthanc or its plugin is not installed, the test is skipped by name, which fails in CI.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

TITLE, USER, PASSWORD, TOKEN = "ARCHIVE", "reader", "secret-word-7731", "secret-token-9042"
MOVES_TO = "VERIMASK_T"  # the title that it knows as a destination of C-MOVE, at `Orthanc.move_port`
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_S = 60.0
_LUA = f"""
function IncomingHttpRequestFilter(method, uri, ip, username, httpHeaders)
  local given = httpHeaders['authorization']
  return given == 'Bearer {TOKEN}' or given == 'Basic {b64encode(f"{USER}:{PASSWORD}".encode()).decode()}'
end
"""


@dataclass(frozen=True)
class Orthanc:
    """One that runs. folder: of its own. move_port: where it sends what is moved to `MOVES_TO`."""

    folder: Path
    process: subprocess.Popen[bytes]
    http_port: int
    dicom_port: int
    move_port: int

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def dimse(self) -> str:
        return f"{TITLE}@127.0.0.1:{self.dicom_port}"

    def add(self, paths: Sequence[Path]) -> None:
        """Put files into it, by its own way in."""
        for path in paths:
            self.ask("POST", "/instances", path.read_bytes())

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """What its own REST interface answers."""
        return json.loads(self._send(method, path, body) or b"null")

    def _send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = Request(f"http://127.0.0.1:{self.http_port}{path}", body, method=method)
        request.add_header("Authorization", f"Bearer {TOKEN}")
        with urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def file(self, uid: str) -> bytes:
        """The file of an instance, by its SOP Instance UID."""
        (found,) = self.ask("POST", "/tools/lookup", uid.encode())
        return self._send("GET", f"{found['Path']}/file")

    def uids(self) -> set[str]:
        """The SOP Instance UIDs that it holds."""
        found = self.ask("POST", "/tools/find", b'{"Level":"Instance","Query":{},"Expand":true}')
        return {one["MainDicomTags"]["SOPInstanceUID"] for one in found}


@contextmanager
def orthanc(folder: Path, more: Mapping[str, Any] | None = None) -> Iterator[Orthanc]:
    """Run one while the block runs.

    Args:
        folder: that is empty or not there; it is removed at the end.
        more: of its configuration, instead of what it has here.
    """
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if program is None or not _PLUGIN.exists():
        pytest.skip("Orthanc with its DICOMweb plugin (orthanc, orthanc-dicomweb) is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    http_port, dicom_port, move_port = _free_ports(3)
    (folder / "filter.lua").write_text(_LUA)
    more = more or {}
    is_secure = bool(more.get("DicomTlsEnabled"))
    configuration = _configuration(folder, http_port, dicom_port, move_port, is_secure=is_secure) | dict(more)
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
    running = Orthanc(folder, process, http_port, dicom_port, move_port)
    try:
        _wait(running)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _configuration(folder: Path, http_port: int, dicom_port: int, move_port: int, *, is_secure: bool) -> dict[str, Any]:
    return {
        "Name": "verimask tests",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "Plugins": [str(_PLUGIN)],
        "LuaScripts": [str(folder / "filter.lua")],
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": TITLE,
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,  # by the script, which knows tokens too
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "UnknownSopClassAccepted": True,
        "OverwriteInstances": False,
        "DicomModalities": {
            "moves": {"AET": MOVES_TO, "Host": "127.0.0.1", "Port": move_port, "UseDicomTls": is_secure}
        },
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
        "DicomScuTimeout": 5,
        "DicomScpTimeout": 5,
    }


def _free_ports(count: int) -> list[int]:
    holding = [socket.socket() for _ in range(count)]
    for one in holding:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in holding]
    for one in holding:
        one.close()
    return ports


def _wait(running: Orthanc) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and running.process.poll() is None:
        try:
            running.ask("GET", "/system")
            socket.create_connection(("127.0.0.1", running.dicom_port), 1).close()
            return
        except (URLError, OSError):
            time.sleep(0.05)
    pytest.fail("Orthanc did not start: " + (running.folder / "log").read_text("utf-8", "replace")[-2000:])


@pytest.fixture(scope="session")
def archive_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for all tests of a session. Each test has a study of its own in it."""
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(params=["web", "dimse"])
def archive_address(request: pytest.FixtureRequest, archive_server: Orthanc) -> str:
    """Its address, by either protocol."""
    return str(getattr(archive_server, request.param))


@pytest.fixture
def archive_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The token of the server, and nothing of whoever runs the tests."""
    for name in ("VERIMASK_PACS_USER", "VERIMASK_PACS_PASSWORD", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VERIMASK_PACS_TOKEN", TOKEN)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
