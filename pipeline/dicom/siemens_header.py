"""Read what the private headers of a Siemens sheet say of its slices: the CSA headers, and the protocol as text.

Rules:
- The CSA image header (0029,1010) gives the number of slices and their normal; the CSA series header (0029,1020) or, where
  newer software writes none, (0021,1019), the protocol. (0019,100A) gives the number too.
- The protocol lists a 2-D acquisition slice by slice, and a 3-D one slab by slab, each by its centre. It leaves out what is
  zero: a slice at the isocentre has no position of its own.
- Nothing is judged here. What is missing is None or empty.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..geometry.affine import Matrix
from .encoding import load
from .header import Header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_COUNT, _PROTOCOL = (0x0019, 0x100A), (0x0021, 0x1019)
_SLICE = re.compile(r"^sSliceArray\.asSlice\[(\d+)\]\.(\S+)\s*=\s*(\S+)", re.MULTILINE)
_IS_3D = "sKSpace.ucDimension", 4
_AXES = ("sPosition.dSag", "sPosition.dCor", "sPosition.dTra")  # L, P and H of the patient


class UnreadableHeader(Exception):
    """A private header that is damaged; the message is the reason."""


class SheetHeader(NamedTuple):
    """What the private headers say of a sheet.

    tiles: how many slices there are; None where it is not said. normal: (3,) from the first slice to the last, LPS; None where it is not
    said. centres: (n, 3) LPS mm of the slices of a 2-D acquisition, or of the slabs of a 3-D one, in the protocol's order;
    (0, 3) where there is no protocol. thicknesses: (n,) mm of each. is_3d: whether they are said to be slabs.
    is_renumbered: whether transverse ones are numbered in reverse.
    """

    tiles: int | None
    normal: Matrix | None
    centres: Matrix
    thicknesses: Matrix
    is_3d: bool
    is_renumbered: bool


def read_sheet_header(header: Header) -> SheetHeader:
    """Read the private headers of a Siemens sheet. Raises UnreadableHeader."""
    dataset = load(header.path, stop_before_pixels=True)
    image, series = (_read_csa(dataset, which) for which in ("image", "series"))
    count = _first(image, "NumberOfImagesInMosaic") or (dataset[_COUNT].value if _COUNT in dataset else None)
    normal = image.get("SliceNormalVector") or ()
    texts = (series.get(name) for name in ("MrPhoenixProtocol", "MrProtocol"))
    protocol = next((str(items[0]) for items in texts if items), "") or _read_protocol(dataset)
    centres, thicknesses = _parse_slices(protocol)
    return SheetHeader(
        tiles=int(count) if isinstance(count, int | float) and count >= 1 else None,
        normal=np.array(normal, float) if len(normal) == 3 else None,
        centres=centres,
        thicknesses=thicknesses,
        is_3d=_find_integer(protocol, _IS_3D[0]) == _IS_3D[1],
        is_renumbered=_find_integer(protocol, "sSliceArray.ucImageNumbTra") is not None,
    )


def _read_csa(dataset: Dataset, which: str) -> dict[str, list[Any]]:
    """The values of a CSA header by name; none where there is no such header. which: "image" or "series"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its DICOM readers experimental
        from nibabel.nicom import csareader

        try:
            csa = csareader.get_csa_header(dataset, which)
        except Exception as error:  # a damaged private header makes its reader stumble in more ways than can be listed
            raise UnreadableHeader(f"its CSA header cannot be read: {error}") from error
    return {name: tag["items"] for name, tag in (csa or {"tags": {}})["tags"].items()}


def _read_protocol(dataset: Dataset) -> str:
    """The protocol of a file without a CSA series header, as text; "" where there is none."""
    value = dataset[_PROTOCOL].value if _PROTOCOL in dataset else ""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _parse_slices(protocol: str) -> tuple[Matrix, Matrix]:
    """The centres (n, 3) and thicknesses (n,) of the slices or slabs that the protocol lists, in mm."""
    listed: dict[int, dict[str, str]] = {}
    for k, name, value in _SLICE.findall(protocol):
        listed.setdefault(int(k), {})[name] = value
    size = _find_integer(protocol, "sSliceArray.lSize")
    kept = [listed[k] for k in sorted(listed) if size is None or k < size]
    try:
        centres = [[float(values.get(axis, 0)) for axis in _AXES] for values in kept]
        thicknesses = [float(values.get("dThickness", 0)) for values in kept]
    except ValueError as error:
        raise UnreadableHeader(f"its protocol cannot be read: {error}") from error
    return np.array(centres).reshape(-1, 3), np.array(thicknesses)


def _find_integer(protocol: str, name: str) -> int | None:
    found = re.search(rf"^{re.escape(name)}\s*=\s*(0x[0-9a-fA-F]+|\d+)\s*$", protocol, re.MULTILINE)
    return int(found[1], 0) if found else None


def _first(values: dict[str, list[Any]], name: str) -> float | None:
    items = values.get(name) or []
    return float(items[0]) if items else None
