"""Compute where voxels of a series lie from its files by pydicom alone: equation C.7.6.2.1-1 of PS3.3, plane by plane.

Rules:
- Nothing of the package is used: what it computes is held against this.
- Single-frame instances only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PlaneFile:
    """One instance. lps: (3, 3), of (column, row, 1) to LPS mm."""

    path: Path
    uid: str
    number: int | None
    lps: Array
    pixels: Array


def planes_of(folder: Path) -> list[PlaneFile]:
    """Every instance of a folder, ascending along the normal."""
    found = []
    for path in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        row, column = np.reshape(np.array(dataset.ImageOrientationPatient, float), (2, 3))
        between_rows, between_columns = map(float, dataset.PixelSpacing)
        position = np.array(dataset.ImagePositionPatient, float)
        lps = np.stack([row * between_columns, column * between_rows, position], axis=1)
        number = dataset.get("InstanceNumber")
        plane = PlaneFile(
            path, str(dataset.SOPInstanceUID), None if number is None else int(number), lps, dataset.pixel_array
        )
        found.append((float(np.cross(row, column) @ position), plane))
    return [plane for _, plane in sorted(found, key=lambda pair: pair[0])]


def place(planes: list[PlaneFile], i: int, j: int, k: int) -> Array:
    """(3,) LPS mm of the voxel in column i and row j of plane k."""
    point: Array = planes[k].lps @ (i, j, 1)
    return point


def places_of(planes: list[PlaneFile], labels: Array) -> dict[int, Array]:
    """Of every label, (n, 3) LPS mm of its voxels, sorted. labels: (i, j, k)."""
    return {
        int(value): sort_rows(np.array([place(planes, *index) for index in np.argwhere(labels == value)]))
        for value in np.unique(labels)
        if value
    }


def sort_rows(points: Array) -> Array:
    """Points in an order of their own, whatever order they came in."""
    rounded = np.round(points, 2)
    ordered: Array = points[np.lexsort(rounded.T)]
    return ordered
