"""Place the contours of one ROI on the grid of an image and find the voxels they hold. No DICOM.

Rules:
- Contours are taken to continuous voxel indices by inv(lps), rounded to 1e-6 of a voxel (less than a Decimal
  String of 16 characters can express), and rasterised in their own plane: a plane of the grid in any of its three directions.
- A contour lies in a plane of the grid when its points spread across it by no more than the limit. One that is flat
  but leans refuses the ROI with its angle; one that is not flat refuses it too. Nothing is projected.
- A contour between two planes goes to the nearer one and is listed with the distance. Where contours of two positions
  would meet in one plane the ROI is refused, because nesting among them has no meaning; `interpolate` resolves it:
  the signed distances of neighbouring positions are interpolated linearly. A gap in the contours stays a gap.
- Contours over the border are clipped, those outside are listed, an ROI without a voxel is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...geometry.grid import Grid
from ...volume.mask import Voxels
from . import contours as flat
from .layers import Layer, fill_layers, plane_axes, to_voxels
from .roi_report import RoiReport, measure

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_XOR = "CLOSEDPLANAR_XOR"
_DECIMALS = 6  # of a voxel index; see the first rule
# Two points rounded to 0.01 mm each: boundaries nearer than this touch, and do not overlap.
_TOUCH_MM = 0.02
_CLAUSE = "PS3.3 C.8.8.6"
_LETTERS = "ijk"


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One item of a Contour Sequence.

    Attributes:
        number: from 1 within its ROI.
        kind: Contour Geometric Type (3006,0042).
        points: (n, 3) LPS mm.
        image_uids: SOP Instance UIDs of the images it names as those it was drawn on.
    """

    number: int
    kind: str
    points: NDArray[np.float64]
    image_uids: tuple[str, ...] = ()


