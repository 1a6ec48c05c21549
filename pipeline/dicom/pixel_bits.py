"""Check which bits of a pixel are its value, and take those alone.

Rules:
- Bits above Bits Stored are not part of the value (PS3.5 8.1.1): they are cleared, or the sign is extended over them.
- Pixels of one bit, and floating-point ones, are all value; neither has a sign bit of its own to know of.
- High Bit is one less than Bits Stored (PS3.3 C.7.6.3.1.2), or the file is refused: values could be the upper or the lower
  bits. dicom2nifti, dcm2niix and ITK take all bits allocated as they are. Where every bit is stored there is no doubt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.findings import Code, refuse
from ..volume.mask import Array
from .encoding import EXPLICIT_BIG, FLOAT_BITS
from .frame import Frame
from .frame_count import has_fixed_size
from .pixel_layout import layout_of
from .source_file import open_source

_BITS = (1, 8, 16, 32, 64)  # per pixel, that are read here


def frame_type(frame: Frame) -> np.dtype[Any]:
    """Find the type of all bits allocated to a pixel. Raises COLOUR, UNSUPPORTED_PIXELS, CORRUPT_FILE."""
    samples, bits = frame.whole("SamplesPerPixel", 1), frame.whole("BitsAllocated", 0)
    if samples != 1:
        raise refuse(
            Code.COLOUR,
            f"{frame.name} is a colour image ({frame.get('PhotometricInterpretation')}, {samples} samples per pixel)",
            "One value per voxel is needed here; --as image writes an image of colours.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3.1.1",
        )
    if is_float(frame):
        return _float_type(frame, bits)
    if bits not in _BITS and not (8 < bits < 16 and layout_of(frame.header).in_words):
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has {bits or 'no'} bits per pixel (Bits Allocated (0028,0100)); "
            f"{', '.join(map(str, _BITS[:-1]))} and {_BITS[-1]} are read here",
            "Export it again with 8 or 16 bits per pixel.",
            where=(frame.name,),
            clause="PS3.5 8.1.1",
        )
    if bits == 1:
        return np.dtype(np.uint8)
    if frame.get("PixelRepresentation") not in (0, 1):
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} does not say whether its pixel values are signed: Pixel Representation (0028,0103) is missing",
            "The attribute was lost; export the file again.",
            where=(frame.name,),
            clause="PS3.3 C.7.6.3",
        )
    return np.dtype(f"{'ui'[frame.get('PixelRepresentation')]}{-(-bits // 8)}")


def is_float(frame: Frame) -> bool:
    """Whether the pixels of a frame are floating-point numbers."""
    return frame.header.pixel_tag in FLOAT_BITS


def _float_type(frame: Frame, bits: int) -> np.dtype[Any]:
    """The type of floating-point pixels. Raises UNSUPPORTED_PIXELS where they are compressed, CORRUPT_FILE where Bits Allocated differs."""
    needed = FLOAT_BITS[frame.header.pixel_tag]
    if bits != needed:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} has floating-point pixels of {needed} bits ({frame.header.pixel_tag >> 16:04X},"
            f"{frame.header.pixel_tag & 0xFFFF:04X}), and Bits Allocated (0028,0100) says {bits}",
            "The file was written wrongly; export it again.",
            where=(frame.name,),
            measured=bits,
            limit=needed,
            unit="bits",
            clause="PS3.3 C.7.6.24",
        )
    if not has_fixed_size(frame.header):
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has floating-point pixels in transfer syntax {frame.header.transfer_syntax}; uncompressed ones "
            "are read here",
            "Re-export it uncompressed (Explicit VR Little Endian).",
            where=(frame.name,),
            clause="PS3.5 8.2",
        )
    return np.dtype(f"f{bits // 8}")


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
    if plane.dtype.kind == "f":
        return plane
    allocated = plane.dtype.itemsize * 8
    stored = check_bits(frame)
    if stored >= allocated or (plane.dtype.kind == "u" and int(plane.max()) < 1 << stored):
        return plane
    return (plane << (allocated - stored)) >> (allocated - stored)


def check_bits(frame: Frame) -> int:
    """Get Bits Stored. Raises HIGH_BIT."""
    allocated = frame.whole("BitsAllocated", 0)
    if allocated == 1 or is_float(frame):
        return allocated
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
