"""Find where each tile of a Siemens mosaic lies, a sheet that holds all slices of a volume, or say why it cannot be known.

Rules:
- The sheet's Image Position (Patient) is that of a plane as large as the sheet, with the centre of the first tile's
  plane as its own centre: so the first pixel of a tile lies half the difference of their sizes further in.
- Tiles are stacked along the slice normal of the CSA header (0029,1010), which may run against row x column, a step of
  Spacing Between Slices apart. Row by row, from the top left; empty tiles fill the sheet's last row.
- The protocol's own list of slices (0029,1020), where it is there, must give the same places along the normal.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..geometry.affine import Matrix
from ..geometry.grid import GeometryError, Plane
from .encoding import load
from .header import Header
from .source_file import open_source

_PARALLEL = 1e-3  # the CSA normal is printed with eight decimals
_SAME_MM = 0.05  # the protocol prints positions with fewer digits than the header; a wrong order is off by a whole step
_CSA_VALUE = 100  # bytes from the name of a CSA element to its first value


class NoTiles(Exception):
    """A sheet that cannot be taken apart; the message is the reason."""


def is_mosaic(header: Header) -> bool:
    """Whether Image Type says that the instance is a sheet of tiles."""
    return "MOSAIC" in (header.get("ImageType") or ())


def lost_its_image_type(header: Header) -> int:
    """Count the tiles that the CSA header (0029,1010) gives to a sheet whose Image Type has lost MOSAIC; 0 for a plane."""
    if not header.csa or is_mosaic(header) or header.pixel_offset is None:
        return 0
    with open_source(header.path) as file:
        raw = file.read(header.pixel_offset)
    name = raw.find(b"NumberOfImagesInMosaic\0")
    value = re.match(rb"\s*(\d+)[\s\0]", raw[name + _CSA_VALUE : name + _CSA_VALUE + 16]) if name >= 0 else None
    count = int(value[1]) if value else 0
    return count if count > 1 else 0


def tiles(header: Header, sheet: Plane) -> list[Plane]:
    """Take a sheet apart into the planes of its tiles, in the order they lie on it.

    sheet: its plane by the header's own attributes. Raises NoTiles.
    """
    image, protocol = _read_csa(header)
    stacking = _read_stacking(header, image)
    side = int(np.ceil(np.sqrt(stacking.tiles)))
    if sheet.rows % side or sheet.columns % side:
        raise NoTiles(f"{sheet.columns} × {sheet.rows} pixels are no {side} × {side} tiles")
    along = np.array(sheet.normal) / np.linalg.norm(sheet.normal)
    toward = float(along @ stacking.normal)
    if abs(abs(toward) - 1) > _PARALLEL:
        raise NoTiles("the slice normal of its CSA header is not the normal of its planes")
    rows, columns = sheet.rows // side, sheet.columns // side
    steps = np.outer(np.arange(stacking.tiles), along * np.sign(toward) * stacking.step_mm)
    places = _first_pixel(sheet, rows, columns) + steps
    _check_protocol(protocol, places @ along, along)
    try:
        return [
            replace(sheet, position=(float(place[0]), float(place[1]), float(place[2])), rows=rows, columns=columns)
            for place in places
        ]
    except GeometryError as error:
        raise NoTiles(str(error)) from error


class _Stacking(NamedTuple):
    """How the tiles are stacked. tiles: how many are not empty. normal: from the first to the last. step_mm: between two."""

    tiles: int
    normal: Matrix
    step_mm: float


def _read_stacking(header: Header, image: dict[str, list[Any]]) -> _Stacking:
    """image: the values of the CSA image header. Raises NoTiles."""
    count, normal = _first(image, "NumberOfImagesInMosaic"), image.get("SliceNormalVector", [])
    step = header.get("SpacingBetweenSlices")
    if count is None or int(count) < 1 or len(normal) != 3:
        raise NoTiles("its CSA header (0029,1010) does not tell the number of tiles and the slice normal")
    if not isinstance(step, float) or step <= 0:
        raise NoTiles("Spacing Between Slices (0018,0088) is missing")
    if (_first(image, "ProtocolSliceNumber") or 0) > 0:
        raise NoTiles("its slices are stored in reverse (CSA ProtocolSliceNumber)")
    return _Stacking(int(count), np.array(normal, float), step)


def _first_pixel(sheet: Plane, rows: int, columns: int) -> Matrix:
    """(3,) LPS mm of the first pixel of the first tile, whose centre is the centre of the sheet's plane."""
    first = np.array(sheet.position)
    first += np.array(sheet.row_cosine) * sheet.column_spacing * (sheet.columns - columns) / 2
    first += np.array(sheet.column_cosine) * sheet.row_spacing * (sheet.rows - rows) / 2
    return first


def _read_csa(header: Header) -> tuple[dict[str, list[Any]], str]:
    """The values of the CSA image header, and the protocol as text."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its DICOM readers experimental
        from nibabel.nicom import csareader

        dataset = load(header.path, stop_before_pixels=True)
        try:
            image = csareader.get_csa_header(dataset, "image")
            series = csareader.get_csa_header(dataset, "series")
        except Exception as error:  # a damaged private header makes its reader stumble in more ways than can be listed
            raise NoTiles(f"its CSA header cannot be read: {error}") from error
    values = {name: tag["items"] for name, tag in (image or {"tags": {}})["tags"].items()}
    tags = (series or {"tags": {}})["tags"]
    texts = (tags.get(name, {}).get("items", []) for name in ("MrPhoenixProtocol", "MrProtocol"))
    return values, next((str(items[0]) for items in texts if items), "")


def _check_protocol(protocol: str, distances: Matrix, along: Matrix) -> None:
    """Raises NoTiles unless the protocol's slices, if it lists any, lie where the tiles do along the normal."""
    places: dict[int, dict[str, float]] = {}
    for k, axis, value in re.findall(r"sSliceArray\.asSlice\[(\d+)\]\.sPosition\.d(Sag|Cor|Tra)\s*=\s*(\S+)", protocol):
        places.setdefault(int(k), {})[axis] = float(value)
    if not places:
        return
    listed = np.array([[p.get(axis, 0.0) for axis in ("Sag", "Cor", "Tra")] for p in places.values()]) @ along
    if len(listed) != len(distances) or np.abs(np.sort(listed) - np.sort(distances)).max() > _SAME_MM:
        raise NoTiles("its tiles would not lie where the protocol's list of slices says")


def _first(values: dict[str, list[Any]], name: str) -> float | None:
    items = values.get(name) or []
    return float(items[0]) if items else None
