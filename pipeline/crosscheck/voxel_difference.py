"""Find the voxels of a plane whose values differ from those of a witness by more than they may.

Rules:
- Integers must be equal, and so must colours; computed values may differ by their rounding.
- Decoders of lossy JPEG may differ by a level, and spread chrominances in ways of their own. Luminance is compared voxel by
  voxel; red, green and blue by their means over blocks, so that exchanged or missing chrominances are seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..volume.colour import is_rgb, luminance, to_samples
from ..volume.mask import Array

_ENDS = (0, 255)  # of the range of a sample
_HALF = 0.5  # of a level, by which a sample is rounded
_CUT_OFF = 16.0  # levels of luminance: 11.2 were measured at the edges of bars of pure colours, the worst there are
_BLOCK = 16  # pixels along each side: as many as a block of 4:2:0 has
_MEAN = 6.0  # levels: 3.0 were measured in a block of such bars, and 0.5 in smooth colours with noise


def find_differing(
    ours: Array, theirs: Array, rounding: float, within: float, *, excuses_nan: bool
) -> NDArray[np.bool_]:
    """Find where the values of two planes differ by more than they may. No colour is equal to a number.

    Args:
        ours: (rows, columns) values, or colours.
        theirs: (rows, columns) of the witness.
        rounding: by how much a computed value may differ; integers are not rounded.
        within: by how much any value may differ beyond that; of colours, their luminance.
        excuses_nan: whether a NaN of ours excuses whatever the witness has there.

    Returns:
        (rows, columns).
    """
    if is_rgb(ours.dtype) != is_rgb(theirs.dtype):
        return np.ones(ours.shape, np.bool_)
    if is_rgb(ours.dtype):
        limit = rounding + within
        return _differ_in_colour(ours, theirs, limit) if limit else np.asarray(ours != theirs)
    expected, other = ours.astype(np.float64), theirs.astype(np.float64)
    is_integer = theirs.dtype.kind in "iu" and bool((expected == np.rint(expected)).all())
    with np.errstate(invalid="ignore"):  # infinity less infinity
        is_same = (expected == other) | (np.abs(expected - other) <= within + (0.0 if is_integer else rounding))
    return np.asarray(~(is_same | (np.isnan(expected) & (excuses_nan | np.isnan(other)))))


def _differ_in_colour(ours: Array, theirs: Array, within: float) -> NDArray[np.bool_]:
    """Where two decoders of lossy JPEG differ by more than they may.

    The luminance is stored for every pixel, but chrominances often for every second or fourth one, and how they are spread
    is left to a decoder. Each rounds its samples by half a level; a sample at the end of its range was cut off there, which
    changes the luminance too.
    """
    clipped = np.isin(to_samples(ours), _ENDS).any(-1) | np.isin(to_samples(theirs), _ENDS).any(-1)
    differ = np.abs(luminance(ours) - luminance(theirs)) > np.where(clipped, _CUT_OFF, within + 2 * _HALF)
    return np.asarray(differ | ((ours != theirs) & _is_in_other_block(ours, theirs)))


def _is_in_other_block(ours: Array, theirs: Array) -> NDArray[np.bool_]:
    """(rows, columns) which pixels are in a block where the mean of a sample differs by more than a few levels."""
    difference = to_samples(theirs).astype(np.int64) - to_samples(ours)
    sums = np.pad(difference.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
    other = np.zeros(ours.shape, np.bool_)
    for row in _starts(ours.shape[0]):
        for column in _starts(ours.shape[1]):
            block = other[row : row + _BLOCK, column : column + _BLOCK]
            down, across = row + block.shape[0], column + block.shape[1]
            total = sums[down, across] - sums[row, across] - sums[down, column] + sums[row, column]
            if np.abs(total).max() > _MEAN * block.size:
                block[:] = True
    return other


def _starts(count: int) -> list[int]:
    """Where blocks of full length begin in so many pixels; the last one may overlap the one before."""
    return [*range(0, count - _BLOCK, _BLOCK), max(count - _BLOCK, 0)]
