"""Write the recipes of planes: an image, a label series, and an image that has the mask burned in, or in overlays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import pack_bits

from .parameters import Parameter, flag, refuse_value, whole, wholes
from .phantom import PARTS, Phantom
from .series import FILES, GRID, PIXELS, phantom_of, write_series

_FIRST_GROUP = 0x6000
_VALUE = Parameter(3000, "the constant that is burned in where the mask is", whole(0, 65535))

IMAGE = {**GRID, **FILES, **PIXELS}
MASK = {
    **IMAGE,
    "BitsAllocated": PIXELS["BitsAllocated"]._replace(default=8),
    "labels": Parameter([1], "values of body, marker and nose; the last one holds for the rest", wholes(-32768, 65535)),
    "background": Parameter(0, "the value outside of them", whole(-32768, 65535)),
}
BURNED_IN = {
    **IMAGE,
    "value": _VALUE,
    "source_images": Parameter(True, "whether the same images without the mask are written too, to clean/", flag),
}
OVERLAY = {
    **IMAGE,
    "overlays": Parameter(1, "overlay groups: body, marker, nose", whole(1, len(PARTS))),
    "OverlayOrigin": Parameter([1, 1], "row and column of the overlay's first pixel, from 1", wholes(-1024, 1024, 2)),
}


def write_image(folder: Path, p: Mapping[str, Any]) -> None:
    """Write an image of many grey values."""
    phantom = phantom_of(p)
    write_series(folder, phantom, phantom.array(), p)


def write_mask(folder: Path, p: Mapping[str, Any]) -> None:
    """Write a label series."""
    if not 1 <= len(p["labels"]) <= len(PARTS):
        raise refuse_value("labels", list(p["labels"]), f"a list of 1 to {len(PARTS)} values")
    phantom = replace(phantom_of(p), content="mask", labels=p["labels"], background=p["background"])
    write_series(folder, phantom, phantom.array(), p)


def write_burned_in(folder: Path, p: Mapping[str, Any]) -> None:
    """Write an image whose body is one constant, and the image itself."""
    phantom = phantom_of(p)
    values = phantom.array()
    burned = replace(
        phantom, seed=f"{phantom.seed} burned in", description=f"{phantom.description} burned in", series_number=8
    )
    inside = _parts(phantom)[0]
    if p["source_images"]:
        write_series(folder / "clean", phantom, values, p)
    write_series(
        folder / "burned-in" if p["source_images"] else folder,
        burned,
        np.where(inside, p["value"], values),
        p,
        edit=lambda k, dataset: _same_study(dataset, phantom),
    )


def write_overlay(folder: Path, p: Mapping[str, Any]) -> None:
    """Write an image with the mask in overlay planes (PS3.3 C.9.2)."""
    phantom = phantom_of(p)
    if phantom.multi_frame:
        raise refuse_value(
            "SOPClassUID", p["SOPClassUID"], "a class of one file a slice, which the overlays of a recipe need"
        )
    parts = _parts(phantom)[: p["overlays"]]

    def edit(k: int, dataset: Dataset) -> None:
        for n, part in enumerate(parts):
            _add_overlay(dataset, _FIRST_GROUP + 2 * n, part[:, :, k].T, p["OverlayOrigin"], PARTS[n])

    write_series(folder, phantom, phantom.array(), p, edit=edit)


def _parts(phantom: Phantom) -> NDArray[np.bool_]:
    """(3, columns, rows, planes) body, marker and nose, which share voxels."""
    return phantom.overlapping_parts(phantom.point(phantom.indices()))


def _same_study(dataset: Dataset, phantom: Phantom) -> None:
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = phantom.uid("study"), phantom.uid("frame of reference")


def _add_overlay(dataset: Dataset, group: int, bits: NDArray[np.bool_], origin: tuple[int, int], label: str) -> None:
    """Add one overlay of the image's own size, which shows where (rows, columns) of the image are set."""
    down, across = origin[0] - 1, origin[1] - 1
    rows, columns = bits.shape
    shown = np.zeros_like(bits)
    j, i = np.nonzero(bits)
    kept = (j - down >= 0) & (j - down < rows) & (i - across >= 0) & (i - across < columns)
    shown[j[kept] - down, i[kept] - across] = True
    for element, vr, value in (
        (0x0010, "US", rows),
        (0x0011, "US", columns),
        (0x0022, "LO", label),
        (0x0040, "CS", "G"),
        (0x0050, "SS", list(origin)),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x1500, "LO", label),
        (0x3000, "OW", pack_bits(shown.astype(np.uint8).ravel(), pad=True)),
    ):
        dataset.add_new((group, element), vr, value)
