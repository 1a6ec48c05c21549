"""Make files that whoever opens them has to wait for, as on a network disk that hangs: another program has a lease on them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

_HOLDER = """
import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
for path in sys.argv[1:]:
    fcntl.fcntl(os.open(path, os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
time.sleep(25)
"""


def hold(paths: Sequence[Path]) -> None:
    """Let every opening of these files wait, for 25 s at most. Skips the test where the system has no leases."""
    command = [sys.executable, "-S", "-c", _HOLDER, *map(str, paths)]
    quiet = subprocess.DEVNULL
    holder = subprocess.Popen(command, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, start_new_session=True)
    assert holder.stdout is not None
    if holder.stdout.readline() != b"held\n":
        pytest.skip("no leases on this file system")
