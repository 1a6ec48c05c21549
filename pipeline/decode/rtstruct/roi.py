"""The contours of one ROI on the grid of an image: which plane each lies in, and the voxels they hold. No DICOM.

Rules:
- Contours are taken to continuous voxel indices by inv(lps), rounded to 1e-6 of a voxel (below what a Decimal String
  of 16 characters can say), and rasterised in their own plane: a plane of the grid in any of its three directions.
- A contour lies in a plane of the grid when its points spread across it by no more than the limit. One that is flat
  but leans refuses the ROI with its angle; one that is not flat refuses it too. Nothing is projected.
- A contour between two planes goes to the nearer one and is listed with the distance. Where contours of two positions
  would meet in one plane the ROI is refused, for nesting among them would mean nothing; `interpolate` resolves it:
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
from .layers import Layer, across, block, voxels_of
from .roi_report import RoiReport, measure

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_XOR = "CLOSEDPLANAR_XOR"
_DECIMALS = 6
# Two points rounded to 0.01 mm each: boundaries nearer than this touch, and do not overlap.
_TOUCH_MM = 0.02
_CLAUSE = "PS3.3 C.8.8.6"
_LETTERS = "ijk"


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One item of a Contour Sequence. number: from 1 within its ROI. points: (n, 3) LPS mm. image_uids: of the images
    it says it was drawn on."""

    number: int
    kind: str
    points: NDArray[np.float64]
    image_uids: tuple[str, ...] = ()


class _Placement:
    """One ROI being placed: collects its findings as it goes."""

    def __init__(self, name: str, contours: int, grid: Grid, limit_mm: float) -> None:
        self.name, self.contours, self.grid, self.limit_mm = name, contours, grid, limit_mm
        self.findings: list[Finding] = []
        self.to_index = np.linalg.inv(grid.lps)
        # The distance between neighbouring planes of each direction, square to them.
        self.steps_mm = 1 / np.linalg.norm(self.to_index[:3, :3], axis=1)

    def share(self, of: Sized) -> str:
        return f"{len(of)} of {self.contours} contours"

    def say(self, code: Code, said: str, hint: str = "", severity: Severity = Severity.WARNING, **details: Any) -> None:
        self.findings.append(Finding(code, f"ROI “{self.name}”: {said}", hint, severity, _CLAUSE, **details))

    def refused(self, code: Code, said: str, hint: str, **details: Any) -> PipelineError:
        error = refuse(code, f"ROI “{self.name}”: {said}", hint, clause=_CLAUSE, **details)
        return PipelineError(error.finding, tuple(self.findings))


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
    """The voxels of one ROI (uint8, 0 and 1), its areas and volumes, and what there is to say.

    limit_mm: how far a contour may spread across its plane, or lie from a plane of the grid, without being listed.
    image_uids: the SOP Instance UID of every plane k, to hold the contours' own references against.
    Raises PipelineError (its `others` are the findings before it): CONTOUR_NOT_PLANAR, CONTOUR_PLANE_TILTED,
    CONTOUR_DIRECTIONS_MIXED, CONTOURS_SHARE_PLANE, EMPTY_ROI.
    """
    work = _Placement(name, len(contours), grid, limit_mm)
    closed = _closed(work, contours)
    axis = _axis(work, closed)
    layers = _inside_grid(work, _layers(work, closed, axis), axis)
    _say_how_combined(work, layers)
    if interpolate:
        said = f"voxels were interpolated between contours at {len(layers)} positions, by their signed distances"
        work.say(Code.CONTOURS_INTERPOLATED, said, severity=Severity.INFO)
    else:
        _check_planes(work, layers, axis)
    if axis == 2 and image_uids:
        _check_images(work, closed, layers, image_uids)
    u, v = across(axis)
    found, start = block(layers, axis, grid.shape, work.steps_mm[[u, v]] if interpolate else None)
    if not found.any():
        raise work.refused(
            Code.EMPTY_ROI,
            "its contours hold no voxel centre",
            "They are smaller than a voxel of the source grid, or lie between its centres; use a finer source.",
        )
    report = measure(number, name, layers, found, grid, axis, interpolate)
    return voxels_of(found, start, grid.shape), report, work.findings


