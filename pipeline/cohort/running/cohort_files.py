"""Write the files over all cases: cohort.tsv, and those of the layout.

Rules:
- A file is replaced only where it has bytes that were written before, or is the table that is given back. The index knows the
  new bytes before they are there, and the old ones until then, so that no kill makes ours look like somebody's.
- What is not written any more is removed, where it is as it was written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

from ...core.findings import Code, PipelineError, refuse
from ...core.plain_text import escape_text
from ...dicom import source_file
from ..index.index import Index
from ..table import NAME, write_text

_KEPT = "files over all cases"  # in the index
_DIGESTS = 15  # of one file, that it may have after as many runs that were killed while they wrote it


class CohortFiles:
    """The files over all cases in one output folder."""

    def __init__(self, index: Index, out: Path, *, overwrite: bool) -> None:
        self._index, self._out, self._overwrite = index, out, overwrite
        self._digests: dict[str, list[str]] = json.loads(index.meta(_KEPT) or "{}")  # by path, the last one first

    def write(self, path: str, text: str) -> None:
        """Write a file.

        Args:
            path: relative to the output folder.
            text: of it.

        Raises: PipelineError OUTPUT_EXISTS where something is there that was not written here, CANNOT_WRITE.
        """
        digest = sha256(escape_text(text).encode()).hexdigest()
        known = self._digests.get(path, [])
        place = self._out / path
        if not known and os.path.lexists(place) and not self._overwrite:
            raise _edited(path)
        if known[:1] != [digest]:
            self._digests[path] = [digest, *known[:_DIGESTS]]
            self._save()
        write_text(place, text)

    def keep_only(self, paths: Collection[str]) -> None:
        """Remove the files that are not among these any more, where they are as they were written."""
        for path in sorted(self._digests.keys() - set(paths)):
            if _digest_of(self._out / path) in self._digests.pop(path):
                (self._out / path).unlink()
        self._digests = {path: known[:1] for path, known in self._digests.items()}
        self._save()

    def are_as_written(self) -> bool:
        """Whether all of them are there, as they were written last."""
        return bool(self._digests) and all(
            _digest_of(self._out / path) == known[0] for path, known in self._digests.items()
        )

    def refuse_edited(self, table: Path | None) -> None:
        """Refuse to replace a file that somebody has changed or put there.

        Args:
            table: that the user gives back, which may be one of them; None for none.

        Raises: PipelineError OUTPUT_EXISTS.
        """
        for path, known in {NAME: [], **self._digests}.items():
            place = self._out / path
            is_given = table is not None and place.exists() and table.exists() and place.samefile(table)
            if place.exists() and not is_given and not self._overwrite and _digest_of(place) not in known:
                raise _edited(path)

    def _save(self) -> None:
        self._index.set_meta(_KEPT, json.dumps(self._digests))


def _digest_of(path: Path) -> str:
    """The SHA-256 of a file; "" where it cannot be read."""
    try:
        return source_file.sha256(path)
    except OSError:
        return ""


def _edited(path: str) -> PipelineError:
    give = f"Give it back with --table {path}," if path == NAME else "Move it away,"
    return refuse(
        Code.OUTPUT_EXISTS,
        f"{path} is there and is not what was written here, and would be replaced",
        f"{give} or replace it with -w overwrite.",
        where=(path,),
    )
