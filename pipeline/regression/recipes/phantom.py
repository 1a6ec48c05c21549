"""Describe a phantom: one asymmetric body, sampled on any grid of planes.

Rules:
- Index order is (i, j, k) = (column, row, plane); k ascends along row x column. The world is LPS, in mm.
- The body is a pure function of a point in the patient: every grid that covers it samples the same body. No mirror and
  no rotation maps it to itself: the head is up, the nose in front, and a cube hangs on the patient's left.
- Where a voxel lies follows from equation C.7.6.2.1-1 alone; nothing of the rooms that convert is used.
- The same phantom gives the same numbers and the same UIDs: UIDs are hashes, shuffles have a fixed seed, there is no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import radians, tan
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.uid import generate_uid

SliceOrder = Literal["along", "against", "shuffled", "constant", "missing"]
PARTS = ("body", "marker", "nose")  # torso with head, the cube on the left, the box in front


@dataclass(frozen=True)
class Phantom:
    """One series. All lengths in mm, LPS.

    shape: (columns, rows, planes). row_spacing: between rows, Pixel Spacing[0]. column_spacing: Pixel Spacing[1].
    step: between planes, along the normal. origin: first pixel of plane 0. iop: cosines of rows, then of columns.
    tilt_degrees: leans the stack towards increasing rows. decimals: of the numbers of the plane as printed; None for all
    that fit.
    content: "mask" for the body, "index" for 1 + i + columns * (j + rows * k), less half the count where signed, "grey" for
    values of many levels (100 in 8 bits, else 1000) that are higher by as much inside the body, less as much where signed.
    labels: values of body, marker and nose; the last one holds for the rest. radius_mm: of the body, around the
    middle of the grid; None for what fits.
    kind: which SOP Class, a key of `planes.SOP_CLASSES`. stored: in which order frames and files lie.
    instance_numbers: how Instance Number counts. rescale: none, one for all, or one (slope, intercept) a plane.
    dirty: fill unused high bits. seed: what the UIDs are made of.
    """

    shape: tuple[int, int, int] = (48, 40, 14)
    row_spacing: float = 1.4
    column_spacing: float = 1.1
    step: float = 2.5
    origin: tuple[float, float, float] = (-31.5, -47.25, 112.75)
    iop: tuple[float, float, float, float, float, float] = (1, 0, 0, 0, 1, 0)
    tilt_degrees: float = 0.0
    decimals: int | None = None

    content: Literal["mask", "index", "grey"] = "mask"
    labels: tuple[int, ...] = (1,)
    background: int = 0
    radius_mm: float | None = None

    kind: str = "ct"
    stored: SliceOrder = "along"
    instance_numbers: SliceOrder = "along"
    extension: str = ".dcm"
    transfer_syntax: str = "explicit"
    bits_allocated: int = 16
    bits_stored: int | None = None
    signed: bool = False
    dirty: bool = False
    photometric: str = "MONOCHROME2"
    rescale: tuple[tuple[float, float], ...] = ()
    seed: str = "phantom"
    description: str = "phantom"
    series_number: int = 7

    @property
    def lps(self) -> NDArray[np.float64]:
        """4 x 4, voxel index to LPS mm: equation C.7.6.2.1-1 with the step as third column."""
        row, column = np.array(self.iop[:3], float), np.array(self.iop[3:], float)
        lean = round(tan(radians(self.tilt_degrees)), 12)  # the last digits of a tangent are the machine's
        affine = np.eye(4)
        affine[:3, 0] = row * self.column_spacing
        affine[:3, 1] = column * self.row_spacing
        affine[:3, 2] = self.step * (np.cross(row, column) + lean * column)
        affine[:3, 3] = self.origin
        return affine

    @property
    def multi_frame(self) -> bool:
        """Whether all planes are frames of one file."""
        return self.kind.startswith(("enhanced", "multi-frame"))

    def uid(self, what: str) -> str:
        """Make the UID of one thing of the series, such as "study" or "plane 3"."""
        return str(generate_uid(entropy_srcs=[self.seed, what]))

    def point(self, ijk: ArrayLike) -> NDArray[np.float64]:
        """(..., 3) indices to (..., 3) LPS mm."""
        index, lps = np.asarray(ijk), self.lps
        # Summed axis by axis: the last digits of a matrix product are the machine's.
        return np.asarray(sum(index[..., n, None] * lps[:3, n] for n in range(3)) + lps[:3, 3])

    def value(self, ijk: ArrayLike) -> NDArray[Any]:
        """(...,) stored value at (..., 3) integer indices."""
        index = np.asarray(ijk)
        columns, rows, planes = self.shape
        if self.content == "index":
            flat = 1 + index @ np.array([1, columns, columns * rows])
            return np.asarray(flat - (columns * rows * planes) // 2 if self.signed else flat)
        if self.content == "grey":
            levels = 100 if (self.bits_stored or self.bits_allocated) == 8 else 1000
            ramp = index @ np.array([7, 13, 31]) % levels
            return np.asarray(ramp + levels * ((self.part(self.point(index)) > 0) - int(self.signed)))
        table = [self.background, *(self.labels[min(n, len(self.labels) - 1)] for n in range(3))]
        return np.array(table)[self.part(self.point(index))]

    def part(self, points: ArrayLike) -> NDArray[np.intp]:
        """(...,) 0 outside, 1 body, 2 marker, 3 nose, at (..., 3) LPS mm."""
        return body(self._in_radii(points))

    def overlapping_parts(self, points: ArrayLike) -> NDArray[np.bool_]:
        """(3, ...) whether (..., 3) LPS mm lie in body, marker and nose, which share points."""
        return overlapping_body(self._in_radii(points))

    def indices(self) -> NDArray[np.intp]:
        """(columns, rows, planes, 3) all voxel indices."""
        return np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), -1)

    def array(self) -> NDArray[Any]:
        """All stored values, (columns, rows, planes)."""
        return self.value(self.indices())

    def places(self, order: SliceOrder) -> list[int]:
        """For each plane, where it comes in the order, from 0."""
        count = self.shape[2]
        if order == "shuffled":
            return Random(f"{count}").sample(range(count), count)
        return list(range(count)) if order == "along" else list(range(count))[::-1]

    def _in_radii(self, points: ArrayLike) -> NDArray[np.float64]:
        """LPS points from the middle of the grid, in units of the body's radius."""
        middle = self.point((np.array(self.shape) - 1) / 2)
        spacings = (self.column_spacing, self.row_spacing, self.step)
        extents = [n * s for n, s in zip(self.shape, spacings, strict=True) if n > 1]
        return np.asarray((np.asarray(points) - middle) / (self.radius_mm or 0.48 * min(extents, default=self.step)))


def overlapping_body(points: ArrayLike) -> NDArray[np.bool_]:
    """(3, ...) body, marker and nose at (..., 3) LPS points, for a body of radius 1 around the origin."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    torso = (x / 0.5) ** 2 + (y / 0.38) ** 2 + ((z + 0.2) / 0.72) ** 2 <= 1
    head = (x + 0.05) ** 2 + y**2 + (z - 0.66) ** 2 <= 0.27**2
    marker = (abs(x - 0.66) <= 0.17) & (abs(y - 0.05) <= 0.2) & (abs(z - 0.15) <= 0.24)
    nose = (abs(x + 0.1) <= 0.15) & (abs(y + 0.45) <= 0.22) & (abs(z - 0.38) <= 0.2)
    return np.stack([torso | head, marker, nose])


def body(points: ArrayLike) -> NDArray[np.intp]:
    """(...,) 0 outside, 1 body, 2 marker, 3 nose, where the later one wins marker and nose over body."""
    inside, marker, nose = overlapping_body(points)
    return np.select([nose, marker, inside], [3, 2, 1], 0)
