"""Put files and folders in their place whole: written beside it under another name, and moved there at the end.

Rules:
- What exists is never replaced unless the caller says so, not even where it appears during the writing.
- Whatever fails leaves nothing behind, neither half a file nor its temporary name. What a process that was killed leaves
  has the mark of that process, so that another one can remove it.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .findings import Code, PipelineError, refuse

MARK = os.urandom(4).hex()  # of this process, in every temporary name it makes
_HINTS = {
    errno.ENOSPC: "The disk is full: make room on it, or write elsewhere.",
    errno.EDQUOT: "Your share of the disk is full: make room, or write elsewhere.",
    errno.EROFS: "The disk can only be read: write elsewhere.",
    errno.EACCES: "Write where you may, or ask for the right to write here.",
    errno.EPERM: "Write where you may, or ask for the right to write here.",
    errno.ENAMETOOLONG: "Give it a shorter name.",
}


@contextmanager
def in_place(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary path beside `target` to write to, which becomes `target` when the block ends well.

    Raises OUTPUT_EXISTS, also where the target appears while the block runs, and CANNOT_WRITE.
    """
    if not overwrite and os.path.lexists(target):
        raise _exists(target, "is already there and was left alone")
    temporary = _temporary_path(target)
    try:
        yield temporary
        try:
            temporary.replace(target) if overwrite else _move(temporary, target)
        except FileExistsError as error:
            raise _exists(target, "appeared while it was being written; it was left alone") from error
    except OSError as error:
        raise cannot_write(target.name, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def folder_in_place(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` to fill, which becomes `target` when the block ends well.

    `target` may be an empty folder; its parents are made. Raises OUTPUT_EXISTS, CANNOT_WRITE.
    """
    temporary = _temporary_path(target)
    try:
        if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
            raise _exists(target, "is already there and not an empty folder; it was left alone")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        if target.is_dir():
            target.rmdir()  # Windows does not rename onto a folder
        temporary.rename(target)
    except OSError as error:
        raise cannot_write(target.name, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_path(target: Path) -> Path:
    """A name in the same folder that nobody else has; the ending tells what is being written."""
    return target.parent / f".{MARK}{os.urandom(4).hex()}.{target.name}.partial"


def remove_partial_files(folder: Path, mark: str) -> None:
    """Remove what a process that is no more was writing into a folder. mark: the MARK of that process, "" before it had one."""
    if not mark:  # every name would fit, those of others too
        return
    with suppress(OSError):  # the folder may be gone as well
        for path in folder.glob(f".{mark}*.partial"):
            with suppress(OSError):
                path.unlink()


def _move(temporary: Path, target: Path) -> None:
    """Rename, but raise FileExistsError where the target appeared meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # exFAT and some network folders have no links: take the name, then replace our own empty file
        target.open("xb").close()
        try:
            temporary.replace(target)
        except OSError:
            target.unlink()
            raise


def _exists(target: Path, what: str) -> PipelineError:
    hint = "Give another name, or move the old one away."
    return refuse(Code.OUTPUT_EXISTS, f"{target.name} {what}", hint, where=(target.name,))


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
