"""Read the stored values of SEG frames: one bit a pixel, packed without a break between frames, or whole bytes.

Rules:
- One-bit pixels are packed least significant bit first and run on across rows and frames (PS3.5 8.1.1, annex D.2), so
  a frame may begin inside a byte; `pixel_layout` says where. Whole bytes are read like those of any image.
- Compressed, each frame is an image of one bit a pixel, which decodes to whole bytes of 0 and 1.
"""

from __future__ import annotations

import numpy as np

from ...core.findings import Code, refuse
from ...dicom.encoding import DEFLATED, EXPLICIT_BIG, NATIVE, inflated
from ...dicom.frame import Frame
from ...dicom.pixel_layout import PixelLayout, layout_of
from ...dicom.pixels import decode_frame, read_plane
from ...dicom.source_file import open_source, written_ns
from ...volume.mask import Array

# Big endian is retired, and nothing in such a file says whether its bits were swapped in words.
_READ = NATIVE - {EXPLICIT_BIG} | {DEFLATED}


def read_stored_values(frame: Frame) -> Array:
    """Read (rows, columns), unsigned, as stored. Raises CORRUPT_FILE, COLOUR, UNSUPPORTED_PIXELS."""
    if frame.whole("BitsAllocated", 0) != 1:
        layout_of(frame.header)
        return read_plane(frame)
    header, rows, columns = frame.header, frame.whole("Rows", 0), frame.whole("Columns", 0)
    if not header.native and header.transfer_syntax != DEFLATED:
        return _decode_bits(frame)
    if header.transfer_syntax not in _READ:
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has one bit per pixel in transfer syntax {header.transfer_syntax}, which is not read here",
            "Re-export it uncompressed (Explicit VR Little Endian).",
            where=(frame.name,),
            clause="PS3.5 8.2",
        )
    layout = layout_of(header)
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


def _decode_bits(frame: Frame) -> Array:
    """Decode a compressed frame of one bit a pixel. Raises UNSUPPORTED_PIXELS, CORRUPT_FILE."""
    layout_of(frame.header)
    values, size = decode_frame(frame), (frame.whole("Rows", 0), frame.whole("Columns", 0))
    if values.shape != size or values.max() > 1:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} has one bit a pixel, and its compressed pixels are {values.shape} values up to {values.max()}",
            "What is compressed is not what the header describes; export it again, uncompressed.",
            where=(frame.name,),
            clause="PS3.5 8.2",
        )
    return values.astype(np.uint8)


def _read_bytes(frame: Frame, layout: PixelLayout, first: int, end: int) -> Array:
    """Read bytes of the pixel data, from `first` up to `end` or up to where they stop."""
    path = frame.path
    if frame.header.pixel_offset is None:
        return np.frombuffer(inflated(path, written_ns(path))[first:end], np.uint8)
    found = np.empty(end - first, np.uint8)
    with open_source(path, buffering=0) as file:
        return found[: layout.read_into(file, first, found.data)]
