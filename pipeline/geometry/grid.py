"""Where the voxels of an image lie in the patient. Numbers only: no DICOM, no NIfTI, no files.

Rules:
- Index order is (i, j, k) = (column, row, plane), as in DICOM PS3.3 equation C.7.6.2.1-1 and in NIfTI storage.
- The world is LPS, in mm: x to the patient's left, y to the back, z to the head. RAS appears only in names that say so.
- Planes are ordered by position along the normal, row x column, ascending. So every grid is right-handed.
- One number in mm proves a stack: the largest distance between any corner of any plane by its own equation and the
  same voxel by the grid. It catches missing, doubled and displaced planes, drift, wrong orientation or spacing at once.
- Two affines are compared through the map between their indices, never entry by entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = tuple[float, float, float]
Matrix = NDArray[np.float64]

LPS_TO_RAS: Matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
LPS_TO_RAS.flags.writeable = False


# Positions a kilometre from the origin are rounded to less than this, and no voxel is this thin.
_NO_STEP_MM = 1e-6


class GeometryError(ValueError):
    """Numbers that describe no plane or no grid."""


@dataclass(frozen=True, slots=True)
class Plane:
    """The 2-D grid of one frame in space: Image Plane Module (PS3.3 C.7.6.2), all lengths in mm, LPS.

    position: centre of the first pixel. row_cosine: direction of increasing column index. column_cosine: direction of
    increasing row index. row_spacing: between rows, Pixel Spacing[0]; column_spacing: between columns, the other.
    Raises GeometryError unless all is finite and spacings and sizes are positive.
    """

    position: Vector
    row_cosine: Vector
    column_cosine: Vector
    row_spacing: float
    column_spacing: float
    rows: int
    columns: int

    def __post_init__(self) -> None:
        numbers = (*self.position, *self.row_cosine, *self.column_cosine, self.row_spacing, self.column_spacing)
        if not all(map(isfinite, numbers)):
            raise GeometryError(f"a plane has a value that is not finite: {numbers}")
        if self.row_spacing <= 0 or self.column_spacing <= 0:
            raise GeometryError(f"pixel spacing {self.row_spacing} \\ {self.column_spacing} mm is not positive")
        if self.rows < 1 or self.columns < 1:
            raise GeometryError(f"a plane of {self.columns} x {self.rows} pixels has no pixels")

    @property
    def cosine_error(self) -> float:
        """How far a cosine must move to be one of an orthonormal pair: of its length, or half of row . column."""
        row, column = self.row_cosine, self.column_cosine
        return max(abs(_norm(row) - 1), abs(_norm(column) - 1), abs(_dot(row, column)) / 2)

    @property
    def normal(self) -> Vector:
        """row x column, the direction planes are sorted along."""
        (a, b, c), (d, e, f) = self.row_cosine, self.column_cosine
        return (b * f - c * e, c * d - a * f, a * e - b * d)

    def corners(self) -> Matrix:
        """(4, 3) LPS mm of the corner pixel centres, by this plane's own equation C.7.6.2.1-1."""
        i = np.array(self.row_cosine) * (self.column_spacing * (self.columns - 1))
        j = np.array(self.column_cosine) * (self.row_spacing * (self.rows - 1))
        return np.asarray(np.array(self.position) + np.array([0 * i, i, j, i + j]))


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A block of voxels in space. shape: (columns, rows, planes). lps: 4 x 4, voxel index (i, j, k, 1) to LPS mm.

    Always right-handed. May be sheared; `shear_degrees` says by how much. Raises GeometryError otherwise.
    """

    shape: tuple[int, int, int]
    lps: Matrix
    frame_of_reference_uid: str = ""

    def __post_init__(self) -> None:
        lps = np.array(self.lps, dtype=np.float64)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"a grid of shape {self.shape} has no voxels")
        if lps.shape != (4, 4) or not np.isfinite(lps).all() or (lps[3] != (0, 0, 0, 1)).any():
            raise GeometryError("an affine is a finite 4 x 4 matrix with last row 0 0 0 1")
        if np.linalg.det(lps[:3, :3]) <= 0:
            raise GeometryError("the affine is singular or left-handed")
        lps.flags.writeable = False
        object.__setattr__(self, "lps", lps)

    @property
    def ras(self) -> Matrix:
        """4 x 4, voxel index to RAS mm, as NIfTI wants it: the first two rows of `lps` negated."""
        return LPS_TO_RAS @ self.lps

    @property
    def spacing(self) -> Vector:
        """Lengths in mm of one step in i, j and k."""
        x, y, z = np.linalg.norm(self.lps[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def shear_degrees(self) -> float:
        """The angle between the plane normal and the direction the planes are stacked in (gantry tilt)."""
        i, j, k = self.lps[:3, :3].T
        normal = np.cross(i, j)
        lean = np.linalg.norm(np.cross(normal, k))
        return float(np.degrees(np.arctan2(lean, normal @ k)))

    def points(self, ijk: ArrayLike) -> Matrix:
        """(..., 3) voxel indices to (..., 3) LPS mm."""
        return np.asarray(np.asarray(ijk, np.float64) @ self.lps[:3, :3].T + self.lps[:3, 3])

    def corners(self) -> Matrix:
        """(8, 3) LPS mm of the outermost voxel centres."""
        return self.points(corner_indices(self.shape))


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Planes laid on one grid, and how well they fit. All lengths in mm.

    order: the planes ascending along the normal, as indices into the sequence given. index: (planes,) the k of each.
    residuals: (planes,) largest corner distance of
    each plane, by its own equation, to the written grid. irregularity: the same maximum before the axes were made
    orthonormal. straightened: how far making them so moved a corner; kept_skew: how far it would have, where they stay as
    printed. offsets: (planes, 3) position of every plane in
    steps along i, j (mm) and the normal (mm), from the first. lean: (2,) slope of the step along i and j.
    """

    grid: Grid
    order: tuple[int, ...]
    index: NDArray[np.int64]
    residuals: Matrix
    irregularity_mm: float
    straightened_mm: float
    kept_skew_mm: float
    offsets: Matrix
    lean: Matrix

    @property
    def residual_mm(self) -> float:
        return float(self.residuals.max())