def _closed(work: _Placement, contours: Sequence[Contour]) -> list[Contour]:
    """The contours that can be filled; points, open ones and those without an area are listed."""
    others = [c for c in contours if c.kind not in CLOSED]
    for kind in sorted({c.kind for c in others}):
        of_kind = [c for c in others if c.kind == kind]
        work.say(
            Code.CONTOUR_NOT_CLOSED,
            f"{work.share(of_kind)} left out: {kind}",
            "A line or a point has no inside, so it holds no voxels.",
            where=_names(c.number for c in of_kind),
        )
    closed = [c for c in contours if c.kind in CLOSED]
    areas = [c for c in closed if len(c.points) >= 3 and _spread(c.points)[1] > _TOUCH_MM / 2]
    if len(areas) < len(closed):
        lost = [c for c in closed if all(c is not kept for kept in areas)]
        work.say(
            Code.CONTOUR_WITHOUT_AREA,
            f"{work.share(lost)} left out: fewer than three points, or all on one line",
            "They enclose nothing, and are usually a slip of the drawing tool.",
            where=_names(c.number for c in lost),
        )
    if not areas:
        raise work.refused(
            Code.EMPTY_ROI,
            f"none of its {len(contours)} contours encloses an area",
            "There is nothing to fill; choose other ROIs with --rois.",
        )
    return areas


def _axis(work: _Placement, contours: Sequence[Contour]) -> int:
    """The index direction all contours are stacked along: k where they fit it, else where they are flattest."""
    axes: dict[int, list[Contour]] = {}
    for contour in contours:
        across = np.ptp(_indices(work, contour), axis=0) * work.steps_mm
        axis = 2 if across[2] <= work.limit_mm else int(across.argmin())
        if across[axis] > work.limit_mm:
            raise _not_in_a_plane(work, contour, float(across[axis]))
        axes.setdefault(axis, []).append(contour)
    if len(axes) > 1:
        counts = ", ".join(f"{len(found)} along {_LETTERS[axis]}" for axis, found in sorted(axes.items()))
        raise work.refused(
            Code.CONTOUR_DIRECTIONS_MIXED,
            f"its contours are stacked in several directions of the grid: {counts}",
            "Filling them together would count the ROI twice; keep the contours of one direction.",
        )
    return next(iter(axes))


