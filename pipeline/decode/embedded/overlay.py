"""Read overlay planes (60xx): one bit a pixel beside the image, one mask for each group.

Rules:
- An overlay lies where its origin says: row and column of its first pixel in the image, counted from 1, and perhaps
  outside of it. What lies beyond the image is cut off and counted in a warning.
- A multi-frame overlay begins at the image frame it names; one that names neither its frames nor one belongs to all.
- Overlays of several groups may share voxels, so each group is a mask of its own.
- Bits that older files keep in unused bits of Pixel Data (retired in 2004) are read too.
- Overlays are not in the header that a scan keeps; files are read again, one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...dicom.encoding import EXPLICIT_BIG, load
from ...dicom.frame import Frame
from ...dicom.pixels import read_allocated
from ...dicom.source_file import FileState, state_of
from ...volume.mask import Array, Segment, Voxels
from ..image import first_and_last
from .labelled import Labelled

GROUPS = range(0x6000, 0x6020, 2)
_CLAUSE = "PS3.3 C.9.2"
_OTHER_KIND = (
    "Export the series again, or read the pixels and leave overlays alone with --kind labels or --kind burned."
)
_MOST_LISTED = 5  # places that a finding names


@dataclass(frozen=True, slots=True)
class Overlay:
    """One overlay group of one file.

    Attributes:
        rows, columns: of the overlay.
        row, column: of its first pixel in the image, from 0.
        first: the image frame its first frame belongs to, from 1.
        frames: how many it has; None for one that belongs to every frame.
        bit: of Pixel Data that holds it; None where it has data of its own.
        label: its name, or "".
        graphics: whether its type is graphics, not a region of interest.
        data: packed bits, lowest first.
    """

    group: int
    rows: int
    columns: int
    row: int
    column: int
    first: int
    frames: int | None
    bit: int | None
    label: str
    graphics: bool
    data: bytes

    def of_frame(self, number: int, count: int) -> int | None:
        """Return the overlay frame, from 0, of image frame `number`, from 1, of `count`; None where there is none."""
        if self.frames is None or self.frames == count == 1:
            return 0
        return number - self.first if 0 <= number - self.first < self.frames else None


class _BitCount(NamedTuple):
    """Set bits of one group: inside the image, cut off at its border, and the frames and files that have the latter."""

    inside: int
    clipped: int
    where: tuple[str, ...]


def groups(frames: Sequence[Frame]) -> tuple[int, ...]:
    """List the groups that any of the files has, whether or not a bit is set in them."""
    return tuple(sorted({o.group for path in _paths(frames) for o in overlays(path).values()}))


def accepts(frames: Sequence[Frame]) -> bool:
    """Return whether any overlay has a bit set."""
    return any(_bits(frame, group)[0].any() for group in groups(frames) for frame in frames)


def decode(frames: Sequence[Frame]) -> tuple[Labelled, ...]:
    """Make one mask of 0 and 1 for every group with a bit set, named by its label. Frames of one size, in their order.

    Raises EMPTY where no overlay has a bit set, CORRUPT_FILE where data are shorter than they say.
    """
    found = [_decode_group(frames, group) for group in groups(frames)]
    masks = tuple(m for m in found if m is not None)
    if masks:
        return masks
    raise refuse(
        Code.EMPTY,
        f"no overlay of the {len(frames)} planes has a bit set" if found else "there are no overlays",
        "Was the mask visible when it was exported?",
        where=first_and_last(frames),
        clause=_CLAUSE,
    )


def _decode_group(frames: Sequence[Frame], group: int) -> Labelled | None:
    """Make the mask of one group; None where no bit is set."""
    count = _count_bits(frames, group)
    if not count.inside and not count.clipped:
        return None
    described = [o for o in (overlays(p).get(group) for p in _paths(frames)) if o is not None]
    title = f"overlay {group:04X}"
    name = next((o.label for o in described if o.label), title)
    findings = [_taken_finding(title, name, count.inside, described)]
    if count.clipped:
        findings.append(_clipped_finding(title, count))
    columns, rows = int(frames[0].get("Columns")), int(frames[0].get("Rows"))
    voxels = Voxels((columns, rows, len(frames)), np.dtype(np.uint8), lambda n: _bits(frames[n], group)[0])
    return Labelled(voxels, (Segment(1, name, source_value=group),), tuple(findings), name)


def _count_bits(frames: Sequence[Frame], group: int) -> _BitCount:
    """Count the set bits of one group inside the image and beyond it, with the frames that have any beyond."""
    inside = clipped = 0
    where: list[str] = []
    for frame in frames:
        plane, beyond = _bits(frame, group)
        inside += int(np.count_nonzero(plane))
        clipped += beyond
        where += [frame.name] if beyond else []
    for path in _paths(frames):
        unreached = _count_unreached(path, group, next(f for f in frames if f.path == path))
        clipped += unreached
        where += [path.name] if unreached else []
    return _BitCount(inside, clipped, tuple(where))


def _taken_finding(title: str, name: str, inside: int, described: Sequence[Overlay]) -> Finding:
    kind = "graphics" if any(o.graphics for o in described) else "a region of interest"
    bit = next((o.bit for o in described if o.bit is not None), None)
    kept = "" if bit is None else f", kept in bit {bit} of the pixel data (retired)"
    return Finding(
        Code.VALUES_TAKEN,
        f"{title} is “{name}”: {inside:,} voxels, called {kind} by its type (60xx,0040){kept}",
        severity=Severity.INFO,
        clause=_CLAUSE,
    )


def _clipped_finding(title: str, count: _BitCount) -> Finding:
    return Finding(
        Code.OVERLAY_CLIPPED,
        f"{count.clipped:,} set pixels of {title} lie beyond the image and were cut off",
        "Look at the overlay over the image; its origin or its frames may be written wrongly.",
        severity=Severity.WARNING,
        where=count.where[:_MOST_LISTED],
        clause=_CLAUSE,
        measured=count.clipped,
        limit=0,
        unit="pixels",
    )


def _bits(frame: Frame, group: int) -> tuple[Array, int]:
    """Return (rows, columns) 0 and 1 of one group over one image frame, and how many set bits lie beyond the image."""
    rows, columns = int(frame.get("Rows")), int(frame.get("Columns"))
    plane = np.zeros((rows, columns), np.uint8)
    overlay = overlays(frame.path).get(group) if _may_have_overlays(frame) else None
    index = None if overlay is None else overlay.of_frame(frame.number, frame.header.number_of_frames)
    if overlay is None or index is None:
        return plane, 0
    if overlay.bit is not None:
        plane[:] = read_allocated(frame) >> overlay.bit & 1
        return plane, 0
    bits = _unpack(overlay, index, frame)
    top, left = max(overlay.row, 0), max(overlay.column, 0)
    bottom, right = min(overlay.row + overlay.rows, rows), min(overlay.column + overlay.columns, columns)
    kept = bits[
        top - overlay.row : max(bottom - overlay.row, 0), left - overlay.column : max(right - overlay.column, 0)
    ]
    if kept.size:
        plane[top:bottom, left:right] = kept
    return plane, int(np.count_nonzero(bits)) - int(np.count_nonzero(plane))


def _count_unreached(path: Path, group: int, frame: Frame) -> int:
    """Count the set pixels of overlay frames that belong to no frame of their image."""
    overlay = overlays(path).get(group)
    count = frame.header.number_of_frames
    if overlay is None or overlay.frames is None or overlay.frames == count == 1:
        return 0
    beyond = [n for n in range(overlay.frames) if not 1 <= overlay.first + n <= count]
    return sum(int(np.count_nonzero(_unpack(overlay, n, frame))) for n in beyond)


def _unpack(overlay: Overlay, index: int, frame: Frame) -> Array:
    """Unpack (rows, columns) of one overlay frame. Frames follow each other without padding, lowest bit first (PS3.5 8.1.2)."""
    size = overlay.rows * overlay.columns
    start = index * size
    packed = np.frombuffer(overlay.data, np.uint8)
    needed = -(-size * (overlay.frames or 1) // 8)
    if len(packed) - needed > 1:
        raise refuse(
            Code.PIXEL_LENGTH,
            f"overlay {overlay.group:04X} of {frame.name} has {len(packed)} bytes, and its {overlay.columns} × {overlay.rows} "
            f"pixels in {overlay.frames or 1} frames need {needed}: its rows, columns or frames are not what it says",
            _OTHER_KIND,
            where=(frame.name,),
            clause="PS3.5 8.1.2",
            measured=len(packed),
            limit=needed,
            unit="bytes",
        )
    if len(packed) * 8 < start + size:
        raise refuse(
            Code.PIXEL_LENGTH,
            f"overlay {overlay.group:04X} of {frame.name} has {len(packed)} bytes, and {-(-(start + size) // 8)} are needed",
            "The file was cut off or written wrongly; export it again.",
            where=(frame.name,),
            measured=len(packed),
            limit=-(-(start + size) // 8),
            unit="bytes",
            clause="PS3.5 8.1.2",
        )
    first = start // 8
    bits = np.unpackbits(packed[first : -(-(start + size) // 8)], bitorder="little")
    return bits[start - 8 * first :][:size].reshape(overlay.rows, overlay.columns)


def _paths(frames: Sequence[Frame]) -> list[Path]:
    """List the files that may have overlays: with overlay data, or with bits of Pixel Data that hold no value."""
    return list(dict.fromkeys(f.path for f in frames if _may_have_overlays(f)))


def _may_have_overlays(frame: Frame) -> bool:
    return bool(frame.header.overlays) or int(frame.get("BitsStored", 0)) < int(frame.get("BitsAllocated", 0))


def overlays(path: Path) -> dict[int, Overlay]:
    """Read the overlays of one file, by group; once while it stays as it is. Raises CORRUPT_FILE."""
    return _overlays_as_they_are(path, state_of(path))


# Several passes go over one series, and bits take little memory.
@lru_cache(maxsize=512)
def _overlays_as_they_are(path: Path, _: FileState) -> dict[int, Overlay]:
    dataset = load(path, stop_before_pixels=True)
    found = {}
    for group in GROUPS:
        if (group, 0x0010) in dataset or (group, 0x0100) in dataset:
            try:
                overlay = _read_overlay(dataset, group)
            except (TypeError, ValueError) as error:
                raise _unreadable(path, group, error) from error
            if overlay is not None:
                found[group] = overlay
    return found


def _read_overlay(dataset: Any, group: int) -> Overlay | None:
    """Read one group; None where it has neither data of its own nor an unused bit of the pixels."""

    def value(element: int, default: Any) -> Any:
        item = dataset.get((group, element))
        return default if item is None or item.value in (None, "") else item.value

    data = dataset.get((group, 0x3000))
    bit = None
    if data is None:
        bit = int(value(0x0102, 0))
        stored, high = int(dataset.get("BitsStored", 0)), int(dataset.get("HighBit", 0))
        if int(value(0x0100, 1)) != dataset.get("BitsAllocated") or high - stored < bit <= high:
            return None
    row, column = (int(v) - 1 for v in value(0x0050, (1, 1)))
    frames = value(0x0015, 1 if (group, 0x0051) in dataset else None)
    return Overlay(
        group=group,
        rows=int(value(0x0010, 0)),
        columns=int(value(0x0011, 0)),
        row=row,
        column=column,
        first=int(value(0x0051, 1)),
        frames=None if frames is None else int(frames),
        bit=bit,
        label=str(value(0x1500, "") or value(0x0022, "")).strip(),
        graphics=str(value(0x0040, "R")).strip() == "G",
        data=b"" if data is None else _little_endian(bytes(data.value), data.VR, dataset),
    )


def _unreadable(path: Path, group: int, error: Exception) -> PipelineError:
    return refuse(
        Code.CORRUPT_FILE,
        f"overlay {group:04X} of {path.name} cannot be read: {error}",
        _OTHER_KIND,
        where=(path.name,),
        clause=_CLAUSE,
    )


def _little_endian(data: bytes, vr: str, dataset: Any) -> bytes:
    """Return overlay bytes in little-endian order: words of big-endian files are swapped."""
    meta = getattr(dataset, "file_meta", None)
    if vr == "OW" and str(getattr(meta, "TransferSyntaxUID", "")) == EXPLICIT_BIG:
        return np.frombuffer(data, np.uint16).byteswap().tobytes()
    return data
