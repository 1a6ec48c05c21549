"""Wait for what other processes do, and see which of them there are."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_S = 60.0  # for what is waited for to happen; it takes a second or two


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something holds. Raises TimeoutError where it does not come to hold."""
    end = time.monotonic() + LONGEST_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.01)


def children_of(pid: int, module: str = "conversion.worker") -> list[int]:
    """The processes that a process started which run a module of ours."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and module in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return (Path("/proc") / f"{pid}" / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
