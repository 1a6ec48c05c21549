"""Run something in a forked child that may use so much memory and so much time, and say how it ended.

Rules:
- The child is a group of processes of its own; nothing of it is there when its end is known.
- A child that hangs tells where, by a thread of its own that needs no Python to run; one that does not even do that is ended by
  the system's alarm clock.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

GIB = 1 << 30
_HUNG = re.compile(
    r"^Timeout \(\d+:\d\d:\d\d(\.\d+)?\)!$", re.MULTILINE
)  # what faulthandler writes before it ends the process


class Limits(NamedTuple):
    """What an input may take. memory: bytes of address space over the parent's. seconds: of the clock."""

    memory: int = GIB
    seconds: float = 10.0


class Ended(NamedTuple):
    """How a child ended. code: its exit code, or minus the signal. peak: bytes over the parent's. words: what it wrote to standard
    error, its trace where it crashed or hung. left: whether a process of it was still there."""

    code: int
    seconds: float
    peak: int
    words: str
    left: bool
    hung: bool


def in_child(work: Callable[[], int], folder: Path, limits: Limits, *, output: str = os.devnull) -> Ended:
    """Run `work` in a child and return how it ended.

    Args:
        work: returns the exit code; it rings `rearm` where each of several inputs has the time.
        folder: that the child's standard error is kept in, as `err`.
        limits: of the child.
        output: the file for standard output.
    """
    errors = folder / "err"
    errors.unlink(missing_ok=True)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_child(work, errors, limits, output)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - began
    left = _end_group(pid)
    code = os.waitstatus_to_exitcode(status)
    words = errors.read_text("utf-8", "replace") if errors.exists() else ""
    hung = code == -signal.SIGALRM or (code == 1 and _HUNG.search(words) is not None)
    return Ended(code, seconds, max(0, usage.ru_maxrss - _own_peak()) * 1024, words, left, hung)


def rearm(limits: Limits) -> None:
    """Give the next input its time."""
    faulthandler.dump_traceback_later(limits.seconds, exit=True, file=2)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds + 2)


def _own_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _end_group(pid: int) -> bool:
    """End what the child left, and say whether there was something."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _be_child(work: Callable[[], int], errors: Path, limits: Limits, output: str) -> None:
    code = 97
    try:
        os.setsid()
        gc.freeze()
        for number, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, output, os.O_WRONLY | os.O_CREAT),
            (2, str(errors), os.O_WRONLY | os.O_CREAT),
        ):
            handle = os.open(path, flags, 0o644)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        most = _address_space() + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.enable(2)
        rearm(limits)
        code = work()
    except BaseException:
        import traceback

        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
