"""Write the private headers of sheets of slices, which say where each slice lies: of Siemens and of United Imaging.

Rules:
- Only what was described is written, in the form that readers of other people take: nibabel, dcm2niix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import pack
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from .dicom_file import ds

_AXES = ("dSag", "dCor", "dTra")  # L, P and H of the patient
_VALUES = 6  # that every tag of a CSA header has room for, of which unused ones are empty


def add_mosaic(dataset: Dataset, described: Mapping[str, Any]) -> None:
    """Add the CSA image header (0029,1010), and the protocol (0021,1019) with the list of slices.

    Args:
        dataset: of the sheet.
        described: number, normal and centres of the slices, as `verimask describe` has them.
    """
    for group, creator in ((0x0021, "SIEMENS MR SDS 01"), (0x0029, "SIEMENS CSA HEADER")):
        dataset.add_new((group, 0x0010), "LO", creator)
    values: dict[str, tuple[str, list[str]]] = {}
    if described["NumberOfImagesInMosaic"] is not None:
        values["NumberOfImagesInMosaic"] = "US", [str(described["NumberOfImagesInMosaic"])]
    if described["SliceNormalVector"] is not None:
        values["SliceNormalVector"] = "FD", [f"{v:.8f}" for v in described["SliceNormalVector"]]
    dataset.add_new((0x0029, 0x1010), "OB", _csa_header(values))
    if described["Centres"]:
        text = _protocol(described).encode()
        dataset.add_new((0x0021, 0x1019), "OB", text + b" " * (len(text) % 2))


def add_uih_frames(dataset: Dataset, positions: Sequence[Sequence[float]]) -> None:
    """Add the number of slices (0065,1050) and the position of each (0065,1051), mm in LPS."""
    dataset.add_new((0x0065, 0x0010), "LO", "Image Private Header")
    dataset.add_new((0x0065, 0x1050), "DS", str(len(positions)))
    items = []
    for position in positions:
        item = Dataset()
        item.ImagePositionPatient = ds(position)
        items.append(item)
    dataset.add_new((0x0065, 0x1051), "SQ", Items(items))


def _protocol(described: Mapping[str, Any]) -> str:
    centres, thicknesses = described["Centres"], described["Thicknesses"]
    lines = ["### ASCCONV BEGIN ###", f"sKSpace.ucDimension = {'0x4' if described['Is3D'] else '0x2'}"]
    lines.append(f"sSliceArray.lSize = {len(centres)}")
    if described["IsRenumbered"]:
        lines.append("sSliceArray.ucImageNumbTra = 0x1")
    for n, (centre, thickness) in enumerate(zip(centres, thicknesses, strict=True)):
        named = zip(_AXES, centre, strict=True)
        lines += [f"sSliceArray.asSlice[{n}].sPosition.{axis} = {v!r}" for axis, v in named if v]
        lines.append(f"sSliceArray.asSlice[{n}].dThickness = {thickness!r}")
    return "\n".join([*lines, "### ASCCONV END ###"]) + "\n"


def _csa_header(values: Mapping[str, tuple[str, Sequence[str]]]) -> bytes:
    """A CSA header of the second kind. values: by name, its VR and texts."""
    out = b"SV10\4\3\2\1" + pack("<2I", len(values), 77)
    for name, (vr, texts) in values.items():
        out += name.encode().ljust(64, b"\0") + pack("<I4s3I", len(texts), vr.encode(), 0, _VALUES, 77)
        for text in [*texts, *[""] * (_VALUES - len(texts))]:
            data = text.encode() + b"\0" * bool(text)
            out += pack("<4I", len(data), len(data), 77, len(data)) + data + b"\0" * (-len(data) % 4)
    return out + b"\0" * (-len(out) % 4)
