"""Draw the surface of a mask in three dimensions: lit voxels, the planes of the three cuts, and the patient's sides.

Rules:
- In the radiological convention one looks from the front, in the neurological one from behind, so that left is on the
  same side as in the cuts; turned to the patient's left and a little from above.
- A picture is in mm, true in its plane. A white line on the surface is where a cut goes through it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.extras import imported
from ..geometry.affine import Matrix
from ..volume.mask import Array, Segment
from .pictures import NAMES, Convention, colour_of
from .ray_casting import Camera, Cells, Grid2D, Hits, camera_of, cast_rays, find_normals, sample_cells
from .volume import Box, Volume

_PIXELS = 320  # of the longer side of the picture
_MARGIN = 0.07  # of the longest side of the mask, between it and the edges of the planes
_LIGHT = np.array([-0.35, 0.55, 0.76])  # where it comes from: left of the eye, above it, and in front
_SHADE = 0.25  # what is left of a colour where no light comes to
_DARK, _CUT = 0.3, 255  # of the edges of labels, and of the line of a cut
_QUALITY = 60  # of WebP
_SAMPLES = 200  # of an edge, at which it is looked up what lies in front


class Letter(NamedTuple):
    """A letter of the patient's sides. x, y: mm of the picture. near: whether it is on the side of the eye."""

    text: str
    x: float
    y: float
    near: bool


class PlaneEdge(NamedTuple):
    """The outline of the plane of a cut as paths of an SVG, in mm: all of it, and what nothing lies in front of."""

    name: str
    whole: str
    seen: str


@dataclass(frozen=True, slots=True)
class Surface:
    """A picture; x runs to the right, y down, in mm from the RAS origin. webp: a data URI, clear where nothing is.

    frame: the x, y, width and height that hold the picture, the planes and the letters. seen_from: in words.
    """

    webp: str
    x: float
    y: float
    width: float
    height: float
    planes: tuple[PlaneEdge, ...]
    letters: tuple[Letter, ...]
    seen_from: str
    frame: tuple[float, float, float, float]


def draw_surface(
    block: Volume, segments: Sequence[Segment], extent: Box, middle: Sequence[int], convention: Convention
) -> Surface:
    """Draw the labels of a block as one solid.

    Args:
        block: of the proven file, with a voxel at least that is not 0.
        segments: its labels, for their colours.
        extent: first and last filled index along each axis, both included.
        middle: the voxel that the three cuts go through.
        convention: the side the patient's left is on.

    Returns:
        The picture.
    """
    camera = camera_of(convention)
    cells = sample_cells(block, extent)
    grid = _frame_of(cells, camera)
    hits = cast_rays(cells, camera, grid)
    pixels = _shade(cells, hits, camera, segments, middle)
    corners = _corners_of_planes(block, extent, middle)
    points = np.concatenate(list(corners.values()))
    letters = _place_letters(points, camera)
    depth = _depth_of(cells, hits, camera)
    side = "front" if convention == "radiological" else "back"
    return Surface(
        _encode_webp(pixels),
        grid.left,
        -grid.top,
        grid.columns * grid.pixel,
        grid.rows * grid.pixel,
        tuple(_outline(name, four, camera, grid, depth) for name, four in corners.items()),
        letters,
        f"from the {side}, the patient's left and above",
        _find_frame(points, letters, camera),
    )


def _find_frame(points: Matrix, letters: Sequence[Letter], camera: Camera) -> tuple[float, float, float, float]:
    x = [*(points @ camera.right), *(one.x for one in letters)]
    y = [*(-points @ camera.up), *(one.y for one in letters)]
    left, top = float(min(x)), float(min(y))
    return left, top, float(max(x)) - left, float(max(y)) - top


def _frame_of(cells: Cells, camera: Camera) -> Grid2D:
    """Find the pixels that hold all cells."""
    half = np.array(cells.labels.shape) - 0.5
    box = np.stack(np.meshgrid(*([-0.5, n] for n in half), indexing="ij"), -1).reshape(-1, 3)
    corners = (box @ cells.to_ras[:3, :3].T + cells.to_ras[:3, 3]) @ np.stack([camera.right, camera.up], 1)
    low, high = corners.min(axis=0), corners.max(axis=0)
    pixel = float((high - low).max()) / _PIXELS
    columns, rows = np.ceil((high - low) / pixel).astype(int).tolist()
    return Grid2D(float(low[0]), float(high[1]), pixel, rows, columns)


def _depth_of(cells: Cells, hits: Hits, camera: Camera) -> NDArray[np.float32]:
    """How near to the eye each pixel's surface is, in mm; minus infinity where there is none."""
    towards = camera.towards @ cells.to_ras[:3]
    depth = hits.cells @ towards[:3].astype(np.float32) + np.float32(towards[3])
    return np.where(hits.labels != 0, depth, np.float32(-np.inf))