def stack(
    planes: Sequence[Plane],
    *,
    limit_mm: float,
    keep_skew: float,
    keep_mm: float,
    assumed_step_mm: float = 1.0,
    missing: Sequence[int] = (),
) -> Stack:
    """Order planes along their normal, fit one grid to them, and measure how far each is from it.

    The step is the least-squares line through all positions, so no single gap decides it. A single plane has no step:
    `assumed_step_mm` along the normal is taken. `missing`: how many planes of the grid are not there after each of the
    ordered planes but the last; none when empty. All planes must have one size.

    Axes off right angles by no more than `keep_skew` (a cosine), where mending would move no corner by more than
    `keep_mm`, stay as they are printed. Beyond that, rounding is mended: the nearest rotation about the centre of the
    grid, because readers built on ITK drop or refuse anything else. A lean that moves a corner by more than `limit_mm`
    and is no rounding is kept, as shear. Raises GeometryError when the cosines span no plane or all planes lie at one place.
    """
    row, column = (_mean([p.row_cosine for p in planes]), _mean([p.column_cosine for p in planes]))
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    if length < 0.5:
        raise GeometryError("row and column cosines are parallel or not of unit length")
    normal /= length
    positions = np.array([p.position for p in planes])
    distances = positions @ normal
    # Stable, so that ties keep the caller's order, which does not depend on file names.
    order = tuple(int(n) for n in np.argsort(distances, kind="stable"))
    ordered = [planes[n] for n in order]
    positions = positions[list(order)]
    first, count = planes[0], len(planes)

    index = np.concatenate([[0], np.cumsum(1 + np.array(missing or [0] * (count - 1), int))]).astype(int)
    k = index - index.mean()
    step = normal * assumed_step_mm if count == 1 else k @ positions / (k @ k)
    if float(step @ normal) < _NO_STEP_MM:
        raise GeometryError("all planes lie at one position")
    raw = np.eye(4)
    raw[:3, 0] = row * _mean([p.column_spacing for p in planes])
    raw[:3, 1] = column * _mean([p.row_spacing for p in planes])
    raw[:3, 2] = step
    raw[:3, 3] = positions.mean(axis=0) + k[0] * step
    shape = (first.columns, first.rows, int(index[-1]) + 1)
    irregularity = residuals_mm(raw, ordered, index)

    lps, kept_skew = _straighten(raw, shape, limit_mm, _print_precision(planes), keep_skew, keep_mm)
    straightened = float(np.linalg.norm(_at_corners(shape, lps - raw), axis=1).max())
    along = np.stack([row, column, normal])
    offsets = (positions - positions[0]) @ along.T
    lean = (np.array([row, column]) @ step) / float(normal @ step)
    return Stack(
        grid=Grid(shape, lps),
        order=order,
        index=index,
        residuals=residuals_mm(lps, ordered, index),
        irregularity_mm=float(irregularity.max()),
        straightened_mm=straightened,
        kept_skew_mm=kept_skew,
        offsets=offsets,
        lean=lean,
    )


