"""Compare the voxel centres Mimics gives with the planes its DICOM tags describe: both must give the same place.

The tags are those of the files as they were imported. The centres are of the image set as it is now, in a frame that is
LPS in current projects, and was not always. So agreement proves the frame, and a difference has one of few causes.

Rules:
- A slice's tags are paired with a plane of the grid by where they put it, never by their number.
- Where both agree, the tags prove the frame; where they do not, `tag_difference` explains or refuses it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.findings import Code, Finding, Severity
from ..core.policy import Policy
from ..geometry.grid import Grid
from .bundle import BundleImage
from .tag_difference import CLAUSE, TagDifference, assume_frame, find_nearest


def compare_with_tags(
    grid: Grid, image: BundleImage, *, flipped: bool, limit_mm: float, policy: Policy
) -> list[Finding]:
    """Check whether the tags confirm the grid.

    Args:
        grid: the grid that was fitted to the voxel centres (LPS, mm).
        image: the image set, with the planes of its tags.
        flipped: whether the planes of the grid run against those of Mimics' buffer.
        limit_mm: how far tags and centres may differ, in mm.
        policy: further limits, of old projects and of skew.

    Returns: findings that tell what the tags confirm.

    Raises: PipelineError for a contradiction: HALF_SLICE_SHIFT, CORNER_ORIGIN, FRAME_CHANGED, REDUCED_IMAGES,
        RESIZED_PIXELS, PLANES_DROPPED or GANTRY_TILT, with the distance in mm.
    """
    indexed = [(tags.index, tags.plane) for tags in image.planes if tags.plane is not None]
    planes = [plane for _, plane in indexed]
    if not planes:
        return [assume_frame(image, "its DICOM tags give no position")]
    reached = [find_nearest(grid, plane) for plane in planes]
    if all(distance <= limit_mm and _is_whole_plane(grid, ijk) for ijk, distance in reached):
        farthest = max(distance for _, distance in reached)
        corners = np.array([ijk for ijk, _ in reached])
        confirmed = _frame_confirmed(grid, image, corners, farthest, limit_mm)
        return [confirmed, *_compare_order(image, corners, [index for index, _ in indexed], flipped)]
    return TagDifference(grid, image, planes, flipped, limit_mm, policy).explain()


def _is_whole_plane(grid: Grid, ijk: NDArray[np.int64]) -> bool:
    """Whether four corners are those of one whole plane of the grid, along any of its axes."""
    low, high, last = ijk.min(0), ijk.max(0), np.array(grid.shape) - 1
    whole = (low == 0) & (high == last)
    within = (low == high) & (low >= 0) & (high <= last)
    return bool((whole | within).all() and (low != high).sum() <= 2)


def _frame_confirmed(
    grid: Grid, image: BundleImage, corners: NDArray[np.int64], farthest: float, limit: float
) -> Finding:
    axis = _find_normal_axis(corners)
    found, count = len(set(corners[:, 0, axis].tolist())), grid.shape[axis]
    few = found == 1 < count
    return Finding(
        Code.FRAME_CONFIRMED,
        f"the DICOM tags put {found} of the {count} planes of “{image.name}” where Mimics does",
        "One plane does not prove the distance of the others." if few else "",
        Severity.WARNING if few else Severity.INFO,
        clause=CLAUSE,
        where=(image.name,),
        measured=farthest,
        limit=limit,
        unit="mm",
    )


def _find_normal_axis(corners: NDArray[np.int64]) -> int:
    """Find the grid axis along which the tags' planes are stacked; k where a size of 1 leaves it open."""
    still = (corners.min(axis=1) == corners.max(axis=1)).all(axis=0)
    return int(2 - np.argmax(still[::-1]))


def _compare_order(image: BundleImage, corners: NDArray[np.int64], indices: list[int], flipped: bool) -> list[Finding]:
    """Compare how Mimics and the file index their voxels: where they differ, an orientation may have been set by hand."""
    row, column = np.sign(corners[0, 1] - corners[0, 0]), np.sign(corners[0, 2] - corners[0, 0])
    axis = _find_normal_axis(corners)
    along = corners[:, 0, axis] * (-1 if flipped and axis == 2 else 1)
    downwards = len(indices) > 1 and along[int(np.argmin(indices))] > along[int(np.argmax(indices))]
    differences = []
    if row.tolist() != [1, 0, 0] or column.tolist() != [0, 1, 0]:
        differences.append(f"a row of the file runs along {_name_axis(row)} and a column along {_name_axis(column)}")
    if downwards:
        differences.append("the slices are numbered in the opposite direction")
    if not differences:
        return []
    return [
        Finding(
            Code.AXES_REORDERED,
            f"Mimics does not index “{image.name}” as its files do: {' and '.join(differences)}",
            "That is right if Mimics only sorted the voxels, and wrong if the orientation was changed by hand on import: "
            "tags cannot tell these apart. Compare the result with the original series.",
            Severity.WARNING,
            where=(image.name,),
        )
    ]


def _name_axis(direction: NDArray[np.int64]) -> str:
    axis = int(np.abs(direction).argmax())
    return ("-" if direction[axis] < 0 else "+") + "ijk"[axis]
