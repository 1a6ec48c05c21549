"""Send a process a signal from within, just before it moves or removes a file of its own for the n-th time.

python -m tests.kills.at_move KIND NUMBER SIGNAL COUNT_FILE WORDS…: the command line, with these words. Python tells of every such
move (audit events), so nothing of the command is replaced, and no moment between two moves is too short to be met.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any

# What is counted: of "move" every change of a name in a folder, of "place" only those that give a file its place.
_MOVES = frozenset({"os.rename", "os.link", "os.mkdir", "os.rmdir", "os.remove"})
_OURS = "verimask-", f".verimask{os.sep}"  # temporary names, and the private folder of a cohort


def signal_at(kind: str, number: int, signum: int, count_file: str = "") -> None:
    """Have the n-th move of this process stopped by a signal. count_file: gets a byte for each move, where it is named."""
    count = 0

    def look(event: str, given: tuple[Any, ...]) -> None:
        nonlocal count
        if event in _MOVES and _is_counted(kind, event, given):
            count += 1
            if count_file:
                with open(count_file, "ab", buffering=0) as file:
                    file.write(b".")
            if count == number:
                os.kill(os.getpid(), signum)

    sys.addaudithook(look)


def _is_counted(kind: str, event: str, given: tuple[Any, ...]) -> bool:
    paths = [os.fsdecode(path) for path in given if isinstance(path, (str, bytes, os.PathLike))]
    ours = [any(mark in path for mark in _OURS) for path in paths]
    if kind == "place":
        return event == "os.rename" and ours == [True, False]
    return any(ours)


if __name__ == "__main__":
    signal_at(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    sys.argv = ["verimask", *sys.argv[5:]]
    runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