class _Filling:
    """One ROI that is being filled: its grid, the limit it is held to, and the findings so far."""

    def __init__(self, name: str, contours: int, grid: Grid, limit_mm: float) -> None:
        self.title, self.contours, self.grid, self.limit_mm = f"ROI “{name}”", contours, grid, limit_mm
        self.findings: list[Finding] = []
        self.to_index = np.linalg.inv(grid.lps)
        # The distance between neighbouring planes of each direction, square to them.
        self.steps_mm = 1 / np.linalg.norm(self.to_index[:3, :3], axis=1)

    def share(self, of: Sized) -> str:
        return f"{len(of)} of {self.contours} contours"

    def note(self, code: Code, text: str, hint: str = "", severity: Severity = Severity.WARNING, **more: Any) -> None:
        self.findings.append(Finding(code, f"{self.title}: {text}", hint, severity, _CLAUSE, **more))

    def refusal(self, code: Code, text: str, hint: str, where: tuple[str, ...] = (), **more: Any) -> PipelineError:
        """Make the exception that refuses the ROI, with the findings so far. where: the ROI itself by default."""
        error = refuse(code, f"{self.title}: {text}", hint, clause=_CLAUSE, where=where or (self.title,), **more)
        return PipelineError(error.finding, tuple(self.findings))

    def indices(self, contour: Contour) -> NDArray[np.float64]:
        """Return the (n, 3) continuous (i, j, k) of a contour's points."""
        exact = contour.points @ self.to_index[:3, :3].T + self.to_index[:3, 3]
        return np.asarray(np.round(exact, _DECIMALS))


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
        PipelineError: CONTOUR_NOT_PLANAR, CONTOUR_PLANE_TILTED, CONTOUR_DIRECTIONS_MIXED, CONTOURS_SHARE_PLANE or
            EMPTY_ROI. Its `others` are the findings before it.
    """
    work = _Filling(name, len(contours), grid, limit_mm)
    closed = _keep_closed(work, contours)
    axis = _find_axis(work, closed)
    layers = _keep_inside_grid(work, _group_layers(work, closed, axis), axis)
    _note_combined(work, layers)
    if interpolate:
        text = f"voxels were interpolated between contours at {len(layers)} positions, by their signed distances"
        work.note(Code.CONTOURS_INTERPOLATED, text, severity=Severity.INFO)
    else:
        _check_planes(work, layers, axis)
    if axis == 2 and image_uids:
        _check_image_uids(work, closed, layers, image_uids)
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


def _keep_closed(work: _Filling, contours: Sequence[Contour]) -> list[Contour]:
    """Return the contours that can be filled; list points, open ones and those without an area."""
    for kind in sorted({c.kind for c in contours} - set(CLOSED)):
        of_kind = [c for c in contours if c.kind == kind]
        work.note(
            Code.CONTOUR_NOT_CLOSED,
            f"{work.share(of_kind)} left out: {kind}",
            "A line or a point has no inside, so it holds no voxels.",
            where=_titles(c.number for c in of_kind),
        )
    closed = [c for c in contours if c.kind in CLOSED]
    areas = [c for c in closed if len(c.points) >= 3 and _measure_spread(c.points)[1] > _TOUCH_MM / 2]
    if len(areas) < len(closed):
        lost = [c for c in closed if all(c is not kept for kept in areas)]
        work.note(
            Code.CONTOUR_WITHOUT_AREA,
            f"{work.share(lost)} left out: fewer than three points, or all on one line",
            "They enclose nothing, and are usually a slip of the drawing tool.",
            where=_titles(c.number for c in lost),
        )
    if not areas:
        raise work.refusal(
            Code.EMPTY_ROI,
            f"none of its {len(contours)} contours encloses an area",
            "There is nothing to fill; choose other ROIs with --rois.",
        )
    return areas


def _find_axis(work: _Filling, contours: Sequence[Contour]) -> int:
    """Find the index direction all contours are stacked along: k where they fit it, else where they are flattest."""
    axes: dict[int, list[Contour]] = {}
    for contour in contours:
        extent_mm = np.ptp(work.indices(contour), axis=0) * work.steps_mm
        axis = 2 if extent_mm[2] <= work.limit_mm else int(extent_mm.argmin())
        if extent_mm[axis] > work.limit_mm:
            raise _off_plane_refusal(work, contour, float(extent_mm[axis]))
        axes.setdefault(axis, []).append(contour)
    if len(axes) > 1:
        counts = ", ".join(f"{len(found)} along {_LETTERS[axis]}" for axis, found in sorted(axes.items()))
        raise work.refusal(
            Code.CONTOUR_DIRECTIONS_MIXED,
            f"its contours are stacked in several directions of the grid: {counts}",
            "Filling them together would count the ROI twice; keep the contours of one direction.",
            where=tuple(f"contour {found[0].number}: along {_LETTERS[axis]}" for axis, found in sorted(axes.items())),
        )
    return next(iter(axes))


def _off_plane_refusal(work: _Filling, contour: Contour, across_mm: float) -> PipelineError:
    """Tell a contour that is not flat from one that leans, by the plane that fits its points best."""
    centred = contour.points - contour.points.mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][2]
    flatness_mm = float(np.ptp(centred @ normal))
    where = _titles([contour.number])
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
        f"the plane of contour {contour.number} leans {degrees:.3g}° from the {_LETTERS[axis]} planes of the source "
        f"grid, and crosses {across_mm:.3g} mm of them",
        "It was drawn on another series or a reformatted view; give the series it was drawn on as --source.",
        where=where,
        measured=across_mm,
        limit=work.limit_mm,
        unit="mm",
    )


def _group_layers(work: _Filling, contours: Sequence[Contour], axis: int) -> list[Layer]:
    """Group the contours by position along the axis, ascending; positions nearer than the limit are one layer."""
    u, v = plane_axes(axis)
    indices = [work.indices(c) for c in contours]
    positions = np.array([q[:, axis].mean() for q in indices])
    order = np.argsort(positions, kind="stable")
    new = np.diff(positions[order]) * work.steps_mm[axis] > work.limit_mm
    layers = []
    for members in np.split(order, np.flatnonzero(new) + 1):
        polygons = tuple(indices[n][:, [u, v]] for n in members)
        arrangement = flat.arrange(polygons, _TOUCH_MM, (work.steps_mm[u], work.steps_mm[v]))
        if any(contours[n].kind == _XOR for n in members):
            arrangement = flat.Arrangement(tuple(0 for _ in members), (), arrangement.crossed, xor=True)
        # Rounded as the points are, so that a layer exactly half-way goes the same way on every grid.
        position = float(np.round(positions[members].mean(), _DECIMALS))
        layers.append(Layer(position, tuple(contours[n].number for n in members), polygons, arrangement))
    return layers


def _keep_inside_grid(work: _Filling, layers: Sequence[Layer], axis: int) -> list[Layer]:
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
            if over > _TOUCH_MM:
                clipped[number] = over
        if reaches:
            kept.append(layer)
    if outside:
        text = f"{work.share(outside)} left out: outside the source grid"
        hint = "The source is cropped, or is not the series the ROI was drawn on."
        work.note(Code.CONTOUR_OUTSIDE, text, hint, where=_titles(outside))
    if clipped:
        text = f"{work.share(clipped)} clipped at the border of the source grid, up to {max(clipped.values()):.3g} mm"
        hint = "What lies beyond the border is not in the mask; give the whole series if the ROI should be."
        work.note(Code.CONTOUR_CLIPPED, text, hint, where=_titles(clipped))
    if not kept:
        text = "all its contours lie outside the source grid"
        raise work.refusal(Code.EMPTY_ROI, text, "Give the series the ROI was drawn on as --source.")
    return kept


def _note_combined(work: _Filling, layers: Sequence[Layer]) -> None:
    """List the contours that were taken as holes, united or left out, and those that cross themselves."""
    if nested := [layer.numbers[n] for layer in layers for n in layer.arrangement.holes]:
        text = f"{work.share(nested)} taken as holes, because they lie within others (even-odd by depth)"
        work.note(Code.CONTOURS_NESTED, text, severity=Severity.INFO, where=_titles(nested))
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
        work.note(Code.CONTOURS_REPEATED, text, where=_titles(repeated))
    if crossed := [layer.numbers[n] for layer in layers for n in layer.arrangement.crossed]:
        work.note(
            Code.CONTOUR_CROSSES_ITSELF,
            f"{work.share(crossed)} found crossing themselves; the even-odd rule decided what is inside",
            "Where such a contour winds around a place twice, that place is outside. Look at them.",
            where=_titles(crossed),
        )


def _check_planes(work: _Filling, layers: Sequence[Layer], axis: int) -> None:
    """Check that each layer has a plane to itself; list those that lie off their plane, with the distance."""
    step_mm = float(work.steps_mm[axis])
    planes = [layer.plane for layer in layers]
    if shared := sorted({p for p in planes if planes.count(p) > 1}):
        raise work.refusal(
            Code.CONTOURS_SHARE_PLANE,
            f"contours at different positions would go to one plane of the source grid, in {len(shared)} planes",
            "They were drawn on another, finer series; give that as --source, or allow --interpolate.",
            where=tuple(f"plane {_LETTERS[axis]} = {p}" for p in shared),
        )
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
                f"{', '.join(_titles(layer.numbers))}: {distance:.3g} mm to plane {_LETTERS[axis]} = {layer.plane}"
                for layer, distance in off
            ),
            measured=largest,
            limit=step_mm / 2,
            unit="mm",
        )


def _check_image_uids(
    work: _Filling, contours: Sequence[Contour], layers: Sequence[Layer], image_uids: Sequence[str]
) -> None:
    """Compare the images that the contours name with their positions, which decide; list contradictions."""
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
        work.note(Code.CONTOUR_OTHER_IMAGE, text, hint, where=_titles(wrong))


def _measure_spread(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root-mean-square extent along the three principal directions, largest first, in mm."""
    return np.asarray(np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / np.sqrt(len(points)))


def _titles(numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"contour {number}" for number in sorted(numbers))
