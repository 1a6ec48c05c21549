"""Take the labels of a mask, or kept fractions, onto another grid by the nearest voxel, and say what that did to them.

Rules:
- The one way labels are resampled, for `--source` and for `--like`; only where the user asked for it.
- What is lost is reported: labels of which no voxel is left by their names, voxels outside of the grid by their number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from ..core.findings import Code, Finding, Severity
from ..geometry.grid import Grid
from . import regrid
from .mask import ImageVolume, MaskVolume, Voxels

AnyVolume = TypeVar("AnyVolume", bound=MaskVolume | ImageVolume)


@dataclass(frozen=True, slots=True, eq=False)
class Resampled(Generic[AnyVolume]):
    """A mask or fractions on another grid. moved_mm: the farthest that a label was taken. findings: on what was done and lost."""

    volume: AnyVolume
    moved_mm: float
    findings: tuple[Finding, ...]


def take_nearest(volume: AnyVolume, grid: Grid, onto: str) -> Resampled[AnyVolume]:
    """Fill a grid with labels, each voxel from the nearest one of a mask; 0 where none is within half a voxel.

    Args:
        volume: labels, or fractions of which 0 is background, on their own grid; all of it is held in memory.
        grid: the grid to fill.
        onto: what has that grid, in words, for messages.

    Returns:
        It on the grid, with a warning RESAMPLED, and LABELS_LOST or OUTSIDE_SOURCE where something was lost.
    """
    voxels, moved, kept = regrid.nearest(volume.voxels, volume.grid.lps, grid.lps, grid.shape)
    before, outside = _find_outside(volume.voxels, volume.grid, grid)
    findings = [
        Finding(
            Code.RESAMPLED,
            f"labels were taken from the nearest voxel onto {onto}, at most {moved:.3f} mm away",
            severity=Severity.WARNING,
        )
    ]
    lost = [f"“{s.name}” ({s.number})" for s in getattr(volume, "segments", ()) if s.number in before - kept]
    if lost:
        words = f"no voxel is left of {', '.join(lost)}: on the grid of {onto} the nearest voxels are others"
        hint = "It is too thin for that grid, or lies outside of it. Its own grid keeps it: leave --resample out."
        findings.append(Finding(Code.LABELS_LOST, words, hint, Severity.WARNING))
    if outside:
        words = f"{outside} voxels of the mask lie outside of {onto}, and were left out"
        hint = "Are these the images it was drawn on?"
        findings.append(
            Finding(Code.OUTSIDE_SOURCE, words, hint, Severity.WARNING, measured=outside, limit=0, unit="voxels")
        )
    return Resampled(replace(volume, voxels=voxels, grid=grid), moved, tuple(findings))


def _find_outside(voxels: Voxels, ours: Grid, theirs: Grid) -> tuple[set[int], int]:
    """Find the labels a mask has, and count its voxels that have no voxel of another grid within half of one."""
    there = np.linalg.inv(theirs.lps) @ ours.lps
    labels: set[int] = set()
    outside = 0
    for k, plane in enumerate(voxels):
        j, i = np.nonzero(plane)
        labels |= set(np.unique(plane[j, i]).tolist())
        index = regrid.nearest_index(np.stack([i, j, np.full_like(i, k)], -1) @ there[:3, :3].T + there[:3, 3])
        outside += int(np.count_nonzero(((index < 0) | (index >= np.array(theirs.shape))).any(-1)))
    return labels, outside
