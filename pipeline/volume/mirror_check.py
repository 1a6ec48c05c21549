"""Grey values under a mask and under its seven mirror images: a hint that a mask may be flipped, never a verdict.

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
_LESS_SPREAD = 0.6  # of the mask's own standard deviation, to be worth a look
_SAME = 0.95  # Dice of a mirror image with the mask, beyond which it says nothing


@dataclass(frozen=True, slots=True)
class GreyValues:
    """Under one mirror image. flips: along i, j and k; all False is the mask itself. dice: with the mask itself."""

    flips: Flips
    voxels: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    dice: float


@dataclass(frozen=True, slots=True)
class Sanity:
    """own: under the mask. mirrored: under its seven mirror images. hint: a sentence, or "" where nothing stands out."""

    own: GreyValues
    mirrored: tuple[GreyValues, ...]
    hint: str


def sanity(mask: Voxels, image: Voxels) -> Sanity | None:
    """mask: any value but 0 is inside; image: on the same grid. None for an empty mask."""
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
            found.add(values, _turned(last if flips[2] else own, flips), own)
    if not any(inside):
        return None
    rows = [found.grey_values(flips) for flips, found in sums.items()]
    return Sanity(rows[0], tuple(rows[1:]), _hint(rows[0], rows[1:]))


@dataclass(slots=True)
class _GreySum:
    """Grey values so far. Planes are joined by their means, so that large grey values lose no digits."""

    voxels: int = 0
    mean: float = 0.0
    squares: float = 0.0
    lowest: float = float("inf")
    highest: float = float("-inf")
    shared: int = 0

    def add(self, image: Array, mask: Array, own: Array) -> None:
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
        deviation = sqrt(self.squares / self.voxels)
        dice = self.shared / self.voxels  # a mirror image has as many voxels as the mask
        return GreyValues(flips, self.voxels, self.mean, deviation, self.lowest, self.highest, dice)


def _turned(plane: Array, flips: Flips) -> Array:
    rows = slice(None, None, -1) if flips[1] else slice(None)
    columns = slice(None, None, -1) if flips[0] else slice(None)
    return plane[rows, columns]


def _hint(own: GreyValues, mirrored: Sequence[GreyValues]) -> str:
    telling = [m for m in mirrored if m.dice < _SAME]
    if not telling:
        return "The mask is its own mirror image, nearly: grey values cannot hint at a flip."
    best = min(telling, key=lambda m: m.deviation)
    if best.deviation >= _LESS_SPREAD * own.deviation:
        return ""
    axes = " and ".join(word for word, flip in zip(("columns", "rows", "planes"), best.flips, strict=True) if flip)
    return (
        f"Grey values under the mask are {own.mean:.4g} ± {own.deviation:.3g}; mirrored along its {axes} they would be "
        f"{best.mean:.4g} ± {best.deviation:.3g}. That is more uniform, as a structure often is. It is a hint to look at "
        "the two together, not a finding: a hollow or mixed structure looks like this too."
    )
