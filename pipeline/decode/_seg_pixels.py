"""Stored values of SEG frames: one bit a pixel, packed without a break from frame to frame, or whole bytes.

Rules:
- One-bit pixels are packed least significant bit first and run on across rows and frames (PS3.5 8.1.1, annex D.2), so
  a frame may begin inside a byte.
- Native frames are read at their place in the file; compressed, deflated and big-endian ones go through pydicom.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.findings import Code, refuse
from pipeline.header import EXPLICIT_BIG
from pipeline.mask import Array
from pipeline.series import Frame


def stored_values(frame: Frame) -> Array:
    """(rows, columns) uint8 or uint16, as stored. Raises CORRUPT_FILE, UNSUPPORTED_PIXELS."""
    header, bits = frame.header, int(frame.get("BitsAllocated", 0))
    if bits not in (1, 8, 16) or int(frame.get("SamplesPerPixel", 1)) != 1:
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has {bits} bits per pixel; a segmentation has 1, 8 or 16 in one sample",
            where=(frame.name,),
            clause="PS3.3 C.8.20.2",
        )
    if header.pixel_offset is None or header.transfer_syntax == EXPLICIT_BIG:
        return _decoded(frame)
    count = int(frame.get("Rows")) * int(frame.get("Columns"))
    first = (frame.number - 1) * count * bits  # in bits, from the start of the pixel data
    end = -(-(first + count * bits) // 8)
    available = min(header.size - header.pixel_offset, header.pixel_length or 0)
    if end > available:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{frame.name} ends early: {end} bytes of pixel data are needed, {max(available, 0)} are there",
            "The file was cut off, probably in transfer; export or copy it again.",
            where=(frame.name,),
            measured=max(available, 0),
            limit=end,
            unit="bytes",
            clause="PS3.5 8.1.1",
        )
    raw = np.fromfile(header.path, np.uint8, end - first // 8, offset=header.pixel_offset + first // 8)
    values: Array = raw
    if bits == 1:
        values = np.unpackbits(raw, count=first % 8 + count, bitorder="little")[first % 8 :]
    elif bits == 16:
        values = raw.view("<u2").astype(np.uint16, copy=False)
    return values.reshape(int(frame.get("Rows")), int(frame.get("Columns")))


def _decoded(frame: Frame) -> Array:
    try:
        return np.asarray(_all_frames(frame.path, frame.path.stat().st_mtime_ns)[frame.number - 1])
    except NotImplementedError as error:
        raise refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has transfer syntax {frame.header.transfer_syntax}, which no decoder here reads",
            "Re-export it uncompressed (Explicit VR Little Endian).",
            where=(frame.name,),
        ) from error
    except Exception as error:  # plugins raise what they like; every failure to decode is the same news to a user
        raise refuse(
            Code.CORRUPT_FILE,
            f"the pixels of {frame.name} cannot be decoded: {str(error).strip() or repr(error)}",
            "The file is damaged, or its compression is not what its header says; re-export it uncompressed.",
            where=(frame.name,),
        ) from error


@lru_cache(maxsize=1)  # frames are asked for by position, not in file order, and decoders find them only in file order
def _all_frames(path: Path, written_ns: int) -> Any:
    """(frames, rows, columns) of one file, as it was when `written_ns`."""
    from pydicom import dcmread
    from pydicom.pixels.decoders.base import get_decoder

    dataset = dcmread(path, force=True)
    frames, _ = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, raw=True)
    return frames if frames.ndim == 3 else frames[None]
