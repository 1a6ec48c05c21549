"""Describe where the voxels of an image lie in the patient: in one plane, or in a block of planes.

Rules:
- Index order is (i, j, k) = (column, row, plane), as in DICOM PS3.3 equation C.7.6.2.1-1 and in NIfTI storage.
- The world is LPS, in mm: x to the patient's left, y to the back, z to the head. RAS appears only in names that say so.
- Planes are ordered by position along the normal, row x column, ascending. So every grid is right-handed.
- These are numbers only: nothing here knows DICOM or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from numpy.typing import ArrayLike

from .affine import LPS_TO_RAS, Matrix, Vector, at_corners, axis_lengths

FARTHEST_MM = 1e9  # beyond, and below the smallest, products of such numbers are none any more, and nobody is so large
_SMALLEST_MM = 1e-9  # of spacings


class GeometryError(ValueError):
    """Numbers that describe no plane or no grid."""


@dataclass(frozen=True, slots=True)
class Plane:
    """The 2-D grid of one frame in space: Image Plane Module (PS3.3 C.7.6.2), all lengths in mm, LPS.

    position: centre of the first pixel. row_cosine: direction of increasing column index. column_cosine: direction of
    increasing row index. row_spacing: between rows, Pixel Spacing[0]; column_spacing: between columns, the other.
    Raises GeometryError unless all is finite and spacings and sizes are positive, none so small or large that squares of it are lost.
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
        if max(map(abs, numbers)) > FARTHEST_MM:
            raise GeometryError(f"a plane has a value beyond {FARTHEST_MM:g}: {numbers}")
        if min(self.row_spacing, self.column_spacing) < _SMALLEST_MM:
            raise GeometryError(
                f"pixel spacing {self.row_spacing} \\ {self.column_spacing} mm is not positive, or below {_SMALLEST_MM:g} mm"
            )
        if self.rows < 1 or self.columns < 1:
            raise GeometryError(f"a plane of {self.columns} x {self.rows} pixels has no pixels")

    @property
    def cosine_error(self) -> float:
        """How much a cosine must change to be one of an orthonormal pair: in length, or by half of row . column."""
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
        x, y, z = axis_lengths(self.lps)
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
        return at_corners(self.shape, self.lps)


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _norm(a: Vector) -> float:
    return sqrt(_dot(a, a))
