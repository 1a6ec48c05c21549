"""Define a colour voxel: red, green and blue of 8 bits each, as NIfTI's RGB24 and nibabel have it.

Rules:
- A block of colours is (i, j, k) of one structured type, so that whatever moves voxels moves the three samples as one.
- Colours have no slope, no order and no mean of their own; what computes with them does so sample by sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mask import Array

RGB24: np.dtype[Any] = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
SAMPLES = 3
_TO_LUMINANCE = np.array([0.299, 0.587, 0.114])


def is_rgb(dtype: np.dtype[Any]) -> bool:
    """Whether voxels of a type are colours."""
    return dtype == RGB24


def from_samples(samples: Array) -> Array:
    """Join (..., 3) red, green and blue, uint8, to (...) colours."""
    colours: Array = np.ascontiguousarray(samples, np.uint8).view(RGB24)[..., 0]
    return colours


def to_samples(colours: Array) -> Array:
    """Split (...) colours into (..., 3) red, green and blue, uint8."""
    samples: Array = np.ascontiguousarray(colours)[..., None].view(np.uint8)
    return samples


def to_codes(colours: Array) -> NDArray[np.uint32]:
    """Give every colour a number of its own, where voxels are compared for being equal."""
    red, green, blue = (to_samples(colours)[..., n].astype(np.uint32) for n in range(SAMPLES))
    return np.asarray(red << 16 | green << 8 | blue)


def luminance(colours: Array) -> NDArray[np.float64]:
    """Compute the luminance Y of colours, 0 to 255 (PS3.3 C.7.6.3.1.2)."""
    return np.asarray(to_samples(colours) @ _TO_LUMINANCE)


def name_type(dtype: np.dtype[Any]) -> str:
    """Name the type of voxels: RGB24, or as NumPy does, such as int16."""
    return "RGB24" if is_rgb(dtype) else str(dtype)
