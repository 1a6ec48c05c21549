"""Decode JPEG Extended, processes 2 and 4, of one component: 8 or 12 bits a sample.

Rules:
- GDCM decodes it: its 12-bit library gave what dcmdjpeg of DCMTK gives, bit for bit. pydicom does not let it have 12 bits.
- The codestream says how many bits a sample has and how many samples there are; `stream_check` has held it to its header.
- JPEG knows no sign. Where Pixel Representation gives one to as many bits as a sample has, it is extended over the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .code_stream import JpegFrame, read_jpeg_frame

if TYPE_CHECKING:
    from ..volume.mask import Array

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_BITS = (8, 12)  # of a sample, that processes 2 and 4 have


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
    header = read_jpeg_frame(codestream)
    if header is None:
        raise ValueError("its codestream has no frame header")
    if header.bits not in _BITS:
        raise NotImplementedError(f"JPEG Extended with {header.bits} bits a sample")
    dtype = np.dtype(np.uint8 if header.bits == 8 else "<u2")
    decoded = _decode_by_gdcm(codestream, header, dtype)
    if decoded is None or len(decoded) != header.rows * header.columns * dtype.itemsize:
        raise ValueError("its codestream is damaged or not whole")
    plane: Array = np.frombuffer(decoded, dtype).reshape(header.rows, header.columns)
    if dataset.get("PixelRepresentation") != 1 or dataset.get("BitsStored") != header.bits:
        return plane
    unused = dtype.itemsize * 8 - header.bits
    return np.asarray((plane << unused).view(f"<i{dtype.itemsize}") >> unused)


def _decode_by_gdcm(codestream: bytes, header: JpegFrame, dtype: np.dtype[Any]) -> bytes | None:
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
    buffer = image.GetBuffer()
    return None if buffer is None else bytes(buffer.encode("utf-8", "surrogateescape"))
