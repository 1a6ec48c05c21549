"""Read the headers of all files below the inputs, and say why each other file is left out.

Rules:
- Content alone decides what is DICOM. Where a file is not, or cannot be read, `unread_files` decides whether it may be a
  plane: then it is an error, which refuses the series it may belong to.
- Files that repeat another byte for byte are left out: those of one SOP Instance UID, one size and one SHA-256, which are
  read once each; no content is kept.
- What is packed beside a series is a lost plane of it where `packed_planes` finds one.
- A ZIP archive that is given is read like a folder; one that lies in a folder only where no file there is DICOM. A DICOMDIR
  that is given stands for the files it lists; one in a folder is left out, because its files are found by themselves.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..core.findings import Code, Finding, PipelineError, Severity
from ..core.plain_text import escape_controls
from .dicomdir import SOP_CLASS, listed_files
from .files import FoundFile, MemberError, find_files, is_zip
from .header import Header, NotDicom, read_header
from .other_kinds import says_otherwise
from .source_file import bytes_of, open_source, sha256
from .unread_files import PACKED, DicomNames

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_BLOCK = 1 << 16  # bytes read at a time from a file that is not DICOM
_FEW = 4  # lost files that are named one by one: a folder of links to nothing would fill the screen
_ZIP = "a ZIP archive, which is read where it is given itself"
_COPY_AGAIN = (
    "It may be a plane of the series, and one lost at an end leaves no gap. Copy or export it again, or take it out of "
    "the folder if it is none."
)
_LISTED = "a DICOMDIR (the files it lists are found by themselves)"
_GO_ON = "convert --on-unread leave-out goes on without it, and the result stays unconfirmed."


class Left(NamedTuple):
    """A file that was left out, with its reason. series_uid: the series it belongs to, where something else says so."""

    path: Path
    finding: Finding
    series_uid: str = ""


class HeadersRead(NamedTuple):
    """Headers of all DICOM files, every other file with its reason, and all files that were looked at."""

    headers: list[Header]
    left_out: list[Left]
    looked_at: list[Path]


class FilesRead(NamedTuple):
    """Headers of the DICOM files among some, every other one with its reason, and the ZIP archives, which were not opened."""

    headers: list[Header]
    left_out: list[Left]
    archives: list[Path]


class _Unread(NamedTuple):
    """A file that gave no header. foreign: it was read, and is not DICOM."""

    file: FoundFile
    foreign: bool


def read_headers(
    inputs: Sequence[Path], progress: Callable[[int], None], read: Callable[[Path], Header] = read_header
) -> HeadersRead:
    """Read the headers of all DICOM files below the inputs, in archives and of DICOMDIRs that are given.

    Args:
        inputs: folders or files.
        progress: called with the number of files that were looked at.
        read: gives the header of a file.

    Returns: headers, and what was left out.

    Raises: PipelineError NO_SUCH_INPUT or FILE_UNREAD for an input that cannot be reached, and what an archive or a DICOMDIR
    that is given is refused for.
    """
    reading = _Reading(progress, read)
    reading.take(find_files(inputs))
    given = {os.path.realpath(path) for path in inputs}
    reading.open_directories(given)
    reading.open_archives(given)
    return reading.finish()


def read_files(
    files: Iterable[FoundFile],
    progress: Callable[[int], None],
    read: Callable[[Path], Header] = read_header,
    *,
    members: bool = False,
) -> FilesRead:
    """Read the headers of the DICOM files among those that were found, and of no others: no archive or DICOMDIR is opened.

    Args:
        files: that were found, of one folder or one archive.
        progress: called with the number of files that were looked at.
        read: gives the header of a file.
        members: whether they are of an archive, whose bytes may be damaged anywhere; archives among them are left out.

    Returns: headers, what was left out, and the archives.

    Raises: nothing: what cannot be read is left out with its reason.
    """
    reading = _Reading(progress, read)
    reading.take(files, members=members)
    archives = [] if members else reading.set_archives_aside()
    headers, left_out, _ = reading.finish()
    return FilesRead(headers, left_out, archives)


class _Reading:
    """Reads file after file, and collects what each gives."""

    def __init__(self, progress: Callable[[int], None], read: Callable[[Path], Header]) -> None:
        self._progress, self._read = progress, read
        self._headers: list[Header] = []
        self._left_out: list[Left] = []
        self._unread: list[_Unread] = []
        self._directories: list[Path] = []
        self._broken: list[Left] = []  # archives that were found, not given
        self._looked_at: list[Path] = []

    def take(self, files: Iterable[FoundFile], *, members: bool = False) -> None:
        """Read the headers of files. members: they are of an archive, whose bytes may be damaged anywhere."""
        for found in files:
            self._looked_at.append(found.path)
            read = _Unread(found, foreign=False) if found.why_unreadable else self._read_one(found.path, whole=members)
            if isinstance(read, _Unread):
                known = read.file._replace(series_uid=found.series_uid, is_plane=found.is_plane)
                self._unread.append(read._replace(file=known))
            elif _is_directory(read):
                self._directories.append(found.path)
            elif isinstance(read, Finding):
                self._left_out.append(Left(found.path, read))
            elif (reason := _why_left_out(read)) is not None:
                self._left_out.append(Left(found.path, reason))
            else:
                self._headers.append(read)
            self._progress(len(self._looked_at))

    def _read_one(self, path: Path, *, whole: bool) -> Header | Finding | _Unread:
        """The header of a file, or why it is left out, or why it gives none. whole: read all its bytes, to see that they are sound."""
        try:
            header = self._read(path)
            if whole:
                bytes_of(path)
        except NotDicom:
            return _Unread(FoundFile(path, _why_not_dicom(path)), foreign=True)
        except PipelineError as error:
            return error.finding
        except MemberError as error:
            return _Unread(FoundFile(path, error.why, error.hint), foreign=False)
        except OSError as error:
            return _Unread(FoundFile(path, f"it cannot be opened: {error.strerror}"), foreign=False)
        return header

    def open_directories(self, given: set[str]) -> None:
        """Read the files that DICOMDIRs list. given: real paths of the inputs; others are left out."""
        wanted = [path for path in self._directories if os.path.realpath(path) in given]
        for path in wanted:
            self._directories.remove(path)
            seen = {os.path.realpath(path) for path in self._looked_at}
            files = listed_files(path)
            self.take(one for one in files if one.why_unreadable or os.path.realpath(one.path) not in seen)

    def open_archives(self, given: set[str]) -> None:
        """Read the members of archives that are given; where nothing is DICOM so far, of all."""
        archives = self._archives()
        wanted = [one for one in archives if os.path.realpath(one.file.path) in given]
        for one in wanted or ([] if self._headers else archives):
            from .archive import list_members  # zipfile takes a while to import

            self._unread.remove(one)
            try:
                members = list_members(one.file.path)
            except PipelineError as error:
                if wanted:
                    raise
                self._broken.append(Left(one.file.path, error.finding))
                continue
            self._looked_at.remove(one.file.path)
            self.take(members, members=True)

    def set_archives_aside(self) -> list[Path]:
        """Forget the archives among the files, and list them."""
        archives = self._archives()
        for one in archives:
            self._unread.remove(one)
        return [one.file.path for one in archives]

    def _archives(self) -> list[_Unread]:
        return [one for one in self._unread if one.file.why_unreadable == _ZIP and not says_otherwise(one.file.path)]

    def _lost_in_packed(self) -> dict[Path, Left]:
        """The errors for packed files beside the others, in which planes are lost."""
        packed = [one.file.path for one in self._unread if one.foreign and PACKED.search(one.file.path.name)]
        if not packed or not self._headers:
            return {}
        from .packed_planes import PackedPlanes  # what unpacks takes a while to import

        planes = PackedPlanes(self._headers)
        found = [(path, planes.find_lost(path)) for path in packed]
        return {path: _lost_packed(path, *lost) for path, lost in found if lost is not None}

    def finish(self) -> HeadersRead:
        """Judge what was not read, drop copies, and give everything."""
        names = DicomNames(header.path for header in self._headers)
        left_out = [*self._left_out, *(Left(path, _left_out(path, _LISTED)) for path in self._directories)]
        packed = self._lost_in_packed()
        for one in self._unread:
            path = one.file.path
            left_out.append(packed.get(path) or Left(path, _judge(one, names), one.file.series_uid))
        headers, copies = _drop_copies(self._headers)
        for path, broken, _ in self._broken:  # no other series has a part in it
            left_out.append(Left(path, _left_out(path, broken.message, Severity.WARNING) if headers else broken))
        return HeadersRead(headers, [*left_out, *copies], self._looked_at)


def few(lost: Sequence[Finding]) -> list[Finding]:
    """Shorten findings over lost files: those beyond the first few become one."""
    if len(lost) <= _FEW + 1:
        return list(lost)
    shown, rest = lost[:_FEW], lost[_FEW:]
    message = f"{len(rest)} more files could not be read"
    return [*shown, replace(rest[0], message=message, where=tuple(name for f in rest for name in f.where))]


def cut_off(path: Path, what: str) -> Finding:
    """Make the error for a file that begins like DICOM and ends too early. what: it lacks, as "has no pixel data"."""
    hint = "The file was probably cut off in transfer; export or copy it again. convert --on-unread leave-out goes on without it."
    return Finding(Code.CORRUPT_FILE, f"{path.name} {what}", hint, where=(path.name,))


def _is_directory(read: Header | Finding) -> bool:
    """Whether a file is a DICOMDIR, which has no image."""
    if not isinstance(read, Header) or "SeriesInstanceUID" in read.values:
        return False
    return read.get("SOPClassUID") == SOP_CLASS or read.path.name.upper() == "DICOMDIR"


def _why_left_out(header: Header) -> Finding | None:
    """Why a file with a readable header is left out; None where it is not."""
    if "SeriesInstanceUID" in header.values or (header.has_pixels and "Rows" in header.values):
        return None  # an image without its series' UID is whole all the same: `join_series` finds where it belongs
    sop_class = str(header.get("SOPClassUID", ""))
    if not sop_class or sop_class.startswith(_STORAGE):
        return cut_off(header.path, "has no Series Instance UID (0020,000E), which every image has")
    return _left_out(header.path, "no Series Instance UID (0020,000E)", Severity.WARNING)


def _why_not_dicom(path: Path) -> str:
    """Why a file that does not begin like DICOM does not."""
    try:
        with open_source(path) as file:
            if is_zip(file, path.name):
                return _ZIP
            start = file.read(_BLOCK)
            if not start:
                return "it is empty"
            while start and not start.strip(b"\0"):
                start = file.read(_BLOCK)
            return "not DICOM" if start else "not DICOM, it holds only zeros"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _lost_packed(path: Path, plane: str, series_uid: str) -> Left:
    """Make the error for a packed file that holds a plane, which its series lacks. series_uid: "" where names alone tell."""
    name, plane = escape_controls(path.name), escape_controls(plane)
    may = "is" if series_uid else "may be"
    words = (
        f"“{name}” could not be read: it is packed, and {plane} in it {may} a plane of a series that is here without it"
    )
    hint = f"Unpack it beside the others, and give the folder. {_GO_ON}"
    return Left(path, Finding(Code.FILE_UNREAD, words, hint, where=(path.name,)), series_uid)


def _judge(unread: _Unread, names: DicomNames) -> Finding:
    """The finding for a file that gave no header: an error where it may be a plane."""
    path, why, hint = unread.file[:3]
    is_plane = unread.file.is_plane
    if not (names.may_be_plane(path, foreign=unread.foreign) if is_plane is None else is_plane):
        return _left_out(path, why, Severity.WARNING if is_plane is False and hint else Severity.INFO)
    name = escape_controls(path.name)
    hint = f"{hint or _COPY_AGAIN} {_GO_ON}"
    return Finding(Code.FILE_UNREAD, f"“{name}” could not be read: {why}", hint, where=(path.name,))


def _left_out(path: Path, reason: str, severity: Severity = Severity.INFO) -> Finding:
    message = f"{path.name} was left out: {reason}"
    return Finding(Code.FILE_LEFT_OUT, message, severity=severity, where=(path.name,))


def _drop_copies(headers: list[Header]) -> tuple[list[Header], list[Left]]:
    """Drop files that repeat another byte for byte; the same UID with other bytes stays, and geometry will judge it."""
    by_uid: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        by_uid[header.get("SOPInstanceUID", str(header.path))].append(header)
    kept: list[Header] = []
    findings: list[Left] = []
    for group in by_uid.values():
        sizes = Counter(header.size for header in group)
        distinct: dict[str | Header, Header] = {}
        for header in group:
            content = sha256(header.path) if sizes[header.size] > 1 else header  # of its own size: it repeats nothing
            if content in distinct:
                copy = _left_out(header.path, f"a copy of {distinct[content].path.name}")
                findings.append(Left(header.path, copy))
            else:
                distinct[content] = header
        kept += distinct.values()
    return kept, findings
