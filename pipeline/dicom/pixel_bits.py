"""Check which bits of a pixel are its value, and take those alone.

Rules:
- Bits above Bits Stored are not part of the value (PS3.5 8.1.1): they are cleared, or the sign is extended over them.
- High Bit is one less than Bits Stored (PS3.3 C.7.6.3.1.2), or the file is refused: values could be the upper or the lower
  bits. dicom2nifti, dcm2niix and ITK take all bits allocated as they are. Where every bit is stored there is no doubt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.findings import Code, refuse
from ..volume.mask import Array
from .encoding import EXPLICIT_BIG
from .frame import Frame
from .source_file import open_source

_BITS = (8, 16, 32)  # per pixel, that are read here
_FLOAT_BITS = 32  # of Float Pixel Data (PS3.3 C.7.6.24); 64 are Double Float


def frame_type(frame: Frame) -> np.dtype[Any]:
    """Find the integer type of all bits allocated to a pixel. Raises COLOUR, UNSUPPORTED_PIXELS, CORRUPT_FILE."""
    samples, bits = frame.whole("SamplesPerPixel", 1), frame.whole("BitsAllocated", 0)
    if samples != 1:
        raise refuse(
            Code.COLOUR,
            f"{frame.name} is a colour image ({frame.get('PhotometricInterpretation')}, {samples} samples per pixel)",
            "One value per voxel is needed here; --as image writes an image of colours.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3.1.1",
        )
    if bits not in _BITS:
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has {bits or 'no'} bits per pixel; 8, 16 and 32 are read here",
            "Export it again with 8 or 16 bits per pixel; a mask of one bit per pixel is read as a SEG only.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3",
        )
    if frame.get("PixelRepresentation") not in (0, 1):
        raise refuse(
            Code.UNSUPPORTED_PIXELS if bits == _FLOAT_BITS else Code.CORRUPT_FILE,
            f"{frame.name} does not say whether its pixel values are signed: Pixel Representation (0028,0103) is missing",
            "Floating-point pixels have none and are not read here; in any other file the attribute was lost.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3",
        )
    return np.dtype(f"{'ui'[frame.get('PixelRepresentation')]}{bits // 8}")


def is_in_swapped_words(frame: Frame, dtype: np.dtype[Any]) -> bool:
    """Whether pixels are 8-bit in big endian with VR OW: the bytes of every word are swapped (PS3.5 8.1.2).

    In frames of an odd size, words reach over from one frame into the next.
    """
    if dtype.itemsize > 1 or frame.header.transfer_syntax != EXPLICIT_BIG:
        return False
    with open_source(frame.path) as file:
        file.seek((frame.header.pixel_offset or 0) - 8)  # tag, VR, two reserved bytes, length, then the value
        return file.read(2) == b"OW"


def mask_to_stored(plane: Array, frame: Frame) -> Array:
    """Keep only the bits that are the value: the lowest Bits Stored of them."""
    allocated = plane.dtype.itemsize * 8
    stored = check_bits(frame)
    if stored >= allocated or (plane.dtype.kind == "u" and int(plane.max()) < 1 << stored):
        return plane
    return (plane << (allocated - stored)) >> (allocated - stored)


def check_bits(frame: Frame) -> int:
    """Get Bits Stored. Raises HIGH_BIT."""
    allocated = frame.whole("BitsAllocated", 0)
    stored = frame.whole("BitsStored", allocated)
    high = frame.whole("HighBit", stored - 1)
    if (0 < stored < allocated and high != stored - 1) or stored < 1:
        raise refuse(
            Code.HIGH_BIT,
            f"{frame.name} keeps {stored} bits of every {allocated} (Bits Stored (0028,0101)), the highest of them bit {high} "
            f"(High Bit (0028,0102)); it must be bit {max(stored, 1) - 1}",
            "Whether the values are the upper or the lower bits nobody can tell; export the file again.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3",
            measured=high,
            limit=max(stored, 1) - 1,
            unit="bit",
        )
    return stored
