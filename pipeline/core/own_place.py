"""Judge a place for a file that every run writes anew: it may be free, or hold a file of the same kind.

Rules:
- What is there is told by its first bytes, and what is no such file is somebody's: it is left alone.
- The place is checked before the work, so that nothing is computed for a file that cannot be.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .findings import Code, refuse
from .given_path import look_at_output
from .regular_file import open_regular


def head_of(path: Path, size: int) -> bytes:
    """The first bytes of a regular file; none where it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(size)
    except OSError:
        return b""


def check_own_place(path: Path, noun: str, known_as: str, is_own: Callable[[Path], bool]) -> None:
    """Refuse a place where a file of a kind cannot be written.

    Args:
        path: of the file.
        noun: what it is: "page".
        known_as: what a file that it may replace is: "page of verimask".
        is_own: whether a file that is there is one.

    Returns: nothing.

    Raises: PipelineError OUTPUT_NAME, OUTPUT_EXISTS.
    """
    if not look_at_output(path.parent).is_folder:
        hint = "Make it first, or give another name."
        raise refuse(Code.OUTPUT_NAME, f"the folder {path.parent} is not there", hint, where=(path.name,))
    if look_at_output(path).is_folder:
        words, hint = f"{path} is a folder, and a {noun} is one file", "Name a file in it."
        raise refuse(Code.OUTPUT_NAME, words, hint, where=(str(path),))
    if os.path.lexists(path) and not is_own(path):
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{path.name} is there and is no {known_as}; it was left alone",
            f"Give another name, or move the file away: a {noun} replaces none but a {noun}.",
            where=(path.name,),
        )
