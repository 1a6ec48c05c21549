"""Data sets into Part 10 files of any transfer syntax the tests need; those of a recipe, and what libraries compress.

Rules:
- The same data set gives the same bytes: there is no clock and no name of a version in a file.
"""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from pipeline.regression.recipes import dicom_file
from pipeline.regression.recipes.dicom_file import set_pixels as set_pixels

SYNTAXES = dicom_file.SYNTAXES | {
    "deflated": DeflatedExplicitVRLittleEndian,
    "jpeg lossless": JPEGLosslessSV1,  # 8 bits: an even number of pixels; multi-frame SC: unsigned
    "jpeg-ls": JPEGLSLossless,
    "jpeg 2000": JPEG2000Lossless,  # frames of at least 32 x 32: the encoder takes no smaller
}
# What is in the pixel data as it should lie in the file, compressed by whoever made it.
ENCODED = {"rle frames": RLELossless, "jpeg": JPEGBaseline8Bit}


def save(path: Path, dataset: Dataset, transfer_syntax: str = "explicit") -> None:
    """Write one data set with native little-endian pixels as a Part 10 file in the transfer syntax of that name."""
    if transfer_syntax in dicom_file.SYNTAXES:
        dicom_file.save(path, dataset, transfer_syntax)
        return
    syntax = (SYNTAXES | ENCODED)[transfer_syntax]
    own = transfer_syntax in ENCODED or not syntax.is_encapsulated
    dataset.file_meta = dicom_file.file_meta(dataset, syntax if own else ExplicitVRLittleEndian)
    if transfer_syntax in ENCODED:
        dataset["PixelData"].is_undefined_length = True
    elif syntax.is_encapsulated and syntax != JPEGLosslessSV1:
        dataset.compress(syntax, generate_instance_uid=False)
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
