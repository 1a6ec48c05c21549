"""Make up the pixels of a file that was described: a ramp, a few values, or as many set pixels as a segment had.

Rules:
- The same description gives the same bytes. No two axes look alike, so that a flip or an exchange is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import pack_bits

_FLOATS = {"FloatPixelData": "<f4", "DoubleFloatPixelData": "<f8"}
PIXELS = ("PixelData", *_FLOATS)
_STEPS = (31, 13, 7)  # of the ramp, along frames, rows and columns


def add_pixels(dataset: Dataset, keyword: str, described: Mapping[str, Any]) -> None:
    """Add the pixel data element.

    Args:
        dataset: with the attributes that say how its pixels lie.
        keyword: of the element, one of PIXELS.
        described: of it, as `verimask describe` has it.

    Raises: AttributeError, TypeError where those attributes are missing.
    """
    data, bits = b"", int(dataset.get("BitsAllocated") or 8)
    if dataset.get("Rows") and dataset.get("Columns"):
        values = _values(dataset, described)
        data = _encode(values, keyword, bits)
    if not described.get("Compressed"):  # else its length is that of the compressed frames
        data = data[: described["Bytes"]].ljust(described["Bytes"], b"\0")
    elif "YBR" in str(dataset.get("PhotometricInterpretation")):
        dataset.PhotometricInterpretation = "RGB"
    vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(keyword, "OW" if bits > 8 else "OB")
    dataset.add_new(keyword, vr, data)


def _encode(values: NDArray[Any], keyword: str, bits: int) -> bytes:
    if keyword in _FLOATS:
        return values.astype(_FLOATS[keyword]).tobytes()
    if bits == 1:
        return bytes(pack_bits(values.astype(np.uint8).ravel(), pad=True))
    data = values.astype(f"<u{bits // 8}").tobytes()
    return data + b"\0" * (len(data) % 2)


def _values(dataset: Dataset, described: Mapping[str, Any]) -> NDArray[Any]:
    """(frames, rows, columns × samples) values, within the bits stored."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    shape = frames, int(dataset.Rows), int(dataset.Columns) * int(dataset.get("SamplesPerPixel") or 1)
    if "Set" in described:
        return _set(dataset, shape, described)
    frame, row, column = np.indices(shape)
    ramp = frame * _STEPS[0] + row * _STEPS[1] + column * _STEPS[2]
    stored = int(dataset.get("BitsStored") or dataset.get("BitsAllocated") or 8)
    if "Values" in described:
        few = np.array(described["Values"])
        return _blocks(shape, few) & ((1 << stored) - 1)
    top = (1 << stored - 1) - 1 if dataset.get("PixelRepresentation") == 1 else (1 << stored) - 1
    low, high = described.get("Range", (0, min(top, 1000)))
    made = low + ramp % (high - low + 1)
    made[-1, 0, 0], made[-1, -1, -1] = low, high
    return np.asarray(made & ((1 << stored) - 1))


def _blocks(shape: Sequence[int], few: NDArray[Any]) -> NDArray[Any]:
    """The first value everywhere, and each other one in a block of its own, off the middle."""
    made = np.full(shape, few[0])
    rows, columns = shape[1], shape[2]
    for n, value in enumerate(few[1:]):
        first = rows // 4 + n * max(1, rows // (2 * len(few)))
        made[:, first : first + max(1, rows // (2 * len(few))), columns // 5 : max(columns // 5 + 1, columns // 2)] = (
            value
        )
    return made


def _set(dataset: Dataset, shape: Sequence[int], described: Mapping[str, Any]) -> NDArray[Any]:
    """As many pixels of each frame as were set; frames of one place share none unless they did."""
    value = int(dataset.get("MaximumFractionalValue") or 1) if dataset.get("SegmentationType") == "FRACTIONAL" else 1
    made = np.zeros((shape[0], shape[1] * shape[2]), np.uint8)
    begun: dict[str, int] = {}
    items = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    for n, count in enumerate(described["Set"]):
        places = items[n].get("PlanePositionSequence") if n < len(items) else ()
        place = str(places[0].get("ImagePositionPatient")) if places else ""
        first = 0 if described["Overlap"] else begun.get(place, 0)
        made[n, first : first + count] = value
        begun[place] = first + count
    return made.reshape(shape)
