"""Group the files below folders into series of frames, and choose one of them; no pixels are read.

Rules:
- Everything below a folder is looked at; names and extensions decide nothing about what is DICOM. A file left out has a
  reason; one that may be a plane (see `unread_files`) refuses the series it may belong to, and no other.
- A series is one Series Instance UID and one kind: images, SEG and RTSTRUCT never mix. Files that have no such UID, or one
  each, are a series only as `join_series` says. Its frames are kept in the order of their SOP Instance UIDs, so that
  neither the names of the files nor the order they were found in can change a byte of any output.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core import arguments
from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.numbers import is_finite_number
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..volume.representations import KIND_BY_SOP_CLASS
from .concatenations import find_lost_parts
from .files import FoundFile
from .frame import Frame, frames_of
from .header import Header, read_header
from .join_series import Group, group_into_series
from .other_kinds import describe_others
from .plane_rows import FEWEST
from .read_headers import Left, cut_off, few, read_files, read_headers
from .unread_files import GroupsByFolder, folder_name, folders_of

if TYPE_CHECKING:
    from ..core.arguments import OneOrManyPaths


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """All frames of one Series Instance UID, in the order of their SOP Instance UIDs and frame numbers.

    kind: of `volume.representations`, or "other". mask_name: what a mask of it is called: its description; the name of
    its folder where there is none, or where another series has the same one. findings: on what its being one rests, where
    that is not its UID, and on parts that it lacks; an ERROR refuses it.
    """

    uid: str
    kind: str
    frames: tuple[Frame, ...]
    headers: tuple[Header, ...]
    mask_name: str = ""
    findings: tuple[Finding, ...] = ()

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of the first instance that has one."""
        return next((h.values[keyword] for h in self.headers if keyword in h.values), default)

    def holds_some_of_each(self, images: Sequence[Collection[Hashable]]) -> bool:
        """Whether one of each of these sets of SOP Instance UIDs is that of a frame of it."""
        own = {frame.sop_instance_uid for frame in self.frames}
        return all(not own.isdisjoint(uids) for uids in images)

    @property
    def number(self) -> int | None:
        value = self.get("SeriesNumber")
        if not is_finite_number(value):  # two numbers are no number to choose by
            return None
        return int(value)

    @property
    def description(self) -> str:
        return str(self.get("SeriesDescription", ""))

    @property
    def folder(self) -> str:
        """The name of the deepest folder that holds all its files."""
        return folder_name(header.path for header in self.headers)

    @property
    def modality(self) -> str:
        return str(self.get("Modality", ""))

    @property
    def frame_of_reference_uid(self) -> str:
        return str(self.get("FrameOfReferenceUID", ""))

    @property
    def title(self) -> str:
        number = "without number" if self.number is None else str(self.number)
        return f"series {number}" + (f" “{escape_controls(self.description)}”" if self.description else "")


