"""Read pixels of one bit, which are packed without a break between rows and frames.

Rules:
- The first pixel is the lowest bit of the first byte, and pixels run on across rows and frames (PS3.5 8.1.1, annex D.2),
  so a frame may begin inside a byte; `pixel_layout` says where.
- As OW in big endian, the bytes of every word are swapped (PS3.5 8.1.2); as OB they are not.
- Compressed, they are a sample of one bit in JPEG 2000, or not read. A decoder that gives more than 0 and 1 is not believed.
"""

from __future__ import annotations

import numpy as np

from ..core.findings import Code, refuse
from ..volume.mask import Array
from .encoding import inflated
from .frame import Frame
from .frame_count import has_fixed_size
from .pixel_bits import is_in_swapped_words
from .pixel_layout import PixelLayout, layout_of
from .source_file import open_source, written_ns

_JPEG_2000 = {f"1.2.840.10008.1.2.4.{n}" for n in (90, 91)}


def is_one_bit(frame: Frame) -> bool:
    """Whether the pixels of a frame have one bit each."""
    return frame.whole("BitsAllocated", 0) == 1


def is_packed(frame: Frame) -> bool:
    """Whether a frame of one-bit pixels is to be read by `read_packed`. Raises UNSUPPORTED_PIXELS for a compression not read."""
    if has_fixed_size(frame.header):
        return True
    syntax = frame.header.transfer_syntax
    if syntax not in _JPEG_2000:
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has one bit per pixel in transfer syntax {syntax}, which is not read here",
            "Re-export it uncompressed (Explicit VR Little Endian).",
            where=(frame.name,),
            clause="PS3.5 8.2",
        )
    return False


def read_packed(frame: Frame) -> Array:
    """Read (rows, columns) of 0 and 1 from uncompressed one-bit pixels. Raises CORRUPT_FILE, and as `layout_of` does."""
    rows, columns = frame.whole("Rows", 0), frame.whole("Columns", 0)
    layout = layout_of(frame.header)
    bit = (frame.number - 1) * layout.frame_bits
    first, end = bit // 8, -(-(bit + rows * columns) // 8)
    raw = _read_bytes(frame, layout, first, end)
    if raw.size < end - first:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} ends early: {end} bytes of pixel data are needed, {first + raw.size} are there",
            "The file was cut off, probably in transfer; export or copy it again.",
            where=(frame.name,),
            measured=first + raw.size,
            limit=end,
            unit="bytes",
            clause="PS3.5 8.1.1",
        )
    bits = np.unpackbits(raw, count=bit % 8 + rows * columns, bitorder="little")
    return bits[bit % 8 :].reshape(rows, columns)


def check_decoded(plane: Array, frame: Frame) -> Array:
    """Return a decompressed plane whose pixels have one bit, as bytes. Raises CORRUPT_FILE where they are not of one bit."""
    size = (frame.whole("Rows", 0), frame.whole("Columns", 0))
    if plane.shape != size or plane.max() > 1:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} has one bit a pixel, and its compressed pixels are {plane.shape} values up to {plane.max()}",
            "What is compressed is not what the header describes; export it again, uncompressed.",
            where=(frame.name,),
            measured=int(plane.max()),
            limit=1,
            unit="value",
            clause="PS3.5 8.2",
        )
    return plane.astype(np.uint8, copy=False)


def _read_bytes(frame: Frame, layout: PixelLayout, first: int, end: int) -> Array:
    """Read bytes of the pixel data, from `first` up to `end` or up to where they stop."""
    if frame.header.pixel_offset is None:
        return np.frombuffer(inflated(frame.path, written_ns(frame.path))[first:end], np.uint8)
    swapped = is_in_swapped_words(frame, np.dtype(np.uint8))
    start, stop = (first // 2 * 2, -(-end // 2) * 2) if swapped else (first, end)
    raw = np.empty(stop - start, np.uint8)
    with open_source(frame.path, buffering=0) as file:
        raw = raw[: layout.read_into(file, start, raw.data)]
    if swapped:
        raw = raw[: raw.size // 2 * 2].view(np.uint16).byteswap().view(np.uint8)
    return raw[first - start : end - start]