def _shade(cells: Cells, hits: Hits, camera: Camera, segments: Sequence[Segment], middle: Sequence[int]) -> Array:
    """Give each pixel the colour of its label in the light. Returns (rows, columns, 4) bytes, the last of them opacity."""
    hit = hits.labels != 0
    light = np.stack([camera.right, camera.up, camera.towards], 1) @ _LIGHT
    normals = find_normals(cells, np.rint(hits.cells[hit]).astype(np.intp))
    lit = np.zeros(hit.shape, np.float32)
    lit[hit] = _SHADE + (1 - _SHADE) * np.clip(normals @ light, 0, 1)
    colours = np.zeros((int(hits.labels.max()) + 1, 3), np.float32)
    for segment in segments:
        if segment.number < len(colours):
            colours[segment.number] = colour_of(segment)
    rgb = colours[hits.labels] * lit[..., None]
    border = _find_changes(hits.labels)
    rgb[border] *= _DARK
    for axis in range(3):  # which side of the middle of the cut's voxels a pixel is on
        at = hits.cells[..., axis] * cells.to_voxel[axis, axis] + cells.to_voxel[axis, 3]
        rgb[_find_changes(at > middle[axis]) & hit & ~border] = _CUT
    return np.dstack([rgb, np.where(hit, 255, 0)]).astype(np.uint8)


def _find_changes(values: Array) -> NDArray[np.bool_]:
    """Find the pixels whose right or lower neighbour is another."""
    changes = np.zeros(values.shape, bool)
    changes[:, :-1] |= values[:, 1:] != values[:, :-1]
    changes[:-1] |= values[1:] != values[:-1]
    return changes


def _corners_of_planes(block: Volume, extent: Box, middle: Sequence[int]) -> dict[str, Matrix]:
    """Find the four corners of the plane of each cut, (4, 3) in RAS mm, a little larger than the mask."""
    sides = np.array([high - low + 1 for low, high in extent])
    margin = _MARGIN * float((sides * block.spacing).max()) / block.spacing
    low = np.array([first for first, _ in extent]) - 0.5 - margin
    high = low + sides + 2 * margin
    found = {}
    for axis in range(3):
        one, other = (a for a in range(3) if a != axis)
        ijk = np.tile(np.asarray(middle, float), (4, 1))
        ijk[:, one] = np.array([low, high, high, low])[:, one]
        ijk[:, other] = np.array([low, low, high, high])[:, other]
        found[NAMES[axis]] = ijk @ block.ras[:3, :3].T + block.ras[:3, 3]
    return found


def _outline(name: str, corners: Matrix, camera: Camera, grid: Grid2D, depth: Array) -> PlaneEdge:
    """Draw the outline of a plane; where the surface lies in front of it, it is not seen."""
    ring = np.concatenate([corners, corners[:1]])
    t = np.linspace(0, 4, 4 * _SAMPLES + 1)
    points = np.stack([np.interp(t, range(5), ring[:, n]) for n in range(3)], 1)
    x, y = points @ camera.right, points @ camera.up
    column, row = ((x - grid.left) / grid.pixel).astype(int), ((grid.top - y) / grid.pixel).astype(int)
    inside = (
        (row >= 0) & (row < grid.rows) & (column >= 0) & (column < grid.columns) & (x >= grid.left) & (y <= grid.top)
    )
    front = depth[np.where(inside, row, 0), np.where(inside, column, 0)]
    seen = ~inside | (points @ camera.towards > front)
    turns = np.flatnonzero(np.diff(seen.astype(np.int8))) + 1
    runs = [run for run in np.split(np.arange(len(t)), turns) if seen[run[0]] and len(run) > 1]
    kept = [[n for n in run if n in (run[0], run[-1]) or n % _SAMPLES == 0] for run in runs]
    return PlaneEdge(name, _path(np.arange(4) * _SAMPLES, x, y) + "z", "".join(_path(run, x, y) for run in kept))


def _path(indices: Sequence[int] | Array, x: Matrix, y: Matrix) -> str:
    return "M" + "L".join(f"{x[n]:.1f} {-y[n]:.1f}" for n in indices)


def _place_letters(corners: Matrix, camera: Camera) -> tuple[Letter, ...]:
    """Put each letter on the patient's axis through the middle of the planes, beyond their edges."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2
    beyond = half + 0.8 * _MARGIN * half.max()
    found = []
    for axis, pair in enumerate(("RL", "AP", "SI")):
        for sign, letter in zip((1, -1), pair, strict=True):
            point = centre.copy()
            point[axis] += sign * beyond[axis]
            near = bool(sign * camera.towards[axis] > 0)
            found.append(Letter(letter, float(point @ camera.right), float(-point @ camera.up), near))
    return tuple(found)


def _encode_webp(pixels: Array) -> str:
    stream = BytesIO()
    imported("report", "PIL.Image").fromarray(pixels).save(stream, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + b64encode(stream.getvalue()).decode("ascii")
