"""Make masks and images of the segments of one DICOM SEG instance, its frames placed on a grid.

Rules:
- Pixels are read when a plane is asked for, except to find out which labels a label map holds and what overlaps.
- Two frames of one segment at one position are refused, because nothing says which of them is meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, PipelineError, refuse
from ...core.policy import Combine, Fractional, Policy
from ...dicom.frame import Frame
from ...dicom.header import Header
from ...dicom.pixel_layout import layout_of
from ...dicom.pixels import read_plane
from ...geometry.grid import Grid
from ...volume.mask import Array, ImageVolume, MaskVolume, Segment, Voxels, require_block, smallest_unsigned
from .grid import FrameLayout, place_frames
from .segment_findings import (
    assumed_segment,
    below_threshold,
    check_maximum,
    find_in_table,
    threshold_taken,
    without_pixels,
)
from .segment_table import SegmentTable


def read_stored_values(frame: Frame) -> Array:
    """Read (rows, columns), unsigned, as stored. Raises as `read_plane` and `layout_of` do."""
    layout_of(frame.header)
    return read_plane(frame)


@dataclass(eq=False)
class Instance:
    """One SEG instance, its frames placed on a grid.

    Attributes:
        header: of its file.
        frames: its frames, in any order.
        table: of its segments.
        fractional: the threshold of fractional values, as a part of their maximum; "keep" keeps the values.
        source: grid of the images it was made on; None where it is not given.
        evidence: what shows that it was made on these images, whatever Frame of Reference it names.
        layout: where each frame lies on the grid.
        undescribed: segments that have pixels, but no entry in the table.
    """

    header: Header
    frames: Sequence[Frame]
    table: SegmentTable
    fractional: Fractional
    policy: Policy
    source: Grid | None
    evidence: str = ""
    layout: FrameLayout = field(init=False)
    undescribed: tuple[Segment, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.layout = place_frames(self.frames, self.source, self.policy, self.evidence)
        described = {segment.number for segment in self.table.segments}
        extra = sorted(number for number in self.numbers if number not in described)
        self.undescribed = tuple(Segment(n, f"segment {n}", source_value=n) for n in extra)
        self._refuse_repeated_frames()

    @property
    def keeps_values(self) -> bool:
        """Whether its fractions are kept as they are."""
        return self.fractional == "keep" and self.table.kind == "FRACTIONAL"

    @property
    def is_labelmap(self) -> bool:
        return self.table.kind == "LABELMAP"

    @cached_property
    def numbers(self) -> set[int]:
        """The numbers of the segments that have at least one frame (in a label map: one pixel)."""
        if self.is_labelmap:
            moved = {s.source_value: s.number for s in self.table.segments}
            return {moved.get(v, v) for v in self.stored if v not in self.table.background}
        return {self._number_of(frame) for frame in self.frames}

    @cached_property
    def stored(self) -> set[int]:
        """The distinct stored values of a label map."""
        seen: set[int] = set()
        for frame in self.frames:
            values = read_stored_values(frame)
            if values.dtype.itemsize > 1:
                seen.update(np.unique(values).tolist())
                continue
            left = values.tobytes().translate(None, bytes(seen))  # many times faster than sorting or counting
            while left:
                seen.add(left[0])
                left = left.translate(None, left[:1])
        return seen

    @cached_property
    def largest(self) -> dict[int, int]:
        """The largest stored value of each segment of fractions."""
        found: dict[int, int] = {}
        for frame in self.frames:
            number = self._number_of(frame)
            found[number] = max(found.get(number, 0), int(read_stored_values(frame).max()))
        return found

    @property
    def findings(self) -> list[Finding]:
        """What there is to know of the instance as a whole."""
        name, stored = self.header.path.name, self.stored if self.is_labelmap else set()
        found = [*self.layout.findings, *find_in_table(name, self.table, stored=stored, undescribed=self.undescribed)]
        if not self.is_labelmap and any(frame.segment_number is None for frame in self.frames):
            found.append(assumed_segment(name, self.table.segments[0]))
        return found

    def select(self, wanted: Sequence[str | int] | None) -> list[Segment]:
        """Return the segments with one of the wanted numbers or names; all of them for None."""
        everything = [*self.table.segments, *self.undescribed]
        return [s for s in everything if wanted is None or s.number in wanted or s.name in wanted]

    def findings_of(self, chosen: Sequence[Segment]) -> list[Finding]:
        """Return what there is to know of the chosen segments. Raises EMPTY where no fraction reaches the threshold."""
        name = self.header.path.name
        without = [s for s in chosen if s.number not in self.numbers]
        found = [without_pixels(name, without)] if without else []
        if self.table.kind != "FRACTIONAL":
            return found
        largest = max((self.largest[s.number] for s in chosen if s.number in self.numbers), default=0)
        odd = check_maximum(name, self.table, largest, self._bits)
        if not isinstance(self.fractional, str):
            found.append(threshold_taken(name, self.table, self.fractional))
            if 0 < largest < self.fractional * self._full and not self.policy.allow_empty:
                raise below_threshold(name, self.table, largest, self.fractional)
        return found if odd is None else [*found, odd]

    @property
    def _bits(self) -> int:
        return int(self.header.get("BitsAllocated", 1))

    @property
    def _full(self) -> int:
        """The stored value that stands for 1. One bit holds no other than 1."""
        return 1 if self._bits == 1 else self.table.maximum

    def masks(self, chosen: Sequence[Segment], combine: Combine, name: str) -> list[MaskVolume]:
        """Make one mask of the chosen segments, or one each where they may not share one.

        Args:
            chosen: segments of this instance; those without a pixel give no mask of their own.
            combine: "auto" gives each a mask where two share a voxel, "separate" always, "merge" never.
            name: of a mask of several segments.

        Returns:
            The masks; none where fractions are kept, nor where no chosen segment has a pixel unless the policy lets an empty
            one pass.

        Raises:
            PipelineError: SEGMENTS_OVERLAP for "merge" where two segments share a voxel.
        """
        present = [s for s in chosen if s.number in self.numbers]
        if self.keeps_values or not (present or (self.policy.allow_empty and chosen)):
            return []
        together = combine != "separate"
        if together and not self.is_labelmap and (shared := self._shared_voxels(present)):
            if combine == "merge":
                raise self._overlap_refusal(present, shared)
            together = False
        if together or not present:
            named = chosen[0].name if len(chosen) == 1 else name
            return [self._mask(chosen, named)]
        return [self._mask([segment], segment.name) for segment in present]

    def images(self, chosen: Sequence[Segment]) -> list[tuple[Segment, ImageVolume]]:
        """Make an image of the fractions of each of the chosen segments that has any; none unless they are kept."""
        return [
            (segment, self._image(segment))
            for segment in chosen
            if self.keeps_values and segment.number in self.numbers
        ]

    def _image(self, segment: Segment) -> ImageVolume:
        """Make an image of the stored fractions of one segment; its slope makes them parts of one."""
        mine = [n for n, frame in enumerate(self.frames) if self._number_of(frame) == segment.number]
        dtype = np.dtype(np.uint8 if self._bits <= 8 else np.uint16)
        voxels = self._voxels(mine, dtype, lambda frame: read_stored_values(frame))
        return ImageVolume(voxels, self.layout.grid, slope=1 / self._full, name=segment.name)

    def _mask(self, segments: Sequence[Segment], name: str) -> MaskVolume:
        numbers = {s.number for s in segments}
        dtype = smallest_unsigned(max(numbers))
        if self.is_labelmap:
            lookup = self._lookup(segments, dtype)
            same = all(int(lookup[v]) == v for v in self.stored)
            voxels = self._voxels(
                range(len(self.frames)),
                dtype,
                lambda frame: read_stored_values(frame).astype(dtype) if same else lookup[read_stored_values(frame)],
            )
        else:
            mine = [n for n, frame in enumerate(self.frames) if self._number_of(frame) in numbers]
            voxels = self._voxels(
                mine, dtype, lambda frame: self._inside(frame).view(np.uint8) * dtype.type(self._number_of(frame))
            )
        return MaskVolume(voxels, self.layout.grid, tuple(segments), name)

    def _lookup(self, segments: Sequence[Segment], dtype: np.dtype[Any]) -> Array:
        """Return a table from stored value to label; 0 for everything that was not asked for."""
        lookup = np.zeros(1 << 16, dtype)
        for segment in segments:
            if segment.source_value is not None and segment.source_value not in self.table.background:
                lookup[segment.source_value] = segment.number
        return lookup

    def _number_of(self, frame: Frame) -> int:
        """Return the number of the segment a frame shows: as it says, or that of the only segment there is."""
        number, segments = frame.segment_number, self.table.segments
        if number is None and len(segments) == 1:
            return segments[0].number
        if number == 0:  # numbers are counted from 0 then; see `segment_table`
            number = next((s.number for s in segments if s.source_value == 0), number)
        if number is None or number < 1:
            raise refuse(
                Code.CORRUPT_FILE,
                f"{frame.name} does not say which of {len(segments)} segments it shows "
                f"(Referenced Segment Number (0062,000B): {'missing' if number is None else number})",
                "The file was written wrongly; export it again.",
                where=(frame.name,),
                clause="PS3.3 C.8.20.3.1",
            )
        return number

    def _inside(self, frame: Frame) -> NDArray[np.bool_]:
        """Return (rows, columns) of a binary or fractional frame: whether each pixel is inside."""
        values: Any = read_stored_values(frame)
        if self._bits == 1:
            return np.asarray(values.view(np.bool_))
        if self.table.kind == "FRACTIONAL" and not isinstance(self.fractional, str):
            return np.asarray(values >= self.fractional * self.table.maximum)
        others = np.unique(values[values > 0])
        if others.size > 1:
            raise refuse(
                Code.NOT_A_MASK,
                f"{frame.name} is said to be binary but holds the values {', '.join(map(str, others[:5]))}",
                "A binary segment has 0 and one more value; the file was written wrongly, so export it again.",
                where=(frame.name,),
                clause="PS3.3 C.8.20.2",
            )
        return np.asarray(values != 0)

    def _voxels(self, members: Sequence[int], dtype: np.dtype[Any], values: Callable[[Frame], Array]) -> Voxels:
        """Return frames as voxels of the grid: read plane by plane, or all at once when they are not stacked along k."""
        layout, (columns, rows, planes) = self.layout, self.layout.grid.shape
        frames_at: dict[int, list[Frame]] = defaultdict(list)
        for n in members:
            frames_at[int(layout.at[n])].append(self.frames[n])

        def plane(k: int) -> Array:
            out: Any = np.zeros((1, rows, columns), dtype)
            for frame in frames_at.get(k, ()):
                layout.window(out, 0)[...] |= values(frame)
            return np.asarray(out[0])

        def block() -> Array:
            require_block((columns, rows, planes), dtype)
            out: Any = np.zeros((planes, rows, columns), dtype)
            for at, frames in frames_at.items():
                for frame in frames:
                    layout.window(out, at)[...] |= values(frame)
            return np.asarray(out.T)

        if layout.axis == 2:
            return Voxels((columns, rows, planes), dtype, plane, lambda k: k not in frames_at)
        return Voxels.of(block())

    def _shared_voxels(self, segments: Sequence[Segment]) -> dict[tuple[int, int], int]:
        """Count the voxels that two of the segments share, by pair of segment numbers; only pairs that share any."""
        numbers = {s.number for s in segments}
        shared: dict[tuple[int, int], int] = defaultdict(int)
        frames_at: dict[int, list[Frame]] = defaultdict(list)
        for frame, at in zip(self.frames, self.layout.at.tolist(), strict=True):
            if self._number_of(frame) in numbers:
                frames_at[at].append(frame)
        for frames in frames_at.values():
            if len(frames) > 1:
                for pair, count in self._shared_pixels(frames).items():
                    shared[pair] += count
        return shared

    def _overlap_refusal(self, segments: Sequence[Segment], shared: dict[tuple[int, int], int]) -> PipelineError:
        names = {s.number: s.name for s in segments}
        (a, b), count = max(shared.items(), key=lambda item: item[1])
        return refuse(
            Code.SEGMENTS_OVERLAP,
            f"segments {a} “{names[a]}” and {b} “{names[b]}” share {count} voxels, and a voxel holds one label"
            + (f"; {len(shared) - 1} other pairs overlap too" if len(shared) > 1 else ""),
            "Write one file a segment, or choose segments that do not overlap.",
            where=(self.header.path.name,),
            measured=float(count),
            limit=0.0,
            unit="voxels",
        )

    def _shared_pixels(self, frames: Sequence[Frame]) -> dict[tuple[int, int], int]:
        """Count the pixels that two of the frames of one plane share, by pair of segment numbers."""
        insides = {self._number_of(frame): self._inside(frame) for frame in frames}
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

    def _refuse_repeated_frames(self) -> None:
        seen: dict[tuple[int, int], Frame] = {}
        for frame, at in zip(self.frames, self.layout.at.tolist(), strict=True):
            key = (0 if self.is_labelmap else self._number_of(frame), at)
            if key in seen:
                raise refuse(
                    Code.DUPLICATE_POSITION,
                    f"{seen[key].name} and {frame.name} show the same segment at the same position",
                    "The segmentation may cover several points in time; export each by itself.",
                    where=(seen[key].name, frame.name),
                )
            seen[key] = frame
