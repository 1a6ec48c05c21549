"""Count the voxels of every label while the planes of a mask go by, and write tables of label names.

Rules:
- Numbers are counted as planes go by, connected components too; no more than a few MiB of them are held. An empty plane
  holds nothing to count, and ends every component before it.
- A centroid is the mean of voxel centres, in mm, in both worlds: LPS as DICOM has it, RAS as NIfTI has it.
- Components touch by faces. A volume is voxels times the voxel's volume, which is right for sheared grids too.
- A label without a colour gets one by its value from a fixed list, so that files made apart agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.plain_text import escape_controls
from ..core.table_cells import write_cell
from ..geometry.affine import Vector
from .components import Pieces, runs_of
from .mask import Array, MaskVolume, Segment

Colour = tuple[int, int, int]
_AT_A_TIME = (
    1 << 21
)  # bytes of planes that are counted at once: of a single plane, most of the cost is that of the calls
# These colours are far apart in hue and lightness, neighbours in the list most of all.
_COLOURS: tuple[Colour, ...] = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (220, 190, 255), (170, 110, 40), (255, 250, 200),
    (128, 0, 0), (170, 255, 195), (128, 128, 0), (255, 215, 180), (0, 0, 128), (128, 128, 128),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The numbers of one label.

    volume_ml: voxels times the volume of one. centroids: mm, None where the label has no voxel.
    extent: lowest and highest index in i, j and k, both included; None where it has no voxel.
    components: pieces connected by faces; None where they were not counted.
    """

    name: str
    value: int
    voxels: int
    volume_ml: float
    centroid_lps_mm: Vector | None
    centroid_ras_mm: Vector | None
    extent: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None
    components: int | None

    def as_json(self) -> dict[str, Any]:
        """The row as the outcome's JSON has it."""
        return {
            "Name": self.name,
            "Value": self.value,
            "Voxels": self.voxels,
            "VolumeMl": self.volume_ml,
            "CentroidLpsMm": self.centroid_lps_mm and list(self.centroid_lps_mm),
            "CentroidRasMm": self.centroid_ras_mm and list(self.centroid_ras_mm),
            "Extent": self.extent and [list(pair) for pair in self.extent],
            "Components": self.components,
        }


@dataclass(slots=True, eq=False)
class _LabelSum:
    """The sums of one label over some planes. indices: (3,) sums of i, j and k. low, high: (3,) the extreme indices."""

    voxels: int
    indices: Array
    low: Array
    high: Array


