"""Describe the pixels of a file by what a phantom of the same kind needs: their bytes, range, few values or segments' sizes.

Rules:
- Only native integers are looked at; of compressed and floating-point pixels the element and its length are shown.
- Nothing of the picture is shown: of a mask how many pixels are set, and whether segments share some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MOST_VALUES = 8  # that are listed one by one; of more, the range


def describe_pixels(dataset: Dataset, *, native: bool) -> dict[str, Any]:
    """Describe the pixels.

    Args:
        dataset: of an image or a segmentation.
        native: whether its pixels are not compressed.

    Returns: keyword of the pixel data element, and what is in it; nothing where there is none.
    """
    keyword = next((name for name in _ELEMENTS if name in dataset), "")
    if not keyword:
        return {}
    data = dataset[keyword].value or b""
    found: dict[str, Any] = {"Bytes": len(data)}
    if keyword == "PixelData" and native:
        found |= _describe_values(dataset, data)
    elif keyword == "PixelData":
        found["Compressed"] = True
    return {keyword: found}


def _describe_values(dataset: Dataset, data: bytes) -> dict[str, Any]:
    try:
        values = _values(dataset, data)
    except (
        ArithmeticError,
        AttributeError,
        TypeError,
        ValueError,
    ):  # attributes that say how they lie are missing or contradict them
        return {}
    if values.size == 0:
        return {}
    if dataset.get("SegmentationType") in ("BINARY", "FRACTIONAL"):
        return {"Set": np.count_nonzero(values, axis=(1, 2)).tolist(), "Overlap": _overlaps(dataset, values)}
    few = np.unique(values)
    return {"Values": few.tolist()} if len(few) <= _MOST_VALUES else {"Range": [int(few[0]), int(few[-1])]}


def _values(dataset: Dataset, data: bytes) -> NDArray[Any]:
    """(frames, rows, columns × samples) stored integers. Raises what missing or contradicting attributes make."""
    bits, stored, rows = (
        int(dataset.BitsAllocated),
        int(dataset.get("BitsStored") or dataset.BitsAllocated),
        int(dataset.Rows),
    )
    columns = int(dataset.Columns) * int(dataset.get("SamplesPerPixel") or 1)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if bits == 1:
        from pydicom.pixels.utils import unpack_bits

        return np.asarray(unpack_bits(data))[: frames * rows * columns].reshape(frames, rows, columns)
    order = "<" if dataset.original_encoding[1] is not False else ">"
    values = np.frombuffer(data, f"{order}u{bits // 8}", frames * rows * columns).reshape(frames, rows, columns)
    values = values & np.array((1 << stored) - 1, values.dtype)
    if dataset.get("PixelRepresentation") == 1:
        values = values.astype(np.int64)
        values = values - ((values >> (stored - 1)) << stored)
    return np.asarray(values)


def _overlaps(dataset: Dataset, values: NDArray[Any]) -> bool:
    """Whether two frames of one place have a pixel in common."""
    by_place: dict[str, NDArray[np.bool_]] = {}
    for frame, item in zip(values, dataset.get("PerFrameFunctionalGroupsSequence") or (), strict=False):
        positions = item.get("PlanePositionSequence") or ()
        place = str(positions[0].get("ImagePositionPatient")) if positions else ""
        before = by_place.setdefault(place, np.zeros(frame.shape, np.bool_))
        if (before & (frame != 0)).any():
            return True
        before |= frame != 0
    return False
