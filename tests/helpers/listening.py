"""Run `verimask listen` as a user does, and send to it as others do: by DCMTK's storescu, and by pynetdicom."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, StoragePresentationContexts
from pynetdicom.association import Association

ROOT = Path(__file__).parents[2]
TITLE = "VERIMASK"
_PATIENCE_S = 60.0

needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed: storescu")


class Listening:
    """A receiver that runs. lines: what it printed so far, without the time."""

    def __init__(self, out: Path, *options: str, fsync: bool = False) -> None:
        self.out, self.lines = out, list[str]()
        command = [sys.executable, "-m", "verimask", "listen", "--port", "0", "-o", str(out), *options]
        environment = {**os.environ, "VERIMASK_NO_FSYNC": "" if fsync else "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=environment)
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()
        self.port = int(self.wait_for(r"listening at \S+:(\d+)")[1])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n")[21:])

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait for the line of this number that matches."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            found = [match for line in list(self.lines) if (match := re.search(pattern, line))]
            if len(found) >= count:
                return found[count - 1]
            if self.process.poll() is not None and not self._thread.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no line {pattern!r}: {self.lines}")

    def end(self) -> tuple[int, str]:
        """Wait for its end by itself: its exit code, and what it printed on standard error."""
        assert self.process.stderr is not None
        code = self.process.wait(_PATIENCE_S)
        self._thread.join()
        return code, self.process.stderr.read()

    def send(self, paths: Sequence[Path], *options: str, called: str = TITLE) -> int:
        """Send files by storescu, and return its exit code."""
        command = ["storescu", "-aec", called, *options, "127.0.0.1", str(self.port), *map(str, paths)]
        return subprocess.run(command, check=False, capture_output=True).returncode


@contextmanager
def listening(out: Path, *options: str, fsync: bool = False) -> Iterator[Listening]:
    """A receiver for the block; what is left of it is killed."""
    running = Listening(out, *options, fsync=fsync)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        for stream in (running.process.stdout, running.process.stderr):
            if stream is not None:
                stream.close()


def associate(port: int, *, calling: str = "SENDER", called: str = TITLE, **more: Any) -> Association:
    """Ask for an association."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for context in StoragePresentationContexts[:100]:
        entity.add_requested_context(context.abstract_syntax or "", ExplicitVRLittleEndian)
    return entity.associate("127.0.0.1", port, ae_title=called, **more)


def store(association: Association, path: Path) -> int:
    """Send one file. Returns the status, -1 where there was no answer."""
    answer = association.send_c_store(dcmread(path))
    return int(answer.Status) if "Status" in answer else -1
