"""Read an ROI of a structure set as a mask with Shapely, as a witness that shares no code with our decoder.

Rules:
- Contours, planes and grid are read anew from the files. Shapely says what is inside a contour and how contours combine;
  what is done with contours off the planes follows docs/rtstruct.md.
- A voxel whose centre lies within 1e-6 of an edge is left open, wider where the source's printed numbers say less of
  where its voxels lie. So is a plane that is half-way to a contour.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...core.temporary_folder import temporary_folder
from ..child import find_version, serve_masks
from ..job_files import put_files, states_of
from ..testimony import MaskJob, Testimony, either
from .contour_layers import EDGE, fill_contours
from .drawn_contours import open_structure_set, read_drawn_contours
from .printed_grid import PrintedGrid, read_printed_grid

NAME = "Shapely"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_OPEN = 2
# pydicom imports these with itself, to decode pixels and to download examples: most of the time that its import takes.
_NOT_NEEDED = ("gdcm", "pylibjpeg", "openjpeg", "jpeg_ls", "PIL", "requests", "tqdm")


def main() -> None:
    for name in _NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]  # as if it were not installed
    import pydicom  # noqa: F401  (paid while the parent reads headers)

    serve_masks(NAME, lambda: find_version(NAME), answer)


def answer(job: MaskJob) -> Testimony:
    """Fill the one ROI of a job.

    Args:
        job: with the structure set, the planes of its source, and (ROI number, value). Its options are `limit_mm`, how
            far a contour may lie off its plane, and `interpolate`.

    Returns: grid and box of voxels.

    Raises: ValueError, or what pydicom raises, where it refuses.
    """
    if job.form != "rtstruct" or len(job.labels) != 1 or len(job.mask_files) != 1 or not job.files:
        raise ValueError("it reads one ROI of one structure set on the images it was drawn on")
    unknown = set(job.options) - {"limit_mm", "interpolate"}
    if unknown:
        raise ValueError(f"it does not know the option {min(unknown)}")
    (number, value), limit_mm = job.labels[0], float(job.options["limit_mm"])
    grid = _read_grid(job.files, job.frame_numbers, limit_mm, states_of(job.files))
    items = _open_structure_set(job.mask_files[0], states_of(job.mask_files))
    drawn = read_drawn_contours(items, number)
    filled = fill_contours(drawn, grid, limit_mm, interpolate=bool(job.options.get("interpolate")))
    array, has_open = filled.voxels, bool((filled.voxels == _OPEN).any())
    if has_open or value != 1:
        array = np.array([0, value, either(np.uint8)], np.uint8)[array]
    return Testimony(
        NAME,
        find_version(NAME),
        _LPS_TO_RAS @ grid.lps,
        grid.shape,
        np.asfortranarray(array),  # so that a plane of it lies together in the file
        note=_describe(grid, filled.united, has_open=has_open),
        box=filled.box,
    )


def _describe(grid: PrintedGrid, united: int, *, has_open: bool) -> str:
    """What the reader of the result is to know."""
    notes = []
    if united:
        notes.append(f"it unites contours that overlap in part, in {united} planes, of which the standard says nothing")
    if has_open:
        notes.append(f"their centres lie within {EDGE + max(grid.slack):.1g} of a voxel of an edge")
    return "; ".join(notes)


@lru_cache(maxsize=4)
def _read_grid(files: tuple[str, ...], numbers: tuple[int, ...], limit_mm: float, _states: Any) -> PrintedGrid:
    with temporary_folder() as folder:
        return read_printed_grid(_as_files(files, folder), numbers, limit_mm)


@lru_cache(maxsize=1)
def _open_structure_set(file: str, _states: Any) -> dict[int, list[Any]]:
    with temporary_folder() as folder:
        return open_structure_set(_as_files((file,), folder)[0])


def _as_files(files: tuple[str, ...], folder: Path) -> Sequence[str]:
    """The files by their paths, and members of an archive unpacked."""
    return files if all(map(os.path.isfile, files)) else put_files(files, folder)


if __name__ == "__main__":
    main()
