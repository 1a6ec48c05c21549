"""Remember what was read off files, so that an unchanged file is not read a second time.

Rules:
- A file is unchanged where device, inode, size, and the times of the last write and the last change are what they were.
- What is remembered is kept in one JSON file of a private folder: it holds times, which are in no page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.atomic_file import in_place
from ..core.json_file import read_json
from ..dicom.source_file import state_of


class FileMemory:
    """What was read off files before. path: where it is kept; nothing is kept where it is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._before = _read(path)
        self._now: dict[str, Any] = {}

    def read(self, file: Path, name: str, read: Callable[[Path], Any]) -> Any:
        """Read a file, unless that was done before and it has not changed since.

        Args:
            file: to read.
            name: of the file and of what is read, equal in every run.
            read: gives a value that JSON has.

        Returns:
            What `read` gives.

        Raises:
            OSError: the file is not there; and whatever `read` raises.
        """
        state = list(state_of(file))
        before = self._before.get(name)
        if isinstance(before, list) and len(before) == 2 and before[0] == state:
            value = before[1]
        else:
            value = read(file)
        self._now[name] = [state, value]
        return value

    def save(self) -> None:
        """Keep what was read in this run, for the next one. Raises CANNOT_WRITE."""
        if self._path is not None and self._now != self._before:
            with in_place(self._path, overwrite=True) as part:
                part.write_text(json.dumps(self._now, sort_keys=True), "utf-8")


def _read(path: Path | None) -> dict[str, Any]:
    """Read what an earlier run kept; nothing where it kept none, or where that was damaged."""
    try:
        kept = {} if path is None else read_json(path)
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
