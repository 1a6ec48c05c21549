"""Write the image series of a recipe: its grid, its pixels, its files, and the defects that are asked for.

Rules:
- Slices are counted from 1, in the direction of row x column, as Instance Number counts them by default.
- A defect belongs to a file, so it can be had where each slice is a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import dictionary_VR

from .dicom_file import ds
from .parameters import (
    Parameter,
    attributes,
    changed_slices,
    choice,
    flag,
    number,
    numbers,
    refuse_value,
    text,
    whole,
    wholes,
)
from .phantom import Phantom, SliceOrder
from .planes import EditDataset, write_planes

_KINDS = {
    "CTImageStorage": "ct",
    "MRImageStorage": "mr",
    "SecondaryCaptureImageStorage": "sc",
    "EnhancedCTImageStorage": "enhanced ct",
    "EnhancedMRImageStorage": "enhanced mr",
}
_SYNTAXES = {
    "ExplicitVRLittleEndian": "explicit",
    "ImplicitVRLittleEndian": "implicit",
    "ExplicitVRBigEndian": "big endian",
    "RLELossless": "rle",
}
_ORDERS: dict[str, SliceOrder] = {
    "ascending": "along",
    "descending": "against",
    "shuffled": "shuffled",
    "constant": "constant",
    "missing": "missing",
}
_DEFECTS = ("missing_slices", "duplicate_slices", "without", "changed_slices")
_DECIMALS = 9  # of numbers in the files: what machines may add differently lies below
_MOST = 1024  # rows, columns and slices: a recipe is a small phantom

GRID = {
    "Rows": Parameter(26, "pixels in a column", whole(1, _MOST)),
    "Columns": Parameter(30, "pixels in a row", whole(1, _MOST)),
    "NumberOfSlices": Parameter(11, "slices", whole(1, _MOST)),
    "PixelSpacing": Parameter([1.4, 1.25], "mm between rows, then between columns", numbers(2, above=0)),
    "SpacingBetweenSlices": Parameter(2.5, "mm between slices, along their normal", number(above=0)),
    "ImagePositionPatient": Parameter([-31.5, -47.25, 112.75], "of the first slice, mm in LPS", numbers(3)),
    "ImageOrientationPatient": Parameter([1, 0, 0, 0, 1, 0], "cosines of a row, then of a column", numbers(6)),
    "GantryDetectorTilt": Parameter(0, "degrees by which the stack leans along the columns", number()),
}
FILES = {
    "SOPClassUID": Parameter("CTImageStorage", "what the files are", choice(*_KINDS)),
    "TransferSyntaxUID": Parameter("ExplicitVRLittleEndian", "how they are encoded", choice(*_SYNTAXES)),
    "SeriesDescription": Parameter("phantom", "the name of the series", text),
    "InstanceNumber": Parameter("ascending", "how the slices are numbered", choice(*_ORDERS)),
    "file_order": Parameter("ascending", "in which order the files, or frames, lie", choice(*list(_ORDERS)[:3])),
    "missing_slices": Parameter([], "slices that have no file", wholes(1, _MOST)),
    "duplicate_slices": Parameter([], "slices that have two files", wholes(1, _MOST)),
    "duplicates_differ": Parameter(False, "whether the pixels of those two differ", flag),
    "without": Parameter([], "attributes that no file has", attributes),
    "changed_slices": Parameter([], "what some slices have instead", changed_slices),
}
PIXELS = {
    "BitsAllocated": Parameter(16, "bits of a pixel in the file", choice(8, 16)),
    "BitsStored": Parameter(0, "bits of them that are used; 0 for all", choice(0, *range(8, 17))),
    "PixelRepresentation": Parameter(0, "0 for unsigned values, 1 for signed ones", choice(0, 1)),
    "PhotometricInterpretation": Parameter(
        "MONOCHROME2", "whether low values are white or black", choice("MONOCHROME1", "MONOCHROME2")
    ),
    "RescaleSlope": Parameter(1, "of one for all slices; 1 with an intercept of 0 is not written", number()),
    "RescaleIntercept": Parameter(0, "of the same", number()),
}


def phantom_of(parameters: Mapping[str, Any]) -> Phantom:
    """Make the phantom that the parameters describe.

    Args:
        parameters: those of GRID, and of FILES and PIXELS where the recipe has them, and `seed`.

    Returns: the phantom, with many grey values.

    Raises: PipelineError BAD_OPTION where two parameters do not fit.
    """
    p = parameters
    row_spacing, column_spacing = p["PixelSpacing"]
    phantom = Phantom(
        shape=(p["Columns"], p["Rows"], p["NumberOfSlices"]),
        row_spacing=row_spacing,
        column_spacing=column_spacing,
        step=p["SpacingBetweenSlices"],
        origin=p["ImagePositionPatient"],
        iop=p["ImageOrientationPatient"],
        tilt_degrees=p["GantryDetectorTilt"],
        decimals=_DECIMALS,
        content="grey",
        seed=p["seed"],
    )
    if "SOPClassUID" in p:
        phantom = _with_files(phantom, p)
    return _with_pixels(phantom, p) if "BitsAllocated" in p else phantom


def write_series(
    folder: Path,
    phantom: Phantom,
    values: NDArray[Any],
    parameters: Mapping[str, Any],
    *,
    edit: EditDataset | None = None,
) -> None:
    """Write the files of a series, with the defects that are asked for.

    Args:
        folder: that gets the files.
        phantom: the grid, and what the files are like.
        values: (columns, rows, slices) integers.
        parameters: those of GRID and FILES.
        edit: one more change of each data set, made first.

    Raises: PipelineError BAD_OPTION for values that do not fit their bits.
    """

    def both(k: int, dataset: Dataset) -> list[Dataset] | None:
        if edit is not None:
            edit(k, dataset)
        return _edit(k, dataset, phantom, parameters)

    try:
        write_planes(folder, phantom, values, edit=both)
    except ValueError as error:
        field = "BitsStored" if parameters.get("BitsStored") else "BitsAllocated"
        raise refuse_value(field, phantom.bits_allocated, f"enough for every value ({error})") from error


def _with_files(phantom: Phantom, p: Mapping[str, Any]) -> Phantom:
    found = replace(
        phantom,
        kind=_KINDS[p["SOPClassUID"]],
        transfer_syntax=_SYNTAXES[p["TransferSyntaxUID"]],
        description=p["SeriesDescription"],
        instance_numbers=_ORDERS[p["InstanceNumber"]],
        stored=_ORDERS[p["file_order"]],
    )
    for name in _DEFECTS:
        if p[name] and found.multi_frame:
            raise refuse_value(
                name, list(p[name]), f"for slices that are files of their own, and {p['SOPClassUID']} is one file"
            )
    for name in ("missing_slices", "duplicate_slices"):
        if any(n > p["NumberOfSlices"] for n in p[name]):
            raise refuse_value(name, list(p[name]), f"a list of slices, of which there are {p['NumberOfSlices']}")
    if set(range(1, p["NumberOfSlices"] + 1)) <= set(p["missing_slices"]):
        raise refuse_value("missing_slices", list(p["missing_slices"]), "a list that leaves a slice")
    return found


def _with_pixels(phantom: Phantom, p: Mapping[str, Any]) -> Phantom:
    if p["BitsStored"] > p["BitsAllocated"]:
        raise refuse_value("BitsStored", p["BitsStored"], f"at most BitsAllocated, {p['BitsAllocated']}")
    slope, intercept = p["RescaleSlope"], p["RescaleIntercept"]
    return replace(
        phantom,
        bits_allocated=p["BitsAllocated"],
        bits_stored=p["BitsStored"] or None,
        signed=p["PixelRepresentation"] == 1,
        photometric=p["PhotometricInterpretation"],
        rescale=() if (slope, intercept) == (1, 0) else ((slope, intercept),),
    )


def _edit(k: int, dataset: Dataset, phantom: Phantom, p: Mapping[str, Any]) -> list[Dataset] | None:
    """Make the defects of one slice; the data sets to write, or None for the one as it is."""
    if k + 1 in p["missing_slices"]:
        return []
    if phantom.tilt_degrees and not phantom.multi_frame:
        dataset.GantryDetectorTilt = ds(phantom.tilt_degrees)[0]
    for slices, changed in p["changed_slices"]:
        if k + 1 in slices:
            _change(dataset, changed)
    for keyword in p["without"]:
        if keyword in dataset:
            delattr(dataset, keyword)
    if k + 1 not in p["duplicate_slices"]:
        return None
    other = deepcopy(dataset)
    other.SOPInstanceUID = phantom.uid(f"plane {k}, again")
    if "InstanceNumber" in other:
        other.InstanceNumber = int(other.InstanceNumber) + phantom.shape[2]
    if p["duplicates_differ"]:
        data = np.frombuffer(other.PixelData, np.uint8).copy()
        data[0] ^= 1
        other.PixelData = data.tobytes()
    return [dataset, other]


def _change(dataset: Dataset, changed: Mapping[str, Any]) -> None:
    for keyword, value in changed.items():
        is_decimal = dictionary_VR(keyword) == "DS" and not isinstance(value, str)
        try:
            setattr(dataset, keyword, ds(value) if is_decimal else value)
        except (ValueError, TypeError) as error:
            raise refuse_value(
                "changed_slices", {keyword: value}, f"attributes as the standard has them ({error})"
            ) from error
