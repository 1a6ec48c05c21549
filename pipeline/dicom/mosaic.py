"""Find where each tile of a mosaic lies, a sheet that holds all slices of a volume, or say why it cannot be known.

Rules:
- A Siemens sheet's Image Position (Patient) is that of a plane as large as the sheet, with the centre of the first tile's
  plane as its own centre: so the first pixel of a tile lies half the difference of their sizes further in.
- Its tiles are stacked along the slice normal of the CSA header (0029,1010), which runs against row x column where slices
  are numbered in reverse, a step of Spacing Between Slices apart. Row by row, from the top left; empty tiles fill the rest.
- The protocol, where it is there, must give the same places along the normal: slice by slice, or, for a 3-D acquisition,
  the slab that the slices fill. It decides the direction where there is no CSA header, and the step where that is missing.
- A United Imaging sheet lists the position of every tile (`uih_grid`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..geometry.affine import Matrix
from ..geometry.grid import GeometryError, Plane
from .header import Header
from .siemens_header import SheetHeader, UnreadableHeader, read_sheet_header
from .source_file import open_source
from .uih_grid import count_uih_tiles, uih_planes

_PARALLEL = 1e-3  # the CSA normal is printed with eight decimals
_SAME_MM = 0.05  # the protocol prints positions with fewer digits than the header; a wrong order is off by a whole step
_SAME_STEP = 0.01  # of the step: a slab's thickness is printed with as few digits
_CSA_VALUE = 100  # bytes from the name of a CSA element to its first value


class NoTiles(Exception):
    """A sheet that cannot be taken apart; the message is the reason."""


def is_mosaic(header: Header) -> bool:
    """Whether Image Type says that the instance is a sheet of tiles, Siemens' or United Imaging's."""
    return bool(sheet_name(header))


def sheet_name(header: Header) -> str:
    """What a sheet is called, with its article, by its Image Type; "" for what is none."""
    kind = header.get("ImageType") or ()
    if "VFRAME" in kind:
        return "a United Imaging grid (VFRAME)"
    return "a Siemens mosaic" if "MOSAIC" in kind else ""


def lost_its_image_type(header: Header) -> str:
    """What the private header of a sheet says it is, whose Image Type has lost that; "" for a plane."""
    if is_mosaic(header) or header.pixel_offset is None:
        return ""
    if header.uih_grid and (count := count_uih_tiles(header)) > 1:
        return f"a United Imaging grid of {count} tiles by its MR VFrame Sequence (0065,1051), though its Image Type has lost VFRAME"
    if not header.csa:
        return ""
    with open_source(header.path) as file:
        raw = file.read(header.pixel_offset)
    name = raw.find(b"NumberOfImagesInMosaic\0")
    value = re.match(rb"\s*(\d+)[\s\0]", raw[name + _CSA_VALUE : name + _CSA_VALUE + 16]) if name >= 0 else None
    if value is None or int(value[1]) < 2:
        return ""
    return f"a Siemens mosaic of {int(value[1])} tiles by its CSA header, though its Image Type (0008,0008) has lost MOSAIC"


def tiles(header: Header, sheet: Plane) -> list[Plane]:
    """Take a sheet apart into the planes of its tiles, in the order they lie on it.

    sheet: its plane by the header's own attributes. Raises NoTiles.
    """
    try:
        if "VFRAME" in (header.get("ImageType") or ()):
            return uih_planes(header, sheet)
        return _siemens_planes(header, sheet)
    except (GeometryError, UnreadableHeader, ValueError) as error:
        raise NoTiles(str(error)) from error


def _siemens_planes(header: Header, sheet: Plane) -> list[Plane]:
    """The planes of a Siemens sheet's tiles. Raises NoTiles, UnreadableHeader, GeometryError."""
    private = read_sheet_header(header)
    along = np.array(sheet.normal) / np.linalg.norm(sheet.normal)
    slices = _Slices.of(private, along, header.get("SpacingBetweenSlices"))
    side = int(np.ceil(np.sqrt(slices.tiles)))
    if sheet.rows % side or sheet.columns % side:
        raise NoTiles(f"{sheet.columns} × {sheet.rows} pixels are no {side} × {side} tiles")
    rows, columns = sheet.rows // side, sheet.columns // side
    first = _first_pixel(sheet, rows, columns)
    sign = slices.find_direction(float(first @ along), _sign_of(private, along))
    places = first + np.outer(np.arange(slices.tiles), along * sign * slices.step_mm)
    return [
        replace(sheet, position=(float(place[0]), float(place[1]), float(place[2])), rows=rows, columns=columns)
        for place in places
    ]


