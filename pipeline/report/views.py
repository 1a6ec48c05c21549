"""Draw the pictures of a page: three cuts through one voxel, the planes of the whole mask, and a thumbnail.

Rules:
- The three cuts share one scale, so that a structure has one size in all of them.
- A montage shows planes as the file stores them, from the mask's first to its last, never only the good ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..geometry.affine import Matrix
from ..volume.mask import Segment
from .pictures import Convention, Cut, Picture, choose_cut, draw_cut, segments_of
from .record import RecordFile, check_file
from .surface import Surface, draw_surface
from .volume import Box, Volume, count_filled, find_extent, find_middle, read_volume

_MOST_TILES = 24  # pictures of a montage: they fill one screen, and a page stays small
_MARGIN_MM = 8.0  # around the mask, so that its outline can be judged against what surrounds it
_NARROWEST = 0.6  # width of a frame for its height 1: a ruler of 10 mm and its words still fit
_AXIAL = 2  # the axis of a Volume that is cut across
_VIEWS = (_AXIAL, 0, 1)  # axial, sagittal, coronal, as ITK-SNAP shows them


@dataclass(frozen=True, eq=False)
class Scene:
    """What the pictures of a page show.

    block: of the file. segments: its labels, empty for an image. source: the image drawn under a mask. window: the values
    (black, white) of what is grey, None for colours and for a mask without a source. convention: the side the patient's left is on.
    """

    block: Volume
    segments: tuple[Segment, ...]
    source: Volume | None
    window: tuple[float, float] | None
    convention: Convention

    @cached_property
    def filled(self) -> tuple[Matrix, Matrix, Matrix]:
        """How many labelled voxels each plane of `block` has, for each axis; none where it is an image."""
        if self.segments:
            return count_filled(self.block)
        columns, rows, planes = self.block.voxels.shape
        return np.zeros(columns), np.zeros(rows), np.zeros(planes)

    @property
    def middle(self) -> tuple[int, int, int]:
        """The voxel of `block` that all three cuts go through."""
        return find_middle(self.filled)

    @property
    def extent(self) -> Box:
        """What the labels fill of `block`; all of it where there are none."""
        return find_extent(self.filled)

    def draw(self, axis: int, index: int, box: Box | None = None) -> Picture:
        """Draw the cut across an axis of `block`.

        Args:
            axis: 0 sagittal, 1 coronal, 2 axial.
            index: of the plane, along that axis.
            box: first and last index along each axis, both included; None for the whole block.

        Returns:
            The picture.
        """
        where = choose_cut(self.block, axis, index, self.convention, box)
        return draw_cut(where, self.block, self.segments, self.source, self.window)


@dataclass(frozen=True, slots=True)
class View:
    """A picture with what is written on it. cross: (x, y) mm of the point all views go through; plane: which, in words."""

    picture: Picture
    cross: tuple[float, float] | None
    plane: str


def draw_views(scene: Scene) -> list[View]:
    """Draw the axial, sagittal and coronal cut through one voxel."""
    middle = scene.middle
    pictures = [scene.draw(axis, middle[axis]) for axis in _VIEWS]
    return [View(p, p.cut.place(middle), _describe_plane(scene.block, p.cut)) for p in pictures]


def draw_solid(scene: Scene) -> Surface | None:
    """Draw the surface of the mask; None for an image and for an empty mask."""
    if not scene.filled[0].any():
        return None
    return draw_surface(scene.block, scene.segments, scene.extent, scene.middle, scene.convention)


def frame_of(views: Sequence[View]) -> tuple[float, float]:
    """Find the (width, height) in mm that holds every view at one scale, with room for the ruler."""
    width, height = max(v.picture.cut.width for v in views), max(v.picture.cut.height for v in views)
    return max(width, _NARROWEST * height), height


def draw_montage(scene: Scene) -> list[View]:
    """Draw planes as stored, evenly through the whole mask from its first to its last, cut down to what it fills."""
    block, axis = scene.block, scene.block.stacked_along
    box = _with_margin(block, scene.extent)
    low, high = scene.extent[axis]
    chosen = np.unique(np.linspace(low, high, min(_MOST_TILES, high - low + 1)).round().astype(int))
    if block.order.flipped[axis]:
        chosen = chosen[::-1]
    return [View(scene.draw(axis, int(n), box), None, f"{block.file_plane(int(n))}") for n in chosen]


def find_tiles(montage: Sequence[View]) -> dict[int, str]:
    """Find the plane of a montage that shows most of each label, by the label's number; labels that none shows are left out."""
    best: dict[int, tuple[int, str]] = {}
    for view in montage:
        for number, count in view.picture.counts.items():
            if count > best.get(number, (0, ""))[0]:
                best[number] = (count, view.plane)
    return {number: plane for number, (_, plane) in best.items()}


def draw_thumbnail(record: RecordFile) -> Picture:
    """Draw the axial cut through the middle of a record's file. Raises as `check_file`."""
    block = read_volume(check_file(record))
    segments = segments_of(record.values.get("Labels", [])) if record.is_mask else ()
    scene = Scene(block, segments, None, None, "radiological")
    return scene.draw(_AXIAL, scene.middle[_AXIAL], _with_margin(block, scene.extent) if segments else None)


def _with_margin(block: Volume, extent: Box) -> Box:
    """Widen an extent by the margin, as far as the block goes."""
    margins = np.ceil(_MARGIN_MM / block.spacing).astype(int).tolist()
    i, j, k = (
        (max(low - margin, 0), min(high + margin, count - 1))
        for (low, high), margin, count in zip(extent, margins, block.voxels.shape, strict=True)
    )
    return i, j, k


def _describe_plane(block: Volume, where: Cut) -> str:
    """Describe where a cut lies by its centre, such as "at L 12.5 mm"."""
    centre = block.ras @ np.append(where.ijk.reshape(-1, 3).mean(axis=0), 1)
    towards = (("R", "L"), ("A", "P"), ("S", "I"))[where.axis][int(centre[where.axis] < 0)]
    return f"at {towards} {abs(centre[where.axis]):.1f} mm"
