"""Describe the planes and the affine of a record in sentences for someone who never saw DICOM.

Rules:
- A number is printed with its unit, and a bound never below what was measured.
- What is as it should be is said too ("none missing"), so that nothing has to be concluded from silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..diagnosis.explain import explain, explain_affine
from ..geometry.affine import Matrix
from ..geometry.grid import GeometryError, Grid, Plane
from .record import RecordFile, not_an_outcome
from .tables import DOUBLED
from .volume import Volume

_CARE_DEGREES = 0.05  # a smaller lean moves a voxel by less than half a mm over 500 mm
_EVEN_MM = 1e-3  # steps that differ by less are called the same, since no picture could show it
_SAME_AFFINE = 1e-9  # RAS mm: an affine in another order of axes differs by whole voxels
_PARTS_OF_MM = 10_000  # lengths are printed with four decimals


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of an explanation. kind: "head", "text" or "lines" (aligned)."""

    kind: str
    text: str


def count_missing(record: RecordFile) -> int:
    """Count the planes of the grid, between the first and the last, that have no frame of the series."""
    index = record.values["Planes"]["Index"]
    return int(index[-1]) + 1 - int(index[0]) - len(index) if index else 0


def explain_record(record: RecordFile) -> tuple[Block, ...]:
    """Derive the affine from the series' own numbers, and, where the file has another order, say how that follows.

    Raises NOT_AN_OUTCOME for numbers that are no grid or plane.
    """
    geometry = record.values["Geometry"]
    affine = np.array(geometry["Affine"])
    try:
        grid = Grid(tuple(geometry["GridShape"]), np.array(geometry["GridAffineLPS"]))
        first = _read_plane(geometry["FirstPlane"]) if "FirstPlane" in geometry else None
    except GeometryError as error:
        raise not_an_outcome(record.path, f"Geometry: {error}") from error
    if first is None:
        why = "The planes of this file are not those of the series, so only the file's own affine is told."
        return (Block("text", why), *_explain_file(record))
    derivation = split_blocks(explain(grid, first))
    if np.allclose(grid.ras, affine, rtol=0, atol=_SAME_AFFINE):
        return derivation
    reordered = f"The file is stored in another order, {geometry['AxisCodes']}, as it was asked for"
    return (*derivation, Block("head", reordered), *_explain_file(record))


def _explain_file(record: RecordFile) -> tuple[Block, ...]:
    affine = np.array(record.values["Geometry"]["Affine"])
    return split_blocks(explain_affine(affine, record.values["Shape"], title="The file"))


def split_blocks(text: str) -> tuple[Block, ...]:
    """Split lines of `explain` into headings, paragraphs and aligned lines, so that they wrap on a narrow screen."""
    found: list[Block] = []
    lines = [*text.split("\n"), ""]
    for line, following in pairwise(lines):
        kind = _kind_of(line, following)
        if found and found[-1].kind == kind and kind in ("lines", "text"):
            found[-1] = Block(kind, found[-1].text + ("\n" if kind == "lines" else " ") + line)
        else:
            found.append(Block(kind, line))
    return tuple(b for b in found if b.kind != "end")


def _kind_of(line: str, following: str) -> str:
    """Tell what a line of `explain` is: a heading is a capital line without a stop, over lines that are indented."""
    if not line:
        return "end"
    if line.startswith("  "):
        return "lines"
    return "head" if line[0].isupper() and following.startswith("  ") and line[-1] not in ".:," else "text"


def describe_lean(block: Volume, record: RecordFile) -> list[str]:
    """Describe what a reader of the pictures has to know of a block that does not stand along the patient."""
    shear, lean = _shear_of(record), block.lean_degrees
    oblique = (
        f"The {record.noun} is oblique: its axes lean up to {lean:.1f}° from the patient's. The pictures follow its own "
        "axes, voxel for voxel, so a letter means “mostly towards”."
    )
    tilted = f"The stack of planes leans by {shear:.1f}° (gantry tilt). The pictures draw it upright; the file keeps the lean."
    return [text for text, angle in ((oblique, lean), (tilted, shear)) if angle > _CARE_DEGREES]


def describe_planes(record: RecordFile) -> str:
    """Describe the strip in a sentence: how many planes, how far apart, what is missing or doubled, and the lean."""
    positions = np.array(record.values["Planes"]["AlongNormalMm"])
    if not len(positions):
        return "The planes of this file are not those of a DICOM series, so there is nothing to draw."
    if len(positions) == 1:
        return "One plane: a place, but no step to the next one."
    parts = [
        _describe_steps(np.diff(positions)),
        _describe_missing(record),
        *_describe_doubled(record, np.diff(positions)),
        _describe_stack(record, float(np.ptp(positions))),
    ]
    return ", ".join(parts) + "."


def _describe_steps(steps: Matrix) -> str:
    count = f"{len(steps) + 1} planes"
    if float(np.ptp(steps)) < _EVEN_MM:
        return f"{count}, every one {format_mm(float(steps.mean()))} from the next"
    return f"{count}, {format_mm(float(steps.min()))} to {format_mm(float(steps.max()))} apart"


def _describe_missing(record: RecordFile) -> str:
    missing = count_missing(record)
    if not missing:
        return "none missing"
    filled = any(f.get("Code") == "PLANES_FILLED" for f in record.findings)
    return f"{missing} missing" if filled else f"{missing} without a frame, empty"


def _describe_doubled(record: RecordFile, steps: Matrix) -> list[str]:
    """Describe the planes that lie at the place of another, and those that did and were dropped."""
    dropped = sum(f.get("Code") == "DUPLICATE_DROPPED" for f in record.findings)
    close = int((steps < DOUBLED * float(record.values["Geometry"]["StepMm"])).sum())
    doubled = [f"{close} at the place of another"] if close else []
    if dropped:
        return [*doubled, f"{dropped} doubled and dropped"]
    return [*doubled, "none dropped" if close else "none doubled"]


def _describe_stack(record: RecordFile, length: float) -> str:
    """Describe how far the stack leans: by the shear of its grid, or by how far its planes wander over its length in mm."""
    planes = record.values["Planes"]
    across = max(float(np.ptp(planes["AlongRowMm"])), float(np.ptp(planes["AlongColumnMm"])))
    lean = max(_shear_of(record), float(np.degrees(np.arctan2(across, length))))
    return f"the stack leans by {lean:.2f}°" if lean > _CARE_DEGREES else "the stack is upright"


def _shear_of(record: RecordFile) -> float:
    return float(record.values["Geometry"].get("ShearDegrees", 0.0))


def _read_plane(values: dict[str, Any]) -> Plane:
    return Plane(
        position=tuple(values["Position"]),
        row_cosine=tuple(values["RowCosine"]),
        column_cosine=tuple(values["ColumnCosine"]),
        row_spacing=values["RowSpacing"],
        column_spacing=values["ColumnSpacing"],
        rows=values["Rows"],
        columns=values["Columns"],
    )


def describe_bound(length_mm: float) -> str:
    """Describe an upper bound to four decimals: never less than was measured, and never nothing."""
    return f"within {format_mm(max(float(np.ceil(length_mm * _PARTS_OF_MM)), 1.0) / _PARTS_OF_MM)}"


def format_mm(length: float) -> str:
    """Format a length in mm with four decimals at most."""
    return f"{length:.4f}".rstrip("0").rstrip(".") + " mm"


def join_names(names: Sequence[str]) -> str:
    """Join names as a sentence does: "a, b and c"."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
