"""Look at a path that somebody gave: what is there, or a refusal with the reason why that cannot be seen.

Rules:
- A path that leads through a folder of others, is longer than a disk takes, goes in a circle or holds a zero byte cannot be
  looked at. That is a fault of the path, and never one of this program: every path that is given is looked at here first.
- Nothing there is no fault. Whoever needs something there says so in its own words.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

from .findings import Code, PipelineError, refuse
from .write_refusals import cannot_write

_OF_THE_PATH = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)


class SeenPath(NamedTuple):
    """What a path leads to, links followed. mode: as of `stat`, 0 for nothing."""

    mode: int

    @property
    def is_there(self) -> bool:
        """Whether anything is there."""
        return self.mode != 0

    @property
    def is_folder(self) -> bool:
        """Whether a folder is there."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether a regular file is there."""
        return stat.S_ISREG(self.mode)


def look_at_input(path: str | os.PathLike[str]) -> SeenPath:
    """Look at what is to be read. Raises FILE_UNREAD where that cannot be seen."""
    try:
        return _look_at(path)
    except OSError as error:
        raise cannot_reach(path, error) from error


def look_at_output(path: str | os.PathLike[str]) -> SeenPath:
    """Look at where something is to be written. Raises CANNOT_WRITE where that cannot be seen."""
    try:
        return _look_at(path)
    except OSError as error:
        raise cannot_write(os.path.basename(path) or os.fspath(path), error) from error


def list_input(folder: Path) -> list[Path]:
    """List what a folder holds that is to be read, in the order of the names. Raises FILE_UNREAD where it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise cannot_reach(folder, error) from error


def list_output(folder: Path) -> list[Path]:
    """List what a folder holds that is to be written to. Raises CANNOT_WRITE where it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise cannot_write(folder.name, error) from error


def cannot_reach(path: str | os.PathLike[str], error: OSError) -> PipelineError:
    """The refusal of an input that may be there, and cannot be reached."""
    return refuse(
        Code.FILE_UNREAD,
        f"{os.fspath(path)} cannot be reached: {error.strerror or error}",
        "Check the path, and whether you may read there; nothing was read.",
        where=(os.fspath(path),),
    )


def refused_by_path(error: BaseException) -> PipelineError | None:
    """The refusal where an error that nobody took says that a path cannot be followed, whoever went there; else None."""
    if (
        not isinstance(error, OSError)
        or error.errno not in _OF_THE_PATH
        or not isinstance(error.filename, (str, bytes))
    ):
        return None
    return cannot_reach(os.fsdecode(error.filename), error)


def _look_at(path: str | os.PathLike[str]) -> SeenPath:
    """Raises OSError, also for what no path can be."""
    try:
        return SeenPath(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return SeenPath(0)
    except ValueError as error:  # a zero byte, or a sign that no name on this system has
        raise OSError(str(error)) from error
