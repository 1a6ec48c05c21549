"""Decode JPEG Extended, processes 2 and 4, of one component: 8 or 12 bits a sample.

Rules:
- GDCM decodes it: its 12-bit library gave what dcmdjpeg of DCMTK gives, bit for bit. pydicom does not let it have 12 bits.
- The codestream says how many bits a sample has and how many samples there are; the header must not contradict it.
- JPEG knows no sign. Where Pixel Representation gives one to as many bits as a sample has, it is extended over the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .code_stream import FRAME_HEADERS, segments

if TYPE_CHECKING:
    from ..volume.mask import Array

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_BITS = (8, 12)  # of a sample, that processes 2 and 4 have


class _FrameHeader(NamedTuple):
    """What a codestream says of its samples (ITU-T T.81 B.2.2)."""

    bits: int
    rows: int
    columns: int
    components: int


def decode_extended(codestream: bytes, dataset: Any) -> Array:
    """Decode one frame of grey values.

    Args:
        codestream: of the frame.
        dataset: the header it is described by.

    Returns:
        (rows, columns) of 8 or 16 bits.

    Raises:
        ValueError: the codestream is damaged, or is not what the header says.
        NotImplementedError: it has samples of another number of bits than 8 or 12.
    """
    header = _read_frame_header(codestream)
    expected = (int(dataset.Rows), int(dataset.Columns), 1)
    if header[1:] != expected:
        raise ValueError(f"its codestream is of {header[1:]} rows, columns and samples, and its header says {expected}")
    if header.bits not in _BITS:
        raise NotImplementedError(f"JPEG Extended with {header.bits} bits a sample")
    dtype = np.dtype(np.uint8 if header.bits == 8 else "<u2")
    if dtype.itemsize * 8 > int(dataset.BitsAllocated):
        raise ValueError(
            f"its codestream has {header.bits} bits a sample, and Bits Allocated is {dataset.BitsAllocated}"
        )
    decoded = _decode_by_gdcm(codestream, header, dtype)
    if decoded is None or len(decoded) != header.rows * header.columns * dtype.itemsize:
        raise ValueError("its codestream is damaged or not whole")
    plane: Array = np.frombuffer(decoded, dtype).reshape(header.rows, header.columns)
    if dataset.get("PixelRepresentation") != 1 or dataset.get("BitsStored") != header.bits:
        return plane
    unused = dtype.itemsize * 8 - header.bits
    return np.asarray((plane << unused).view(f"<i{dtype.itemsize}") >> unused)


def _read_frame_header(codestream: bytes) -> _FrameHeader:
    """Find the frame header among the segments of a codestream. Raises ValueError where there is none."""
    found = segments(codestream, 2) if codestream[:2] == b"\xff\xd8" else ()
    body = next((body for marker, body in found if marker in FRAME_HEADERS), b"")
    if len(body) < 6:
        raise ValueError("its codestream has no frame header")
    return _FrameHeader(body[0], int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5])


def _decode_by_gdcm(codestream: bytes, header: _FrameHeader, dtype: np.dtype[Any]) -> bytes | None:
    """Return the decoded bytes; None where GDCM cannot decode them."""
    import gdcm

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(codestream)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.columns, header.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    image.SetPhotometricInterpretation(grey)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, dtype.itemsize * 8, header.bits, header.bits - 1, 0))
    with _without_errors_shown():
        buffer = image.GetBuffer()
    return None if buffer is None else bytes(buffer.encode("utf-8", "surrogateescape"))


@contextmanager
def _without_errors_shown() -> Iterator[None]:
    """Keep standard error from what GDCM prints there: for every 12-bit frame, that its 8-bit library does not read it."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is none to keep it from
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
