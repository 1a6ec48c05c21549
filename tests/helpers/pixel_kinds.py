"""Change the pixels of a written series to another kind, by numpy, pydicom and the standard alone.

Rules:
- Edits are given the data set before it is encoded, with unsigned 16-bit pixels; they keep every value or say how it changes.
- What has to be compressed is compressed in the written file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEG2000Lossless, JPEGExtended12Bit

from tests.helpers.hard_truth import Acquired, truth
from tests.helpers.jpeg_extended import encode
from tests.helpers.phantom import Edit, Spec, write

Change = Callable[[NDArray[Any]], NDArray[Any]]
_KEYWORDS = {"f4": "FloatPixelData", "f8": "DoubleFloatPixelData"}


def unchanged(values: NDArray[Any]) -> NDArray[Any]:
    return values


def stored_as(kind: str, change: Change = unchanged) -> Edit:
    """Store values as "u4", "i8", "f4" and so on; floating-point ones in the element that is theirs."""
    dtype = np.dtype("<" + kind)

    def edit(_: int, dataset: Dataset) -> None:
        data = change(np.frombuffer(dataset.PixelData, "<u2")).astype(dtype).tobytes()
        dataset.BitsAllocated = dtype.itemsize * 8
        if dtype.kind == "f":
            del dataset.PixelData, dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit
            setattr(dataset, _KEYWORDS[kind], data)
            return
        dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
        dataset.PixelRepresentation = int(dtype.kind == "i")
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        dataset["PixelData"].VR = "OB" if dtype.itemsize == 1 else "OW"

    return edit


def two_values(low: int, high: int, kind: str = "i2", *, inverted: bool = False) -> Edit:
    """Store `low` for 0 and `high` for all else, or the other way round."""
    return stored_as(kind, lambda values: np.where((values > 0) != inverted, high, low))


def compress_one_bit(path: Path) -> None:
    """Compress one-bit frames as JPEG 2000 of one bit a sample, as highdicom does."""
    dataset = dcmread(path)
    frames = np.asarray(dataset.pixel_array, np.uint8).reshape(-1, dataset.Rows, dataset.Columns)
    _put(path, dataset, [encode_array(np.ascontiguousarray(f), bits_stored=1) for f in frames], JPEG2000Lossless)


def compress_twelve_bits(path: Path, *, signed: bool = False) -> None:
    """Compress frames of values up to 4095 as JPEG Extended of 12 bits; signed: as the two's complement of 12 bits."""
    dataset = dcmread(path)
    frames = np.frombuffer(dataset.PixelData, "<u2").reshape(-1, dataset.Rows, dataset.Columns)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, int(signed)
    dataset.LossyImageCompression = "01"
    _put(path, dataset, [encode(frame) for frame in frames], JPEGExtended12Bit)


def _put(path: Path, dataset: Dataset, codestreams: list[bytes], syntax: UID) -> None:
    dataset.PixelData = encapsulate(codestreams)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)


def written_then(after: Callable[[Path], None]) -> Callable[[Path, Spec, Edit], None]:
    """What writes a series and then changes each of its files."""

    def make(folder: Path, spec: Spec, edit: Edit) -> None:
        for path in sorted(set(write(folder, spec, edit=edit).paths)):
            after(path)

    return make


def labelled(inside: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> Callable[[Path], list[Acquired]]:
    """The truth of a series whose pixels are a mask where `inside` says so: label 1 there. Physical values stay as stored."""

    def acquired(folder: Path) -> list[Acquired]:
        return [
            Acquired(
                a.name,
                inside(a.stored).astype(np.uint8),
                a.physical,
                a.position,
                a.row,
                a.column,
                a.between_rows,
                a.between_columns,
            )
            for a in truth(folder)
        ]

    return acquired
