"""Bring the index up to date: walk the inputs, scan the folders that are not as they were, and forget what is gone.

Rules:
- Where names, sizes and times of a folder are as they were, nothing of it is opened, and no row of it is read.
- A file of another time whose bytes have the hash that is known of it is unchanged.
- An archive is looked at again by its own size and time, whatever else is in its folder.
- What a folder gave is replaced in one transaction. What goes wrong in one folder is the reason of its files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from ...core.codes import Code
from ...core.unexpected import as_refusal
from ...core.version import __version__
from ...dicom.files import refuse_unreachable
from ...dicom.source_file import sha256
from .rows import FileRow, KnownFile, ScannedFolder, join
from .store import Store
from .walk import ListedFile, Listing, root_of, walk

if TYPE_CHECKING:
    from ...conversion.request import Progress
    from .scan_folder import Scanner

# The digest of a folder that is scanned again by the next update: one with files that may not be opened, since that they
# may be shows in no time of theirs, or that met an error of the program.
RETRY = b"retry"


class Changes(NamedTuple):
    """How many files an update found new, changed, gone and unchanged."""

    new: int = 0
    changed: int = 0
    gone: int = 0
    unchanged: int = 0


class _Difference(NamedTuple):
    """How a folder differs from what is known of it. touched: rows whose file has another time, and the same bytes.

    archives: those that are as they were. lost: numbers of archives that are gone, or to be looked at again.
    """

    touched: list[tuple[int, ListedFile]]
    archives: list[str]
    lost: list[int]
    is_same: bool


class Update:
    """One update of an index."""

    def __init__(self, store: Store, inputs: Sequence[Path], skipped: Sequence[str], progress: Progress) -> None:
        """Prepare it.

        Args:
            store: the index.
            inputs: folders or files.
            skipped: real paths of folders that are no inputs.
            progress: called with the stage and the number of files so far.

        Raises: PipelineError NO_SUCH_INPUT, FILE_UNREAD for an input that cannot be reached; the index stays as it is.
        """
        for given in inputs:
            refuse_unreachable(given)
        self._store, self._inputs, self._skipped, self._progress = store, inputs, skipped, progress
        self._counts: Counter[str] = Counter()
        self._seen: set[int] = set()
        root = root_of(inputs)
        self._root, self._salt = root, bytes.fromhex(_salt(store))
        made_by = f"{__version__} {root!r}"
        if store.meta("made by") != made_by:
            store.clear_inputs()
            store.set_meta("made by", made_by)
            store.set_meta("root", repr(root))

    def _scanner(self) -> Scanner:
        """Get what scans a folder; an unchanged tree does not pay for its import."""
        from .scan_folder import Scanner

        return Scanner(self._root, self._salt)

    def run(self) -> Changes:
        """Do it."""
        for listing in walk(self._inputs, self._skipped):
            self._look(listing)
            self._store.commit(if_due=True)
            self._progress("indexing", self._counts.total(), 0)
        for number in self._store.folder_numbers():
            if number not in self._seen:
                self._counts["gone"] += self._store.drop_folder(number)
                self._store.commit(if_due=True)
        self._settle()
        self._store.commit()
        return Changes(**self._counts)

    def _look(self, listing: Listing) -> None:
        """Compare a folder with what is known of it, and scan it where it differs."""
        digest, known = listing.digest(), self._store.folder(listing.folder)
        if known is not None:
            self._seen.add(known[0])
            if known[1] == digest:
                self._counts["unchanged"] += len(listing.entries)
                return
        files = self._store.known_files(known[0]) if known else {}
        difference = self._compare(listing, files)
        if known is not None:
            self._store.set_state(known[0], digest, difference.touched)
            if difference.is_same and known[1] != RETRY:
                return
        scanned = self._scan(listing, difference.archives)
        self._seen.add(self._store.put_folder(scanned))
        for number in difference.lost:
            if not self._store.is_in_use(number):
                self._store.drop_folder(number)

    def _compare(self, listing: Listing, files: dict[str, KnownFile]) -> _Difference:
        touched: list[tuple[int, ListedFile]] = []
        archives: list[str] = []
        lost = [file.archive for file in files.values() if file.archive is not None]
        names = {entry.name for entry in listing.entries}
        gone = len(files.keys() - names)
        is_same = not gone
        for entry in listing.entries:
            path, file = join(listing.folder, entry.name), files.get(entry.name)
            state = "new" if file is None else _compare_file(path, entry, file)
            self._counts["unchanged" if state == "touched" else state] += 1
            if file is not None and state == "touched":
                touched.append((file.row, entry))
            if state in ("new", "changed"):
                is_same = False
            elif file is not None and file.archive is not None:
                archives.append(path)
                lost.remove(file.archive)
        self._counts["gone"] += gone
        return _Difference(touched, archives, lost, is_same)

    def _scan(self, listing: Listing, archives: Sequence[str]) -> ScannedFolder:
        """Scan a folder, and the archives in it that are not known as they are."""
        try:
            scanned, found = self._scanner().folder(listing, archives)
        except Exception as error:
            reason = str(as_refusal(error))
            rows = [FileRow(e.name, e.size, e.mtime_ns, reason=reason, may_be_plane=True) for e in listing.entries]
            return ScannedFolder(listing.folder, RETRY, rows, [])
        reasons = {path: self._scan_archive(path, listing) for path in found}
        rows = [
            row._replace(archive="", reason=reasons[row.archive]) if reasons.get(row.archive) else row
            for row in scanned.files
        ]
        given = {entry.name for entry in listing.entries if not entry.why_unread}
        unopened = any(
            row.may_be_plane and row.name in given and not os.access(join(listing.folder, row.name), os.R_OK)
            for row in rows
        )
        stumbled = any(Code.UNEXPECTED.name in series.facts for series in scanned.series)
        return scanned._replace(files=rows, digest=RETRY if unopened or stumbled else scanned.digest)

    def _scan_archive(self, path: str, listing: Listing) -> str:
        """Scan an archive and keep what it holds; say why it is left out, "" where it is not."""
        entry = next(entry for entry in listing.entries if join(listing.folder, entry.name) == path)
        try:
            scanned = self._scanner().archive(path, entry)
        except Exception as error:
            return str(as_refusal(error))
        if isinstance(scanned, str):
            return scanned
        self._store.put_folder(scanned)
        return ""

    def _settle(self) -> None:
        """Put the series of several folders together that have changed."""
        stale = self._store.stale_series()
        for done, (number, key) in enumerate(stale, 1):
            paths = self._store.paths_of(number)
            row = None
            try:
                row = self._scanner().together(key, paths) if paths else None
            except Exception:  # each folder's own facts stay: they say what is wrong
                row = None
            self._store.settle_series(number, row)
            self._store.commit(if_due=True)
            self._progress("joining series", done, len(stale))


def _compare_file(path: str, entry: ListedFile, known: KnownFile) -> str:
    """Whether a file is "unchanged", "touched" (of another time, with the same bytes) or "changed"."""
    if (entry.size, entry.mtime_ns) == (known.size, known.mtime_ns):
        return "unchanged"
    if known.sha256 is None or entry.size != known.size or entry.why_unread:
        return "changed"
    try:
        return "touched" if bytes.fromhex(sha256(Path(path))) == known.sha256 else "changed"
    except OSError:
        return "changed"


def _salt(store: Store) -> str:
    """The salt of patient digests: random, made once."""
    salt = store.meta("salt")
    if salt is None:
        salt = token_hex(32)
        store.set_meta("salt", salt)
    return salt
