"""Read the contours of ROIs from a structure set (PS3.3 C.8.8.6), for a reader that shares no code with our decoder.

Rules:
- Contours with an inside are read: CLOSED_PLANAR, CLOSEDPLANAR_XOR, and as closed ones INTERPOLATED_PLANAR and contours
  without a type. Points and open lines are left out.
- Numbers are read as they stand. Decimal commas are taken for points and a last backslash for nothing; what is then no
  number, or no multiple of three, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DATA, _TYPE = 0x30060050, 0x30060042
_XOR = "CLOSEDPLANARXOR"
_CLOSED = ("CLOSEDPLANAR", _XOR, "INTERPOLATEDPLANAR", "")  # by their letters alone


@dataclass(frozen=True, slots=True, eq=False)
class DrawnContours:
    """The contours of one ROI. points: (n, 3) LPS mm, contour after contour. counts: (m,) points of each. xor: (m,)."""

    points: NDArray[np.float64]
    counts: NDArray[np.int64]
    xor: NDArray[np.bool_]


def open_structure_set(path: str) -> dict[int, list[Any]]:
    """Read the items of the ROI Contour Sequence of a file, by the ROI number they refer to."""
    import pydicom

    found: dict[int, list[Any]] = {}
    for item in pydicom.dcmread(path, specific_tags=["ROIContourSequence"], force=True).get("ROIContourSequence") or ():
        try:
            number = int(float(item.ReferencedROINumber))
        except (AttributeError, TypeError, ValueError):  # of no ROI that anyone can ask for
            continue
        found.setdefault(number, []).append(item)
    return found


def read_drawn_contours(items: dict[int, list[Any]], number: int) -> DrawnContours:
    """Read the closed contours of one ROI.

    Args:
        items: of `open_structure_set`.
        number: of the ROI.

    Returns: its contours of three points or more.

    Raises: ValueError where the number stands twice or not at all, nothing is closed, or Contour Data are no points.
    """
    own = items.get(number, ())
    if len(own) != 1:
        raise ValueError(f"ROI number {number} has {len(own)} items in the ROI Contour Sequence, not one")
    texts, xor = [], []
    for contour in own[0].get("ContourSequence") or ():
        kind = _letters(_raw(contour, _TYPE))
        text = _raw(contour, _DATA)
        if kind in _CLOSED and text.count(b"\\") >= 8:
            texts.append(text)
            xor.append(kind == _XOR)
    if not texts:
        raise ValueError(f"ROI number {number} has no closed contour")
    values = _parse_all(texts)
    counts = np.array([len(v) // 3 for v in values])
    if any(len(v) % 3 for v in values) or not all(np.isfinite(v).all() for v in values):
        raise ValueError("Contour Data are not points of three finite numbers")
    return DrawnContours(np.concatenate(values).reshape(-1, 3), counts, np.array(xor))


def _raw(contour: Any, tag: int) -> bytes:
    """Return the bytes of an element as the file holds them; b"" where there is none."""
    if tag not in contour:
        return b""
    value = contour.get_item(tag).value
    if isinstance(value, bytes):
        return value
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return ("\\".join(map(str, value)) if several else str(value)).encode()


@lru_cache(maxsize=64)
def _letters(text: bytes) -> str:
    return "".join(c for c in text.decode("ascii", "replace").upper() if c.isalnum())


def _parse_all(texts: list[bytes]) -> list[NDArray[np.float64]]:
    """Parse plain numbers at once, (values,) of each text; one by one where numpy finds something else among them."""
    ends = np.cumsum([text.count(b"\\") + 1 for text in texts])
    values: NDArray[np.float64] = np.empty(0)
    with suppress(ValueError):
        values = np.fromstring(b"\\".join(text.rstrip(b" \0") for text in texts).decode("ascii"), sep="\\")
    if len(values) != ends[-1]:
        return [_parse_one(text) for text in texts]
    return np.split(values, ends[:-1])


def _parse_one(text: bytes) -> NDArray[np.float64]:
    text = text.rstrip(b" \0").rstrip(b"\\ ").replace(b",", b".")
    return np.array([float(value) for value in text.split(b"\\")])
