"""Series whose pixels are of a kind that few readers know, and masks of two values that are not 0 and 1.

Rules:
- Floating-point and wide pixels are read back by numpy from the bytes of their element, masks by pydicom.
- A mask of two values is judged by place: which voxels it has. Its truth has label 1 there, and the stored values beside it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import unpack_bits

from tests.helpers.hard_case import SMALL, HardCase
from tests.helpers.hard_truth import Acquired, acquired_planes
from tests.helpers.phantom import ORIENTATIONS
from tests.helpers.pixel_kinds import compress_one_bit, compress_twelve_bits, stored_as, two_values, written_then

OBLIQUE = replace(SMALL, iop=ORIENTATIONS["double oblique"])
MASK = replace(OBLIQUE, shape=(23, 19, 15), step=1.1, content="mask")
BITS = replace(MASK, bits_allocated=1)
_FLOATS = {"FloatPixelData": "<f4", "DoubleFloatPixelData": "<f8"}


def _stored(dataset: Dataset) -> NDArray[Any]:
    """(frames, rows, columns) from the bytes of the pixel element, or by pydicom where they are compressed."""
    shape = (-1, dataset.Rows, dataset.Columns)
    for keyword, dtype in _FLOATS.items():
        if keyword in dataset:
            return np.frombuffer(dataset[keyword].value, dtype).reshape(shape)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        return np.asarray(dataset.pixel_array).reshape(shape)
    count = int(dataset.get("NumberOfFrames", 1)) * dataset.Rows * dataset.Columns
    if dataset.BitsAllocated == 12:  # as 16 bits, which is how `_twelve_allocated` leaves them
        return np.frombuffer(dataset.PixelData, "<u2").reshape(shape)
    if dataset.BitsAllocated == 1:
        return np.asarray(unpack_bits(dataset.PixelData))[:count].reshape(shape)
    dtype = f"<{'ui'[dataset.PixelRepresentation]}{dataset.BitsAllocated // 8}"
    return np.frombuffer(dataset.PixelData, dtype)[:count].reshape(shape)


def values(folder: Path) -> list[Acquired]:
    """The planes of a written folder, with the values of their elements."""
    return [plane for path in sorted(folder.rglob("*.dcm")) for plane in acquired_planes(path, _stored(dcmread(path)))]


def _labels(inside: int) -> Any:
    """The planes of a written folder, label 1 where `inside` is stored. Physical values are the stored ones."""

    def acquired(folder: Path) -> list[Acquired]:
        return [replace(a, stored=(a.stored == inside).astype(np.uint8)) for a in values(folder)]

    return acquired


def _kinds() -> list[HardCase]:
    def halves(stored: NDArray[Any]) -> NDArray[Any]:
        return stored * 0.5 - 100

    def large(stored: NDArray[Any]) -> NDArray[Any]:
        return stored + float((1 << 31) - 300)

    row = "floating-point pixels"
    return [
        HardCase("Float Pixel Data", row, OBLIQUE, stored_as("f4", halves), truth=values),
        HardCase("Double Float Pixel Data", row, OBLIQUE, stored_as("f8", halves), truth=values),
        HardCase(
            "Float Pixel Data, enhanced",
            row,
            replace(OBLIQUE, kind="enhanced mr"),
            stored_as("f4", halves),
            truth=values,
        ),
        HardCase("32 bits, unsigned", "32 and 64 bits", OBLIQUE, stored_as("u4", large), truth=values),
        HardCase("32 bits, signed", "32 and 64 bits", OBLIQUE, stored_as("i4", lambda v: v - 300.0), truth=values),
        HardCase("64 bits, signed", "32 and 64 bits", OBLIQUE, stored_as("i8", lambda v: v - 300.0), truth=values),
        HardCase(
            "12 bits allocated, 16 taken",
            "bits allocated that the standard has no more",
            OBLIQUE,
            _twelve_allocated,
            findings=("PIXEL_LENGTH",),
            truth=values,
        ),
    ]


def _twelve_allocated(_: int, dataset: Dataset) -> None:
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 12, 12, 11


def _one_bit() -> list[HardCase]:
    row, large = "pixels of one bit", replace(BITS, shape=(41, 37, 9))
    common: dict[str, Any] = {"truth": _labels(1), "asked": "mask", "repeats": True}
    return [
        HardCase("1 bit, one file a plane", row, replace(BITS, kind="sc"), **common),
        HardCase("1 bit, enhanced", row, replace(BITS, kind="enhanced mr"), **common),
        HardCase("1 bit, multi-frame Secondary Capture", row, replace(BITS, kind="multi-frame sc"), **common),
        HardCase("1 bit, JPEG 2000", row, large, make=written_then(compress_one_bit), **common),
    ]


def _jpeg_extended() -> list[HardCase]:
    """Its samples come back within 1, so only the masks of two values far apart are exact: a block is one value."""

    def blocks(k: int, dataset: Dataset) -> None:
        columns, rows = dataset.Columns, dataset.Rows
        made = np.random.default_rng(k).integers(0, 2, (rows // 8, columns // 8)).repeat(8, 0).repeat(8, 1)
        dataset.PixelData = (made * 4095).astype("<u2").tobytes()

    spec = replace(OBLIQUE, shape=(40, 32, 7))
    return [
        HardCase(
            "JPEG Extended of 12 bits",
            "JPEG Extended of 12 bits",
            spec,
            blocks,
            make=written_then(compress_twelve_bits),
            truth=values_before_compression,
            repeats=True,
            findings=("LOSSY_PIXELS",),
        )
    ]


def values_before_compression(folder: Path) -> list[Acquired]:
    """The planes that `blocks` made: as every file's number says, from 0 or 4095 a block."""
    found = []
    for k, path in enumerate(sorted(folder.rglob("*.dcm"))):
        dataset = dcmread(path)
        made = np.random.default_rng(k).integers(0, 2, (dataset.Rows // 8, dataset.Columns // 8))
        found += acquired_planes(path, (made.repeat(8, 0).repeat(8, 1) * 4095)[None])
    return found


def _two_values() -> list[HardCase]:
    row = "masks of two values"
    cases = []
    for name, low, high, kind, more in (
        ("0 and 1000", 0, 1000, "u2", ()),
        ("-1024 and 3071", -1024, 3071, "i2", ("BACKGROUND_ASSUMED",)),
        ("5 and 9", 5, 9, "u1", ("BACKGROUND_ASSUMED",)),
        ("0 and 7 in float32", 0, 7, "f4", ()),
    ):
        cases.append(
            HardCase(
                f"mask of {name}",
                row,
                MASK,
                two_values(low, high, kind),
                findings=("LABELS_REMAPPED", *more),
                truth=_labels(high),
                asked="mask",
                repeats=True,
            )
        )
    return cases


CASES: tuple[HardCase, ...] = (*_kinds(), *_one_bit(), *_jpeg_extended(), *_two_values())
