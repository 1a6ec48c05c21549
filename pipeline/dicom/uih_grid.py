"""Find where each tile of a United Imaging grid sheet lies, or say why it cannot be known.

Rules:
- Image Type ends with VFRAME. The private group 0065, of the creator “Image Private Header”, has the number of slices
  (0065,1050), and an item for each in the order of the tiles (0065,1051), with its own Image Position (Patient).
- There are as many columns of tiles as the root of their number, rounded up, and as many rows as are needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..geometry.grid import GeometryError, Plane
from .element_values import plain
from .encoding import load
from .header import Header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CREATOR, _COUNT, _FRAMES = (0x0065, 0x0010), (0x0065, 0x1050), (0x0065, 0x1051)
_OWNER = "Image Private Header"


def count_uih_tiles(header: Header) -> int:
    """Count the slices that the private header of a sheet lists; 0 where it is not United Imaging's."""
    return len(_positions(load(header.path, stop_before_pixels=True)))


def list_positions(header: Header) -> list[tuple[float, ...]]:
    """List the position of every slice that the private header of a sheet gives, mm in LPS."""
    return _positions(load(header.path, stop_before_pixels=True))


def uih_planes(header: Header, sheet: Plane) -> list[Plane]:
    """Take a sheet apart into the planes of its tiles, in the order they lie on it.

    Args:
        header: of the instance.
        sheet: the plane that its own attributes give; its cosines and spacing are those of the tiles.

    Returns:
        The planes.

    Raises:
        ValueError: where they cannot be known; the message is the reason.
    """
    dataset = load(header.path, stop_before_pixels=True)
    positions = _positions(dataset)
    if not positions:
        raise ValueError("its MR VFrame Sequence (0065,1051), which has the place of each slice, is missing")
    declared = _text(dataset, _COUNT) or str(len(positions))
    if declared.split(".")[0] != str(len(positions)):
        raise ValueError(f"{declared} slices are declared (0065,1050), and {len(positions)} are listed (0065,1051)")
    across = int(np.ceil(np.sqrt(len(positions))))
    down = -(-len(positions) // across)
    if sheet.columns % across or sheet.rows % down:
        raise ValueError(f"{sheet.columns} × {sheet.rows} pixels are no {across} × {down} tiles")
    rows, columns = sheet.rows // down, sheet.columns // across
    try:
        return [replace(sheet, position=(x, y, z), rows=rows, columns=columns) for x, y, z in positions]
    except (GeometryError, TypeError, ValueError) as error:
        raise ValueError(f"a position in its MR VFrame Sequence (0065,1051) cannot be used: {error}") from error


def _positions(dataset: Dataset) -> list[tuple[float, ...]]:
    """The position of every slice that the private header lists, () for one without; none where there is no such header."""
    from pydicom.values import convert_SQ

    if _FRAMES not in dataset or _text(dataset, _CREATOR) != _OWNER:
        return []
    items = dataset[_FRAMES].value
    if isinstance(items, bytes):  # a private sequence of implicit VR, whose length is given
        items = convert_SQ(items, True, True)
    return [plain(item.get("ImagePositionPatient")) or () for item in items or ()]


def _text(dataset: Dataset, tag: tuple[int, int]) -> str:
    """The one value of a private element, whose VR is unknown under implicit VR; "" where there is none."""
    value = dataset[tag].value if tag in dataset else ""
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")
