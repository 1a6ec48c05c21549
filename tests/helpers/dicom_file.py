"""Pixels into data sets, and data sets into Part 10 files of any transfer syntax the tests need.

Rules:
- Values come as (columns, rows, frames) integers; what cannot hold them is an error.
- The same data set gives the same bytes: there is no clock and no name of a version in a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGLosslessSV1, generate_uid

SYNTAXES = {
    "implicit": UID("1.2.840.10008.1.2"),
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": UID("1.2.840.10008.1.2.1.99"),
    "rle": UID("1.2.840.10008.1.2.5"),
    "jpeg lossless": JPEGLosslessSV1,  # 8 bits: an even number of pixels; multi-frame SC: unsigned
    "jpeg-ls": UID("1.2.840.10008.1.2.4.80"),
    "jpeg 2000": UID("1.2.840.10008.1.2.4.90"),  # frames of at least 32 x 32: the encoder takes no smaller
}
# What is in the pixel data as it should lie in the file, compressed by whoever made it.
ENCODED = {"rle frames": SYNTAXES["rle"], "jpeg": UID("1.2.840.10008.1.2.4.50")}


def set_pixels(
    dataset: Dataset,
    values: NDArray[Any],
    allocated: int,
    stored: int | None = None,
    *,
    signed: bool = False,
    dirty: bool = False,
    photometric: str = "MONOCHROME2",
) -> None:
    """Store (columns, rows, frames) values as native little-endian pixels; dirty: fill the unused high bits.

    Raises ValueError for values that do not fit the bits stored.
    """
    stored = stored or allocated
    low, high = (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
    if values.min() < low or values.max() > high:
        raise ValueError(f"values {values.min()} to {values.max()} do not fit {stored} bits")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = values.shape[1], values.shape[0]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, stored - 1
    dataset.PixelRepresentation = int(signed)
    frames = np.ascontiguousarray(values.T)  # (frames, rows, columns)
    if allocated == 1:
        dataset.PixelData = pack_bits(frames.astype(np.uint8).ravel(), pad=True)
        dataset["PixelData"].VR = "OB"
        return
    pattern = frames.astype(np.int64) & ((1 << stored) - 1)
    if dirty:
        pattern |= (np.arange(frames.size).reshape(frames.shape) * 7 + 5 << stored) & ((1 << allocated) - 1)
    data = pattern.astype(f"<u{allocated // 8}").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if allocated == 8 else "OW"


def save(path: Path, dataset: Dataset, transfer_syntax: str = "explicit") -> None:
    """Write one data set with native little-endian pixels as a Part 10 file in the transfer syntax of that name."""
    syntax = (SYNTAXES | ENCODED)[transfer_syntax]
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = (
        ExplicitVRLittleEndian if syntax.is_encapsulated and transfer_syntax not in ENCODED else syntax
    )
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["phantom"])
    meta.ImplementationVersionName = "PHANTOM"
    dataset.file_meta = meta
    if transfer_syntax in ENCODED:
        dataset["PixelData"].is_undefined_length = True
    elif syntax.is_encapsulated and syntax != JPEGLosslessSV1:
        plugin = {"rle": "pydicom"}.get(transfer_syntax, "")  # GDCM's RLE encoder ends the process on small frames
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16 and dataset["PixelData"].VR == "OW":
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    dataset.save_as(path, enforce_file_format=True)
    if syntax == JPEGLosslessSV1:
        _jpeg_lossless(path)


def _jpeg_lossless(path: Path) -> None:
    """Turn a native file into JPEG lossless, process 14 selection value 1, by GDCM: pydicom has no encoder for it.

    GDCM reads and writes whole files here: images made and handed over in Python are freed twice and end the process.
    """
    import gdcm

    other = str(path.with_name(path.name + ".gdcm"))
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    if not reader.Read():
        raise ValueError(f"GDCM does not read {path.name}")
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise ValueError(f"GDCM does not compress {path.name}")
    writer.SetFileName(other)
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise ValueError(f"GDCM does not write {path.name}")
    dataset = dcmread(path)
    dataset.PixelData = dcmread(other).PixelData
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(path, enforce_file_format=True)
    Path(other).unlink()
