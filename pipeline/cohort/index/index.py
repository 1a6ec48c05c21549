"""Keep what is known of the inputs of a cohort, and what came of its cases: the one place where a tree is scanned.

Rules:
- Every file below the inputs is in one row: of a series or bundle, or left out with its reason.
- Series are given in the order of their keys, files in that of their paths.
- A hash is kept for the bytes a file had when it was indexed, and no others.
- Where the work is broken off, what was committed stays, and the rest is done by the next update.
"""

from __future__ import annotations

import ast
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ...dicom.source_file import size_of, written_ns
from ..facts import InputFile, SeriesFacts, image_digest
from .facts_json import from_json
from .store import Store
from .unread import UnreadFiles
from .update_index import Changes, Update

if TYPE_CHECKING:
    from ...conversion.request import Progress


class Index:
    """The index of a cohort, open for one process. Use it in a `with` block."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. path: OUT/.verimask/index.sqlite. Raises COHORT_IN_USE, INDEX_UNREADABLE, UNSUPPORTED_VERSION."""
        self._path = path
        self._store = Store(path)
        self._unread: UnreadFiles | None = None
        self._held: tuple[int, frozenset[int]] = -1, frozenset()
        self.is_as_it_was = False  # whether the last update found nothing to change

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close(error)

    def close(self) -> None:
        """Close it, so that another process can open it."""
        self._store.close()

    def update(self, inputs: Sequence[Path], progress: Progress = lambda stage, done, total: None) -> Changes:
        """Bring the index up to date with the files below the inputs. An unchanged folder costs its stat calls only.

        Args:
            inputs: folders or files. The output folder is none of them where it lies below one.
            progress: called with the stage and the number of files that were looked at.

        Returns: how many files were new, changed, gone and unchanged.

        Raises: PipelineError NO_SUCH_INPUT or FILE_UNREAD for an input that cannot be reached.
        """
        self._unread, self._held = None, (-1, frozenset())
        private = os.path.realpath(self._path.parent)
        out = os.path.dirname(private)
        is_below = any(out.startswith(os.path.join(os.path.realpath(given), "")) for given in inputs)
        before = self._store.db.total_changes
        changes = Update(self._store, inputs, [private, out] if is_below else [private], progress).run()
        self.is_as_it_was = self._store.db.total_changes == before
        return changes

    @property
    def root(self) -> str:
        """The folder that the names in it are relative to."""
        return str(ast.literal_eval(self._store.meta("root") or "''"))

    @property
    def salt(self) -> bytes:
        """What patient digests are made with; b"" before the first update."""
        return bytes.fromhex(self._store.meta("salt") or "")

    def series(self) -> Iterator[SeriesFacts]:
        """Give the facts of every series and bundle, in the order of their keys."""
        rows = self._store.db.execute("SELECT key, facts, images, alike FROM series ORDER BY key")
        for key, text, images, alike in rows:
            yield self._named(from_json(key, text, images), alike)

    def files_of(self, key: str) -> list[InputFile]:
        """List the files of a series or bundle, by path; none for a key that is not known."""
        number = self._store.series_number(key)
        return [file for file, _ in self._store.files("files.series = ?", (number,))]

    def unread_beside(self, key: str) -> list[InputFile]:
        """List the files that were left out and may be a plane of a series."""
        self._unread = self._unread or UnreadFiles(self._store)
        number = self._store.series_number(key)
        return [] if number is None else list(self._unread.concerning(number))

    def holds(self, key: str, digests: Collection[int]) -> int:
        """Count how many of these images a series holds. digests: of `facts.image_digest`, each counted once."""
        number = self._store.series_number(key)
        if number is None:
            return 0
        if self._held[0] != number:
            rows = self._store.db.execute("SELECT image FROM files WHERE series = ?", (number,))
            self._held = number, frozenset(image for (image,) in rows)
        return len(self._held[1].intersection(digests))

    def left_out(self) -> Iterator[tuple[str, str, str]]:
        """Give path, code and message of every file that belongs to no series."""
        for file, reason in self._store.files("files.reason IS NOT NULL"):
            code, _, message = reason.partition(": ")
            yield file.path, code, message

    def remember_hashes(self, hashes: Mapping[str, str]) -> None:
        """Keep the SHA-256 of files. A file that is not as it was when it was indexed is passed over."""
        rows = [
            (bytes.fromhex(hashes[path]), file.row)
            for path, file in self._store.known_of(hashes)
            if (file.size, file.mtime_ns) == _state(path)
        ]
        self._store.db.executemany("UPDATE files SET sha256 = ? WHERE id = ?", rows)
        self._store.commit()

    def results(self) -> dict[str, dict[str, Any]]:
        """Get what is kept of every case, by case ID."""
        rows = self._store.db.execute("SELECT case_id, result FROM results ORDER BY case_id")
        return {case_id: json.loads(result) for case_id, result in rows}

    def put_result(self, case_id: str, result: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
        """Keep what came of a case; on disk when this returns.

        Args:
            case_id: which case.
            result: what is kept of it.
            hashes: SHA-256 of the files it was made of, by path.
        """
        self._store.db.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (case_id, json.dumps(result)))
        self.remember_hashes(hashes)

    def drop_result(self, case_id: str) -> None:
        """Forget what came of a case."""
        self._store.db.execute("DELETE FROM results WHERE case_id = ?", (case_id,))
        self._store.commit()

    def meta(self, name: str) -> str | None:
        """Get a value by its name."""
        return self._store.meta(f"user {name}")

    def set_meta(self, name: str, value: str) -> None:
        """Keep a value under a name; on disk when this returns."""
        self._store.set_meta(f"user {name}", value)

    def _named(self, facts: SeriesFacts, alike: int | None) -> SeriesFacts:
        """Facts with what other series say: planes that a mask names as its images are images, however few values they hold.

        A mask is called as convert would call it: by its folder, where another series of the study has its description.
        """
        if facts.role != "mask" or facts.kind != "image":
            return facts
        if facts.uid and self._store.is_named(image_digest(facts.uid)):
            return replace(facts, role="image", masks=(), series_uids=(), images=())
        if alike is None:
            return facts
        rows = self._store.db.execute("SELECT facts FROM series WHERE alike = ?", (alike,))
        folders = Counter(self._folder_name(json.loads(text).get("folder", "")) for (text,) in rows)
        own = self._folder_name(facts.folder)
        name = own if own and folders[own] == 1 < folders.total() else facts.description
        old = facts.mask_name
        masks = tuple(
            mask._replace(name=name + mask.name[len(old) :]) if old and mask.name.startswith(old) else mask
            for mask in facts.masks
        )
        return replace(facts, mask_name=name, masks=masks)

    def _folder_name(self, folder: str) -> str:
        """The name of a folder, or of an archive without its ending."""
        name = os.path.basename(folder)
        return os.path.splitext(name)[0] if name.casefold().endswith(".zip") else name


def _state(path: str) -> tuple[int, int]:
    """Size and time of a file, or of a member of an archive, as the index has them; what nothing has where it is gone."""
    try:
        return size_of(Path(path)), written_ns(Path(path))
    except OSError:
        return -1, -1
