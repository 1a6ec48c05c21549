"""Place the contours of one ROI on the grid of an image and find the voxels they hold. No DICOM.

Rules:
- Contours are taken to continuous voxel indices by inv(lps), rounded to 1e-6 of a voxel (less than a Decimal
  String of 16 characters can express), and rasterised in their own plane: a plane of the grid in any of its three directions.
- A contour lies in a plane of the grid when its points spread across it by no more than the limit. One that is flat
  but leans refuses the ROI with its angle; one that is not flat refuses it too. Nothing is projected.
- A contour between two planes goes to the nearer one and is listed with the distance. Where contours of two positions
  would meet in one plane, those that lie on the plane are taken; where none does the ROI is refused, because nesting among
  them has no meaning. `interpolate` resolves it: the signed distances of neighbouring positions are interpolated linearly.
  A gap in the contours stays a gap.
- Contours over the border are clipped, those outside are listed, an ROI without a voxel is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, PipelineError, Severity
from ...geometry.grid import Grid
from ...volume.mask import Voxels
from . import contours as flat
from .contour import FILLED, KNOWN, XOR, Contour
from .filling import DECIMALS, LETTERS, TOUCH_MM, Filling, titles
from .layers import Layer, fill_layers, plane_axes, to_voxels
from .roi_checks import (
    check_image_uids,
    check_unit,
    keep_on_planes,
    list_off_planes,
    note_combined,
    note_skipped_planes,
)
from .roi_report import RoiReport, measure


def place(
    number: int,
    name: str,
    contours: Sequence[Contour],
    grid: Grid,
    *,
    limit_mm: float,
    interpolate: bool = False,
    image_uids: Sequence[str] = (),
) -> tuple[Voxels, RoiReport, list[Finding]]:
    """Fill the contours of one ROI on a grid.

    Args:
        number: of the ROI in its structure set.
        name: of the ROI.
        contours: in the order of the structure set.
        grid: of the image, on which the voxels will lie.
        limit_mm: how far a contour may spread across its plane, or lie from a plane of the grid, without being listed.
        interpolate: whether to fill between contours by their signed distances, where they lie off the grid's planes.
        image_uids: SOP Instance UID of the image at every plane k, to compare with those the contours name.

    Returns:
        The voxels (uint8, 0 and 1), their areas and volumes, and the findings.

    Raises:
        PipelineError: CONTOUR_NOT_PLANAR, CONTOUR_PLANE_TILTED, CONTOUR_DIRECTIONS_MIXED, CONTOURS_SHARE_PLANE,
            CONTOUR_UNITS or EMPTY_ROI. Its `others` are the findings before it.
    """
    work = Filling(name, len(contours), grid, limit_mm)
    check_unit(work, contours)
    closed = _keep_closed(work, contours)
    indices = [work.to_indices(c.points) for c in closed]
    axis = _find_axis(work, closed, indices)
    layers: Sequence[Layer] = _keep_inside_grid(work, _group_layers(work, closed, indices, axis), axis)
    note_combined(work, layers)
    if interpolate:
        text = f"voxels were interpolated between contours at {len(layers)} positions, by their signed distances"
        work.note(Code.CONTOURS_INTERPOLATED, text, severity=Severity.INFO)
    else:
        layers = keep_on_planes(work, layers, axis)
        list_off_planes(work, layers, axis)
        note_skipped_planes(work, layers, axis)
    if axis == 2 and image_uids:
        check_image_uids(work, closed, layers, image_uids)
    u, v = plane_axes(axis)
    found, start = fill_layers(layers, axis, grid.shape, work.steps_mm[[u, v]] if interpolate else None)
    if not found.any():
        raise work.refusal(
            Code.EMPTY_ROI,
            "its contours hold no voxel centre",
            "They are smaller than a voxel of the source grid, or lie between its centres; use a finer source.",
        )
    report = measure(number, name, layers, found, grid, axis, interpolate)
    return to_voxels(found, start, grid.shape), report, work.findings


def _keep_closed(work: Filling, contours: Sequence[Contour]) -> list[Contour]:
    """Return the contours that can be filled; list points, open ones and those without an area."""
    for kind in sorted({c.kind for c in contours} - set(FILLED)):
        of_kind = [c for c in contours if c.kind == kind]
        known = kind in KNOWN
        work.note(
            Code.CONTOUR_NOT_CLOSED,
            f"{work.share(of_kind)} left out: {kind}" + ("" if known else ", a type that the standard does not know"),
            "A line or a point has no inside, so it holds no voxels."
            if known
            else "Nothing says that they are closed.",
            where=titles(c.number for c in of_kind),
        )
    closed = [c for c in contours if c.kind in FILLED]
    areas = [c for c in closed if len(c.points) >= 3 and _measure_spread(c.points)[1] > TOUCH_MM / 2]
    if len(areas) < len(closed):
        lost = [c for c in closed if all(c is not kept for kept in areas)]
        work.note(
            Code.CONTOUR_WITHOUT_AREA,
            f"{work.share(lost)} left out: fewer than three points, or all on one line",
            "They enclose nothing, and are usually a slip of the drawing tool.",
            where=titles(c.number for c in lost),
        )
    if not areas:
        raise work.refusal(
            Code.EMPTY_ROI,
            f"none of its {len(contours)} contours encloses an area",
            "There is nothing to fill; choose other ROIs with --rois.",
        )
    return areas


def _find_axis(work: Filling, contours: Sequence[Contour], indices: Sequence[NDArray[np.float64]]) -> int:
    """Find the index direction all contours are stacked along: k where they fit it, else where they are flattest."""
    axes: dict[int, list[Contour]] = {}
    for contour, index in zip(contours, indices, strict=True):
        extent_mm = (index.max(axis=0) - index.min(axis=0)) * work.steps_mm
        axis = 2 if extent_mm[2] <= work.limit_mm else int(extent_mm.argmin())
        if extent_mm[axis] > work.limit_mm:
            raise _off_plane_refusal(work, contour, float(extent_mm[axis]))
        axes.setdefault(axis, []).append(contour)
    if len(axes) > 1:
        counts = ", ".join(f"{len(found)} along {LETTERS[axis]}" for axis, found in sorted(axes.items()))
        raise work.refusal(
            Code.CONTOUR_DIRECTIONS_MIXED,
            f"its contours are stacked in several directions of the grid: {counts}",
            "Filling them together would count the ROI twice; keep the contours of one direction.",
            where=tuple(f"contour {found[0].number}: along {LETTERS[axis]}" for axis, found in sorted(axes.items())),
        )
    return next(iter(axes))


def _off_plane_refusal(work: Filling, contour: Contour, across_mm: float) -> PipelineError:
    """Tell a contour that is not flat from one that leans, by the plane that fits its points best."""
    centred = contour.points - contour.points.mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][2]
    flatness_mm = float(np.ptp(centred @ normal))
    where = titles([contour.number])
    if flatness_mm > work.limit_mm:
        return work.refusal(
            Code.CONTOUR_NOT_PLANAR,
            f"contour {contour.number} is not flat: its points spread {flatness_mm:.3g} mm across their best plane",
            "The contour is damaged or was drawn on a surface; draw it again in a plane.",
            where=where,
            measured=flatness_mm,
            limit=work.limit_mm,
            unit="mm",
        )
    normals = work.to_index[:3, :3] / np.linalg.norm(work.to_index[:3, :3], axis=1)[:, None]
    cosines = np.abs(normals @ normal)
    axis = int(cosines.argmax())
    degrees = float(np.degrees(np.arccos(min(1.0, cosines[axis]))))
    return work.refusal(
        Code.CONTOUR_PLANE_TILTED,
        f"the plane of contour {contour.number} leans {degrees:.3g}° from the {LETTERS[axis]} planes of the source "
        f"grid, and crosses {across_mm:.3g} mm of them",
        "It was drawn on another series or a reformatted view; give the series it was drawn on as --source.",
        where=where,
        measured=across_mm,
        limit=work.limit_mm,
        unit="mm",
    )


def _group_layers(
    work: Filling, contours: Sequence[Contour], indices: Sequence[NDArray[np.float64]], axis: int
) -> list[Layer]:
    """Group the contours by position along the axis, ascending; positions nearer than the limit are one layer."""
    u, v = plane_axes(axis)
    positions = np.array([q[:, axis].mean() for q in indices])
    order = np.argsort(positions, kind="stable")
    new = np.diff(positions[order]) * work.steps_mm[axis] > work.limit_mm
    layers = []
    for members in np.split(order, np.flatnonzero(new) + 1):
        polygons = tuple(indices[n][:, [u, v]] for n in members)
        arrangement = flat.arrange(polygons, TOUCH_MM, (work.steps_mm[u], work.steps_mm[v]))
        if any(contours[n].kind == XOR for n in members):
            arrangement = flat.Arrangement(tuple(0 for _ in members), (), arrangement.crossed, xor=True)
        # Rounded as the points are, so that a layer exactly half-way goes the same way on every grid.
        position = float(np.round(positions[members].mean(), DECIMALS))
        layers.append(Layer(position, tuple(contours[n].number for n in members), polygons, arrangement))
    return layers


def _keep_inside_grid(work: Filling, layers: Sequence[Layer], axis: int) -> list[Layer]:
    """Return the layers that reach the grid; list the contours beyond it and those that its border cuts."""
    u, v = plane_axes(axis)
    end = np.array([work.grid.shape[u], work.grid.shape[v]]) - 0.5
    outside: list[int] = []
    clipped: dict[int, float] = {}
    kept = []
    for layer in layers:
        reaches = False
        for number, polygon in zip(layer.numbers, layer.polygons, strict=True):
            low, high = polygon.min(axis=0), polygon.max(axis=0)
            if not 0 <= layer.plane < work.grid.shape[axis] or (high < -0.5).any() or (low > end).any():
                outside.append(number)
                continue
            reaches = True
            over = float((np.maximum(-0.5 - low, high - end) * work.steps_mm[[u, v]]).max())
            if over > TOUCH_MM:
                clipped[number] = over
        if reaches:
            kept.append(layer)
    if outside:
        text = f"{work.share(outside)} left out: outside the source grid"
        hint = "The source is cropped, or is not the series the ROI was drawn on."
        work.note(Code.CONTOUR_OUTSIDE, text, hint, where=titles(outside))
    if clipped:
        text = f"{work.share(clipped)} clipped at the border of the source grid, up to {max(clipped.values()):.3g} mm"
        hint = "What lies beyond the border is not in the mask; give the whole series if the ROI should be."
        work.note(Code.CONTOUR_CLIPPED, text, hint, where=titles(clipped))
    if not kept:
        text = "all its contours lie outside the source grid"
        raise work.refusal(Code.EMPTY_ROI, text, "Give the series the ROI was drawn on as --source.")
    return kept


def _measure_spread(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root-mean-square extent along the three principal directions, largest first, in mm."""
    return np.asarray(np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / np.sqrt(len(points)))