class LeftOut(NamedTuple):
    """Why one file was left out, and the series it may belong to. An ERROR is a file that may be a plane of them."""

    finding: Finding
    concerns: frozenset[Series]
    path: Path


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found: series, and every file left out with its reason."""

    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...] = ()


def scan(
    inputs: OneOrManyPaths,
    progress: Callable[[int], None] = lambda done: None,
    read: Callable[[Path], Header] = read_header,
) -> Scan:
    """Read every header below the inputs and group them into series.

    Args:
        inputs: folders or files, one or several.
        progress: called with the number of headers read.
        read: gives the header of a file; for whoever has read it before.

    Returns:
        The series, and every file left out with its reason.

    Raises:
        PipelineError: NO_SUCH_INPUT for a path that is not there, NO_DICOM when no image, SEG or RTSTRUCT is found,
            CORRUPT_FILE or FILE_UNREAD where all that could be one cannot be read, BAD_OPTION for no input at all.
    """
    inputs = arguments.inputs(inputs)
    headers, left_out, looked_at = read_headers(inputs, progress, read)
    if not headers:
        raise _nothing_found(inputs, looked_at, [left.finding for left in left_out])
    return _group(headers, left_out)


def scan_files(
    files: Iterable[FoundFile],
    progress: Callable[[int], None] = lambda done: None,
    read: Callable[[Path], Header] = read_header,
    *,
    members: bool = False,
) -> tuple[Scan, list[Path]]:
    """Group the files of one folder, or of one archive, into series; nothing else is opened and nothing refused.

    Args:
        files: that were found there.
        progress: called with the number of headers read.
        read: gives the header of a file.
        members: whether they are of an archive.

    Returns:
        The series, perhaps none, with every file left out; and the ZIP archives among the files, which were not opened.
    """
    headers, left_out, archives = read_files(files, progress, read, members=members)
    return _group(headers, left_out), archives


def _group(headers: list[Header], left_out: Sequence[Left]) -> Scan:
    """Group headers into series."""
    headers, cut = _drop_cut_off(headers)
    groups, lost = group_into_series(headers, _classify)
    cut += [
        Left(h.path, cut_off(h.path, "has no Series Instance UID (0020,000E), unlike others of its kind here"))
        for h in lost
    ]
    series = _name_masks([_make_series(group) for group in groups])
    series.sort(key=lambda s: (s.number is None, s.number or 0, s.uid, s.kind))
    return Scan(tuple(series), _assign_to_series([*left_out, *cut], series))


def left_out_beside(found: Scan, series: Series, policy: Policy) -> tuple[Finding, ...]:
    """List what was left out and may concern a series, for its record.

    Args:
        found: the scan that the series is of.
        series: the one that is converted, or the source of one.
        policy: on_unread says whether a file that may be a plane is an error or a warning.

    Returns:
        The findings, warnings over lost files first.

    Raises:
        PipelineError: CORRUPT_FILE or FILE_UNREAD for a file that may be a plane, unless the policy leaves it out;
            SEVERAL_SERIES for files without UID that may be of several.
    """
    several = next((f for f in series.findings if f.code is Code.SEVERAL_SERIES), None)
    if several is not None:
        raise PipelineError(several)
    findings = [*series.findings, *(left.finding for left in found.left_out if series in left.concerns)]
    lost = [f for f in findings if f.severity is Severity.ERROR]
    others = [f for f in findings if f.severity is not Severity.ERROR]
    if not lost:
        return tuple(others)
    if policy.on_unread == "refuse":
        first, *rest = lost
        raise PipelineError(first, (*few(rest), *others))
    return (*(replace(f, severity=Severity.WARNING, hint="") for f in few(lost)), *others)


def choose(found: Scan, wanted: str | None) -> Series:
    """Choose the series to convert: the only one there is, or the one `wanted` names by UID, number or description.

    Raises NO_SUCH_SERIES, SEVERAL_SERIES, NOT_CONVERTIBLE.
    """
    candidates = [s for s in found.series if s.kind != "other"]
    if wanted is not None:
        matches = [s for s in found.series if wanted in (s.uid, str(s.number)) or _has_uid(s, wanted)]
        matches = matches or [s for s in found.series if s.description.casefold() == wanted.casefold()]
        if len(matches) == 1:
            return matches[0]
        code = Code.SEVERAL_SERIES if matches else Code.NO_SUCH_SERIES
        raise refuse(
            code,
            f"{len(matches)} series are called “{wanted}”" if matches else f"no series is called “{wanted}”",
            "Name one by UID, number or description:\n" + table(found.series),
            where=tuple(s.uid for s in matches) or (wanted,),
        )
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise nothing_convertible(found)
    raise refuse(
        Code.SEVERAL_SERIES,
        f"there are {len(candidates)} series here, and one file holds one series{_describe_single(candidates)}",
        "Choose with --series UID, NUMBER or DESCRIPTION. Or give the files of one alone. All of them: verimask convert "
        "with -o a folder (ending in /).\n" + table(found.series),
        where=tuple(s.uid or s.headers[0].path.name for s in candidates),
    )


def _describe_single(series: Sequence[Series]) -> str:
    """Say why series of one plane each are not one, where there are several."""
    single = sum(s.kind == "image" and len(s.frames) == 1 for s in series)
    if single < FEWEST:
        return ""
    return (
        f"; {single} of them are one plane each: such are read as one series where study, number, description and kind agree, "
        "and the planes are one row along which their Instance Numbers run"
    )


def _has_uid(series: Series, uid: str) -> bool:
    """Whether any file of a series has the UID: those of a joined one have one each."""
    return bool(series.findings) and any(header.get("SeriesInstanceUID") == uid for header in series.headers)


def nothing_convertible(found: Scan) -> PipelineError:
    """Make the refusal where there are series, but none of images, SEG or RTSTRUCT."""
    return refuse(
        Code.NOT_CONVERTIBLE,
        "no series here holds an image or a mask",
        "Give the folder of the images, or of the SEG or RTSTRUCT. Found:\n" + table(found.series),
        where=tuple(s.uid for s in found.series),
    )


def table(series: Sequence[Series]) -> str:
    """Write the series as an aligned table: number, kind, modality, frames, size, description, UID."""
    rows = [("number", "kind", "modality", "frames", "size", "description", "UID")]
    for s in series:
        size = f"{s.get('Columns', '?')} × {s.get('Rows', '?')}" if s.kind in ("image", "seg") else "-"
        number = "-" if s.number is None else str(s.number)
        rows.append((number, s.kind, s.modality or "-", str(len(s.frames)), size, s.description or "-", s.uid))
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(escape_controls(f"  {line}".rstrip()) for line in lines)


def _name_masks(series: Sequence[Series]) -> list[Series]:
    """The series with what a mask of each is called."""
    folders = [s.folder for s in series]
    alike: dict[str, Counter[str]] = defaultdict(Counter)  # the folders of the image series of every description
    for s, folder in zip(series, folders, strict=True):
        if s.kind == "image":
            alike[s.description.casefold()][folder] += 1
    return [replace(s, mask_name=_mask_name(s, folder, alike)) for s, folder in zip(series, folders, strict=True)]


def _mask_name(series: Series, folder: str, alike: Mapping[str, Counter[str]]) -> str:
    """folder: its own. alike: the folders of the image series of every description."""
    if not series.description:
        return folder
    others = alike[series.description.casefold()] if series.kind == "image" else Counter[str]()
    return folder if folder and others[folder] == 1 < sum(others.values()) else series.description


def _assign_to_series(left_out: Sequence[Left], series: Sequence[Series]) -> tuple[LeftOut, ...]:
    """Each file that was left out with the series it may belong to."""
    if not left_out:
        return ()
    by_folder = GroupsByFolder([folders_of(header.path for header in s.headers) for s in series])
    near: dict[Path, frozenset[Series]] = {}
    sets: dict[tuple[int, ...], frozenset[Series]] = {}  # one for all folders that concern the same series
    by_uid: dict[str, list[Series]] = defaultdict(list)
    for s in series:
        by_uid[s.uid].append(s)
    named = {uid: frozenset(members) for uid, members in by_uid.items() if uid}
    for path in {left.path for left in left_out}:
        if path.parent not in near:
            numbers = tuple(by_folder.concerned(path))
            near[path.parent] = sets.setdefault(numbers, frozenset(series[n] for n in numbers))
    return tuple(
        LeftOut(left.finding, named.get(left.series_uid) or near[left.path.parent], left.path) for left in left_out
    )


def _nothing_found(inputs: Sequence[Path], looked_at: Sequence[Path], left_out: list[Finding]) -> PipelineError:
    lost = [f for f in left_out if f.severity is Severity.ERROR]
    others = [f for f in left_out if f.severity is not Severity.ERROR]
    if lost:
        first = next((f for f in lost if f.code is Code.CORRUPT_FILE), lost[0])
        return PipelineError(first, (*few([f for f in lost if f is not first]), *others))
    what, advice = describe_others(looked_at)
    of = ", ".join(escape_controls(p.name or str(p)) for p in inputs)
    words = f"no DICOM image among the {len(looked_at)} files of {of}"
    if what:
        words = f"{what}, not DICOM" if len(looked_at) == 1 and len(inputs) == 1 else f"{words}: {what}"
    hint = advice or "Give the folder that Mimics exported to (File, Export, DICOM), or the files themselves."
    where = tuple(p.name or str(p) for p in inputs)
    return PipelineError(Finding(Code.NO_DICOM, words, hint, where=where), tuple(others))


def _drop_cut_off(headers: list[Header]) -> tuple[list[Header], list[Left]]:
    """Drop files without pixel data where others of their SOP class have some: they were cut off.

    A plane lost at the end of a stack leaves no gap, so nothing else would notice it. Their series is not compared: its
    UID may be what was cut.
    """
    with_pixels = {h.get("SOPClassUID") for h in headers if _classify(h) == "image"}
    kept: list[Header] = []
    findings: list[Left] = []
    for header in headers:
        if _classify(header) == "other" and header.get("SOPClassUID") in with_pixels:
            findings.append(Left(header.path, cut_off(header.path, "has no pixel data, unlike the other images here")))
        else:
            kept.append(header)
    return kept, findings


def _classify(header: Header) -> str:
    image = header.has_pixels and "Rows" in header.values
    return KIND_BY_SOP_CLASS.get(str(header.get("SOPClassUID", "")), "image" if image else "other")


def _make_series(group: Group) -> Series:
    headers = sorted(group.headers, key=lambda h: (str(h.get("SOPInstanceUID", "")), h.path.name))
    frames = [frame for header in headers for frame in frames_of(header)]
    findings = (*group.findings, *find_lost_parts(group.kind, headers))
    return Series(group.uid, group.kind, tuple(frames), tuple(headers), findings=findings)
