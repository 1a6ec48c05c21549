"""Put pixels into data sets, and write data sets as Part 10 files (PS3.10) that hold nothing but what they are given.

Rules:
- Values come as (columns, rows, frames) integers; what cannot hold them is an error.
- The same data set gives the same bytes: there is no clock and no name of a version in a file.
- Only transfer syntaxes whose bytes follow from the standard alone are written: no library of compression decides any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "rle": RLELossless,
}


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
    """Store values as native little-endian pixels, with the attributes that describe them (PS3.3 C.7.6.3).

    Args:
        dataset: that gets them.
        values: (columns, rows, frames) integers.
        allocated: Bits Allocated; 1 packs them.
        stored: Bits Stored; all of them where None.
        signed: whether Pixel Representation is 1.
        dirty: whether the unused high bits are filled.
        photometric: Photometric Interpretation.

    Raises: ValueError for values that do not fit the bits stored.
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
    """Write one data set with native little-endian pixels as a Part 10 file.

    Args:
        path: of the file.
        dataset: that is written; it gets the file's meta information.
        transfer_syntax: a key of `SYNTAXES`.
    """
    syntax = SYNTAXES[transfer_syntax]
    dataset.file_meta = file_meta(dataset, ExplicitVRLittleEndian if syntax == RLELossless else syntax)
    if syntax == RLELossless:  # pydicom's own encoder: another may order the runs otherwise
        dataset.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16 and dataset["PixelData"].VR == "OW":
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    dataset.save_as(path, enforce_file_format=True)


def file_meta(dataset: Dataset, syntax: UID) -> FileMetaDataset:
    """Make the File Meta Information of a data set (PS3.10 7.1), the same whoever writes it."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["phantom"])
    meta.ImplementationVersionName = "PHANTOM"
    return meta


def item(**values: Any) -> Dataset:
    """Make a data set, or an item of a sequence, with these attributes."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def ds(values: ArrayLike, decimals: int | None = None) -> list[str]:
    """Write numbers as Decimal Strings of at most 16 characters (PS3.5 6.2), rounded first where decimals are given."""
    numbers = np.asarray(values, float).ravel().tolist()
    return [format_number_as_ds((v if decimals is None else round(v, decimals)) + 0.0) for v in numbers]
