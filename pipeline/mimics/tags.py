"""The voxel centres Mimics gives against the planes its DICOM tags describe: do both speak of the same place?

The tags are those of the files as they were imported. The centres are of the image set as it is now, in a frame that is
LPS in current projects, and was not always. So agreement proves the frame, and a difference has one of few causes.

Rules:
- A slice's tags are paired with a plane of the grid by where they put it, never by their number.
- What agrees is proven by the tags; why something does not is said, or refused, by `tag_difference`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.findings import Code, Finding, Severity
from ..core.policy import Policy
from ..geometry.grid import Grid
from .bundle import BundleImage
from .tag_difference import CLAUSE, TagDifference, frame_assumed, nearest


def compare_with_tags(
    grid: Grid, image: BundleImage, *, flipped: bool, limit_mm: float, policy: Policy
) -> list[Finding]:
    """Findings on whether the tags confirm the grid. flipped: its planes run against those of Mimics' buffer.

    limit_mm: how far tags and centres may differ.
    Raises PipelineError for a contradiction: HALF_SLICE_SHIFT, CORNER_ORIGIN, FRAME_CHANGED, REDUCED_IMAGES,
    RESIZED_PIXELS, PLANES_DROPPED or GANTRY_TILT, with the distance in mm.
    """
    told = [(tags.index, tags.plane) for tags in image.planes if tags.plane is not None]
    planes = [plane for _, plane in told]
    if not planes:
        return [frame_assumed(image, "its DICOM tags give no position")]
    reached = [nearest(grid, plane) for plane in planes]
    if all(distance <= limit_mm and _fills_a_plane(grid, ijk) for ijk, distance in reached):
        farthest = max(distance for _, distance in reached)
        corners = np.array([ijk for ijk, _ in reached])
        return _confirmed(grid, image, corners, farthest, limit_mm) + _reordered(
            grid, image, corners, [index for index, _ in told], flipped
        )
    return TagDifference(grid, image, planes, flipped, limit_mm, policy).explained()


def _fills_a_plane(grid: Grid, ijk: NDArray[np.int64]) -> bool:
    """Whether four corners are those of one whole plane of the grid, along any of its axes."""
    low, high, last = ijk.min(0), ijk.max(0), np.array(grid.shape) - 1
    whole = (low == 0) & (high == last)
    within = (low == high) & (low >= 0) & (high <= last)
    return bool((whole | within).all() and (low != high).sum() <= 2)


def _confirmed(
    grid: Grid, image: BundleImage, corners: NDArray[np.int64], farthest: float, limit: float
) -> list[Finding]:
    axis = _normal_axis(corners)
    found, there = len(set(corners[:, 0, axis].tolist())), grid.shape[axis]
    few = found == 1 < there
    return [
        Finding(
            Code.FRAME_CONFIRMED,
            f"the DICOM tags put {found} of the {there} planes of “{image.name}” where Mimics does",
            "One plane does not prove the distance of the others." if few else "",
            Severity.WARNING if few else Severity.INFO,
            clause=CLAUSE,
            where=(image.name,),
            measured=farthest,
            limit=limit,
            unit="mm",
        )
    ]


def _normal_axis(corners: NDArray[np.int64]) -> int:
    """The grid axis the tags' planes are stacked along; k where a size of 1 leaves it open."""
    still = (corners.min(axis=1) == corners.max(axis=1)).all(axis=0)
    return int(2 - np.argmax(still[::-1]))


def _reordered(
    grid: Grid, image: BundleImage, corners: NDArray[np.int64], indices: list[int], flipped: bool
) -> list[Finding]:
    """Does Mimics index its voxels as the file does? If not, it may be its habit or an orientation set by hand."""
    row, column = np.sign(corners[0, 1] - corners[0, 0]), np.sign(corners[0, 2] - corners[0, 0])
    axis = _normal_axis(corners)
    along = corners[:, 0, axis] * (-1 if flipped and axis == 2 else 1)
    downwards = len(indices) > 1 and along[int(np.argmin(indices))] > along[int(np.argmax(indices))]
    said = []
    if row.tolist() != [1, 0, 0] or column.tolist() != [0, 1, 0]:
        said.append(f"a row of the file runs along {_axis_name(row)} and a column along {_axis_name(column)}")
    if downwards:
        said.append("the slices are numbered in the opposite direction")
    if not said:
        return []
    return [
        Finding(
            Code.AXES_REORDERED,
            f"Mimics does not index “{image.name}” as its files do: {' and '.join(said)}",
            "That is right if Mimics only sorted the voxels, and wrong if the orientation was changed by hand on import: "
            "tags cannot tell these apart. Compare the result with the original series.",
            Severity.WARNING,
            where=(image.name,),
        )
    ]


def _axis_name(direction: NDArray[np.int64]) -> str:
    axis = int(np.abs(direction).argmax())
    return ("-" if direction[axis] < 0 else "+") + "ijk"[axis]