def residuals_mm(lps: Matrix, planes: Sequence[Plane], index: NDArray[np.int64]) -> Matrix:
    """(planes,) the largest distance of each plane's corners, by its own equation, to its index k by the affine."""
    spans = np.array(
        [
            [
                [c * p.column_spacing * (p.columns - 1) for c in p.row_cosine],
                [c * p.row_spacing * (p.rows - 1) for c in p.column_cosine],
            ]
            for p in planes
        ]
    )  # (planes, 2, 3): the whole extent along i and along j
    sizes = np.array([(p.columns - 1, p.rows - 1) for p in planes], float)
    off = spans - sizes[:, :, None] * lps[:3, :2].T
    k = index[:, None]
    start = np.array([p.position for p in planes]) - (lps[:3, 3] + k * lps[:3, 2])
    corners = np.stack([start, start + off[:, 0], start + off[:, 1], start + off[:, 0] + off[:, 1]])
    return np.asarray(np.linalg.norm(corners, axis=2).max(axis=0))


def index_map(ours: Grid, theirs_lps: Matrix, theirs_shape: Sequence[int]) -> tuple[NDArray[np.int64], float] | None:
    """The map from their voxel indices to ours, and the largest distance it leaves, in mm.

    Two writers may store one grid in 48 orders. The map is the 4 x 4 integer matrix nearest to
    inv(ours) @ theirs: a signed permutation and an offset. None when there is no such map that lays their
    whole block exactly on ours: then the two do not describe the same voxels.
    """
    exact = np.linalg.inv(ours.lps) @ theirs_lps
    snapped = np.rint(exact)
    turn = np.abs(snapped[:3, :3])
    if not ((turn.sum(0) == 1).all() and (turn.sum(1) == 1).all()):
        return None
    shape = tuple(int(n) for n in theirs_shape)
    reached = corner_indices(shape) @ snapped[:3, :3].T + snapped[:3, 3]
    if (reached.min(0) != 0).any() or (reached.max(0) != np.array(ours.shape) - 1).any():
        # Half a voxel or more away at the origin: still the same block if the corners are nearest each other.
        return None
    left = _at_corners(shape, ours.lps @ (exact - snapped))
    return snapped.astype(np.int64), float(np.linalg.norm(left, axis=1).max())


def reorder(array: NDArray[Any], mapping: NDArray[np.int64]) -> NDArray[Any]:
    """Their (i, j, k) array as ours, through the map of `index_map`. A view: nothing is copied."""
    axes = [int(np.flatnonzero(mapping[row, :3])[0]) for row in range(3)]
    turned = array.transpose(axes)
    steps = tuple(slice(None, None, int(mapping[row, axes[row]])) for row in range(3))
    return np.asarray(turned[steps])


def corner_indices(shape: Sequence[int]) -> NDArray[np.int64]:
    """(8, 3) indices of the outermost voxels."""
    return np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1).reshape(-1, 3)


def orthonormal(row: ArrayLike, column: ArrayLike) -> tuple[Matrix, Matrix]:
    """The orthonormal pair nearest to two cosines: both turn by the same angle."""
    r, c = np.asarray(row, float), np.asarray(column, float)
    r, c = r / np.linalg.norm(r), c / np.linalg.norm(c)
    plus, minus = r + c, r - c
    plus, minus = plus / np.linalg.norm(plus), minus / np.linalg.norm(minus)
    return (plus + minus) / sqrt(2), (plus - minus) / sqrt(2)


