"""Check how the contours of one ROI lie on their grid, and list what a person should look at.

Rules:
- A check lists what it finds and goes on, or refuses the ROI. It moves and scales no contour.
- Another unit than mm is suspected only where the contours make no sense as they are (no point within the grid, or all
  within a voxel or two of each other), and in the other unit most of them lie within the grid and span voxels of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, PipelineError, Severity
from .contour import FILLED, Contour
from .filling import LETTERS, Filling, titles
from .layers import Layer, measure_step

# What a length in mm is multiplied by where the coordinates are in another unit.
_UNITS = {"metres": 1000.0, "micrometres": 0.001}
_FEW = 2  # voxels: what spans no more in any direction is no drawing but a speck
_MOST = 0.5  # of the points: an ROI may reach beyond a cropped image
_STEPS = 2  # of contours, at least, before they show a habit
_SKIPS = 1.5  # planes between neighbouring contours, in the median: half-way from every plane to every second one


def check_unit(work: Filling, contours: Sequence[Contour]) -> None:
    """Refuse an ROI whose coordinates fit the grid in another unit only. Raises CONTOUR_UNITS."""
    drawn = [c for c in contours if c.kind in FILLED and len(c.points)]
    if not drawn:
        return
    points = np.concatenate([c.points for c in drawn])
    end = np.array(work.grid.shape) - 0.5
    index = work.to_indices(points)
    if ((index >= -0.5) & (index <= end)).all(axis=1).any() and (np.ptp(index, axis=0) > _FEW).any():
        return
    for unit, factor in _UNITS.items():
        scaled = work.to_indices(points * factor)
        within = ((scaled >= -0.5) & (scaled <= end)).all(axis=1)
        if within.mean() > _MOST and np.count_nonzero(np.ptp(scaled, axis=0) > _FEW) >= 2:
            raise _unit_refusal(work, points, unit, factor)


def _unit_refusal(work: Filling, points: NDArray[np.float64], unit: str, factor: float) -> PipelineError:
    size = " × ".join(f"{n:.3g}" for n in np.ptp(points, axis=0))
    return work.refusal(
        Code.CONTOUR_UNITS,
        f"its contours, which span {size} mm, lie beside the source grid or within a voxel or two of it, and {factor:g} times "
        f"as large lie within it: are they in {unit}?",
        f"DICOM wants mm, and nothing is scaled here. Multiply Contour Data (3006,0050) by {factor:g} in the program "
        "that wrote it, and export again.",
    )


def note_skipped_planes(work: Filling, layers: Sequence[Layer], axis: int) -> None:
    """List the planes between contours that have none, where most neighbouring contours lie more than a plane apart.

    Args:
        work: the ROI.
        layers: its contours, by position.
        axis: index direction they are stacked along: 0, 1 or 2 for i, j or k.
    """
    planes = np.array([layer.plane for layer in layers])
    steps = np.diff(planes)
    if len(steps) >= _STEPS and np.median(steps) > _SKIPS:
        empty = int((steps - 1).sum())
        work.note(
            Code.CONTOUR_PLANES_SKIPPED,
            f"its contours lie {np.median(steps):g} planes apart, so {empty} planes of the source between them have none "
            "and stay empty",
            "Were they drawn on every plane of another series, or on some planes only? --interpolate fills between them.",
            where=tuple(
                f"between plane {LETTERS[axis]} = {a} and {b}" for a, b in pairwise(planes.tolist()) if b - a > 1
            ),
        )


def note_combined(work: Filling, layers: Sequence[Layer]) -> None:
    """List the contours that were taken as holes, united or left out, and those that cross themselves."""
    if nested := [layer.numbers[n] for layer in layers for n in layer.arrangement.holes]:
        text = f"{work.share(nested)} taken as holes, because they lie within others (even-odd by depth)"
        work.note(Code.CONTOURS_NESTED, text, severity=Severity.INFO, where=titles(nested))
    if united := [layer for layer in layers if layer.arrangement.overlapping]:
        work.note(
            Code.CONTOURS_OVERLAP,
            f"contours that overlap in part united, in {len(united)} of {len(layers)} planes, with nothing cut out",
            "Look at these planes; a contour meant as a hole must lie within the outer one.",
            where=tuple(
                f"contours {layer.numbers[a]} and {layer.numbers[b]}"
                for layer in united
                for a, b in layer.arrangement.overlapping
            ),
        )
    if repeated := [layer.numbers[n] for layer in layers for n in layer.arrangement.repeated]:
        text = f"{work.share(repeated)} left out: they repeat another one"
        work.note(Code.CONTOURS_REPEATED, text, where=titles(repeated))
    if crossed := [layer.numbers[n] for layer in layers for n in layer.arrangement.crossed]:
        work.note(
            Code.CONTOUR_CROSSES_ITSELF,
            f"{work.share(crossed)} found crossing themselves; the even-odd rule decided what is inside",
            "Where such a contour winds around a place twice, that place is outside. Look at them.",
            where=titles(crossed),
        )


def keep_on_planes(work: Filling, layers: Sequence[Layer], axis: int) -> Sequence[Layer]:
    """Leave at most one layer to each plane: the contours that lie on it, where others lie between planes.

    Contours say of a plane's voxels what they say where they are drawn on it; so those that lie between planes with
    contours of their own are not needed. A layer stands for half its own step to either side.

    Args:
        work: the ROI.
        layers: its contours, by position.
        axis: index direction they are stacked along: 0, 1 or 2 for i, j or k.

    Returns: the layers that are filled, all of them where they are no finer than the planes.

    Raises: PipelineError CONTOURS_SHARE_PLANE where a plane has contours of several positions near it, and none or more
        than one of the positions is on it.
    """
    planes = [layer.plane for layer in layers]
    shared = sorted({p for p in planes if planes.count(p) > 1})
    if not shared:
        return layers
    step_mm = float(work.steps_mm[axis])
    on_plane = [layer for layer in layers if abs(layer.position - layer.plane) * step_mm <= work.limit_mm]
    if any(sum(layer.plane == plane for layer in on_plane) != 1 for plane in shared):
        raise work.refusal(
            Code.CONTOURS_SHARE_PLANE,
            f"contours at different positions would go to one plane of the source grid, in {len(shared)} planes",
            "They were drawn on another, finer series; give that as --source, or allow --interpolate.",
            where=tuple(f"plane {LETTERS[axis]} = {p}" for p in shared),
        )
    reach = measure_step(layers) / 2
    kept = [n for n in layers if n in on_plane or (n.plane not in shared and abs(n.position - n.plane) < reach)]
    lost = [layer for layer in layers if layer not in kept]
    work.note(
        Code.CONTOUR_BETWEEN_PLANES,
        f"contours at {len(lost)} of {len(layers)} positions lie between planes of the source and were left out; those "
        "that lie on the planes were taken",
        "They were drawn on a finer series. For a mask of all of them give that as --source, or allow --interpolate.",
        where=tuple(title for layer in lost for title in titles(layer.numbers)),
    )
    return kept


def list_off_planes(work: Filling, layers: Sequence[Layer], axis: int) -> None:
    """List the contours that lie off the plane they are put on, with the distance.

    Args:
        work: the ROI.
        layers: its contours, by position; one to each plane.
        axis: index direction they are stacked along: 0, 1 or 2 for i, j or k.
    """
    step_mm = float(work.steps_mm[axis])
    off = [(layer, abs(layer.position - layer.plane) * step_mm) for layer in layers]
    off = [(layer, distance) for layer, distance in off if distance > work.limit_mm]
    if off:
        largest = max(distance for _, distance in off)
        work.note(
            Code.CONTOUR_BETWEEN_PLANES,
            f"contours at {len(off)} of {len(layers)} positions lie between planes and were put on the nearest, "
            f"up to {largest:.3g} mm away",
            "They were drawn on another series, or on one with other planes; give that as --source if you have it.",
            where=tuple(
                f"{', '.join(titles(layer.numbers))}: {distance:.3g} mm to plane {LETTERS[axis]} = {layer.plane}"
                for layer, distance in off
            ),
            measured=largest,
            limit=step_mm / 2,
            unit="mm",
        )


def check_image_uids(
    work: Filling, contours: Sequence[Contour], layers: Sequence[Layer], image_uids: Sequence[str]
) -> None:
    """Compare the images that the contours name with their positions, which decide; list contradictions.

    Args:
        work: the ROI.
        contours: of the ROI.
        layers: its contours, by position.
        image_uids: SOP Instance UID of the image at every plane k.
    """
    plane = {number: layer.plane for layer in layers for number in layer.numbers}
    known = set(image_uids)
    wrong = [
        c.number
        for c in contours
        if c.number in plane and known.intersection(c.image_uids) and image_uids[plane[c.number]] not in c.image_uids
    ]
    if wrong:
        text = f"{work.share(wrong)} found naming another image of the source than the one at their position"
        hint = "The position was followed. The references or the coordinates are wrong; look at these planes."
        work.note(Code.CONTOUR_OTHER_IMAGE, text, hint, where=titles(wrong))
