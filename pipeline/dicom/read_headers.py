"""Read the headers of all files below the inputs, and say why each other file is left out.

Rules:
- Content alone decides what is DICOM. Where a file is not, or cannot be read, `unread_files` decides whether it may be a
  plane: then it is an error, which refuses the series it may belong to.
- Files that repeat another byte for byte are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..core.findings import Code, Finding, PipelineError, Severity
from .files import find_files
from .header import Header, NotDicom, read_header
from .unread_files import DicomNames

_DICOMDIR = "1.2.840.10008.1.3.10"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_BLOCK = 1 << 16  # bytes read at a time from a file that is not DICOM
_FEW = 4  # lost files that are named one by one: a folder of links to nothing would fill the screen

Left = tuple[Path, Finding]


class _Unread(NamedTuple):
    """A file that gave no header. foreign: it was read, and is not DICOM."""

    path: Path
    why: str
    foreign: bool


def read_headers(inputs: Sequence[Path], progress: Callable[[int], None]) -> tuple[list[Header], list[Left], int]:
    """Read the headers of all DICOM files; every other file comes with its reason, and then how many files were looked at."""
    headers: list[Header] = []
    left_out: list[Left] = []
    unread: list[_Unread] = []
    done = 0
    for done, (path, why) in enumerate(find_files(inputs), 1):
        read = _Unread(path, why, foreign=False) if why else _read_one(path)
        if isinstance(read, Header):
            headers.append(read)
        elif isinstance(read, Finding):
            left_out.append((path, read))
        else:
            unread.append(read)
        progress(done)
    names = DicomNames(header.path for header in headers)
    left_out += [(one.path, _judge(one, names)) for one in unread]
    headers, copies = _drop_copies(headers)
    return headers, [*left_out, *copies], done


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


def _read_one(path: Path) -> Header | Finding | _Unread:
    """The header of a file, or why it is left out, or why it gives none."""
    try:
        header = read_header(path)
    except NotDicom:
        return _Unread(path, _why_not_dicom(path), foreign=True)
    except PipelineError as error:
        return error.finding
    except OSError as error:
        return _Unread(path, f"it cannot be opened: {error.strerror}", foreign=False)
    return _why_left_out(header) or header


def _why_left_out(header: Header) -> Finding | None:
    """Why a file with a readable header is left out; None where it is not."""
    if "SeriesInstanceUID" in header.values or (header.has_pixels and "Rows" in header.values):
        return None  # an image without its series' UID is whole all the same: `join_series` finds where it belongs
    sop_class = str(header.get("SOPClassUID", ""))
    if sop_class == _DICOMDIR or header.path.name.upper() == "DICOMDIR":
        return _left_out(header.path, "a DICOMDIR (the files it lists are found by themselves)")
    if not sop_class or sop_class.startswith(_STORAGE):
        return cut_off(header.path, "has no Series Instance UID (0020,000E), which every image has")
    return _left_out(header.path, "no Series Instance UID (0020,000E)", Severity.WARNING)


def _why_not_dicom(path: Path) -> str:
    """Why a file that does not begin like DICOM does not."""
    try:
        with path.open("rb") as file:
            start = file.read(_BLOCK)
            if not start:
                return "it is empty"
            while start and not start.strip(b"\0"):
                start = file.read(_BLOCK)
            return "not DICOM" if start else "not DICOM, it holds only zeros"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _judge(unread: _Unread, names: DicomNames) -> Finding:
    """The finding for a file that gave no header: an error where it may be a plane."""
    path, why, foreign = unread
    if not names.may_be_plane(path, foreign=foreign):
        return _left_out(path, why)
    return Finding(
        Code.FILE_UNREAD,
        f"“{path.name}” could not be read: {why}",
        "It may be a plane of the series, and one lost at an end leaves no gap. Copy or export it again, or take it out of "
        "the folder if it is none. convert --on-unread leave-out goes on without it, and the result stays unconfirmed.",
        where=(path.name,),
    )


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
        distinct: dict[bytes, Header] = {}
        for header in group:
            content = header.path.read_bytes() if len(group) > 1 else b""
            if content in distinct:
                copy = _left_out(header.path, f"a copy of {distinct[content].path.name}")
                findings.append((header.path, copy))
            else:
                distinct[content] = header
        kept += distinct.values()
    return kept, findings
