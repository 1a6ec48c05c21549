"""Compare the contours of one ROI with its voxels: areas and volumes for a person to read and a sidecar to keep.

Rules:
- The area of contours is their own, by their vertices; the area of voxels is their count times the pixel's. Neither is
  computed from the other.
- What the border of the grid cut off still counts in the contours' area: the difference is meant to show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ...geometry.grid import Grid
from .contours import area
from .layers import Layer, measure_step, plane_axes
from .polygon import Raster


@dataclass(frozen=True, slots=True)
class RoiReport:
    """What one ROI measures by its contours and by its voxels. Areas are sums over planes, with holes subtracted.

    Attributes:
        direction: the index (i, j or k) along which the contours are stacked.
        contours: how many were filled.
        planes: how many planes have voxels.
        difference_percent: volume of the voxels against that of the contours.
    """

    number: int
    name: str
    direction: str
    contours: int
    holes: int
    planes: int
    interpolated: bool
    contour_area_mm2: float
    contour_volume_ml: float
    voxels: int
    voxel_area_mm2: float
    voxel_volume_ml: float
    difference_percent: float

    def as_json(self) -> dict[str, Any]:
        return {"".join(w.capitalize() for w in f.name.split("_")): getattr(self, f.name) for f in fields(self)}


def measure(
    number: int, name: str, layers: Sequence[Layer], found: Raster, grid: Grid, axis: int, interpolated: bool
) -> RoiReport:
    """Measure the layers of one ROI and the voxels found for them.

    Args:
        number: of the ROI in its structure set.
        name: of the ROI.
        layers: the contours that were filled, by position.
        found: (k, j, i), the voxels that are inside.
        grid: on which the voxels lie.
        axis: index direction the layers are stacked along: 0, 1 or 2 for i, j or k.
        interpolated: whether voxels were interpolated between the layers.

    Returns:
        Areas in mm² and volumes in ml, of the contours and of the voxels.
    """
    u, v = plane_axes(axis)
    pixel_mm2 = float(np.linalg.norm(np.cross(grid.lps[:3, u], grid.lps[:3, v])))
    step_mm = float(np.linalg.det(grid.lps)) / pixel_mm2
    area_mm2 = pixel_mm2 * sum(area(layer.polygons, layer.arrangement) for layer in layers)
    # What one layer stands for along the stack: a plane of the grid, or with interpolation its own step.
    volume_ml = area_mm2 * step_mm * (measure_step(layers) if interpolated else 1.0) / 1000
    voxels = int(np.count_nonzero(found))
    voxel_volume_ml = voxels * pixel_mm2 * step_mm / 1000
    return RoiReport(
        number=number,
        name=name,
        direction="ijk"[axis],
        contours=sum(len(layer.numbers) for layer in layers),
        holes=sum(len(layer.arrangement.holes) for layer in layers),
        planes=int(np.count_nonzero(np.moveaxis(found, 2 - axis, 0).any(axis=(1, 2)))),
        interpolated=interpolated,
        contour_area_mm2=area_mm2,
        contour_volume_ml=volume_ml,
        voxels=voxels,
        voxel_area_mm2=voxels * pixel_mm2,
        voxel_volume_ml=voxel_volume_ml,
        difference_percent=100 * (voxel_volume_ml / volume_ml - 1),
    )
