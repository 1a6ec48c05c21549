"""Compute where witnesses put the tiles of a mosaic that they do not read by its CSA header.

Rules:
- What is computed is the installed witness's own way, whole; `known_wrong` excuses that answer alone.
- A way is the place of the first plane of the block, the step from one plane to the next, and which of our planes each is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..dicom.encoding import IMPLICIT_LITTLE
from ..dicom.frame import Frame, plane_of
from ..dicom.siemens_header import UnreadableHeader, read_sheet_header
from ..geometry.affine import Matrix
from ..geometry.grid import Grid
from .prediction import normal_of, position_of


class Way(NamedTuple):
    """origin: (3,) LPS mm of the first plane. step: (3,) to the next. picks: index of our plane for each, in that order."""

    origin: Matrix
    step: Matrix
    picks: tuple[int, ...]


def sheet_grid(frames: Sequence[Frame]) -> Grid | None:
    """The grid of a sheet that is taken for one plane; None where its attributes give none."""
    plane, _ = plane_of(Frame(frames[0].header, 1, None))
    if plane is None:
        return None
    lps = np.eye(4)
    row, column = (np.array(c) / np.linalg.norm(c) for c in (plane.row_cosine, plane.column_cosine))
    steps = (row * plane.column_spacing, column * plane.row_spacing, np.cross(row, column))
    lps[:3, :4] = np.array([*steps, plane.position]).T
    return Grid((plane.columns, plane.rows, 1), lps)


def way_of_dicom2nifti(grid: Grid, frames: Sequence[Frame]) -> Way | None:
    """Along row x column from the first tile, in their order or against it, as the protocol's first two positions run.

    None where it does not come so far.
    """
    try:
        private = read_sheet_header(frames[0].header)
    except UnreadableHeader:
        return None
    if len(private.centres) != len(frames) or len(frames) < 2:
        return None
    upwards = (private.centres[0, 2] <= private.centres[1, 2]) != private.is_renumbered
    order = _order(frames)
    return Way(_first(frames), normal_of(frames[0]) * grid.spacing[2], order if upwards else order[::-1])


def way_of_dcm2niix(grid: Grid, frames: Sequence[Frame]) -> Way | None:
    """Headwards from the first tile where there is no CSA header, or none that it reads; None where there is one.

    A Slice Thickness is the step where Spacing Between Slices is missing. Of United Imaging's lists of slices it reads
    those of explicit VR.
    """
    if frames[0].header.csa or (frames[0].header.uih_grid and frames[0].header.transfer_syntax != IMPLICIT_LITTLE):
        return None
    normal = normal_of(frames[0])
    tags = (frames[0].rank(keyword) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
    step = next((mm for mm in tags if mm), grid.spacing[2])
    return Way(_first(frames), normal * (float(np.sign(normal[2])) or 1.0) * step, _order(frames))


def _order(frames: Sequence[Frame]) -> tuple[int, ...]:
    """The indices of the planes in the order of their tiles."""
    return tuple(sorted(range(len(frames)), key=lambda k: frames[k].tile))


def _first(frames: Sequence[Frame]) -> Matrix:
    """(3,) LPS mm of the first tile."""
    return position_of(frames[_order(frames)[0]])
