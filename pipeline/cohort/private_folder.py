"""Name the places in OUT/.verimask, and put a finished case into its own: a private folder that is renamed to its key.

Rules:
- A case is written in a folder that nobody else has, and is done when that folder is renamed to done/KEY. The rename fails
  where that exists, so of two processes that made a case one has made it, and both are told which.
- The name of a folder in work/ begins with the MARK of its process: what a process that died leaves can be removed while
  others write.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from ..core.atomic_file import MARK

PRIVATE = ".verimask"
RESULT = "result.json"  # in a finished case: what came of it
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM)  # the last two on Windows


def plans_in(out: Path) -> Path:
    """Where the plans are."""
    return out / PRIVATE / "plans"


def done_in(out: Path) -> Path:
    """Where the finished cases are, each in a folder of its key."""
    return out / PRIVATE / "done"


def new_work_folder(out: Path) -> Path:
    """Make a folder of this process alone to write a case in."""
    folder = out / PRIVATE / "work" / f"{MARK}{os.urandom(8).hex()}"
    folder.mkdir(parents=True)
    return folder


def put_done(folder: Path, out: Path, key: str) -> bool:
    """Rename a folder of `new_work_folder` to that of its case, as a whole; where another process was first, remove it.

    Args:
        folder: holds what the case made, and its result.
        out: the output folder.
        key: of the case.

    Returns: whether it is the one that is there now.

    Raises: OSError where it cannot be moved.
    """
    target = done_in(out) / key
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(target)
    except OSError as error:
        if not folder.exists() and (target / RESULT).exists():
            return True  # NFS: the answer to a rename was lost, and the one to its repetition is that there is none
        if error.errno not in _TAKEN or not (target / RESULT).exists():
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def remove_work(out: Path, mark: str) -> None:
    """Remove what a process that is no more was writing. mark: the MARK of that process, "" before it had one."""
    if mark:  # without it every name would fit, those of others too
        for folder in (out / PRIVATE / "work").glob(f"{mark}*"):
            shutil.rmtree(folder, ignore_errors=True)