def right_handed(affine: Matrix, columns: int) -> Matrix:
    """The affine of the same voxels with their first axis reversed where it is left-handed; else as it is."""
    made = affine.copy()
    if np.linalg.det(made[:3, :3]) < 0:
        made[:3, 3] += made[:3, 0] * (columns - 1)
        made[:3, 0] *= -1
    return made


def axis_codes(affine_ras: Matrix) -> str:
    """Three letters for where i, j and k increase to, such as 'LPS'; each axis gets its own patient direction.

    A sheared affine is read through the nearest rotation, as nibabel does.
    """
    axes = np.array(affine_ras[:3, :3], float)
    u, _, vt = np.linalg.svd(axes / np.linalg.norm(axes, axis=0))
    directions = u @ vt
    letters, free = ["?"] * 3, [0, 1, 2]
    for axis in np.argsort(-np.abs(directions).max(axis=0), kind="stable"):
        world = max(free, key=lambda row: abs(directions[row, axis]))
        letters[axis] = ("LR", "PA", "IS")[world][int(directions[world, axis] > 0)]
        free.remove(world)
    return "".join(letters)


def _straighten(
    raw: Matrix, shape: tuple[int, int, int], limit_mm: float, precision: float, keep_skew: float, keep_mm: float
) -> tuple[Matrix, float]:
    """The affine as it is, or with the nearest orthonormal axes, or sheared (see `stack`), and the skew kept in mm.

    A lean of the stack is rounding when it moves no voxel by more than the limit, or is smaller than what the printed
    decimals of the cosines can tell. A lean beyond that is gantry tilt, and is kept.
    """
    spacing = np.linalg.norm(raw[:3, :3], axis=0)
    directions = raw[:3, :3] / spacing
    u, _, vt = np.linalg.svd(directions)
    straight = _about_centre(raw, (u @ vt) * spacing, shape)
    skew = float(np.abs(directions.T @ directions - np.eye(3)).max())
    moved = float(np.linalg.norm(_at_corners(shape, straight - raw), axis=1).max())
    if skew <= keep_skew and moved <= keep_mm:
        return raw, moved
    lean = float(np.abs(directions[:, 2] @ directions[:, :2]).max())
    if moved <= limit_mm or lean <= 2 * precision:
        return straight, 0.0
    row, column = orthonormal(directions[:, 0], directions[:, 1])
    return _about_centre(raw, np.stack([row, column, directions[:, 2]], 1) * spacing, shape), 0.0


def _about_centre(raw: Matrix, axes: Matrix, shape: tuple[int, int, int]) -> Matrix:
    centre = np.append((np.array(shape) - 1) / 2, 1)
    lps = np.eye(4)
    lps[:3, :3] = axes
    lps[:3, 3] = (raw @ centre)[:3] - axes @ centre[:3]
    return lps


def _print_precision(planes: Sequence[Plane]) -> float:
    """Half a unit of the last decimal the cosines were printed with; 0 for axis-parallel ones, which are exact."""
    values = {abs(c) for p in planes for c in (*p.row_cosine, *p.column_cosine)}
    decimals = max((_decimals(v) for v in values), default=0)
    return 0.0 if decimals == 0 else float(0.5 * 10.0**-decimals * sqrt(2))


def _decimals(value: float) -> int:
    return next((d for d in range(17) if round(value, d) == value), 17)


def _at_corners(shape: Sequence[int], affine: Matrix) -> Matrix:
    """(8, 3) what an affine, or a difference of two, gives at the outermost voxels."""
    return np.asarray(corner_indices(shape) @ affine[:3, :3].T + affine[:3, 3])


def _mean(values: Sequence[float] | Sequence[Vector]) -> Matrix:
    """The mean, exactly summed: equal values give themselves, and the order of the values changes no bit."""
    if all(v == values[0] for v in values):
        return np.asarray(values[0], float)
    array = np.array(values)
    return np.array([fsum(column) for column in array.reshape(len(array), -1).T]).reshape(array.shape[1:]) / len(array)


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _norm(a: Vector) -> float:
    return sqrt(_dot(a, a))
