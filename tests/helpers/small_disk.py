"""A disk that is full after a few kilobytes: a tmpfs of that size where we may mount one, else a limit on the size of files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@cache
def may_mount() -> bool:
    """Whether this process may mount file systems."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        is_mounted = _mount(Path(folder), "-t", "tmpfs", "-o", "size=4k", "tmpfs") == 0
        if is_mounted:
            subprocess.run(["umount", "-l", folder], check=True, capture_output=True)
        return is_mounted


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[], None] | None]:
    """Make an empty folder a disk that holds so much.

    Args:
        folder: which is there, and empty.
        kilobytes: it holds.

    Yields: what is to be called in a process that writes there before it starts, where no disk could be mounted: then it is its
        files that cannot grow; else None.
    """
    if not may_mount() or _mount(folder, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"):

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, kilobytes << 10))

        yield limit
        return
    try:
        yield None
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def _mount(folder: Path, *words: str) -> int:
    return subprocess.run(["mount", *words, str(folder)], check=False, capture_output=True).returncode
