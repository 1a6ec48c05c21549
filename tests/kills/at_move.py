"""Send a process a signal from within, just before it moves or removes a file of its own for the n-th time.

python -m tests.kills.at_move KIND NUMBER SIGNAL COUNT_FILE WORDS…: the command line, with these words. Python tells of every such
move (audit events), so nothing of the command is replaced, and no moment between two moves is too short to be met.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any, NamedTuple

# What is counted: of "move" every change of a name in a folder, of "place" only those that give a file its place.
_MOVES = frozenset({"os.rename", "os.link", "os.mkdir", "os.rmdir", "os.remove"})
_OURS = "verimask-", f".verimask{os.sep}"  # temporary names, and the private folder of a cohort


class Moment(NamedTuple):
    """A move. kind: "move" or "place". number: from 1, 0 for none. count_file: gets a letter for each move, where it is named."""

    kind: str
    number: int
    signum: int
    count_file: str = ""


def signal_at(moment: Moment) -> None:
    """Have a move of this process stopped by a signal."""
    count = 0

    def look(event: str, given: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _MOVES or not (kinds := _kinds(event, given)):
            return
        if moment.count_file:
            with open(moment.count_file, "ab", buffering=0) as file:
                file.write(kinds[-1][:1].encode())
        if moment.kind in kinds:
            count += 1
            if count == moment.number:
                os.kill(os.getpid(), moment.signum)

    sys.addaudithook(look)


def _kinds(event: str, given: tuple[Any, ...]) -> tuple[str, ...]:
    paths = [os.fsdecode(path) for path in given if isinstance(path, (str, bytes, os.PathLike))]
    ours = [any(mark in path for mark in _OURS) for path in paths]
    if event in ("os.rename", "os.link") and ours == [True, False]:
        return "move", "place"
    return ("move",) if any(ours) else ()


if __name__ == "__main__":
    signal_at(Moment(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
    sys.argv = ["verimask", *sys.argv[5:]]
    runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
