"""Folders and files become series of frames: scan, group, classify, choose. No pixels are read.

Rules:
- Everything below a folder is looked at; names, extensions and DICOMDIR decide nothing. A file left out has a reason.
- A series is one Series Instance UID and one kind: images, SEG and RTSTRUCT never mix. Its frames are kept in the
  order of their SOP Instance UIDs, so neither the names of the files nor the order they were found in can change a
  byte of any output.
- What a frame says of its place becomes a `Plane`, or a reason why there is none. Nothing is invented.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline import arguments
from pipeline.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.geometry import GeometryError, Plane
from pipeline.header import Header, NotDicom, read_header
from pipeline.mosaic import NoTiles, is_mosaic, tiles

if TYPE_CHECKING:
    from pipeline.arguments import OneOrManyPaths

Kind = Literal["image", "seg", "rtstruct", "other"]

_KIND_BY_SOP_CLASS: dict[str, Kind] = {
    "1.2.840.10008.5.1.4.1.1.66.4": "seg",
    "1.2.840.10008.5.1.4.1.1.66.7": "seg",
    "1.2.840.10008.5.1.4.1.1.481.3": "rtstruct",
}
_DICOMDIR = "1.2.840.10008.1.3.10"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_PLANE_ATTRIBUTES = {
    "ImagePositionPatient": ("Image Position (Patient) (0020,0032)", 3),
    "ImageOrientationPatient": ("Image Orientation (Patient) (0020,0037)", 6),
    "PixelSpacing": ("Pixel Spacing (0028,0030)", 2),
}


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of one instance: it identifies its pixels without holding them.

    number: 1-based within the instance. plane: its place, or None and `why_no_plane`. values: what the frame's
    functional groups say over the header. pairing: how its place was assumed, "" where the file gives it. tile: 1-based
    number within a mosaic, 0 for a whole frame.
    """

    header: Header
    number: int
    plane: Plane | None
    why_no_plane: str = ""
    values: dict[str, Any] | None = None
    pairing: str = ""
    tile: int = 0

    @property
    def path(self) -> Path:
        return self.header.path

    @property
    def sop_instance_uid(self) -> str:
        return str(self.header.get("SOPInstanceUID", ""))

    @property
    def segment_number(self) -> int | None:
        number = self.get("ReferencedSegmentNumber")
        return None if number is None else int(number)

    @property
    def name(self) -> str:
        """The file's name, with the frame where there are several: what a message says."""
        if self.tile:
            return f"{self.path.name} tile {self.tile}"
        return self.path.name if self.header.number_of_frames == 1 else f"{self.path.name} frame {self.number}"

    def get(self, keyword: str, default: Any = None) -> Any:
        if self.values and keyword in self.values:
            return self.values[keyword]
        return self.header.get(keyword, default)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """All frames of one Series Instance UID, in the order of their SOP Instance UIDs and frame numbers."""

    uid: str
    kind: Kind
    frames: tuple[Frame, ...]
    headers: tuple[Header, ...]

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of the first instance that has one."""
        return next((h.values[keyword] for h in self.headers if keyword in h.values), default)

    @property
    def number(self) -> int | None:
        value = self.get("SeriesNumber")
        return int(value) if value is not None else None

    @property
    def description(self) -> str:
        return str(self.get("SeriesDescription", ""))

    @property
    def modality(self) -> str:
        return str(self.get("Modality", ""))

    @property
    def frame_of_reference_uid(self) -> str:
        return str(self.get("FrameOfReferenceUID", ""))

    @property
    def title(self) -> str:
        number = "without number" if self.number is None else str(self.number)
        return f"series {number}" + (f" “{self.description}”" if self.description else "")


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found: series, and every file left out with its reason (as findings)."""

    series: tuple[Series, ...]
    left_out: tuple[Finding, ...]


def scan(inputs: OneOrManyPaths, progress: Callable[[int], None] = lambda done: None) -> Scan:
    """Read every header below the inputs (folders or files, one or several) and group them into series.

    Raises PipelineError: NO_SUCH_INPUT for a path that is not there, NO_DICOM when no image, SEG or RTSTRUCT is found,
    BAD_OPTION for no input at all.
    """
    inputs = arguments.inputs(inputs)
    headers: list[Header] = []
    left_out: list[Finding] = []
    paths = list(find_files(inputs))
    for done, path in enumerate(paths):
        try:
            header = read_header(path)
        except NotDicom:
            empty = path.stat().st_size == 0
            reason, severity = ("it is empty", Severity.WARNING) if empty else ("not DICOM", Severity.INFO)
            left_out.append(_left_out(path, reason, severity))
        except PipelineError as error:
            left_out.append(error.finding)
        except OSError as error:
            left_out.append(_left_out(path, f"cannot be opened: {error.strerror}"))
        else:
            finding = _why_not(header)
            if finding:
                left_out.append(finding)
            else:
                headers.append(header)
        progress(done + 1)
    headers, copies = _without_copies(headers)
    left_out += copies
    if not headers:
        raise _nothing_found(inputs, len(paths), left_out)
    headers, cut = _without_cut_off(headers)
    left_out += cut
    groups: dict[tuple[str, Kind], list[Header]] = defaultdict(list)
    for header in headers:
        groups[header.values["SeriesInstanceUID"], _kind(header)].append(header)
    series = [_series(uid, kind, members) for (uid, kind), members in groups.items()]
    series.sort(key=lambda s: (s.number is None, s.number or 0, s.uid, s.kind))
    return Scan(tuple(series), tuple(left_out))


