"""The numbers of a page: corners, headers, and the strip of planes.

Rules:
- Points are RAS mm as in the NIfTI file. A witness's corner is its own affine at its own index of the same voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.affine import LPS_TO_RAS, axis_codes, corner_indices
from ..nifti.header import NiftiHeader
from .record import Record

SIDES = {"L": "left", "R": "right", "P": "back", "A": "front", "S": "head", "I": "feet"}
OPPOSITE = dict(zip("LRPASI", "RLAPIS", strict=True))
DOUBLED = 0.25  # of the step; planes nearer than this lie at one place


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


def corners(record: Record) -> tuple[list[str], list[Corner]]:
    """The witnesses that gave an affine, and the corners of the grid as acquired."""
    geometry = record.values["Geometry"]
    lps = np.array(geometry["GridAffineLPS"])
    shape = geometry["GridShape"]
    indices = corner_indices(shape)
    ours = indices @ (LPS_TO_RAS @ lps)[:3, :3].T + (LPS_TO_RAS @ lps)[:3, 3]
    codes = axis_codes(LPS_TO_RAS @ lps)
    witnesses = [w for w in record.values.get("CrossCheck", []) if w.get("AffineRAS") and w.get("IndexMap")]
    theirs = [_their_points(w, indices) for w in witnesses]
    found = []
    for n, index in enumerate(indices):
        ends = [code if at else OPPOSITE[code] for code, at in zip(codes, index, strict=True)]
        where = " ".join(SIDES[letter] for letter in sorted(ends, key="RLAPSI".index))
        given = tuple((tuple(t[n].tolist()), float(np.linalg.norm(t[n] - ours[n]))) for t in theirs)
        found.append(Corner(where, tuple(index.tolist()), tuple(ours[n].tolist()), given))
    return [f"{w['Witness']} {w['Version']}" for w in witnesses], found


def strip(record: Record) -> list[Tick]:
    """Every plane where it lies, and every place of the grid that has none."""
    planes = record.values["Planes"]
    along, index = np.array(planes["AlongNormalMm"]), np.array(planes["Index"])
    if not len(index):  # a bundle, or a mask on another grid
        return []
    row, column = np.array(planes["AlongRowMm"]), np.array(planes["AlongColumnMm"])
    across = row if np.ptp(row) > np.ptp(column) else column
    step = float(record.values["Geometry"]["StepMm"])
    ticks = []
    for n, k in enumerate(index.tolist()):
        near = n > 0 and along[n] - along[n - 1] < DOUBLED * step
        title = f"plane {k}, {along[n]:.3f} mm from the first"
        ticks.append(Tick(float(along[n]), float(across[n]), "double" if near else "plane", title))
    for a, b in zip(range(len(index)), range(1, len(index)), strict=False):
        for k in range(int(index[a]) + 1, int(index[b])):
            part = (k - index[a]) / (index[b] - index[a])
            x = float(along[a] + part * (along[b] - along[a]))
            y = float(across[a] + part * (across[b] - across[a]))
            ticks.append(Tick(x, y, "missing", f"plane {k} has no frame in the series"))
    return sorted(ticks, key=lambda t: t.x)


def strip_ends(record: Record) -> tuple[str, str]:
    """What lies at the two ends of the strip: the patient's directions the first and the last plane look to."""
    towards = axis_codes(LPS_TO_RAS @ np.array(record.values["Geometry"]["GridAffineLPS"]))[2]
    return f"first plane, towards the {SIDES[OPPOSITE[towards]]}", f"last plane, towards the {SIDES[towards]}"


def header_rows(header: NiftiHeader) -> list[tuple[str, str]]:
    """The fields of the NIfTI header that place the voxels, with what they mean."""
    units = {0: "unknown", 1: "metres", 2: "mm", 3: "micrometres"}.get(header.units & 7, str(header.units))
    used = "the sform" if header.sform_code else "the qform"
    return [
        ("dim", " × ".join(map(str, header.shape))),
        ("datatype", header.dtype.name),
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
        ("intent_code", f"{header.intent}" + (" (labels)" if header.intent == 1002 else "")),
        ("descrip", header.description),
    ]


def dicom_rows(record: Record) -> list[tuple[str, str]]:
    """What the record keeps of the DICOM header: everything plain before its own blocks."""
    own = {
        "Schema",
        "Verdict",
        "Output",
        "ConversionSoftware",
        "ConversionSoftwareVersion",
        "Shape",
        "DataType",
        "Type",
    }
    return [
        (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in record.values.items()
        if key not in own and (not isinstance(value, dict | list) or key.startswith("Image"))
    ]


def _their_points(witness: dict[str, Any], indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where a witness has our voxels: its affine at its own index of each."""
    back = np.linalg.inv(np.array(witness["IndexMap"]["Matrix"], float))
    to_ras = np.array(witness["AffineRAS"]) @ back
    return np.asarray(indices @ to_ras[:3, :3].T + to_ras[:3, 3])


def _row(values: NDArray[np.float64]) -> str:
    return "  ".join(f"{v + 0.0:.6g}" for v in values)
