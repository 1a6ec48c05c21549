"""Stored values of SEG frames: one bit a pixel, packed without a break from frame to frame, or whole bytes.

Rules:
- One-bit pixels are packed least significant bit first and run on across rows and frames (PS3.5 8.1.1, annex D.2), so
  a frame may begin inside a byte. Whole bytes are read like those of any image.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.findings import Code, refuse
from pipeline.header import NATIVE
from pipeline.mask import Array
from pipeline.pixels import read_plane
from pipeline.series import Frame

_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"  # retired; whether its bits were swapped in words nobody can tell


def stored_values(frame: Frame) -> Array:
    """(rows, columns), unsigned, as stored. Raises CORRUPT_FILE, COLOUR, UNSUPPORTED_PIXELS."""
    if int(frame.get("BitsAllocated", 0)) != 1:
        return read_plane(frame)
    header, rows, columns = frame.header, int(frame.get("Rows")), int(frame.get("Columns"))
    if header.transfer_syntax not in NATIVE - {_BIG_ENDIAN} | {_DEFLATED}:
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has one bit per pixel in transfer syntax {header.transfer_syntax}, which is not read here",
            "Re-export it uncompressed (Explicit VR Little Endian).",
            where=(frame.name,),
            clause="PS3.5 8.2",
        )
    bit = (frame.number - 1) * rows * columns
    first, end = bit // 8, -(-(bit + rows * columns) // 8)
    raw = _bytes(frame, first, end)
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


def _bytes(frame: Frame, first: int, end: int) -> Array:
    """Bytes of the pixel data, from `first` up to `end` or up to where they stop."""
    header = frame.header
    if header.pixel_offset is None:
        return np.frombuffer(_inflated(frame.path, frame.path.stat().st_mtime_ns)[first:end], np.uint8)
    there = min(header.size - header.pixel_offset, header.pixel_length or 0)
    return np.fromfile(header.path, np.uint8, max(min(end, there) - first, 0), offset=header.pixel_offset + first)


@lru_cache(maxsize=1)  # the frames of one instance follow each other
def _inflated(path: Path, written_ns: int) -> bytes:
    """The pixel data of a deflated file, as it was when `written_ns`."""
    from pydicom import dcmread

    return bytes(dcmread(path, force=True).PixelData)