def _not_in_a_plane(work: _Placement, contour: Contour, across_mm: float) -> PipelineError:
    centred = contour.points - contour.points.mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][2]
    flatness_mm = float(np.ptp(centred @ normal))
    where = _names([contour.number])
    if flatness_mm > work.limit_mm:
        return work.refused(
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
    return work.refused(
        Code.CONTOUR_PLANE_TILTED,
        f"the plane of contour {contour.number} leans {degrees:.3g}° from the {_LETTERS[axis]} planes of the source "
        f"grid, and crosses {across_mm:.3g} mm of them",
        "It was drawn on another series or a reformatted view; give the series it was drawn on as --source.",
        where=where,
        measured=across_mm,
        limit=work.limit_mm,
        unit="mm",
    )


def _layers(work: _Placement, contours: Sequence[Contour], axis: int) -> list[Layer]:
    """The contours by position along the axis, ascending; positions nearer than the limit are one."""
    u, v = across(axis)
    indices = [_indices(work, c) for c in contours]
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


def _inside_grid(work: _Placement, layers: Sequence[Layer], axis: int) -> list[Layer]:
    """The layers that reach the grid. Contours beyond it are listed, and so are those its border cuts."""
    u, v = across(axis)
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
        said = f"{work.share(outside)} left out: outside the source grid"
        hint = "The source is cropped, or is not the series the ROI was drawn on."
        work.say(Code.CONTOUR_OUTSIDE, said, hint, where=_names(outside))
    if clipped:
        said = f"{work.share(clipped)} clipped at the border of the source grid, up to {max(clipped.values()):.3g} mm"
        work.say(Code.CONTOUR_CLIPPED, said, where=_names(clipped))
    if not kept:
        said = "all its contours lie outside the source grid"
        raise work.refused(Code.EMPTY_ROI, said, "Give the series the ROI was drawn on as --source.")
    return kept


def _say_how_combined(work: _Placement, layers: Sequence[Layer]) -> None:
    if nested := [layer.numbers[n] for layer in layers for n in layer.arrangement.holes]:
        said = f"{work.share(nested)} taken as holes, because they lie within others (even-odd by depth)"
        work.say(Code.CONTOURS_NESTED, said, severity=Severity.INFO, where=_names(nested))
    if united := [layer for layer in layers if layer.arrangement.overlapping]:
        work.say(
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
        said = f"{work.share(repeated)} left out: they repeat another one"
        work.say(Code.CONTOURS_REPEATED, said, where=_names(repeated))
    if crossed := [layer.numbers[n] for layer in layers for n in layer.arrangement.crossed]:
        work.say(
            Code.CONTOUR_CROSSES_ITSELF,
            f"{work.share(crossed)} found crossing themselves; the even-odd rule decided what is inside",
            "Where such a contour winds around a place twice, that place is outside. Look at them.",
            where=_names(crossed),
        )


def _check_planes(work: _Placement, layers: Sequence[Layer], axis: int) -> None:
    """Without interpolation each layer has a plane to itself; those that lie off it are listed with their distance."""
    step_mm = float(work.steps_mm[axis])
    planes = [layer.plane for layer in layers]
    if shared := sorted({p for p in planes if planes.count(p) > 1}):
        raise work.refused(
            Code.CONTOURS_SHARE_PLANE,
            f"contours at different positions would go to one plane of the source grid, in {len(shared)} planes",
            "They were drawn on another, finer series; give that as --source, or allow --interpolate.",
            where=tuple(f"plane {_LETTERS[axis]} = {p}" for p in shared),
        )
    off = [(layer, abs(layer.position - layer.plane) * step_mm) for layer in layers]
    off = [(layer, distance) for layer, distance in off if distance > work.limit_mm]
    if off:
        largest = max(distance for _, distance in off)
        work.say(
            Code.CONTOUR_BETWEEN_PLANES,
            f"contours at {len(off)} of {len(layers)} positions lie between planes and were put on the nearest, "
            f"up to {largest:.3g} mm away",
            "They were drawn on another series, or on one with other planes; give that as --source if you have it.",
            where=tuple(
                f"{', '.join(_names(layer.numbers))}: {distance:.3g} mm to plane {_LETTERS[axis]} = {layer.plane}"
                for layer, distance in off
            ),
            measured=largest,
            limit=step_mm / 2,
            unit="mm",
        )


def _check_images(
    work: _Placement, contours: Sequence[Contour], layers: Sequence[Layer], image_uids: Sequence[str]
) -> None:
    """A contour may say which image it was drawn on; its position decides, and a contradiction is listed."""
    plane = {number: layer.plane for layer in layers for number in layer.numbers}
    known = set(image_uids)
    wrong = [
        c.number
        for c in contours
        if c.number in plane and known.intersection(c.image_uids) and image_uids[plane[c.number]] not in c.image_uids
    ]
    if wrong:
        said = f"{work.share(wrong)} found naming another image of the source than the one at their position"
        hint = "The position was followed. The references or the coordinates are wrong; look at these planes."
        work.say(Code.CONTOUR_OTHER_IMAGE, said, hint, where=_names(wrong))


def _indices(work: _Placement, contour: Contour) -> NDArray[np.float64]:
    """(n, 3) continuous (i, j, k)."""
    exact = contour.points @ work.to_index[:3, :3].T + work.to_index[:3, 3]
    return np.asarray(np.round(exact, _DECIMALS))


def _spread(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root-mean-square extent along the three principal directions, largest first, in mm."""
    return np.asarray(np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / np.sqrt(len(points)))


def _names(numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"contour {number}" for number in sorted(numbers))
