"""Bring an image into the order of an export's frames, so that the two can be compared voxel by voxel.

Rules:
- Position decides, never a number or a name: the grids must fit in whole voxels within the limit, axes exchanged or
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


def align_with_export(image: Voxels, image_grid: Grid, grid: Grid, index: Sequence[int], limit_mm: float) -> Voxels:
    """Return the image's voxels where the export's frames lie.

    Args:
        image: stored values on `image_grid`.
        image_grid: of the image.
        grid: of the export.
        index: plane k of the export's grid for each of its frames.
        limit_mm: how far a voxel may lie from its partner.

    Returns:
        (columns, rows, frames), in the order of the export's frames.

    Raises:
        PipelineError: OTHER_IMAGE where the grids do not fit, or the image does not cover the export.
    """
    fit = find_index_map(grid.lps, grid.shape, image_grid.lps, image_grid.shape)
    if fit is None or fit.moved_mm > limit_mm or not fit.is_inside:
        apart = regrid.describe_distance(grid.lps, grid.shape, image_grid.lps, image_grid.shape)
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
            where=(f"the export: {_size(grid)}", f"the image: {_size(image_grid)}"),
            clause="PS3.3 C.7.6.2.1.1",
        )
    aligned = regrid.put_onto(image, fit.inverse, grid.shape)
    columns, rows, _ = grid.shape

    def plane(n: int) -> Array:
        return aligned.plane(int(index[n]))

    return Voxels((columns, rows, len(index)), aligned.dtype, plane)


def _size(grid: Grid) -> str:
    spacing = " × ".join(f"{mm:.4g}" for mm in grid.spacing)
    return f"{' × '.join(map(str, grid.shape))} voxels of {spacing} mm"
