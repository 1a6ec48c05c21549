"""Find what an eye far away sees of labelled voxels: the first cell on each ray, where it lies, and which way it faces.

Rules:
- Everything is in RAS mm by the affine: spacing, shear and lean need no case of their own.
- The voxels are sampled in cells, at most `_CELLS` along the mask: what is thinner than a cell may be missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.affine import Matrix
from ..volume.mask import Array
from .pictures import Convention
from .volume import Box, Volume

_TURN_DEGREES, _RAISE_DEGREES = 30.0, 20.0  # of the eye, so that each of the three cuts is seen from its face
_CELLS = 200  # along the longest side of the mask, about: finer ones are smaller than a pixel of the picture
_FEWEST = 8  # along a short side, so that half a cell is little of it
_REACH = 3  # cells, from which the side that a surface faces is told: fewer show the steps of the voxels as ripples
# Every other cell of a ball: enough for the direction, and half the work.
_AROUND = np.array([p for p in product(range(-_REACH, _REACH + 1), repeat=3) if 0 < np.dot(p, p) <= 9 and sum(p) % 2])


class Camera(NamedTuple):
    """Unit vectors in RAS. right, up: of the picture. towards: from the patient to the eye."""

    right: Matrix
    up: Matrix
    towards: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Labels in cells of one size, sampled from a box of voxels. to_ras, to_voxel: 4 x 4, of cell indices."""

    labels: Array
    to_ras: Matrix
    to_voxel: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Grid2D:
    """The pixels of a picture. left, top: mm along the camera's right and up, of its corner. pixel: mm of a side."""

    left: float
    top: float
    pixel: float
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What each pixel shows. labels: (rows, columns), 0 for nothing. cells: (rows, columns, 3), where, as cell indices."""

    labels: Array
    cells: NDArray[np.float32]


def camera_of(convention: Convention) -> Camera:
    """Find where the eye is: before the patient (radiological) or behind, turned to the patient's left, and raised."""
    turn, raised = np.radians([_TURN_DEGREES, _RAISE_DEGREES])
    front = 1.0 if convention == "radiological" else -1.0
    flat = np.array([-np.sin(turn), front * np.cos(turn), 0.0])
    head = np.array([0.0, 0.0, 1.0])
    towards = np.cos(raised) * flat + np.sin(raised) * head
    right = np.cross(head, flat)
    return Camera(right, np.cross(towards, right), towards)


def sample_cells(block: Volume, extent: Box) -> Cells:
    """Sample a box of a block in cells whose sides are as nearly equal as the block allows, nearest voxel.

    Args:
        block: of any spacing.
        extent: first and last index along each axis, both included.

    Returns:
        The labels, with the affine of the cells' centres.
    """
    counts = np.array([high - low + 1 for low, high in extent])
    sides = counts * block.spacing
    many = np.maximum(sides / sides.max() * _CELLS, _FEWEST)
    # A voxel larger than a cell is a whole number of cells, so that its edges are where they are.
    many = np.where(many > counts, counts * np.rint(many / counts), np.rint(many)).astype(int)
    step = counts / many
    first = np.array([low for low, _ in extent]) - 0.5 + step / 2
    indices = [np.rint(first[a] + step[a] * np.arange(many[a])).astype(np.intp) for a in range(3)]
    to_voxel = np.diag([*step, 1.0])
    to_voxel[:3, 3] = first
    labels = block.voxels.T[np.ix_(*indices[::-1])].T  # in the order of memory
    return Cells(labels, block.ras @ to_voxel, to_voxel)


def cast_rays(cells: Cells, camera: Camera, grid: Grid2D) -> Hits:
    """Find the first cell that is not 0 behind each pixel.

    The cells are sheared until all rays run along one of their axes, overlaid plane by plane from the eye on, and the
    result is looked up pixel by pixel (shear-warp: Lacroute and Levoy 1994): no step is taken ray by ray.

    Args:
        cells: to look at.
        camera: from where.
        grid: the pixels of the picture.

    Returns:
        Label and place for each pixel.
    """
    to_cell = np.linalg.inv(cells.to_ras)
    ray = to_cell[:3, :3] @ -camera.towards
    along = int(np.abs(ray).argmax())
    others = [axis for axis in range(3) if axis != along]
    ray /= abs(ray[along])
    forwards = ray[along] > 0
    label, depth, offset = _overlay(np.moveaxis(cells.labels, along, 0)[:: 1 if forwards else -1], ray[others])
    x = grid.left + (np.arange(grid.columns) + 0.5) * grid.pixel
    y = grid.top - (np.arange(grid.rows) + 0.5) * grid.pixel
    right, up = (to_cell[:3, :3] @ axis for axis in (camera.right, camera.up))
    start = to_cell[:3, 3] + x[None, :, None] * right + y[:, None, None] * up
    first = 0 if forwards else cells.labels.shape[along] - 1
    start = start + ((first - start[..., along]) / ray[along])[..., None] * ray  # where a ray meets the first plane
    at = np.rint(start[..., others] + offset).astype(np.intp)
    inside = ((at >= 0) & (at < label.shape)).all(axis=-1)
    at[~inside] = 0
    shown = np.where(inside, label[at[..., 0], at[..., 1]], 0)
    # Where both a plane and a ray are rounded, the place may be half a cell beside the one that was hit.
    place = np.clip(start + depth[at[..., 0], at[..., 1], None] * ray, 0, np.array(cells.labels.shape) - 1)
    return Hits(shown, place.astype(np.float32))


def _overlay(planes: Array, shear: Matrix) -> tuple[Array, Array, Matrix]:
    """Overlay planes, each sheared against the one before: the first label that is not 0, the number of its plane, and
    where the first plane lies."""
    far = np.rint(shear * (len(planes) - 1)).astype(int)
    offset = np.maximum(far, 0)
    size = np.array(planes.shape[1:]) + np.abs(far)
    label, depth = np.zeros(size, planes.dtype), np.zeros(size, np.int16)
    for n, plane in enumerate(planes):
        row, column = (offset - np.rint(shear * n).astype(int)).tolist()
        window = np.s_[row : row + plane.shape[0], column : column + plane.shape[1]]
        new = (label[window] == 0) & (plane != 0)
        np.copyto(label[window], plane, where=new)
        np.copyto(depth[window], n, where=new)
    return label, depth, offset


def find_normals(cells: Cells, at: NDArray[np.intp]) -> Matrix:
    """Find which way the surface faces at some cells: from where there are labels to where there are none.

    Args:
        cells: the labels.
        at: (n, 3) indices of cells.

    Returns:
        (n, 3) unit vectors in RAS; zero where nothing tells.
    """
    filled = np.pad(cells.labels != 0, _REACH)
    strides = np.array([filled.shape[1] * filled.shape[2], filled.shape[2], 1])
    flat, back = np.unique((at + _REACH) @ strides, return_inverse=True)  # several pixels show one cell
    some = filled.ravel()
    # A gradient is a covector: in mm it is turned by the inverse transposed.
    around = _AROUND @ np.linalg.inv(cells.to_ras[:3, :3]) * np.abs(np.linalg.det(cells.to_ras[:3, :3])) ** (1 / 3)
    gradient = np.zeros((len(flat), 3), np.float32)
    for step, vector in zip(_AROUND @ strides, around.astype(np.float32), strict=True):
        gradient -= some[flat + step, None] * vector
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    return np.asarray((gradient / np.maximum(length, 1e-6))[back])