def find_files(inputs: Iterable[Path]) -> Iterable[Path]:
    """Every file below the inputs, folders walked in name order; each file once."""
    seen: set[str] = set()
    for given in inputs:
        if not given.exists():
            raise refuse(Code.NO_SUCH_INPUT, f"{given} is not there", "Check the path; nothing was read.")
        if given.is_file():
            found: Iterable[Path] = [given]
        else:
            found = (Path(root, name) for root, dirs, names in _walk(given) for name in sorted(names))
        for path in found:
            if path.is_file() and (key := os.path.realpath(path)) not in seen:
                seen.add(key)
                yield path


def choose(found: Scan, wanted: str | None) -> Series:
    """The one series to convert: the only one there is, or the one `wanted` names by UID, number or description."""
    candidates = [s for s in found.series if s.kind != "other"]
    if wanted is not None:
        matches = [s for s in found.series if wanted in (s.uid, str(s.number))]
        matches = matches or [s for s in found.series if s.description.casefold() == wanted.casefold()]
        if len(matches) == 1:
            return matches[0]
        code = Code.SEVERAL_SERIES if matches else Code.NO_SUCH_SERIES
        said = f"{len(matches)} series are called “{wanted}”" if matches else f"no series is called “{wanted}”"
        raise refuse(code, said, "Name one by UID, number or description:\n" + table(found.series))
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise nothing_convertible(found)
    raise refuse(
        Code.SEVERAL_SERIES,
        f"there are {len(candidates)} series here, and one file holds one series",
        "Choose with --series UID, NUMBER or DESCRIPTION, or give -o a folder (ending in /) to get all of them:\n"
        + table(found.series),
    )


def nothing_convertible(found: Scan) -> PipelineError:
    """The refusal where there are series, but none of images."""
    return refuse(Code.NOT_CONVERTIBLE, "no series here holds an image or a mask", "Found:\n" + table(found.series))


def table(series: Sequence[Series]) -> str:
    """The series as an aligned table: number, kind, modality, frames, size, description, UID."""
    rows = [("number", "kind", "modality", "frames", "size", "description", "UID")]
    for s in series:
        size = f"{s.get('Columns', '?')} × {s.get('Rows', '?')}" if s.kind in ("image", "seg") else "-"
        number = "-" if s.number is None else str(s.number)
        rows.append((number, s.kind, s.modality or "-", str(len(s.frames)), size, s.description or "-", s.uid))
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)


def _walk(folder: Path) -> Iterable[tuple[str, list[str], list[str]]]:
    for root, dirs, names in os.walk(folder):
        dirs.sort()
        yield root, dirs, names


def _why_not(header: Header) -> Finding | None:
    if "SeriesInstanceUID" in header.values:
        return None
    sop_class = str(header.get("SOPClassUID", ""))
    if sop_class == _DICOMDIR or header.path.name.upper() == "DICOMDIR":
        return _left_out(header.path, "a DICOMDIR (the files it lists are found by themselves)")
    if sop_class.startswith(_STORAGE):
        return _cut_off(header.path, "has no Series Instance UID (0020,000E), which every image has")
    return _left_out(header.path, "no Series Instance UID (0020,000E)", Severity.WARNING)


def _cut_off(path: Path, what: str) -> Finding:
    hint = "The file was probably cut off in transfer; export or copy it again."
    return Finding(Code.CORRUPT_FILE, f"{path.name} {what}", hint, where=(path.name,))


def _left_out(path: Path, reason: str, severity: Severity = Severity.INFO) -> Finding:
    said = f"{path.name} was left out: {reason}"
    return Finding(Code.FILE_LEFT_OUT, said, severity=severity, where=(path.name,))


