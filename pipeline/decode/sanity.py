"""Grey values under a mask and under its seven mirror images: a hint that a mask may be flipped, never a verdict.

Rules:
- Statistics are over all voxels of the mask, in the values given; nothing is clipped or sampled.
- A structure is usually more uniform than what lies around it. So a mirror image under which the grey values spread
  much less is worth a look; it proves nothing, and a hollow or mixed structure may do it honestly.
- A mirror image that is nearly the mask itself says nothing and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np

from pipeline.mask import Array, Voxels

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
    found = [_under(mask, image, (i, j, k)) for i, j, k in product((False, True), repeat=3)]
    if not found[0].voxels:
        return None
    own, mirrored = found[0], tuple(found[1:])
    return Sanity(own, mirrored, _hint(own, mirrored))


def _under(mask: Voxels, image: Voxels, flips: Flips) -> GreyValues:
    planes = mask.shape[2]
    voxels = same = total = 0
    mean = spread = 0.0
    lowest, highest = float("inf"), float("-inf")
    for k in range(planes):
        own = mask.plane(k) > 0
        total += int(np.count_nonzero(own))
        turned = own if not any(flips) else _turned(mask.plane(planes - 1 - k if flips[2] else k) > 0, flips)
        if not turned.any():
            continue
        same += int(np.count_nonzero(turned & own))
        values = image.plane(k)[turned].astype(np.float64)
        # Planes are joined by their means, so that large grey values lose no digits.
        here, count = float(values.mean()), len(values)
        spread += float(((values - here) ** 2).sum()) + (here - mean) ** 2 * voxels * count / (voxels + count)
        mean += (here - mean) * count / (voxels + count)
        voxels += count
        lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
    deviation = sqrt(spread / voxels) if voxels else 0.0
    return GreyValues(flips, voxels, mean, deviation, lowest, highest, 2 * same / (total + voxels) if total else 1.0)


def _turned(plane: Array, flips: Flips) -> Array:
    rows = slice(None, None, -1) if flips[1] else slice(None)
    columns = slice(None, None, -1) if flips[0] else slice(None)
    return plane[rows, columns]


def _hint(own: GreyValues, mirrored: tuple[GreyValues, ...]) -> str:
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
