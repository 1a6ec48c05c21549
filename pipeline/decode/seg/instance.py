"""One DICOM SEG instance with its frames placed: masks and images of its segments, and what is to be known of them.

Rules:
- Pixels are read when a plane is asked for, except to find out which labels a label map holds and what overlaps.
- Two frames of one segment at one position are refused: which of them is meant nobody can tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, Severity, refuse
from ...core.policy import Combine, Fractional, Policy
from ...dicom.frame import Frame
from ...dicom.header import Header
from ...geometry.grid import Grid
from ...volume.mask import Array, Image, Mask, Segment, Voxels, smallest_unsigned
from .grid import PlacedFrames, place_frames
from .pixels import stored_values
from .segment_table import SegmentTable


@dataclass(eq=False)
class Instance:
    """One SEG instance, its frames placed. Pixels are read when a plane is asked for."""

    header: Header
    frames: Sequence[Frame]
    table: SegmentTable
    fractional: Fractional
    policy: Policy
    source: Grid | None
    placed: PlacedFrames = field(init=False)
    undescribed: tuple[Segment, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.placed = place_frames(self.frames, self.source, self.policy)
        described = {segment.number for segment in self.table.segments}
        extra = sorted(number for number in self.numbers if number not in described)
        self.undescribed = tuple(Segment(n, f"segment {n}", source_value=n) for n in extra)
        self._refuse_twice()

    @property
    def is_labelmap(self) -> bool:
        return self.table.kind == "LABELMAP"

    @cached_property
    def numbers(self) -> set[int]:
        """The segments that have at least one frame (in a label map: one pixel)."""
        if self.is_labelmap:
            moved = {s.source_value: s.number for s in self.table.segments}
            return {moved.get(v, v) for v in self.stored if v not in self.table.background}
        return {self._number(frame) for frame in self.frames}

    @cached_property
    def stored(self) -> set[int]:
        """The distinct stored values of a label map."""
        seen: set[int] = set()
        for frame in self.frames:
            values = stored_values(frame)
            if values.dtype.itemsize > 1:
                seen.update(np.unique(values).tolist())
                continue
            left = values.tobytes().translate(None, bytes(seen))  # many times faster than sorting or counting
            while left:
                seen.add(left[0])
                left = left.translate(None, left[:1])
        return seen

    @property
    def findings(self) -> list[Finding]:
        found = list(self.placed.findings)
        if self.undescribed:
            numbers = ", ".join(str(s.number) for s in self.undescribed)
            found.append(
                Finding(
                    Code.SEGMENT_NOT_DESCRIBED,
                    f"{self.header.path.name} has pixels of segment {numbers}, which its table does not name",
                    "They are kept, under their number.",
                    Severity.WARNING,
                    where=(self.header.path.name,),
                    clause="PS3.3 C.8.20.2",
                )
            )
        moved = [s for s in self.table.segments if s.source_value != s.number]
        found += [
            Finding(
                Code.LABELS_REMAPPED,
                f"segment 0 “{s.name}” of {self.header.path.name} is not background; it became label {s.number}",
                severity=Severity.WARNING,
            )
            for s in moved
        ]
        return found

    def chosen(self, wanted: Sequence[str | int] | None) -> list[Segment]:
        everything = [*self.table.segments, *self.undescribed]
        return [s for s in everything if wanted is None or s.number in wanted or s.name in wanted]

    def about(self, chosen: Sequence[Segment]) -> list[Finding]:
        name = self.header.path.name
        without = [s for s in chosen if s.number not in self.numbers]
        found = []
        if without:
            found.append(
                Finding(
                    Code.SEGMENT_WITHOUT_FRAMES,
                    f"{name}: no pixel for segment " + ", ".join(f"{s.number} “{s.name}”" for s in without),
                    "They are empty; they stay in the table of segments.",
                    Severity.INFO,
                    where=(name,),
                )
            )
        if self.table.kind == "FRACTIONAL" and self.fractional != "keep":
            found.append(
                Finding(
                    Code.FRACTIONAL_THRESHOLD,
                    f"{name} holds fractions ({self.table.fractional_type or 'of unsaid type'}); a voxel is inside "
                    f"from {self.fractional:g} of {self.table.maximum}, its Maximum Fractional Value, upwards",
                    "Choose another threshold, or keep the values, with --fractional.",
                    Severity.INFO,
                    where=(name,),
                    clause="PS3.3 C.8.20.2.3",
                )
            )
        return found

    def masks(self, chosen: Sequence[Segment], combine: Combine, name: str) -> list[Mask]:
        present = [s for s in chosen if s.number in self.numbers]
        if not present:
            return []
        together = combine != "separate" and (self.is_labelmap or not self._refused_overlap(present, combine))
        if together:
            named = chosen[0].name if len(chosen) == 1 else name
            return [self._mask(chosen, named)]
        return [self._mask([segment], segment.name) for segment in present]

    def image(self, segment: Segment) -> Image:
        """The stored fractions of one segment; slope makes them parts of one."""
        mine = [n for n, frame in enumerate(self.frames) if self._number(frame) == segment.number]
        dtype = np.dtype(np.uint8 if int(self.header.get("BitsAllocated", 8)) == 8 else np.uint16)
        voxels = self._voxels(mine, dtype, lambda frame: stored_values(frame))
        return Image(voxels, self.placed.grid, slope=1 / self.table.maximum, name=segment.name)

    def _mask(self, segments: Sequence[Segment], name: str) -> Mask:
        numbers = {s.number for s in segments}
        dtype = smallest_unsigned(max(numbers))
        if self.is_labelmap:
            lookup = self._lookup(segments, dtype)
            same = all(int(lookup[v]) == v for v in self.stored)
            voxels = self._voxels(
                range(len(self.frames)),
                dtype,
                lambda frame: stored_values(frame).astype(dtype) if same else lookup[stored_values(frame)],
            )
        else:
            mine = [n for n, frame in enumerate(self.frames) if self._number(frame) in numbers]
            voxels = self._voxels(
                mine, dtype, lambda frame: self._inside(frame).view(np.uint8) * dtype.type(self._number(frame))
            )
        return Mask(voxels, self.placed.grid, tuple(segments), name)

    def _lookup(self, segments: Sequence[Segment], dtype: np.dtype[Any]) -> Array:
        """Stored value to label: 0 for everything not asked for."""
        lookup = np.zeros(1 << 16, dtype)
        for segment in segments:
            if segment.source_value is not None and segment.source_value not in self.table.background:
                lookup[segment.source_value] = segment.number
        return lookup

    def _number(self, frame: Frame) -> int:
        number = frame.segment_number
        if number is None or number < 1:
            raise refuse(
                Code.CORRUPT_FILE,
                f"{frame.name} does not say which segment it shows (Referenced Segment Number (0062,000B): {number})",
                where=(frame.name,),
                clause="PS3.3 C.8.20.3.1",
            )
        return number

    def _inside(self, frame: Frame) -> NDArray[np.bool_]:
        """(rows, columns) of a binary or fractional frame."""
        values: Any = stored_values(frame)
        if int(self.header.get("BitsAllocated", 1)) == 1:
            return np.asarray(values.view(np.bool_))
        if self.table.kind == "FRACTIONAL" and not isinstance(self.fractional, str):
            return np.asarray(values >= self.fractional * self.table.maximum)
        others = np.unique(values[values > 0])
        if others.size > 1:
            raise refuse(
                Code.NOT_A_MASK,
                f"{frame.name} is said to be binary but holds the values {', '.join(map(str, others[:5]))}",
                where=(frame.name,),
                clause="PS3.3 C.8.20.2",
            )
        return np.asarray(values != 0)

    def _voxels(self, members: Sequence[int], dtype: np.dtype[Any], values: Callable[[Frame], Array]) -> Voxels:
        """Frames as a block on the grid, read a plane at a time, or all at once when planes are not its k axis."""
        placed, (columns, rows, planes) = self.placed, self.placed.grid.shape
        by_place: dict[int, list[Frame]] = defaultdict(list)
        for n in members:
            by_place[int(placed.at[n])].append(self.frames[n])

        def plane(k: int) -> Array:
            out: Any = np.zeros((1, rows, columns), dtype)
            for frame in by_place.get(k, ()):
                placed.window(out, 0)[...] |= values(frame)
            return np.asarray(out[0])

        def block() -> Array:
            out: Any = np.zeros((planes, rows, columns), dtype)
            for at, frames in by_place.items():
                for frame in frames:
                    placed.window(out, at)[...] |= values(frame)
            return np.asarray(out.T)

        if placed.axis == 2:
            return Voxels((columns, rows, planes), dtype, plane)
        return Voxels.of(block())

    def _refused_overlap(self, segments: Sequence[Segment], combine: Combine) -> bool:
        """Whether two of the segments share a voxel; refused when they were to be merged."""
        names = {s.number: s.name for s in segments}
        shared: dict[tuple[int, int], int] = defaultdict(int)
        by_place: dict[int, list[Frame]] = defaultdict(list)
        for frame, at in zip(self.frames, self.placed.at.tolist(), strict=True):
            if self._number(frame) in names:
                by_place[at].append(frame)
        for frames in by_place.values():
            if len(frames) > 1:
                for pair, count in self._shared(frames).items():
                    shared[pair] += count
        if shared and combine == "merge":
            (a, b), count = max(shared.items(), key=lambda item: item[1])
            raise refuse(
                Code.SEGMENTS_OVERLAP,
                f"segments {a} “{names[a]}” and {b} “{names[b]}” share {count} voxels, and a voxel holds one label"
                + (f"; {len(shared) - 1} other pairs overlap too" if len(shared) > 1 else ""),
                "Write one file a segment, or choose segments that do not overlap.",
                where=(self.header.path.name,),
                measured=float(count),
                limit=0.0,
                unit="voxels",
            )
        return bool(shared)

    def _shared(self, frames: Sequence[Frame]) -> dict[tuple[int, int], int]:
        """Voxels that two of the frames of one plane share, by pair of segment numbers."""
        insides = {self._number(frame): self._inside(frame) for frame in frames}
        union: Any = np.zeros_like(next(iter(insides.values())))
        found = False
        for inside in insides.values():
            found = found or bool((union & inside).any())
            union |= inside
        if not found:
            return {}
        numbers = sorted(insides)
        pairs = ((a, b) for n, a in enumerate(numbers) for b in numbers[n + 1 :])
        counts = {(a, b): int(np.count_nonzero(insides[a] & insides[b])) for a, b in pairs}
        return {pair: count for pair, count in counts.items() if count}

    def _refuse_twice(self) -> None:
        seen: dict[tuple[int, int], Frame] = {}
        for frame, at in zip(self.frames, self.placed.at.tolist(), strict=True):
            key = (0 if self.is_labelmap else self._number(frame), at)
            if key in seen:
                raise refuse(
                    Code.DUPLICATE_POSITION,
                    f"{seen[key].name} and {frame.name} show the same segment at the same position",
                    "The segmentation may cover several points in time; export each by itself.",
                    where=(seen[key].name, frame.name),
                )
            seen[key] = frame