class Counter:
    """A counter of the labels of a mask, to which its planes are given one by one in their order."""

    def __init__(self, mask: MaskVolume, *, components: bool = True) -> None:
        self._mask = mask
        self._sums: dict[int, _LabelSum] = {}
        self._pieces = Pieces() if components else None
        columns, rows, _ = mask.voxels.shape
        at_a_time = max(1, _AT_A_TIME // (columns * rows * mask.voxels.dtype.itemsize))
        self._planes = np.empty((at_a_time, rows, columns), mask.voxels.dtype)
        self._held = self._counted = 0

    def add(self, plane: Array | None) -> None:
        """Take in the next plane, (rows, columns); None for an empty one."""
        if plane is None:
            if self._held:
                self._count()
            if self._pieces is not None:
                self._pieces.end_all()
            self._counted += 1
            return
        self._planes[self._held] = plane
        self._held += 1
        if self._held == len(self._planes):
            self._count()

    def _count(self) -> None:
        """Count the planes that are held."""
        found = runs_of(self._planes[: self._held])
        _, height, columns = found.shape
        if self._pieces is not None:
            self._pieces.add(found)
        lines, first = np.divmod(found.starts, columns)
        planes, rows = np.divmod(lines, height)
        planes += self._counted
        middles = first + (found.lengths - 1) / 2
        for value in sorted(set(found.values.tolist())):  # np.unique would import numpy.ma
            here = slice(None) if (found.values == value).all() else found.values == value
            i, j, k, lengths = first[here], rows[here], planes[here], found.lengths[here]
            indices = np.array([middles[here] @ lengths, j @ lengths, k @ lengths])
            low = np.array([i.min(), j.min(), k[0]])
            high = np.array([(i + lengths).max() - 1, j.max(), k[-1]])
            count = int(lengths.sum())
            known = self._sums.get(value)
            if known is None:
                self._sums[value] = _LabelSum(count, indices, low, high)
            else:
                known.voxels += count
                known.indices = known.indices + indices
                known.low, known.high = np.minimum(known.low, low), np.maximum(known.high, high)
        self._counted += self._held
        self._held = 0

    def rows(self) -> tuple[LabelRow, ...]:
        """Return a row for every segment of the mask, in their order, empty ones too."""
        if self._held:
            self._count()
        mask = self._mask
        pieces = None if self._pieces is None else self._pieces.counts()
        voxel_ml = abs(float(np.linalg.det(mask.grid.lps[:3, :3]))) / 1000
        return tuple(_row(mask, segment, self._sums.get(segment.number), voxel_ml, pieces) for segment in mask.segments)

    def values(self) -> set[int]:
        """Return the values that have voxels, those of no segment too; 0 is background."""
        if self._held:
            self._count()
        return set(self._sums)


def label_table(mask: MaskVolume, *, components: bool = True) -> tuple[LabelRow, ...]:
    """Return a row for every segment of a mask, in their order, empty ones too. Every plane is asked for once."""
    counter = Counter(mask, components=components)
    for plane in mask.voxels.planes():
        counter.add(plane)
    return counter.rows()


def _row(
    mask: MaskVolume, segment: Segment, total: _LabelSum | None, voxel_ml: float, pieces: Mapping[int, int] | None
) -> LabelRow:
    count = None if pieces is None else pieces.get(segment.number, 0)
    if total is None:
        return LabelRow(segment.name, segment.number, 0, 0.0, None, None, None, count)
    x, y, z = (float(v) for v in mask.grid.points(total.indices / total.voxels))
    (i, j, k) = ((int(a), int(b)) for a, b in zip(total.low, total.high, strict=True))
    return LabelRow(
        name=segment.name,
        value=segment.number,
        voxels=total.voxels,
        volume_ml=total.voxels * voxel_ml,
        centroid_lps_mm=(x, y, z),
        centroid_ras_mm=(-x, -y, z),
        extent=(i, j, k),
        components=count,
    )


def dseg_tsv(segments: Sequence[Segment]) -> str:
    """Write the lookup table of a BIDS segmentation (_dseg.tsv): index, name and colour (BIDS derivatives, imaging)."""
    rows = [f"{s.number}\t{write_cell(_one_line(s.name))}\t#{_hex(colour_of(s))}" for s in segments]
    return "\n".join(["index\tname\tcolor", *rows]) + "\n"


def itksnap_labels(segments: Sequence[Segment]) -> str:
    """Write an ITK-SNAP label description file: index, R, G, B, opacity, shown, in mesh, name."""
    rows = ['    0     0    0    0        0  0  0    "Clear Label"']
    for s in segments:
        name = _one_line(s.name).replace('"', "'")
        rows.append("{:5d} {:5d} {:4d} {:4d}        1  1  1    ".format(s.number, *colour_of(s)) + f'"{name}"')
    return "\n".join([*_ITKSNAP_HEAD, *rows]) + "\n"


def slicer_colour_table(segments: Sequence[Segment]) -> str:
    """Write a 3D Slicer colour table (.ctbl): label, name without spaces, R, G, B, opacity."""
    rows = ["0 Background 0 0 0 0"]
    for s in segments:
        rows.append("{} {} {} {} {} 255".format(s.number, "_".join(_one_line(s.name).split()), *colour_of(s)))
    return "\n".join(["# Color table of a verimask label file", "# label name R G B A", *rows]) + "\n"


def colour_of(segment: Segment) -> Colour:
    """The segment's own colour, or the one its value always gets."""
    return segment.colour or _COLOURS[(segment.number - 1) % len(_COLOURS)]


def _one_line(name: str) -> str:
    """A name without the characters that end a field or a line, never empty."""
    return " ".join(escape_controls(name).split()) or "unnamed"


def _hex(colour: Colour) -> str:
    return "".join(f"{part:02x}" for part in colour)


_ITKSNAP_HEAD = (
    "################################################",
    "# ITK-SnAP Label Description File",
    "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
    "################################################",
)
