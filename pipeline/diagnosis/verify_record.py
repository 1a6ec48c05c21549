"""Check a record by itself: its digest, its schema, and whether its numbers follow from each other.

Rules:
- Everything that follows from something else in the record is computed again: matrices, corners, spacings, the places of
  planes, residuals, the verdict.
- Planes are held against the grid by their own positions. Of the first one all four corners are known; how the others are
  turned is known only from their files (`verify_source`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..conversion.prov import build_prov
from ..conversion.record_digest import KEY, read_seal
from ..core.doubts import DOUBTS
from ..core.version import __version__
from ..geometry.affine import LPS_TO_RAS, Matrix, axis_codes, axis_lengths
from ..geometry.grid import Grid, Plane
from ..geometry.index_map import find_index_map
from ..geometry.stack import residuals_mm
from .verify_result import Broken, NotChecked, Note, RecordValues, computed, near, same

DIGEST = "digest of the record"
_PRINTED_MM = 1.1e-6  # offsets are printed with six decimals
_HEADER_MM = 1e-3  # a grid taken over from another file (`like`) is in float32


def check_digest(name: str, data: bytes, record: RecordValues) -> Iterator[Note]:
    """Check the record's own digest.

    Args:
        name: of the record's file.
        data: the bytes of the record's file.
        record: what they hold.

    Returns: what is broken, or that an older record has no digest.
    """
    sealed = read_seal(data)
    if sealed is not None:
        yield from same(DIGEST, f"{name} {KEY}", *sealed)
    elif KEY in record:
        yield Broken(DIGEST, f"{name} {KEY}", "the last key, in the form it is written", "elsewhere or otherwise")
    else:
        yield NotChecked(DIGEST, "records of its version have none")


def check_numbers(record: RecordValues) -> Iterator[Note]:
    """Check that the numbers of a record follow from each other.

    Args:
        record: as its schema says.

    Returns: what is broken, and what could not be checked.
    """
    yield from computed("geometry", "Geometry", lambda: _check_geometry(record))
    yield from computed("shape", "Shape", lambda: _check_shape(record))
    yield from computed("planes", "Slices", lambda: _check_slices(record))
    yield from computed("planes against the affine", "Slices", lambda: _check_positions(record))
    if "Prov" in record and record["ConversionSoftwareVersion"] == __version__:  # another version may put it otherwise
        yield from computed(
            "provenance", "Prov", lambda: same("provenance", "Prov", record["Prov"], build_prov(record))
        )
    yield from _check_verdict(record)


def grid_of(record: RecordValues) -> Grid:
    """The grid as acquired. Raises GeometryError for numbers that are none."""
    geometry = record["Geometry"]
    i, j, k = geometry["GridShape"]
    return Grid((i, j, k), np.array(geometry["GridAffineLPS"], np.float64))


def affine_of(record: RecordValues) -> Matrix:
    """(4, 4) from the index in the file to RAS mm."""
    return np.array(record["Geometry"]["Affine"], np.float64)


def takes_over_grid(record: RecordValues) -> bool:
    """Whether the file has the grid and header of another one (`--like`)."""
    return any(entry.get("Role") == "like" for entry in record["Provenance"]["Inputs"])


def first_plane(record: RecordValues) -> Plane | None:
    """The first plane by its own header, where the record has it. Raises GeometryError for numbers that are none."""
    values = record["Geometry"].get("FirstPlane")
    if values is None:
        return None
    x, y, z = (tuple(values[key]) for key in ("Position", "RowCosine", "ColumnCosine"))
    return Plane(x, y, z, values["RowSpacing"], values["ColumnSpacing"], values["Rows"], values["Columns"])


def volumes_of(record: RecordValues) -> int:
    """How many 3-D volumes follow each other in the file."""
    return int(record["Shape"][3]) if len(record["Shape"]) > 3 else 1


def _check_geometry(record: RecordValues) -> Iterator[Broken]:
    what, geometry, affine, grid = "geometry", record["Geometry"], affine_of(record), grid_of(record)
    shear, turn = grid.shear_degrees, float(np.linalg.det(affine[:3, :3]))
    yield from near(what, "Geometry.AffineLPS", geometry["AffineLPS"], LPS_TO_RAS @ affine)
    yield from near(what, "Geometry.Affine[3]", geometry["Affine"][3], [0, 0, 0, 1])
    yield from near(what, "Geometry.SpacingMm", geometry["SpacingMm"], axis_lengths(affine))
    yield from near(what, "Geometry.StepMm", geometry["StepMm"], grid.spacing[2])
    yield from near(what, "Geometry.ShearDegrees", geometry["ShearDegrees"], shear, 1e-6)
    yield from near(what, "Geometry.CornersLPS", geometry["CornersLPS"], grid.corners())
    yield from same(what, "Geometry.AxisCodes", geometry["AxisCodes"], axis_codes(affine))
    yield from same(what, "Geometry.Handedness", geometry["Handedness"], "right" if turn > 0 else "left")


def _check_shape(record: RecordValues) -> Iterator[Broken]:
    """The file's grid is that of the planes in one of the 48 orders, or that of the file whose grid it took over."""
    grid, shape, what = grid_of(record), record["Shape"], "affine against the grid of the planes"
    if len(shape) > 4 or (len(shape) == 4) != ("Volumes" in record):
        yield Broken("shape", "Shape", f"{len(shape)} axes", "3, or 4 with the names of volumes")
    yield from same("shape", "Volumes", volumes_of(record), len(record.get("Volumes", [None])))
    taken_over = takes_over_grid(record)
    fit = find_index_map(grid.ras, grid.shape, affine_of(record), shape[:3])
    if fit is None:
        yield Broken(what, "Geometry.Affine", "voxels of the grid", "others, in size or direction")
        return
    if not (fit.is_onto or taken_over):
        yield Broken(what, "Geometry.Affine", "the same voxels", "other voxels of that grid")
    limit = record["Policy"]["CornerLimitMm"] if taken_over else _HEADER_MM * 1e-3
    if not fit.moved_mm <= limit:
        yield Broken(what, "Geometry.Affine", f"at most {limit:g} mm apart", f"{fit.moved_mm:.6g} mm apart")


