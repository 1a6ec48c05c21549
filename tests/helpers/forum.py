"""The forum thread "Dicom to Nifti format using mimics scripting", in numbers.

The thread quotes Image Orientation (Patient) 1 0 0 \\ 0 -1 0, but its words (left, inferior, posterior) and the matrix
it got from dicom2nifti belong to a coronal series, 1 0 0 \\ 0 0 -1. One was probably mistyped, so both are here.
"""

from __future__ import annotations

import numpy as np

from pipeline.geometry.axis_order import Order, order_for
from pipeline.geometry.grid import Grid, Plane

FLIPPED_ROWS = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0))
CORONAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
# What the thread's author built: its axes run to S, L and A, a mirror image.
USERS_MATRIX = np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]], float)


def series(
    cosines: tuple[tuple[float, ...], tuple[float, ...]],
    shape: tuple[int, int, int] = (7, 6, 5),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    position: tuple[float, float, float] = (-40.0, -30.0, 20.0),
) -> tuple[Grid, Plane]:
    """A series of these cosines: (columns, rows, planes), steps in mm, Image Position (Patient) of its first plane."""
    row, column = (np.array(c) for c in cosines)
    lps = np.eye(4)
    lps[:3, :3] = np.column_stack([row, column, np.cross(row, column)]) * spacing
    lps[:3, 3] = position
    plane = Plane(position, cosines[0], cosines[1], spacing[1], spacing[0], shape[1], shape[0])  # type: ignore[arg-type]
    return Grid(shape, lps), plane


def mimics_order(grid: Grid) -> Order:
    """How Mimics' voxel buffer holds it: axes to the left, to the back and to the head."""
    return order_for(grid.ras, "LPS")


def users_affine(origin: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = USERS_MATRIX
    affine[:3, 3] = origin
    return affine
