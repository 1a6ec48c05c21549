"""Compare grey values under a mask with those under its seven mirror images: a hint that it may be flipped, no verdict.

Rules:
- Statistics are over all voxels of the mask, in the values given; nothing is clipped or sampled.
- A structure is usually more uniform than what lies around it. So a mirror image under which the grey values spread
  much less is worth a look; it proves nothing, and a hollow or mixed structure may do it honestly.
- A mirror image that is nearly the mask itself says nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np

from .mask import Array, Voxels

Flips = tuple[bool, bool, bool]
# Of the mask's own standard deviation. Less is worth a look; it decides only whether a hint is shown.
_LESS_SPREAD = 0.6
# Dice of a mirror image with the mask, beyond which their grey values are nearly the same voxels'.
_SAME = 0.95


@dataclass(frozen=True, slots=True)
class GreyValues:
    """Grey values under one mirror image of a mask.

    flips: along i, j and k; all False is the mask itself. deviation: the standard deviation, in the values' own unit.
    dice: of the mirror image with the mask itself.
    """

    flips: Flips
    voxels: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    dice: float


@dataclass(frozen=True, slots=True)
class MirrorCheck:
    """Grey values under a mask (`own`) and under its seven mirror images.

    hint: one or more sentences, or "" where nothing stands out.
    """

    own: GreyValues
    mirrored: tuple[GreyValues, ...]
    hint: str


def compare_mirror_images(mask: Voxels, image: Voxels) -> MirrorCheck | None:
    """Compare the grey values of `image` under a mask on the same grid, and under its mirror images.

    Any value but 0 is inside of the mask. None is returned for an empty mask.
    """
    if mask.shape != image.shape:
        raise ValueError(f"mask {mask.shape} and image {image.shape} are not on one grid")
    columns, _, planes = mask.shape
    # As bits, so that a mask in which every plane is needed eight times is worked out once.
    bits = [np.packbits(plane > 0, axis=1) for plane in mask]
    inside = [np.unpackbits(b, axis=1, count=columns).any() for b in bits]
    sums = {(i, j, k): _GreySum() for i, j, k in product((False, True), repeat=3)}
    for k in range(planes):
        if not (inside[k] or inside[planes - 1 - k]):
            continue
        values = image.plane(k)
        own, last = (np.unpackbits(bits[n], axis=1, count=columns).view(np.bool_) for n in (k, planes - 1 - k))
        for flips, found in sums.items():
            found.add(values, _mirror(last if flips[2] else own, flips), own)
    if not any(inside):
        return None
    rows = [found.grey_values(flips) for flips, found in sums.items()]
    return MirrorCheck(rows[0], tuple(rows[1:]), _hint(rows[0], rows[1:]))


@dataclass(slots=True)
class _GreySum:
    """The sums of grey values so far. Planes are joined by their means, so that large grey values lose no digits."""

    voxels: int = 0
    mean: float = 0.0
    squares: float = 0.0
    lowest: float = float("inf")
    highest: float = float("-inf")
    shared: int = 0

    def add(self, image: Array, mask: Array, own: Array) -> None:
        """Take in the values under one plane of a mirror image. own: the same plane of the mask itself."""
        values = image[mask].astype(np.float64)
        if not len(values):
            return
        here, count = float(values.mean()), len(values)
        total = self.voxels + count
        self.squares += float(((values - here) ** 2).sum()) + (here - self.mean) ** 2 * self.voxels * count / total
        self.mean += (here - self.mean) * count / total
        self.voxels = total
        self.lowest, self.highest = min(self.lowest, float(values.min())), max(self.highest, float(values.max()))
        self.shared += int(np.count_nonzero(mask & own))

    def grey_values(self, flips: Flips) -> GreyValues:
        """The values so far, as those of the mirror image `flips`."""
        deviation = sqrt(self.squares / self.voxels)
        dice = self.shared / self.voxels  # a mirror image has as many voxels as the mask
        return GreyValues(flips, self.voxels, self.mean, deviation, self.lowest, self.highest, dice)


def _mirror(plane: Array, flips: Flips) -> Array:
    """Reverse the columns and rows of a (rows, columns) plane as `flips` wants them. The result is a view."""
    rows = slice(None, None, -1) if flips[1] else slice(None)
    columns = slice(None, None, -1) if flips[0] else slice(None)
    return plane[rows, columns]


def _hint(own: GreyValues, mirrored: Sequence[GreyValues]) -> str:
    """Say which mirror image is more uniform than the mask, where one is by far; "" where none is."""
    unlike = [m for m in mirrored if m.dice < _SAME]
    if not unlike:
        return "The mask is its own mirror image, nearly: grey values cannot hint at a flip."
    best = min(unlike, key=lambda m: m.deviation)
    if best.deviation >= _LESS_SPREAD * own.deviation:
        return ""
    axes = " and ".join(word for word, flip in zip(("columns", "rows", "planes"), best.flips, strict=True) if flip)
    return (
        f"Grey values under the mask are {own.mean:.4g} ± {own.deviation:.3g}; mirrored along its {axes} they would be "
        f"{best.mean:.4g} ± {best.deviation:.3g}. That is more uniform, as a structure often is. It is a hint to look at "
        "the two together, not a finding: a hollow or mixed structure looks like this too."
    )
