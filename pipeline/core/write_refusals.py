"""Refuse what cannot be written: which file, why, and what to do about it.

Rules:
- A full disk, a share that is used up, a disk that can only be read: whoever meets it first, the command says CANNOT_WRITE and
  what to do, and never that this program is broken.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from .findings import Code, PipelineError, refuse
from .plain_text import OutputLostError

_HINTS = {
    errno.ENOSPC: "The disk is full: make room on it, or write elsewhere.",
    errno.EDQUOT: "Your share of the disk is full: make room, or write elsewhere.",
    errno.EFBIG: "Files may not grow larger here (ulimit -f, or the kind of disk): raise the limit, or write elsewhere.",
    errno.EROFS: "The disk can only be read: write elsewhere.",
    errno.EACCES: "Write where you may, or ask for the right to write here.",
    errno.EPERM: "Write where you may, or ask for the right to write here.",
    errno.ENAMETOOLONG: "Give it a shorter name.",
}
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


_LONGEST_ON_WINDOWS = 248  # characters of a folder's path; a file's may have 259
_TOO_LONG = (
    "Its path is longer than Windows takes by default (259 characters): write to a shorter one, such as C:\\out, or have "
    "long paths enabled (LongPathsEnabled in the registry)."
)
_LOOK = "Look at the folder and the disk, or write elsewhere."


def cannot_write(name: str, error: OSError) -> PipelineError:
    """The refusal where a file cannot be written, and what to do about it."""
    words = f"{name} cannot be written: {error.strerror or error}"
    hint = _TOO_LONG if _is_too_long(error) else _HINTS.get(error.errno or 0, _LOOK)
    return refuse(Code.CANNOT_WRITE, words, hint, where=(name,))


def _is_too_long(error: OSError) -> bool:
    """Whether Windows says that a path is not there because it is longer than what it takes by default."""
    paths = [os.path.abspath(path) for path in (error.filename, error.filename2) if isinstance(path, str)]
    return sys.platform == "win32" and any(len(path) >= _LONGEST_ON_WINDOWS for path in paths)


def refused_by_disk(error: BaseException) -> PipelineError | None:
    """The refusal where an error that nobody took says that a disk takes no more, whatever was being written; else None."""
    if isinstance(error, OutputLostError):
        words = f"standard output cannot be written: {error.strerror or error}"
        return refuse(Code.CANNOT_WRITE, words, "Files that were written before stay as they are.", where=("stdout",))
    if not isinstance(error, OSError) or error.errno not in _OF_THE_DISK:
        return None
    name = Path(os.fsdecode(error.filename)).name if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
    return cannot_write(name or "a file", error)
