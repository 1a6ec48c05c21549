"""Measure the motion that took a block of voxels from where it belongs to where it lies. The world is RAS, in mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .affine import Matrix

_SMALL_DEGREES = 1e-3  # a smaller rotation is not mentioned: 300 mm from the middle it moves a voxel by 0.005 mm
_SMALL_SCALE = 1e-5  # a smaller stretch is not mentioned: it makes 300 mm longer by 0.003 mm
_HALF_TURN = 1e-6  # sine of the rotation angle below which its axis is not read off the skew part


@dataclass(frozen=True, slots=True)
class Motion:
    """shift_mm: of the middle of the block, RAS. rotation_degrees about `axis` (unit, RAS). stretch: the three factors
    along the principal directions, 1 where nothing is stretched. mirrored: left and right changed sides, before it turned."""

    shift_mm: tuple[float, float, float]
    rotation_degrees: float
    axis: tuple[float, float, float]
    stretch: tuple[float, float, float]
    mirrored: bool

    @property
    def rigid(self) -> bool:
        """Whether all distances between voxels stayed what they were, and no side was mirrored."""
        return not self.mirrored and max(abs(s - 1) for s in self.stretch) < _SMALL_SCALE

    @property
    def words(self) -> str:
        """The motion as one phrase."""
        x, y, z = self.shift_mm
        length = float(np.linalg.norm(self.shift_mm))
        parts = [f"the middle shifted by {length:.3f} mm (R {x:+.3f}, A {y:+.3f}, S {z:+.3f})"]
        if self.rotation_degrees > _SMALL_DEGREES:
            about = ", ".join(f"{a:.3f}" for a in self.axis)
            parts.append(f"turned by {self.rotation_degrees:.3f} degrees about ({about})")
        if self.mirrored:
            parts.append("mirrored left to right")
        if max(abs(s - 1) for s in self.stretch) >= _SMALL_SCALE:
            parts.append("stretched by " + " × ".join(f"{s:.5f}" for s in self.stretch))
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        return {
            "ShiftMm": list(self.shift_mm),
            "RotationDegrees": self.rotation_degrees,
            "RotationAxis": list(self.axis),
            "Stretch": list(self.stretch),
            "Mirrored": self.mirrored,
        }


def measure_motion(moved: Matrix, right: Matrix, shape: Sequence[int]) -> Motion:
    """Measure how a block got from one affine to another.

    Args:
        moved: 4 x 4, index to RAS mm, where the block lies.
        right: 4 x 4, index to RAS mm, where it belongs.
        shape: (columns, rows, planes) of the block; its middle decides the shift.

    Returns:
        The shift, rotation, stretch and mirroring that take `right` to `moved`.
    """
    linear = moved[:3, :3] @ np.linalg.inv(right[:3, :3])
    u, stretch, vt = np.linalg.svd(linear)
    turn = u @ vt
    mirrored = bool(np.linalg.det(turn) < 0)
    if mirrored:
        turn = turn @ np.diag([-1.0, 1.0, 1.0])
    middle = np.append((np.array(shape) - 1) / 2, 1)
    shift = ((moved - right) @ middle)[:3]
    skew = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    angle = float(np.degrees(np.arctan2(np.linalg.norm(skew), (np.trace(turn) - 1) / 2)))
    # At half a turn the skew part vanishes, and the axis is the eigenvector of +1.
    axis = skew if np.linalg.norm(skew) > _HALF_TURN else np.linalg.svd(turn - np.eye(3))[2][2]
    x, y, z = (axis / np.linalg.norm(axis)).tolist()
    a, b, c = stretch.tolist()
    return Motion((float(shift[0]), float(shift[1]), float(shift[2])), angle, (x, y, z), (a, b, c), mirrored)
