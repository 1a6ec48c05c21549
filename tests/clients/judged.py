"""What one viewer made of one file."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.clients.our_files import OurFile

# A viewer that keeps the quaternion or the rows of the header in single precision moves a corner by less than this.
LIMIT_MM = 1e-3


class Judged(NamedTuple):
    """viewer, case, file: names. corner_mm: how far the worst corner lies from where nibabel puts it. differing: voxels.

    note: what the viewer cannot hold. refused: whether it opened nothing.
    """

    viewer: str
    case: str
    file: str
    corner_mm: float = 0.0
    differing: int = 0
    note: str = ""
    refused: bool = False

    @property
    def holds(self) -> bool:
        """Whether the viewer has every voxel with its value at its place."""
        return not self.refused and self.corner_mm <= LIMIT_MM and self.differing == 0


def corner_mm(ours: OurFile, affine: NDArray[Any]) -> float:
    """How far the worst corner of the block moves between two affines."""
    last = np.array(ours.array.shape[:3]) - 1
    corners = np.array([[i, j, k, 1] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])])
    return float(np.linalg.norm((corners @ (affine - ours.affine).T)[:, :3], axis=1).max())
