"""An image in the order of an export's frames: voxel beside voxel, so that the two can be compared.

Rules:
- Place decides, never a number or a name: the grids must fit in whole voxels within the limit, axes exchanged or
  reversed if need be. The image may reach further than the export, but must cover all of it.
- Nothing is resampled.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.findings import Code, refuse
from ...geometry.grid import Grid
from ...geometry.index_map import find_index_map
from ...volume import regrid
from ...volume.mask import Array, Voxels


def beside(image: Voxels, image_grid: Grid, grid: Grid, index: Sequence[int], limit_mm: float) -> Voxels:
    """The image's voxels where the export's frames lie: (columns, rows, frames).

    image: on `image_grid`. grid: of the export; index: the plane k of each of its frames on it. limit_mm: how far a
    voxel may lie from its partner. Raises OTHER_IMAGE where the grids do not fit or the image does not cover the export.
    """
    fit = find_index_map(grid.lps, grid.shape, image_grid.lps, image_grid.shape)
    if fit is None or fit.moved_mm > limit_mm or not fit.is_inside:
        apart = regrid.apart_in_words(grid.lps, grid.shape, image_grid.lps, image_grid.shape)
        why = (
            "its axes or spacings are others"
            if fit is None
            else f"voxels lie up to {fit.moved_mm:.3f} mm beside each other (limit {limit_mm:g} mm)"
            if fit.moved_mm > limit_mm
            else "it does not cover the whole export"
        )
        raise refuse(
            Code.OTHER_IMAGE,
            f"the image does not lie where the export lies: {why}; {apart.replace('the mask', 'the export')}",
            "Give the image set the masks were drawn on, exported the same way.",
            clause="PS3.3 C.7.6.2.1.1",
        )
    laid = regrid.onto(image, fit.inverse, grid.shape)
    columns, rows, _ = grid.shape

    def plane(n: int) -> Array:
        return laid.plane(int(index[n]))

    return Voxels((columns, rows, len(index)), laid.dtype, plane)