def _check_slices(record: RecordValues) -> Iterator[Note]:
    """Every plane of the grid once, and the places of `Planes` as they follow from the positions of `Slices`."""
    slices, count = record["Slices"], record["Geometry"]["GridShape"][2]
    yield from same("planes", "Slices", len(slices), count * volumes_of(record))
    for n, entry in enumerate(slices):
        yield from same("planes", f"Slices[{n}].Index", entry["Index"], n)
    positions = {n: entry["PositionLPS"] for n, entry in enumerate(slices[:count]) if "PositionLPS" in entry}
    planes = record["Planes"]
    yield from same("planes", "Planes.Index", planes["Index"], list(positions))
    first = first_plane(record)
    if first is None or 0 not in positions:
        if positions:
            yield NotChecked("places of the planes", "the record does not hold the first plane")
        return
    yield from near("planes", "Slices[0].PositionLPS", positions[0], first.position)
    axes = np.array([first.normal, first.row_cosine, first.column_cosine])
    along = (np.array(list(positions.values()), np.float64) - first.position) @ axes.T
    for column, key in enumerate(("AlongNormalMm", "AlongRowMm", "AlongColumnMm")):
        yield from near("planes", f"Planes.{key}", planes[key], along[:, column], _PRINTED_MM)


def _check_positions(record: RecordValues) -> Iterator[Note]:
    """No plane lies farther from the affine than the proof says."""
    grid, geometry, count = grid_of(record), record["Geometry"], record["Geometry"]["GridShape"][2]
    stated = geometry["CornerResidualMm"]
    known = [(n, entry["PositionLPS"]) for n, entry in enumerate(record["Slices"]) if "PositionLPS" in entry]
    if not known:
        yield NotChecked("affine against the planes", "the record holds no position of a plane")
        return
    index = np.array([n % count for n, _ in known], np.float64)
    places = grid.lps[:3, 3] + index[:, None] * grid.lps[:3, 2]
    apart = np.linalg.norm(np.array([position for _, position in known], np.float64) - places, axis=1)
    worst = int(np.nan_to_num(apart, nan=np.inf).argmax())
    if not apart[worst] <= stated + _PRINTED_MM:
        where = f"Slices[{known[worst][0]}].PositionLPS"
        yield Broken("planes against the affine", where, f"at most {stated:.6g} mm", f"{apart[worst]:.6g} mm")
    first = first_plane(record)
    if first is not None:
        yield from _check_first(first, grid, stated)


def _check_first(first: Plane, grid: Grid, stated: float) -> Iterator[Broken]:
    yield from same("planes", "Geometry.FirstPlane", [first.columns, first.rows], list(grid.shape[:2]))
    residual = float(residuals_mm(grid.lps, [first], np.array([0]))[0])
    if not residual <= stated + _PRINTED_MM:
        yield Broken(
            "planes against the affine", "Geometry.FirstPlane", f"at most {stated:.6g} mm", f"{residual:.6g} mm"
        )


def _check_verdict(record: RecordValues) -> Iterator[Broken]:
    """The verdict is what the witnesses' answers and the findings allow."""
    verdict, statuses = record["Verdict"], [answer["Status"] for answer in record["CrossCheck"]]
    doubts = {code.name for code in DOUBTS}
    doubted = any(f["Code"] in doubts and f["Severity"] != "info" for f in record["Findings"])
    differs = "DIFFERS" in statuses
    if (verdict == "DISPUTED") != differs:
        now = "a witness differs" if differs else "no witness differs"
        yield Broken("verdict", "CrossCheck", verdict, now)
    confirmed = any(status in ("AGREES", "REORDERED") for status in statuses)
    if verdict == "VERIFIED" and not confirmed:
        yield Broken("verdict", "CrossCheck", verdict, "no witness agrees")
    if verdict == "VERIFIED" and (doubted or "Assumed" in record["Geometry"]):
        yield Broken("verdict", "Findings", verdict, "a finding that leaves a doubt")


def inputs_of(record: RecordValues, role: str = "") -> list[dict[str, Any]]:
    """The inputs of one role, "" for those of the mask or image itself."""
    return [entry for entry in record["Provenance"]["Inputs"] if entry.get("Role", "") == role]
