"""Scan one folder, or one ZIP archive: every file of it in one row, and the facts of its series.

Rules:
- A file belongs to a series or bundle, or is left out with its reason. Nothing is refused here: what refuses a series is
  its problem, and what refuses a file is why it was left out.
- The files directly in a folder with bundle.json belong to the bundle, if it is one.
- What an archive holds is scanned by itself. An archive without a series is one file that was left out.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ...core.findings import Code, PipelineError, Severity
from ...core.text_file import read_bytes
from ...dicom.archive import list_members
from ...dicom.files import FoundFile
from ...dicom.header import Header
from ...dicom.scan import LeftOut, Scan, Series, scan_files
from ...dicom.source_file import size_of
from ...dicom.unread_files import folders_of
from ...mimics.bundle import FORMAT, Bundle, read_bundle
from ..facts import SeriesFacts, image_digest
from .facts_json import to_json, to_packed
from .facts_of import KnownSeries, facts_of_bundle, facts_of_series
from .identity import Identity, identity_of, series_key
from .rows import FileRow, ScannedFolder, SeriesRow
from .walk import ListedFile, Listing

_LIST = "bundle.json"


class Scanner(NamedTuple):
    """How folders are scanned. root: folder that names are relative to. salt: of patient digests."""

    root: str
    salt: bytes

    def folder(self, listing: Listing, archives: Iterable[str] = ()) -> tuple[ScannedFolder, list[str]]:
        """Scan the files directly in a folder.

        Args:
            listing: of the folder.
            archives: paths of ZIP archives in it that are known and not to be opened.

        Returns: what it holds, and the archives that were found, which are to be scanned by themselves.
        """
        bundle = _bundle_in(listing)
        if bundle is not None:
            return self._bundle(listing, bundle), []
        known = set(archives)
        plain = {os.path.join(listing.folder, e.name) if e.name else listing.folder: e for e in listing.entries}
        files = [FoundFile(Path(p), e.why_unread) for p, e in plain.items() if p not in known and not e.is_link]
        found, more = scan_files(files)
        every = sorted({*known, *map(str, more)})
        rows, series = self._rows(found, listing.folder, {path: (e.size, e.mtime_ns) for path, e in plain.items()})
        rows += [_link_row(entry) for entry in listing.entries if entry.is_link]
        rows += [FileRow(plain[p].name, plain[p].size, plain[p].mtime_ns, archive=p) for p in every]
        return ScannedFolder(listing.folder, listing.digest(), rows, series), list(map(str, more))

    def archive(self, path: str, entry: ListedFile) -> ScannedFolder | str:
        """Scan what an archive holds; or say why it is left out, as "CODE: message"."""
        try:
            members = list_members(Path(path))
        except PipelineError as error:
            return str(error)
        except OSError as error:
            return f"{Code.FILE_UNREAD.name}: “{entry.name}” could not be read: {error.strerror}"
        found, _ = scan_files(members, members=True)
        if not found.series:
            return f"{Code.FILE_LEFT_OUT.name}: {entry.name} was left out: a ZIP archive without a DICOM file"
        states = {str(member.path): (_size(member.path), entry.mtime_ns) for member in members}
        rows, series = self._rows(found, path, states)
        return ScannedFolder(path, b"", rows, series, is_archive=True)

    def together(self, key: str, files: Sequence[str]) -> SeriesRow | None:
        """Find the facts of a series from all its files, which lie in several folders; None where they are no such series."""
        found, _ = scan_files([FoundFile(Path(path)) for path in files])
        for series in _by_patient(found):
            identity = identity_of(series.headers)
            if self._key(series, identity) == key:
                return self._series_row(series, identity, len(files))
        return None

    def _rows(
        self, found: Scan, folder: str, states: dict[str, tuple[int, int]]
    ) -> tuple[list[FileRow], list[SeriesRow]]:
        """Make the rows of the files and series of a scan. states: size and time of each file."""
        files: list[FileRow] = []
        series_rows: list[SeriesRow] = []
        for series in _by_patient(found):
            identity = identity_of(series.headers)
            row = self._series_row(series, identity, len(series.headers))
            series_rows.append(row)
            for header in series.headers:
                uid = str(header.get("SOPInstanceUID", ""))
                state = states[str(header.path)]
                name = _name_in(folder, header.path)
                files.append(FileRow(name, *state, row.key, image_digest(uid) if uid else None))
        for left in found.left_out:
            state = states.get(str(left.path), (0, 0))
            files.append(_left_out_row(_name_in(folder, left.path), state, left))
        return files, series_rows

    def _series_row(self, series: Series, identity: Identity, files: int) -> SeriesRow:
        common = folders_of(header.path for header in series.headers).common
        known = KnownSeries(
            self._key(series, identity),
            self._relative(common),
            identity.digest(self.salt),
            identity.identifiers,
            files,
        )
        facts = facts_of_series(series, known)
        return _row_of(facts)

    def _key(self, series: Series, identity: Identity) -> str:
        folder = self._relative(folders_of(header.path for header in series.headers).common)
        first = series.headers[0]
        place = f"{folder}\0{first.get('SOPInstanceUID', first.path.name)}"
        return series_key(series.kind, series.uid, identity.patient_id, place)

    def _bundle(self, listing: Listing, bundle: Bundle | PipelineError) -> ScannedFolder:
        """Make the rows of a bundle's files: all of them are its own."""
        folder = self._relative(listing.folder)
        members = [entry for entry in listing.entries if not entry.why_unread and not entry.is_link]
        key = series_key("bundle", "", "", folder)
        facts = facts_of_bundle(
            bundle, KnownSeries(key, folder, "", (), len(members)), os.path.basename(listing.folder)
        )
        rows = [FileRow(e.name, e.size, e.mtime_ns, key) for e in members]
        for entry in listing.entries:
            if entry.is_link:
                rows.append(_link_row(entry))
            elif entry.why_unread:
                rows.append(_left_out(entry, entry.why_unread))
        return ScannedFolder(listing.folder, listing.digest(), rows, [_row_of(facts)])

    def _relative(self, folder: str) -> str:
        relative = os.path.relpath(folder, self.root) if self.root else folder
        return "" if relative == "." else relative.replace(os.sep, "/")


