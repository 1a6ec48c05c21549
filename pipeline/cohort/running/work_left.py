"""Remove what a process that died was writing: its folders in OUT/.verimask/work, whose names begin with its mark."""

from __future__ import annotations

import shutil
from pathlib import Path


def remove_work(out: Path, mark: str) -> None:
    """Remove what a process that is no more was writing, and nothing of others.

    Args:
        out: the output folder.
        mark: the MARK of that process, "" where it died before it named it.
    """
    if mark:  # without it every name would fit, those of others too
        for folder in (out / ".verimask" / "work").glob(f"*/{mark}*"):
            shutil.rmtree(folder, ignore_errors=True)
