"""Say in words how a SEG or an RT structure set tells where its masks are. Returns lines of text; prints nothing.

Rules:
- A SEG keeps frames, each with a position of its own, and none where a segment has no pixel.
- A structure set keeps contours: points in mm. It has neither voxels nor a grid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from ..decode.rtstruct.roi import Contour
from ..decode.rtstruct.structure_set import Roi
from ..decode.seg.instance import Instance
from ..geometry.grid import Grid

_LISTED = 30  # masks that are described one by one
_ON_PLANE = 0.05  # of a step: a contour this near to a plane is said to lie on it


def describe_seg(instance: Instance, source: str) -> list[str]:
    """Describe which planes the frames of one SEG lie on.

    Args:
        instance: with its frames placed on the grid.
        source: what the images are called whose grid it is; "" where the frames span a grid of their own.

    Returns:
        Lines without line ends.
    """
    layout, frames = instance.layout, instance.frames
    planes, there = layout.grid.shape[layout.axis], len(set(layout.at.tolist()))
    empty = planes - there
    by_segment: dict[int, list[int]] = defaultdict(list)
    for frame, k in zip(frames, layout.at.tolist(), strict=True):
        by_segment[frame.segment_number or 0].append(k)
    names = {segment.number: segment.name for segment in (*instance.table.segments, *instance.undescribed)}
    first = frames[0]
    position = " \\ ".join(f"{c + 0.0:g}" for c in first.known_plane.position)
    axis = "ijk"[layout.axis]
    whose = (
        f"the grid is that of its source, {source}" if source else "without its source, the grid is the one they span"
    )
    lines = [
        "What a segmentation (SEG) holds",
        f"  {len(frames)} frames, each the mask of one segment on one plane; where a segment has no pixel there need be no "
        f"frame. Each frame says in its functional groups where it lies (Plane Position Sequence), and {whose}.",
        f"  They lie on {there} of its {planes} planes; {f'the {empty} others are' if empty > 1 else 'the other is'} empty."
        if empty
        else f"  They lie on all of its {planes} planes.",
    ]
    if instance.is_labelmap:
        lines.append("  It is a label map: a frame holds all segments of a plane, each as a value of its own.")
    else:
        lines += [
            f"  segment {number} “{names.get(number, 'without a name')}”: {_count(len(ks), 'frame')}, at {axis} = {_ranges(ks)}"
            for number, ks in sorted(by_segment.items())[:_LISTED]
        ]
        lines += _more(len(by_segment), "segments")
    lines.append(
        f"  For example frame {first.number} lies at {position}: by the matrix below, that is {axis} = {int(layout.at[0])}, "
        f"within {layout.residuals[0]:.4f} mm."
    )
    return [*lines, ""]


def describe_rtstruct(drawn: Sequence[tuple[Roi, Sequence[Contour]]], grid: Grid, source: str) -> list[str]:
    """Describe the contours of a structure set, and where they lie on the grid of its source.

    Args:
        drawn: every ROI with its contours.
        grid: of the images they were drawn on.
        source: what these are called.

    Returns:
        Lines without line ends.
    """
    to_index = np.linalg.inv(grid.lps)
    lines = [
        "What a structure set (RTSTRUCT) holds",
        "  No voxels and no grid. Each ROI is drawn as contours, closed lines around it, and a contour is a list of points: "
        "x, y and z in LPS mm (Contour Data (3006,0050)).",
        f"  The grid is that of the images they were drawn on, {source}; what follows below is theirs. A voxel belongs to an "
        "ROI where its centre lies within a contour on its plane.",
    ]
    for roi, contours in drawn[:_LISTED]:
        points = np.concatenate([np.empty((0, 3)), *(contour.points for contour in contours)])
        where = _planes_of(contours, to_index)
        lines.append(
            f"  ROI {roi.number} “{roi.name}”: {_count(len(contours), 'contour')}, {_count(len(points), 'point')}{where}"
        )
    lines += _more(len(drawn), "ROIs")
    example = next(((roi, c) for roi, contours in drawn for c in contours if len(c.points)), None)
    if example is not None:
        roi, contour = example
        point = contour.points[0]
        place = " \\ ".join(f"{c + 0.0:g}" for c in point)
        i, j, k = (to_index @ np.append(point, 1))[:3] + 0.0
        lines.append(
            f"  For example the first point of “{roi.name}” is {place}: by the inverse of the "
            f"matrix below, that is i = {i:.2f}, j = {j:.2f}, k = {k:.2f}. Points lie between voxels; planes are whole numbers of k."
        )
    return [*lines, ""]


def _planes_of(contours: Sequence[Contour], to_index: np.ndarray) -> str:
    """On which planes contours lie, as ", at k = 3 to 7"; "" where there are no points."""
    heights = [(contour.points @ to_index[2, :3] + to_index[2, 3]) for contour in contours if len(contour.points)]
    if not heights:
        return ""
    low, high = min(h.min() for h in heights), max(h.max() for h in heights)
    if all(np.abs(h - np.rint(h.mean())).max() <= _ON_PLANE for h in heights):
        return f", at k = {_ranges(int(np.rint(h.mean())) for h in heights)}"
    return f", from k = {low:.2f} to {high:.2f}, not all of them on planes"


def _ranges(numbers: Iterable[int]) -> str:
    """3, 4, 5, 7 -> "3 to 5, 7"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _more(count: int, what: str) -> list[str]:
    return [f"  and {count - _LISTED} more {what}"] if count > _LISTED else []