def _bundle_in(listing: Listing) -> Bundle | PipelineError | None:
    """The bundle that a folder is, or what refuses it; None where it is none."""
    if not any(entry.name == _LIST and not entry.why_unread for entry in listing.entries):
        return None
    folder = Path(listing.folder)
    try:
        return read_bundle(folder)
    except PipelineError as error:
        if error.finding.code is Code.NOT_THIS_KIND:
            return None
        try:
            is_one = FORMAT in read_bytes(folder / _LIST).decode("utf-8", "replace")
        except (OSError, ValueError):
            is_one = False
        return error if is_one else None


def _by_patient(found: Scan) -> list[Series]:
    """The series of a scan, each of one patient; files of a patient each are one, as where an anonymiser did it."""
    result = []
    for series in found.series:
        patients: dict[str, list[Header]] = defaultdict(list)
        for header in series.headers:
            patients[header.patient].append(header)
        if len(patients) in (1, len(series.headers)):
            result.append(series)
            continue
        for headers in patients.values():
            own = set(headers)
            frames = tuple(frame for frame in series.frames if frame.header in own)
            result.append(replace(series, headers=tuple(headers), frames=frames))
    return result


def _row_of(facts: SeriesFacts) -> SeriesRow:
    named = tuple(image_digest(uid) for uid in facts.series_uids) if facts.kind != "image" else ()
    return SeriesRow(facts.key, _alike(facts), to_json(facts), to_packed(facts.images), named)


def _alike(facts: SeriesFacts) -> int | None:
    """What the image series of a study share that convert would name alike: by this, masks are named by their folders."""
    if facts.kind != "image" or not facts.description:
        return None
    scope = facts.study_uid or facts.patient or facts.folder.split("/")[0]
    text = "\0".join((scope, facts.description.casefold()))
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


def _left_out_row(name: str, state: tuple[int, int], left: LeftOut) -> FileRow:
    finding = left.finding
    reason = f"{finding.code.name}: {finding.message}"
    return FileRow(name, *state, reason=reason, may_be_plane=finding.severity is Severity.ERROR)


def _left_out(entry: ListedFile, why: str) -> FileRow:
    reason = f"{Code.FILE_LEFT_OUT.name}: {entry.name} was left out: {why}"
    return FileRow(entry.name, entry.size, entry.mtime_ns, reason=reason)


def _link_row(entry: ListedFile) -> FileRow:
    return _left_out(entry, "it is a link to a file that is found under its own name")


def _name_in(folder: str, path: Path) -> str:
    """The name of a file within a folder or archive; "" for the folder itself."""
    text = str(path)
    return "" if text == folder else text[len(os.path.join(folder, "")) :]


def _size(path: Path) -> int:
    try:
        return size_of(path)
    except OSError:
        return 0
