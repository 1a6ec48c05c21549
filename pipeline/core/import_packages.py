"""Import packages in a process of their own, one after the other, and say what came of each.

Rules:
- One that ends the process (an instruction that this processor does not know, a library that aborts) costs nothing but
  itself: the process that asks notes its name, and asks a new one for the rest.
- What they print goes nowhere. An answer is one line: empty, or why the package cannot be imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from .plain_text import strip_folders
from .workers import describe_end, kill, python_process

_PATIENCE_S = 5.0  # for the end of a process whose output is closed


def try_imports(modules: Sequence[str]) -> Iterator[str]:
    """Import modules, each once.

    Args:
        modules: their full names.

    Yields: for each, in order, why it cannot be imported, "" where it can.
    """
    left = list(modules)
    while left:
        process = python_process(__name__, *left)
        try:
            while left and (line := process.stdout.readline() if process.stdout else b""):
                left.pop(0)
                yield line.decode("utf-8", "replace").rstrip("\r\n")
            if left:
                left.pop(0)
                yield f"its import {describe_end(process, _PATIENCE_S)}"
        finally:
            kill(process)


def _main(modules: Sequence[str]) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    for module in modules:
        try:
            import_module(module)
            words = ""
        except Exception as error:  # a library may raise whatever it likes, and the next one may be sound
            lines = str(error).strip().splitlines()
            words = strip_folders(lines[0]) if lines else type(error).__name__
        answers.write(words + "\n")
        answers.flush()


if __name__ == "__main__":
    _main(sys.argv[1:])