class _Slices(NamedTuple):
    """How tiles are stacked. tiles: how many. step_mm: between two.

    listed: (tiles,) mm along the normal where the protocol puts them, ascending; None where it lists none. limit_mm: how
    far off that they may be.
    """

    tiles: int
    step_mm: float
    listed: Matrix | None
    limit_mm: float

    @classmethod
    def of(cls, private: SheetHeader, along: Matrix, spacing: object) -> _Slices:
        """Gather what the headers say. spacing: Spacing Between Slices, where it is there. Raises NoTiles."""
        slabs = len(private.centres)
        count = private.tiles or (0 if private.is_3d else slabs)
        if not count:
            raise NoTiles("neither its CSA header (0029,1010) nor its protocol tells the number of its tiles")
        centres = np.sort(private.centres @ along)
        step = spacing if isinstance(spacing, float) and spacing > 0 else _step_of(private, count, centres)
        if step is None:
            raise NoTiles("Spacing Between Slices (0018,0088) is missing")
        if not slabs:
            return cls(count, step, None, _SAME_MM)
        if slabs == count:
            return cls(count, step, centres, _SAME_MM)
        inside = count // slabs
        thickness = float(private.thicknesses.max())
        if count % slabs or abs(thickness / inside - step) > _SAME_STEP * step:
            raise NoTiles(
                f"its {count} tiles, {step:g} mm apart, do not fill the {slabs} slab{'s' * (slabs > 1)} of {thickness:g} mm "
                "that the protocol lists"
            )
        within = (np.arange(inside) - (inside - 1) / 2) * step
        # Where the partitions lie within the slab is the sequence's choice; the wrong direction is off by a whole step.
        return cls(count, step, np.sort(np.add.outer(centres, within).ravel()), step / 2 + _SAME_MM)

    def find_direction(self, first_mm: float, sign: float | None) -> float:
        """Find which way the tiles run along the normal, 1.0 or -1.0.

        Args:
            first_mm: where the first tile lies along the normal.
            sign: the direction by the CSA header, to be confirmed; None where it is not said, and the protocol decides.

        Returns:
            The direction.

        Raises:
            NoTiles: where nothing says it, or the protocol contradicts it.
        """
        if self.listed is None:
            if sign is None:
                raise NoTiles("neither a CSA header (0029,1010) nor a protocol tells which way its slices run")
            return sign
        steps = np.arange(self.tiles) * self.step_mm
        fits = [s for s in (1.0, -1.0) if np.abs(np.sort(first_mm + s * steps) - self.listed).max() <= self.limit_mm]
        if sign in fits or (sign is None and len(fits) == 1):
            return fits[0] if sign is None else sign
        raise NoTiles("its tiles would not lie where the protocol's list of slices says")


def _step_of(private: SheetHeader, count: int, centres: Matrix) -> float | None:
    """The step in mm that the protocol gives: a slab's share, or the distance of the slices; None where it gives none."""
    if len(centres) == count > 1:
        return float(centres[-1] - centres[0]) / (count - 1)
    return float(private.thicknesses.max(initial=0.0)) * len(centres) / count or None


def _sign_of(private: SheetHeader, along: Matrix) -> float | None:
    """The direction of the CSA header's slice normal along that of the planes; None where it is not said. Raises NoTiles."""
    if private.normal is None:
        return None
    toward = float(along @ private.normal)
    if abs(abs(toward) - 1) > _PARALLEL:
        raise NoTiles("the slice normal of its CSA header is not the normal of its planes")
    return float(np.sign(toward))


def _first_pixel(sheet: Plane, rows: int, columns: int) -> Matrix:
    """(3,) LPS mm of the first pixel of the first tile, whose centre is the centre of the sheet's plane."""
    first = np.array(sheet.position)
    first += np.array(sheet.row_cosine) * sheet.column_spacing * (sheet.columns - columns) / 2
    first += np.array(sheet.column_cosine) * sheet.row_spacing * (sheet.rows - rows) / 2
    return first
