"""Find which files that were left out may be a plane of a series, as `dicom.unread_files` does for a single scan.

Rules:
- A file may belong to every series whose files' common folder holds it. Where there is none, it may belong to every series
  with files below the nearest folder above it that has any.
- Such files are few. Series are many, and only those that are asked for are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from ..facts import InputFile
from .store import Store


class _LostFolder(NamedTuple):
    """A folder with files that may be planes. above: itself and the folders that hold it, from the deepest.

    below: the folder whose series they may all belong to; "" where a series' common folder holds this one.
    """

    above: tuple[str, ...]
    below: str
    files: tuple[InputFile, ...]


class UnreadFiles:
    """The files of an index that were left out and may be planes."""

    def __init__(self, store: Store) -> None:
        """Read them. store: the index."""
        self._store = store
        self._spread = {os.path.commonpath(store.folders_of(number)) for number in store.spread_series()}
        files: dict[str, list[InputFile]] = {}
        for folder, file in store.unread_files():
            files.setdefault(folder, []).append(file)
        self._folders = [self._make(folder, tuple(found)) for folder, found in files.items()]

    def concerning(self, number: int) -> Iterator[InputFile]:
        """List those that may be planes of a series. number: of it in the index."""
        if not self._folders:
            return
        folders = self._store.folders_of(number)
        common = os.path.commonpath(folders)
        for lost in self._folders:
            if common in lost.above or (lost.below and any(_is_in(folder, lost.below) for folder in folders)):
                yield from lost.files

    def _make(self, folder: str, files: tuple[InputFile, ...]) -> _LostFolder:
        above = [folder]
        while (next_ := os.path.dirname(above[-1])) != above[-1]:
            above.append(next_)
        is_held = any(one in self._spread or self._store.is_home(one) for one in above)
        below = "" if is_held else next((one for one in above if self._store.has_series_below(one)), "")
        return _LostFolder(tuple(above), below, files)


def _is_in(folder: str, above: str) -> bool:
    return folder == above or folder.startswith(os.path.join(above, ""))
