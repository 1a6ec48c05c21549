"""Hold the frames of one volume with the grid they were laid on, and put their voxels there.

Rules:
- Frames are ascending along the normal, and their pixels are read in that order.
- A plane of the grid that no frame lies on is empty. It is filled with padding and never with a neighbour, unless a plan
  to resample was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.findings import Finding
from ..dicom.frame import Frame
from ..geometry.grid import Grid
from ..geometry.stack import Stack
from ..volume.mask import Array, Voxels
from .resample import Plan


@dataclass(frozen=True, slots=True, eq=False)
class LaidFrames:
    """The acquired frames of one volume, ascending along the normal, and the grid of the file.

    stack: the acquired planes on their own grid. plan: how they become the file's grid where that is another one.
    assumed: why the places are assumed and not given, "" where they are given.
    """

    frames: tuple[Frame, ...]
    stack: Stack
    findings: tuple[Finding, ...]
    plan: Plan | None = None
    assumed: str = ""

    @property
    def grid(self) -> Grid:
        return self.stack.grid if self.plan is None else self.plan.grid

    @property
    def slots(self) -> list[int | None]:
        """For each k of an unresampled grid, the acquired frame that lies there, or None where none does."""
        found: list[int | None] = [None] * self.stack.grid.shape[2]
        for n, k in enumerate(self.stack.index):
            found[int(k)] = n
        return found

    @property
    def whole(self) -> bool:
        """Whether the file's grid is the acquired planes and nothing else."""
        return self.plan is None and None not in self.slots

    @property
    def at_k(self) -> tuple[Frame | None, ...]:
        """For each k of the file's grid, the frame whose plane lies there; all None once resampled along the normal."""
        if self.plan is None:
            return tuple(None if n is None else self.frames[n] for n in self.slots)
        return (None,) * self.grid.shape[2]

    def place(self, acquired: Voxels, padding: float) -> Voxels:
        """Put voxels of the acquired frames, given in the order of `frames`, on the file's grid."""
        if self.plan is not None:
            return self.plan.apply(acquired, padding)
        slots = self.slots
        columns, rows, _ = self.grid.shape

        def plane(k: int) -> Array:
            n = slots[k]
            return np.full((rows, columns), padding, acquired.dtype) if n is None else acquired.plane(n)

        def is_empty(k: int) -> bool:
            n = slots[k]
            return padded_with_zeros if n is None else acquired.is_empty(n)

        padded_with_zeros = padding == 0 and acquired.dtype.kind in "iu"  # -0.0 is not all zero bits
        return Voxels(self.grid.shape, acquired.dtype, plane, is_empty)