def _without_copies(headers: list[Header]) -> tuple[list[Header], list[Finding]]:
    """Drop files that repeat another byte for byte; the same UID with other bytes stays, and geometry will judge it."""
    by_uid: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        by_uid[header.get("SOPInstanceUID", str(header.path))].append(header)
    kept: list[Header] = []
    findings: list[Finding] = []
    for group in by_uid.values():
        distinct: dict[bytes, Header] = {}
        for header in group:
            content = header.path.read_bytes() if len(group) > 1 else b""
            if content in distinct:
                findings.append(_left_out(header.path, f"a copy of {distinct[content].path.name}"))
            else:
                distinct[content] = header
        kept += distinct.values()
    return kept, findings


def _nothing_found(inputs: Sequence[Path], looked_at: int, left_out: list[Finding]) -> PipelineError:
    corrupt = [f for f in left_out if f.code is Code.CORRUPT_FILE]
    if corrupt:
        return PipelineError(corrupt[0], tuple(left_out))
    return PipelineError(
        Finding(
            Code.NO_DICOM,
            f"no DICOM image among the {looked_at} files of {', '.join(p.name or str(p) for p in inputs)}",
            "Give the folder that Mimics exported to (File, Export, DICOM), or the files themselves.",
        ),
        tuple(left_out),
    )


def _without_cut_off(headers: list[Header]) -> tuple[list[Header], list[Finding]]:
    """Drop files without pixel data where others of their SOP class have some: they were cut off.

    A plane lost at the end of a stack leaves no gap, so nobody else would notice it. The series is not asked: its UID
    may be what was cut.
    """
    with_pixels = {h.get("SOPClassUID") for h in headers if _kind(h) == "image"}
    kept: list[Header] = []
    findings: list[Finding] = []
    for header in headers:
        if _kind(header) == "other" and header.get("SOPClassUID") in with_pixels:
            findings.append(_cut_off(header.path, "has no pixel data, unlike the other images here"))
        else:
            kept.append(header)
    return kept, findings


def _kind(header: Header) -> Kind:
    image = header.has_pixels and "Rows" in header.values
    return _KIND_BY_SOP_CLASS.get(str(header.get("SOPClassUID", "")), "image" if image else "other")


def _series(uid: str, kind: Kind, headers: list[Header]) -> Series:
    headers = sorted(headers, key=lambda h: (str(h.get("SOPInstanceUID", "")), h.path.name))
    frames = [frame for header in headers for frame in frames_of(header)]
    return Series(uid, kind, tuple(frames), tuple(headers))


def frames_of(header: Header) -> list[Frame]:
    """The frames of one instance, each with its plane or the reason why it has none."""
    if not header.has_pixels:
        return []
    if is_mosaic(header) and header.number_of_frames == 1:
        return _tiles_of(header)
    frames = []
    for number in range(1, header.number_of_frames + 1):
        values = dict(header.frames[number - 1]) if number <= len(header.frames) else None
        frame = Frame(header, number, None, "", values)
        plane, reason = _plane(frame)
        frames.append(Frame(header, number, plane, reason, values))
    return frames


def _tiles_of(header: Header) -> list[Frame]:
    """The tiles of a mosaic as frames of their own; the sheet as one without a plane where it cannot be taken apart."""
    sheet, reason = _plane(Frame(header, 1, None))
    if sheet is None:
        return [Frame(header, 1, None, reason)]
    try:
        planes = tiles(header, sheet)
    except NoTiles as error:
        return [Frame(header, 1, None, str(error))]
    size = {"Rows": planes[0].rows, "Columns": planes[0].columns}
    return [Frame(header, 1, plane, values=size, tile=n) for n, plane in enumerate(planes, 1)]


def _plane(frame: Frame) -> tuple[Plane | None, str]:
    if frame.header.number_of_frames > 1 and not frame.values:
        return None, "a multi-frame instance without functional groups gives no position per frame"
    found: dict[str, tuple[float, ...]] = {}
    for keyword, (name, count) in _PLANE_ATTRIBUTES.items():
        value = frame.get(keyword)
        if value is None:
            said = frame.header.unreadable.get(keyword)
            return None, f"{name} is not readable: {said}" if said else f"{name} is missing"
        if not isinstance(value, tuple) or len(value) != count:
            return None, f"{name} has {len(value) if isinstance(value, tuple) else 1} values, not {count}"
        found[keyword] = tuple(float(v) for v in value)
    orientation, spacing = found["ImageOrientationPatient"], found["PixelSpacing"]
    try:
        return (
            Plane(
                position=found["ImagePositionPatient"],  # type: ignore[arg-type]
                row_cosine=orientation[:3],  # type: ignore[arg-type]
                column_cosine=orientation[3:],  # type: ignore[arg-type]
                row_spacing=spacing[0],
                column_spacing=spacing[1],
                rows=int(frame.get("Rows", 0)),
                columns=int(frame.get("Columns", 0)),
            ),
            "",
        )
    except GeometryError as error:
        return None, str(error)
