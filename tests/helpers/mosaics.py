"""Sheets of slices, written from scratch: Siemens mosaics with their CSA headers and protocol, and United Imaging's grids.

Rules:
- What is written is what the makers document and other readers (nibabel, dcm2niix, GDCM) take: nothing of `pipeline` is used.
- Tiles lie row by row from the top left, and the rest of the sheet is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence as Items

from tests.helpers.phantom import Spec, ds, write

Edit = Callable[[Dataset], None]


@dataclass(frozen=True)
class Mosaic:
    """How a Siemens sheet is written. spec: the volume, whose planes are the tiles.

    reverse: from the last plane to the first, as with slices numbered in reverse. slab: as a 3-D acquisition, whose protocol
    lists one slab. protocol: in which header it is, "csa", "0021" or "". csa: whether there is an image header. spacing:
    whether Spacing Between Slices is. listing: 1 where the protocol lists slices upwards, -1 downwards.
    """

    spec: Spec
    reverse: bool = False
    slab: bool = False
    protocol: str = "csa"
    csa: bool = True
    spacing: bool = True
    listing: int = 1

    def write(self, path: Path, edit: Edit = lambda dataset: None) -> None:
        """Write the sheet as one file."""
        columns, rows, count = self.spec.shape
        order = range(count)[:: -1 if self.reverse else 1]
        normal = (
            (self.spec.point((0, 0, 1)) - self.spec.point((0, 0, 0))) / self.spec.step * (-1 if self.reverse else 1)
        )
        side = int(np.ceil(np.sqrt(count)))
        dataset = _sheet(self.spec, [self.spec.array()[:, :, k].T for k in order], side, side)
        away = (-columns * (side - 1) / 2, -rows * (side - 1) / 2, order[0])
        dataset.ImagePositionPatient = ds(*self.spec.point(away))
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
        dataset.Manufacturer = "SIEMENS"
        dataset.AcquisitionNumber = 1
        dataset.RepetitionTime, dataset.EchoTime = "2000", "30"
        dataset.AcquisitionMatrix = [rows, 0, 0, columns]
        if self.spacing:
            dataset.SpacingBetweenSlices = ds(self.spec.step)[0]
        creators = ((0x0019, "SIEMENS MR HEADER"), (0x0029, "SIEMENS CSA HEADER"), (0x0021, "SIEMENS MR SDS 01"))
        for group, creator in creators:
            dataset.add_new((group, 0x0010), "LO", creator)
        dataset.add_new((0x0019, 0x100A), "US", count)
        values = {
            "AcquisitionMatrixText": ("SH", [f"{rows}*{columns}"]),
            "NumberOfImagesInMosaic": ("US", [str(count)]),
            "SliceNormalVector": ("FD", [f"{v:.8f}" for v in normal]),
            "ProtocolSliceNumber": ("IS", [str(count - 1 if self.reverse else 0)]),
        }
        if self.csa:
            dataset.add_new((0x0029, 0x1010), "OB", csa_header(values))
        if self.protocol == "csa":
            dataset.add_new((0x0029, 0x1020), "OB", csa_header({"MrPhoenixProtocol": ("UN", [self.listed()])}))
        elif self.protocol:
            dataset.add_new((0x0021, 0x1019), "OB", self.listed().encode() + b" " * (len(self.listed()) % 2))
        edit(dataset)
        dataset.save_as(path, enforce_file_format=True)

    def listed(self) -> str:
        """The protocol, with its list of slices or its slab; what is zero is left out, as the scanner does."""
        columns, rows, count = self.spec.shape
        inside = [(count - 1) / 2] if self.slab else [float(k) for k in range(count)][:: self.listing]
        lines = ["### ASCCONV BEGIN ###", f"sKSpace.ucDimension = {'0x4' if self.slab else '0x2'}"]
        lines += [f"sSliceArray.lSize = {len(inside)}"]
        normal = (self.spec.point((0, 0, 1)) - self.spec.point((0, 0, 0))) / self.spec.step
        for n, k in enumerate(inside):
            centre = self.spec.point(((columns - 1) / 2, (rows - 1) / 2, k))
            for kind, vector in (("sPosition", centre), ("sNormal", normal)):
                named = zip(("dSag", "dCor", "dTra"), vector, strict=True)
                lines += [f"sSliceArray.asSlice[{n}].{kind}.{axis} = {v:.10g}" for axis, v in named if abs(v) > 1e-9]
            thickness = self.spec.step * (count if self.slab else 0.8)
            lines.append(f"sSliceArray.asSlice[{n}].dThickness = {thickness:g}")
        return "\n".join([*lines, "### ASCCONV END ###"]) + "\n"


def csa_header(values: Mapping[str, tuple[str, Sequence[str]]]) -> bytes:
    """A CSA header of the second kind (SV10), as nibabel and dcm2niix describe it: name to VR and values."""
    out = b"SV10\4\3\2\1" + pack("<2I", len(values), 77)
    for name, (vr, texts) in values.items():
        out += name.encode().ljust(64, b"\0") + pack("<I4s3I", len(texts), vr.encode(), 0, max(6, len(texts)), 77)
        for text in [*texts, *[""] * (6 - len(texts))]:
            data = text.encode() + b"\0" * bool(text)
            out += pack("<4I", len(data), len(data), 77, len(data)) + data + b"\0" * (-len(data) % 4)
    return out + b"\0" * (-len(out) % 4)


def edit_protocol(dataset: Dataset, edit: Callable[[str], str]) -> None:
    """Edit the protocol in a real CSA series header, which keeps its length: the new text may be no longer than the old."""
    value = dataset[0x0029, 0x1020].value
    start, end = value.index(b"### ASCCONV BEGIN"), value.index(b"### ASCCONV END")
    text = edit(value[start:end].decode("latin-1")).encode("latin-1") + b"\n"
    assert len(text) <= end - start
    dataset[0x0029, 0x1020].value = value[:start] + text.ljust(end - start, b"\n") + value[end:]


def write_grid(
    path: Path, spec: Spec, *, order: Sequence[int] | None = None, edit: Edit = lambda dataset: None
) -> None:
    """Write a United Imaging grid. order: which plane each tile is; as they lie, where it is None."""
    count = spec.shape[2]
    order = order or range(count)
    across = int(np.ceil(np.sqrt(count)))
    dataset = _sheet(spec, [spec.array()[:, :, k].T for k in order], across, -(-count // across))
    dataset.ImagePositionPatient = ds(*spec.point((0, 0, order[0])))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "VFRAME"]
    dataset.Manufacturer = "UIH"
    dataset.SpacingBetweenSlices = ds(spec.step)[0]
    dataset.add_new((0x0065, 0x0010), "LO", "Image Private Header")
    dataset.add_new((0x0065, 0x1050), "DS", str(count))
    items = []
    for k in order:
        item = Dataset()
        item.ImagePositionPatient = ds(*spec.point((0, 0, k)))
        item.AcquisitionTime = f"1015{k:02d}"
        items.append(item)
    dataset.add_new((0x0065, 0x1051), "SQ", Items(items))
    edit(dataset)
    dataset.save_as(path, enforce_file_format=True)


def _sheet(spec: Spec, planes: Sequence[NDArray[Any]], across: int, down: int) -> Dataset:
    """An MR slice whose pixels are the planes side by side."""
    with TemporaryDirectory() as folder:
        dataset = dcmread(write(Path(folder), spec, kind="mr").paths[0])
    rows, columns = planes[0].shape
    sheet = np.zeros((down * rows, across * columns), "<u2")
    for n, plane in enumerate(planes):
        j, i = divmod(n, across)
        sheet[j * rows : (j + 1) * rows, i * columns : (i + 1) * columns] = plane
    dataset.Rows, dataset.Columns = sheet.shape
    dataset.PixelData = sheet.tobytes() + b"\0" * (sheet.nbytes % 2)
    return dataset
