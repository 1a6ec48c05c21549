"""Make the tables of a page: corners, headers, and the strip of planes.

Rules:
- Points are RAS mm as in the NIfTI file. A witness's corner is its own affine at its own index of the same voxel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.limits import MOST_PLANES
from ..core.policy import OPPOSITE
from ..geometry.affine import LPS_TO_RAS, Matrix, axis_codes, corner_indices
from ..nifti.file import INTENT_LABEL
from ..nifti.header import NiftiHeader
from ..volume.colour import name_type
from .record import RecordFile

SIDES = {"L": "left", "R": "right", "P": "back", "A": "front", "S": "head", "I": "feet"}
DOUBLED = 0.25  # of the step; planes nearer than this lie at one place

_UNITS = {0: "unknown", 1: "metres", 2: "mm", 3: "micrometres"}  # of length, in xyzt_units
_LENGTH_BITS = 7  # of xyzt_units; the others are units of time
_OWN_KEYS = frozenset(
    ("Schema", "Verdict", "Output", "ConversionSoftware", "ConversionSoftwareVersion", "Shape", "DataType", "Type")
)  # keys of a record that come from no DICOM header


@dataclass(frozen=True, slots=True)
class Corner:
    """One of the eight outermost voxels. where: on the nearest patient axes. ours: (R, A, S) mm.

    theirs: the same of each witness, and its distance in mm.
    """

    where: str
    index: tuple[int, ...]
    ours: tuple[float, ...]
    theirs: tuple[tuple[tuple[float, ...], float], ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A plane on the strip. x: mm along the normal. y: mm across it, towards increasing rows or columns. kind: of it."""

    x: float
    y: float
    kind: str
    title: str


def find_corners(record: RecordFile) -> tuple[list[str], list[Corner]]:
    """Find the corners of the grid as acquired, with the names of the witnesses that gave an affine for them."""
    geometry = record.values["Geometry"]
    ras = LPS_TO_RAS @ np.array(geometry["GridAffineLPS"])
    indices = corner_indices(geometry["GridShape"])
    points = indices @ ras[:3, :3].T + ras[:3, 3]
    codes = axis_codes(ras)
    witnesses = [w for w in record.values.get("CrossCheck", []) if w.get("AffineRAS") and w.get("IndexMap")]
    theirs = [_find_their_points(w, indices) for w in witnesses]
    found = []
    for n, index in enumerate(indices):
        apart = tuple((tuple(t[n].tolist()), float(np.linalg.norm(t[n] - points[n]))) for t in theirs)
        found.append(Corner(_name_corner(codes, index), tuple(index.tolist()), tuple(points[n].tolist()), apart))
    return [f"{w['Witness']} {w['Version']}" for w in witnesses], found


def _name_corner(codes: str, index: NDArray[np.int64]) -> str:
    """Name a corner by the patient's sides, such as "right front head". codes: where each index counts up to."""
    ends = [code if at else OPPOSITE[code] for code, at in zip(codes, index, strict=True)]
    return " ".join(SIDES[letter] for letter in sorted(ends, key="RLAPSI".index))


def find_ticks(record: RecordFile) -> list[Tick]:
    """Find where on the strip every plane lies, and every place of the grid that has none."""
    planes = record.values["Planes"]
    along, index = np.array(planes["AlongNormalMm"]), np.array(planes["Index"])
    if not len(index):  # of a bundle, or of a mask on another grid
        return []
    if int(index.max()) > MOST_PLANES:
        raise ValueError(f"plane {index.max()} of at most {MOST_PLANES}")
    row, column = np.array(planes["AlongRowMm"]), np.array(planes["AlongColumnMm"])
    across = row if np.ptp(row) > np.ptp(column) else column
    step = float(record.values["Geometry"]["StepMm"])
    there = _find_planes(along, across, index, step)
    return sorted([*there, *_find_missing(along, across, index)], key=lambda t: t.x)


def _find_planes(along: Matrix, across: Matrix, index: NDArray[np.int64], step: float) -> Iterator[Tick]:
    for n, k in enumerate(index.tolist()):
        is_double = n > 0 and along[n] - along[n - 1] < DOUBLED * step
        title = f"plane {k}, {along[n]:.3f} mm from the first"
        yield Tick(float(along[n]), float(across[n]), "double" if is_double else "plane", title)


def _find_missing(along: Matrix, across: Matrix, index: NDArray[np.int64]) -> Iterator[Tick]:
    """Find the places of the grid between two planes that have none, evenly between them."""
    for n in range(len(index) - 1):
        first, last = int(index[n]), int(index[n + 1])
        for k in range(first + 1, last):
            part = (k - first) / (last - first)
            x = float(along[n] + part * (along[n + 1] - along[n]))
            y = float(across[n] + part * (across[n + 1] - across[n]))
            yield Tick(x, y, "missing", f"plane {k} has no frame in the series")


def name_ends(record: RecordFile) -> tuple[str, str]:
    """Name the two ends of the strip: the patient's directions the first and the last plane look to."""
    towards = axis_codes(LPS_TO_RAS @ np.array(record.values["Geometry"]["GridAffineLPS"]))[2]
    return f"first plane, towards the {SIDES[OPPOSITE[towards]]}", f"last plane, towards the {SIDES[towards]}"


def list_nifti_header(header: NiftiHeader) -> list[tuple[str, str]]:
    """List the fields of the NIfTI header that place the voxels, with what they mean."""
    units = _UNITS.get(header.units & _LENGTH_BITS, str(header.units))
    used = "the sform" if header.sform_code else "the qform"
    return [
        ("dim", " × ".join(map(str, header.shape))),
        ("datatype", name_type(header.dtype)),
        ("scl_slope, scl_inter", f"{header.slope:g}, {header.intercept:g}"),
        ("sform_code", f"{header.sform_code} (programs use {used})"),
        (
            "qform_code",
            f"{header.qform_code}" + ("" if header.qform_code else " (left out: it cannot hold this affine)"),
        ),
        ("srow_x", _row(header.sform[0])),
        ("srow_y", _row(header.sform[1])),
        ("srow_z", _row(header.sform[2])),
        ("xyzt_units", units),
        ("intent_code", f"{header.intent}" + (" (labels)" if header.intent == INTENT_LABEL else "")),
        ("descrip", header.description),
    ]


def list_dicom_header(record: RecordFile) -> list[tuple[str, str]]:
    """List what the record keeps of the DICOM header: everything plain but its own words."""
    return [
        (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in record.values.items()
        if key not in _OWN_KEYS and (not isinstance(value, dict | list) or key.startswith("Image"))
    ]


def _find_their_points(witness: dict[str, Any], indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find where a witness has our voxels: its affine at its own index of each."""
    back = np.linalg.inv(np.array(witness["IndexMap"]["Matrix"], float))
    to_ras = np.array(witness["AffineRAS"]) @ back
    return np.asarray(indices @ to_ras[:3, :3].T + to_ras[:3, 3])


def _row(values: NDArray[np.float64]) -> str:
    return "  ".join(f"{v + 0.0:.6g}" for v in values)
