"""Open files to read that somebody named or that lie in a folder: regular files, and nothing that may be waited for.

Rules:
- A pipe would be waited for until somebody writes to it, a device may never end, and to open one may set something off. So
  what a path leads to is looked at first; and since it may be exchanged meanwhile, it is opened without waiting and looked
  at again.
- What is no regular file is an OSError in words: every caller has its refusal for a file that cannot be read.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL
from typing import BinaryIO

AnyPath = str | os.PathLike[str]
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)


class SpecialFileError(OSError):
    """A path leads to a pipe, a socket or a device. strerror: says so."""

    def __init__(self, mode: int, path: str) -> None:
        super().__init__(EINVAL, f"it is {kind_of(mode)}, which is never opened", path)


def kind_of(mode: int) -> str:
    """What something of this mode is, that is neither a file nor a folder: "a pipe"."""
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def is_file(path: AnyPath) -> bool:
    """Whether a regular file is there, links followed. For names from files: one that no file can have is no error."""
    return os.path.isfile(path)


def is_there(path: AnyPath) -> bool:
    """Whether anything is there, links followed. As `is_file`."""
    return os.path.exists(path)


def open_regular(path: AnyPath, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading bytes.

    Args:
        path: of the file; links are followed.
        buffering: 0 for none, as of `open`.

    Raises: SpecialFileError for a pipe, a socket or a device; OSError where it cannot be opened, IsADirectoryError for a folder.
    """
    _refuse_special(os.stat(path).st_mode, path)
    return open(path, "rb", buffering=buffering, opener=_open_at_once)


def descriptor_of(path: AnyPath) -> int:
    """Open a regular file as `open_regular` does, and return its descriptor."""
    _refuse_special(os.stat(path).st_mode, path)
    return _open_at_once(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))


def read_bytes(path: AnyPath) -> bytes:
    """Read a regular file. Raises as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_text(path: AnyPath, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Read a regular file of text, its line ends as \\n.

    Args:
        path: of the file.
        encoding: of its text.
        errors: what becomes of bytes that are none, as of `open`.

    Returns: the text.

    Raises: as `open_regular`, and UnicodeDecodeError.
    """
    return read_bytes(path).decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def _open_at_once(path: AnyPath, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | _WITHOUT_WAITING)
    except BlockingIOError:  # another program has a lease on it, as file servers do, and is asked to give it back
        descriptor = os.open(path, flags)
    try:
        _refuse_special(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_special(mode: int, path: AnyPath) -> None:
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise SpecialFileError(mode, os.fspath(path))
