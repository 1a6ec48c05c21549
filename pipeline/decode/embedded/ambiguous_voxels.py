"""Decide the voxels of an image that have the mask's constant anyway: with the mask or without, they look the same.

Rules:
- Such voxels form patches within their plane (they touch by edges). A patch that has nothing but mask around it is
  mask: it carries the mask's own constant. A patch without mask around it is not. A patch with both stays undecided (the
  edge of the plane is no mask); its voxels are counted and left out, unless the user chooses otherwise.
- Voxels that are certain are never changed, so nothing else is filled or smoothed.
- This follows the mask's own border, not the image's values: in a mask made by a threshold next to the constant, a true
  hole of exactly this value is filled. How many voxels were taken like this is always reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...core.findings import Code, Finding, Severity
from ...core.policy import Undecided
from ...volume.mask import Array


@dataclass(frozen=True, slots=True)
class Tally:
    """How many voxels were not certain by themselves.

    Attributes:
        surrounded: in patches with only mask around them.
        open: in patches with mask and something else around them.
        away: in patches without mask around them.
    """

    surrounded: int = 0
    open: int = 0
    away: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.surrounded + other.surrounded, self.open + other.open, self.away + other.away)

    @property
    def total(self) -> int:
        return self.surrounded + self.open + self.away


def settle(undecided: Array, mask: Array, choice: Undecided) -> tuple[Array, Tally]:
    """Decide the undecided pixels of one plane.

    Args:
        undecided: (rows, columns), the pixels that look the same with and without mask.
        mask: (rows, columns), the pixels that are mask for certain.
        choice: "surrounded" takes patches with only mask around them, "inside" takes all, "outside" takes none.

    Returns:
        (rows, columns), which undecided pixels are mask; and how many there were of each sort.
    """
    total = int(np.count_nonzero(undecided))
    if not total:
        return undecided, Tally()
    surrounded, open_ = _patches(undecided, mask)
    count = int(np.count_nonzero(surrounded))
    tally = Tally(count, int(np.count_nonzero(open_)), total - count - int(np.count_nonzero(open_)))
    if choice == "surrounded":
        return surrounded, tally
    return (undecided if choice == "inside" else np.zeros_like(undecided)), tally


def report_undecided(tallies: Iterable[tuple[str, Tally]], choice: Undecided) -> list[Finding]:
    """Make one finding for each label that has undecided voxels. tallies: the label's name and value, and its tally."""
    return [_undecided_finding(label, tally, choice) for label, tally in tallies if tally.total]


def _undecided_finding(label: str, tally: Tally, choice: Undecided) -> Finding:
    parts = [
        f"{tally.surrounded:,} with mask all around",
        f"{tally.open:,} on the mask's border",
        f"{tally.away:,} away from it",
    ]
    taken = {"surrounded": tally.surrounded, "inside": tally.total, "outside": 0}[choice]
    doubtful = tally.open if choice == "surrounded" else tally.total
    return Finding(
        Code.UNDECIDED_VOXELS,
        f"{tally.total:,} voxels of the image have the value of {label} by themselves and look the same with and "
        f"without mask ({', '.join(parts)}); {taken:,} of them were taken as mask",
        "Only those on the border are really open. --undecided inside or outside decides for all of them; an export "
        "with another grey value for the mask would leave none.",
        Severity.WARNING if doubtful else Severity.INFO,
        measured=doubtful,
        limit=0,
        unit="voxels",
    )


def _patches(undecided: Array, mask: Array) -> tuple[Array, Array]:
    """Return the pixels of patches with only mask around them, and of those with mask and something else around."""
    from scipy import ndimage

    patch, count = ndimage.label(undecided)
    meets_mask = np.zeros(count + 1, np.bool_)
    meets_other = np.zeros(count + 1, np.bool_)
    meets_mask[patch[_neighbours_of(mask)]] = True
    other = _neighbours_of(~mask & ~undecided)
    other[[0, -1]] = other[:, [0, -1]] = True  # what lies beyond the plane is not known to be mask
    meets_other[patch[other]] = True
    meets_mask[0] = False
    return (meets_mask & ~meets_other)[patch], (meets_mask & meets_other)[patch]


def _neighbours_of(pixels: Array) -> Array:
    """Return the pixels that share an edge with one of `pixels`."""
    near = np.zeros_like(pixels)
    near[1:] |= pixels[:-1]
    near[:-1] |= pixels[1:]
    near[:, 1:] |= pixels[:, :-1]
    near[:, :-1] |= pixels[:, 1:]
    return near
