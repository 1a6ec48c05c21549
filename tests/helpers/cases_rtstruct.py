"""RTSTRUCTs that go wrong in the field, each with its masks: which voxel centres lie within the polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.helpers.mask_case import MaskCase, PlacedMask
from tests.helpers.rtphantom import PhantomRoi, ellipse, grid, on, write_images, write_struct

GRID = grid()
ELLIPSE = ellipse(20.3, 17.2, 9.1, 7.3, 90)


def inside(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(i, j) boolean: which pixel centres an (n, 2) polygon of pixel indices holds, by the even-odd rule."""
    i, j = np.indices(shape)
    found = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if y0 != y1:
            found ^= ((y0 > j) != (y1 > j)) & (i < x0 + (j - y0) * (x1 - x0) / (y1 - y0))
    return found


def truth_of(name: str, polygons: Mapping[int, Sequence[NDArray[np.float64]]]) -> PlacedMask:
    """The mask of polygons in planes k of GRID."""
    voxels = np.zeros(GRID.shape, bool)
    for k, drawn in polygons.items():
        for polygon in drawn:
            voxels[:, :, k] ^= inside(polygon, GRID.shape[:2])
    return PlacedMask(name, voxels, np.asarray(GRID.lps))


def _plain(folder: Path) -> Sequence[PlacedMask]:
    write_images(folder / "source", GRID)
    (folder / "in").mkdir()
    write_struct(folder / "in" / "rs.dcm", [PhantomRoi("ellipse", [on(GRID, ELLIPSE, k) for k in (2, 3, 4)])])
    return [truth_of("ellipse", {k: [ELLIPSE] for k in (2, 3, 4)})]


CASES: tuple[MaskCase, ...] = (MaskCase("RTSTRUCT with its source", "plain RTSTRUCT", _plain, "RTSTRUCT"),)
