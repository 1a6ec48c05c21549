"""Test the round trip on this installation: masks out as DICOM, back as NIfTI, and every voxel where it was.

Rules:
- A body that no mirror or rotation maps to itself, on grids whose three sizes and spacings all differ.
- Every route is the one a user takes: what is written is scanned, stacked, decoded, written and read back like any
  input, with every witness that is installed. A check passes only if voxels and corners are those that went in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..conversion.convert import Request, convert
from ..conversion.one_series import read_laid_series
from ..core.findings import Code, PipelineError
from ..core.policy import Policy
from ..core.temporary_folder import temporary_folder
from ..encode.seg import write_seg
from ..encode.series import write_series
from ..geometry.grid import Grid
from ..nifti import file as nifti
from ..volume.mask import Array, MaskVolume, Segment, Voxels

_ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "rows upward": (1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "double oblique": (0.9720735, 0.1366161, -0.1908090, -0.2019390, 0.9011705, -0.3835523),
}
_CORNER_MM = 1e-3  # what a float32 affine may move a corner by, and far below any voxel


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table. passed: None where it could not be done here. words: what was found, or why it was not done."""

    grid: str
    route: str
    passed: bool | None
    words: str


def run_selftest() -> Iterator[Check]:
    """Run every route on every grid, one check at a time."""
    with temporary_folder() as folder:
        for number, (name, cosines) in enumerate(_ORIENTATIONS.items()):
            mask = _make_mask(name, cosines)
            working = Path(folder, str(number))
            working.mkdir()
            yield from _run_routes(name, mask, working)


def _run_routes(name: str, mask: MaskVolume, folder: Path) -> Iterator[Check]:
    series = folder / "series"
    write_series(mask, None, series)
    yield _try_route(
        name, "series and back, every witness", mask, series, folder / "a.nii.gz", Policy(crosscheck="voxels")
    )
    yield _try_route(
        name, "series, written as RAS", mask, series, folder / "b.nii.gz", Policy(crosscheck="off", orient="RAS")
    )
    on_source = Request(source=(series,))
    yield _try_route(
        name, "series on its source's grid", mask, series, folder / "c.nii.gz", Policy(crosscheck="off"), on_source
    )
    try:
        _, stacked = read_laid_series([series], None, None, Policy())
        write_seg([mask], stacked.frames, folder / "seg" / "seg.dcm")
    except PipelineError as error:
        absent = error.finding.code is Code.NO_EXPORT_PACKAGE
        yield Check(name, "SEG and back", None if absent else False, error.finding.message)
        return
    yield _try_route(
        name, "SEG and back", mask, folder / "seg", folder / "d.nii.gz", Policy(crosscheck="affine"), on_source
    )


def _try_route(
    name: str, route: str, mask: MaskVolume, given: Path, target: Path, policy: Policy, request: Request | None = None
) -> Check:
    try:
        outcome = convert([given], target, policy=policy, request=request)
    except PipelineError as error:
        return Check(name, route, False, str(error))
    header = nifti.read_header(target)
    block = np.stack(list(nifti.read_planes(target))).transpose(2, 1, 0)
    wrong, off_mm = _compare(mask, block, header.affine)
    agree = [a.witness for a in outcome.agreements if a.confirms]
    words = f"{wrong} voxels differ, corners within {off_mm:.1e} mm"
    if policy.crosscheck == "voxels":
        words += f"; {outcome.verdict}" + (f" with {', '.join(agree)}" if agree else "")
    sound = policy.crosscheck == "off" or outcome.verdict == "VERIFIED"
    return Check(name, route, wrong == 0 and off_mm <= _CORNER_MM and sound, words)


def _compare(mask: MaskVolume, block: Array, affine_ras: Array) -> tuple[int, float]:
    """Count the voxels that differ at one place in the patient, and measure how far (mm) centres lie from each other."""
    indices = np.stack(np.meshgrid(*map(np.arange, mask.grid.shape), indexing="ij"), -1).reshape(-1, 3)
    world = mask.grid.points(indices) * (-1, -1, 1)
    inverse = np.linalg.inv(affine_ras)
    exact = world @ inverse[:3, :3].T + inverse[:3, 3]
    found = np.rint(exact).astype(int)
    if (found < 0).any() or (found >= block.shape).any() or block.size != len(indices):
        return len(indices), float("inf")
    off = (exact - found) @ affine_ras[:3, :3].T
    differing = block[tuple(found.T)] != mask.voxels.array()[tuple(indices.T)]
    return int(np.count_nonzero(differing)), float(np.linalg.norm(off, axis=1).max())


def _make_mask(name: str, cosines: tuple[float, ...]) -> MaskVolume:
    """Make a mask of two labels: a body whose every side looks different, and a marker towards its first corner."""
    shape, spacing, step = (24, 18, 11), (0.9, 1.3), 2.5
    row, column = np.array(cosines[:3], float), np.array(cosines[3:], float)
    row, column = row / np.linalg.norm(row), column - row * (row @ column) / (row @ row)
    column /= np.linalg.norm(column)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = row * spacing[0], column * spacing[1], np.cross(row, column) * step
    lps[:3, 3] = (-61.5, 22.25, -113.75)
    labels = np.zeros(shape, np.uint8)
    labels[4:20, 5:14, 2:9] = 1
    labels[4:9, 5:8, 2:5] = 0
    labels[14:23, 9:12, 6:8] = 1
    labels[2:4, 3:5, 1:3] = 2
    segments = (Segment(1, f"body {name}"), Segment(2, "marker"))
    return MaskVolume(
        Voxels.of(labels), Grid(shape, lps, "2.25.20000000000000000000000000000000000001"), segments, name
    )
