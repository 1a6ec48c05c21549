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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.decode import contours as flat
from pipeline.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.geometry import Grid
from pipeline.mask import Array, Voxels

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_XOR = "CLOSEDPLANAR_XOR"
_DECIMALS = 6
# Two points rounded to 0.01 mm each: boundaries nearer than this touch, and do not overlap.
_TOUCH_MM = 0.02
# Positions further apart than this many times the usual step have a gap between them.
_GAP = 1.5
_CLAUSE = "PS3.3 C.8.8.6"
_PLANES = "ijk"


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One item of a Contour Sequence. number: from 1 within its ROI. points: (n, 3) LPS mm. image_uids: of the images
    it says it was drawn on."""

    number: int
    kind: str
    points: NDArray[np.float64]
    image_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoiReport:
    """Contours against voxels for one ROI, for the sidecar. Areas are sums over planes; holes are subtracted.

    direction: the index (i, j or k) the contour planes are stacked along. contours_used: those that were rasterised.
    Areas and volumes of the contours include what the border of the grid cut off.
    """

    number: int
    name: str
    direction: str
    contours: int
    contours_used: int
    planes: int
    holes: int
    contour_area_mm2: float
    contour_volume_ml: float
    voxels: int
    voxel_area_mm2: float
    voxel_volume_ml: float
    interpolated: bool

    @property
    def difference_percent(self) -> float:
        """Voxels against contours, in percent of the contours."""
        return 100 * (self.voxel_volume_ml / self.contour_volume_ml - 1)

    def as_json(self) -> dict[str, Any]:
        return {
            "Number": self.number,
            "Name": self.name,
            "Direction": self.direction,
            "Contours": self.contours,
            "ContoursUsed": self.contours_used,
            "Planes": self.planes,
            "Holes": self.holes,
            "ContourAreaMm2": self.contour_area_mm2,
            "ContourVolumeMl": self.contour_volume_ml,
            "Voxels": self.voxels,
            "VoxelAreaMm2": self.voxel_area_mm2,
            "VoxelVolumeMl": self.voxel_volume_ml,
            "DifferencePercent": self.difference_percent,
            "Interpolated": self.interpolated,
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """The closed contours at one position along `axis`: their polygons and how they combine. position: in steps."""

    position: float
    contours: tuple[Contour, ...]
    polygons: tuple[flat.Polygon, ...]
    arrangement: flat.Arrangement

    @property
    def plane(self) -> int:
        return int(np.floor(self.position + 0.5))


class _Placement:
    """One ROI being placed: collects its findings as it goes."""

    def __init__(self, name: str, grid: Grid, limit_mm: float) -> None:
        self.name, self.grid, self.limit_mm = name, grid, limit_mm
        self.findings: list[Finding] = []
        self.to_index = np.linalg.inv(grid.lps)
        # The distance between neighbouring planes of each direction, square to them.
        self.steps_mm = 1 / np.linalg.norm(self.to_index[:3, :3], axis=1)

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
    work = _Placement(name, grid, limit_mm)
    closed = _closed(work, contours)
    axis = _axis(work, closed)
    layers = _inside_grid(work, _layers(work, closed, axis), axis)
    _say_how_combined(work, layers)
    _say_snapped(work, layers, axis, interpolate)
    if axis == 2 and image_uids:
        _say_other_images(work, layers, image_uids)
    block, start = _block(work, layers, axis, interpolate)
    voxels = int(np.count_nonzero(block))
    if voxels == 0:
        raise work.refused(
            Code.EMPTY_ROI,
            "its contours hold no voxel centre",
            "They are smaller than a voxel of the source grid, or lie between its centres; use a finer source.",
        )
    u, v = _across(axis)
    across_mm2 = float(np.linalg.norm(np.cross(grid.lps[:3, u], grid.lps[:3, v])))
    step_mm = float(work.steps_mm[axis])
    area_mm2 = across_mm2 * sum(flat.area(layer.polygons, layer.arrangement) for layer in layers)
    report = RoiReport(
        number=number,
        name=name,
        direction=_PLANES[axis],
        contours=len(contours),
        contours_used=sum(len(layer.contours) for layer in layers),
        planes=int(np.count_nonzero(block.any(axis=tuple(a for a in range(3) if a != 2 - axis)))),
        holes=sum(layer.arrangement.holes for layer in layers),
        contour_area_mm2=area_mm2,
        contour_volume_ml=area_mm2 * _thickness(layers, step_mm, interpolate) / 1000,
        voxels=voxels,
        voxel_area_mm2=voxels * across_mm2,
        voxel_volume_ml=voxels * across_mm2 * step_mm / 1000,
        interpolated=interpolate,
    )
    return _voxels(block, start, grid.shape), report, work.findings


def _closed(work: _Placement, contours: Sequence[Contour]) -> list[Contour]:
    """The contours that can be filled; points, open ones and those without an area are listed."""
    others = [c for c in contours if c.kind not in CLOSED]
    for kind in sorted({c.kind for c in others}):
        of_kind = [c for c in others if c.kind == kind]
        work.say(
            Code.CONTOUR_NOT_CLOSED,
            f"{len(of_kind)} of {len(contours)} contours are {kind} and hold no voxels",
            "A line or a point has no inside; they were left out.",
            where=_names(of_kind),
        )
    closed = [c for c in contours if c.kind in CLOSED]
    areas = [c for c in closed if len(c.points) >= 3 and _spread(c.points)[1] > _TOUCH_MM / 2]
    if len(areas) < len(closed):
        lost = [c for c in closed if all(c is not kept for kept in areas)]
        work.say(
            Code.CONTOUR_WITHOUT_AREA,
            f"{len(lost)} closed contours enclose nothing: fewer than three points, or all on one line",
            "They were left out; they are usually a slip of the drawing tool.",
            where=_names(lost),
        )
    if not areas:
        raise work.refused(
            Code.EMPTY_ROI,
            f"none of its {len(contours)} contours encloses an area",
            "There is nothing to fill; choose other ROIs with --rois.",
        )
    return areas


def _axis(work: _Placement, contours: Sequence[Contour]) -> int:
    """The index direction all contours are stacked along; k where they fit it, else the one they are flattest across."""
    axes: dict[int, list[Contour]] = {}
    for contour in contours:
        across = np.ptp(_indices(work, contour), axis=0) * work.steps_mm
        axis = 2 if across[2] <= work.limit_mm else int(across.argmin())
        if across[axis] > work.limit_mm:
            raise _not_in_a_plane(work, contour, float(across[axis]))
        axes.setdefault(axis, []).append(contour)
    if len(axes) > 1:
        counts = ", ".join(f"{len(found)} along {_PLANES[axis]}" for axis, found in sorted(axes.items()))
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
    where = _names([contour])
    if flatness_mm > work.limit_mm:
        return work.refused(
            Code.CONTOUR_NOT_PLANAR,
            f"contour {contour.number} is called {contour.kind} but its points spread {flatness_mm:.3g} mm across any plane",
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
        f"the plane of contour {contour.number} leans {degrees:.3g}° from the {_PLANES[axis]} planes of the source grid, "
        f"and crosses {across_mm:.3g} mm of them",
        "It was drawn on another series or a reformatted view; give the series it was drawn on as --source.",
        where=where,
        measured=across_mm,
        limit=work.limit_mm,
        unit="mm",
    )


def _layers(work: _Placement, contours: Sequence[Contour], axis: int) -> list[_Layer]:
    """The contours by position along the axis, ascending; positions nearer than the limit are one."""
    u, v = _across(axis)
    indices = [_indices(work, c) for c in contours]
    positions = np.array([q[:, axis].mean() for q in indices])
    order = np.argsort(positions, kind="stable")
    new = np.diff(positions[order]) * work.steps_mm[axis] > work.limit_mm
    layers = []
    for members in np.split(order, np.flatnonzero(new) + 1):
        found = tuple(contours[n] for n in members)
        polygons = tuple(indices[n][:, [u, v]] for n in members)
        arrangement = flat.arrange(polygons, _TOUCH_MM, (work.steps_mm[u], work.steps_mm[v]))
        if any(c.kind == _XOR for c in found):
            arrangement = flat.Arrangement(tuple(0 for _ in found), (), arrangement.crossed, xor=True)
        # Rounded as the points are, so that a contour exactly half-way goes the same way on every grid.
        position = float(np.round(positions[members].mean(), _DECIMALS))
        layers.append(_Layer(position, found, polygons, arrangement))
    return layers


def _inside_grid(work: _Placement, layers: Sequence[_Layer], axis: int) -> list[_Layer]:
    """The layers that reach the grid. Contours beyond it are listed, and so are those its border cuts."""
    u, v = _across(axis)
    end = np.array([work.grid.shape[u], work.grid.shape[v]]) - 0.5
    outside: list[Contour] = []
    clipped: list[Contour] = []
    over_mm = 0.0
    kept = []
    for layer in layers:
        reaches = False
        for contour, polygon in zip(layer.contours, layer.polygons, strict=True):
            low, high = polygon.min(axis=0), polygon.max(axis=0)
            if not 0 <= layer.plane < work.grid.shape[axis] or (high < -0.5).any() or (low > end).any():
                outside.append(contour)
                continue
            reaches = True
            over = float((np.maximum(-0.5 - low, high - end) * work.steps_mm[[u, v]]).max())
            if over > _TOUCH_MM:
                clipped.append(contour)
                over_mm = max(over_mm, over)
        if reaches:
            kept.append(layer)
    if outside:
        work.say(
            Code.CONTOUR_OUTSIDE,
            f"{len(outside)} contours lie outside the source grid and gave no voxels",
            "The source is cropped, or is not the series the ROI was drawn on.",
            where=_names(outside),
        )
    if clipped:
        work.say(
            Code.CONTOUR_CLIPPED,
            f"{len(clipped)} contours reach up to {over_mm:.3g} mm over the border of the source grid and were clipped there",
            where=_names(clipped),
        )
    if not kept:
        raise work.refused(
            Code.EMPTY_ROI,
            "all its contours lie outside the source grid",
            "Give the series the ROI was drawn on as --source.",
        )
    return kept


def _say_how_combined(work: _Placement, layers: Sequence[_Layer]) -> None:
    def planes(of: Callable[[_Layer], object]) -> list[_Layer]:
        return [layer for layer in layers if of(layer)]

    if holes := planes(lambda layer: layer.arrangement.holes):
        count = sum(layer.arrangement.holes for layer in holes)
        said = f"{count} contours in {len(holes)} planes lie within others and were taken as holes (even-odd by depth)"
        work.say(Code.CONTOURS_NESTED, said, severity=Severity.INFO)
    if united := planes(lambda layer: layer.arrangement.overlapping):
        where = tuple(f"contours {x.contours[a].number} and {x.contours[b].number}" for x in united for a, b in x.arrangement.overlapping)
        work.say(
            Code.CONTOURS_OVERLAP,
            f"contours overlap in part in {len(united)} planes and were united, with nothing cut out where they overlap",
            "Look at these planes; contours meant as holes must lie within the outer one.",
            where=where,
        )
    if repeated := [layer.contours[n] for layer in layers for n in layer.arrangement.repeated]:
        said = f"{len(repeated)} contours repeat another one and were counted once"
        work.say(Code.CONTOURS_REPEATED, said, where=_names(repeated))
    if crossed := [layer.contours[n] for layer in layers for n in layer.arrangement.crossed]:
        work.say(
            Code.CONTOUR_CROSSES_ITSELF,
            f"{len(crossed)} contours cross themselves; their insides were decided by the even-odd rule",
            "Where such a contour winds around a place twice, that place is outside. Look at them.",
            where=_names(crossed),
        )


def _say_snapped(work: _Placement, layers: Sequence[_Layer], axis: int, interpolate: bool) -> None:
    step_mm = float(work.steps_mm[axis])
    planes = [layer.plane for layer in layers]
    shared = sorted({p for p in planes if planes.count(p) > 1})
    if interpolate:
        work.say(
            Code.CONTOURS_INTERPOLATED,
            f"voxels were interpolated between contours at {len(layers)} positions, by their signed distances",
            severity=Severity.INFO,
        )
        return
    if shared:
        raise work.refused(
            Code.CONTOURS_SHARE_PLANE,
            f"contours at different positions would go to one plane of the source grid, in {len(shared)} planes",
            "They were drawn on another, finer series; give that as --source, or allow --interpolate.",
            where=tuple(f"plane {_PLANES[axis]} = {p}" for p in shared),
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
                f"{', '.join(_names(layer.contours))}: {distance:.3g} mm to plane {_PLANES[axis]} = {layer.plane}"
                for layer, distance in off
            ),
            measured=largest,
            limit=step_mm / 2,
            unit="mm",
        )


def _say_other_images(work: _Placement, layers: Sequence[_Layer], image_uids: Sequence[str]) -> None:
    known = set(image_uids)
    wrong = [
        contour
        for layer in layers
        for contour in layer.contours
        if known.intersection(contour.image_uids) and image_uids[layer.plane] not in contour.image_uids
    ]
    if wrong:
        work.say(
            Code.CONTOUR_OTHER_IMAGE,
            f"{len(wrong)} contours refer to another image of the source than the one at their position; "
            "the position was followed",
            "The references or the coordinates are wrong; look at these planes.",
            where=_names(wrong),
        )


def _block(work: _Placement, layers: Sequence[_Layer], axis: int, interpolate: bool) -> tuple[flat.Raster, tuple[int, int, int]]:
    """The voxels within the box of the contours, as (k, j, i), and the box's first (k, j, i)."""
    u, v = _across(axis)
    shape = work.grid.shape
    corners = np.concatenate([[p.min(axis=0), p.max(axis=0)] for layer in layers for p in layer.polygons])
    last_pixel = np.array([shape[u], shape[v]]) - 1
    low = np.clip(np.ceil(corners.min(axis=0)), 0, last_pixel).astype(int)
    high = np.clip(np.floor(corners.max(axis=0)), 0, last_pixel).astype(int)
    size = (int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1)
    first = min(layer.plane for layer in layers)
    stacked = np.zeros((max(layer.plane for layer in layers) - first + 1, *size), np.bool_)

    def filled(layer: _Layer) -> flat.Raster:
        return flat.fill([p - low for p in layer.polygons], layer.arrangement, size)

    if interpolate:
        _interpolated(stacked, first, layers, filled, (work.steps_mm[v], work.steps_mm[u]))
    else:
        for layer in layers:
            stacked[layer.plane - first] = filled(layer)
    start = [0, 0, 0]
    start[2 - axis], start[2 - u], start[2 - v] = first, int(low[0]), int(low[1])
    return np.moveaxis(stacked, 0, 2 - axis), (start[0], start[1], start[2])


def _interpolated(
    stacked: flat.Raster,
    first: int,
    layers: Sequence[_Layer],
    filled: Callable[[_Layer], flat.Raster],
    spacing: tuple[float, float],
) -> None:
    """Fill the planes between neighbouring positions, and the plane nearest to an end of the ROI or of a gap.

    The zero line of the linearly interpolated signed distance is the boundary (shape-based interpolation).
    """
    from scipy.ndimage import distance_transform_edt

    def signed(layer: _Layer) -> NDArray[np.float64]:
        # A margin, so that a raster that is full has an outside; one that is empty is far from any inside.
        wide = np.pad(filled(layer), 1)
        if not wide.any():
            return np.full(wide.shape, -float(np.hypot(wide.shape[0] * spacing[0], wide.shape[1] * spacing[1])))
        inside, outside = (distance_transform_edt(w, sampling=spacing) for w in (wide, ~wide))
        return np.asarray(inside - outside)

    below, below_signed = layers[0], signed(layers[0])
    widest = _GAP * _usual_step(layers)
    stacked[below.plane - first] = below_signed[1:-1, 1:-1] > 0
    for above in layers[1:]:
        above_signed = signed(above)
        if above.position - below.position > widest:
            stacked[above.plane - first] = above_signed[1:-1, 1:-1] > 0
        else:
            for plane in range(int(np.ceil(below.position)), int(np.floor(above.position)) + 1):
                share = (plane - below.position) / (above.position - below.position)
                between = (1 - share) * below_signed + share * above_signed
                stacked[plane - first] = between[1:-1, 1:-1] > 0
            if above is layers[-1] and above.plane > above.position:
                stacked[above.plane - first] = above_signed[1:-1, 1:-1] > 0
        below, below_signed = above, above_signed


def _usual_step(layers: Sequence[_Layer]) -> float:
    """The median distance of neighbouring positions, in steps of the grid; 1 where there is one position."""
    return float(np.median(np.diff([layer.position for layer in layers]))) if len(layers) > 1 else 1.0


def _thickness(layers: Sequence[_Layer], step_mm: float, interpolate: bool) -> float:
    """What one contour stands for along the stack, in mm: a plane of the grid, or with interpolation its own step."""
    return step_mm * (_usual_step(layers) if interpolate else 1.0)


def _voxels(block: flat.Raster, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Voxels:
    """The block in its grid, kept as bits: many ROIs may wait to be written, each plane unpacked when it is asked for."""
    columns, rows, planes = shape
    k0, j0, i0 = start
    depth, height, width = block.shape
    bits = np.packbits(block, axis=2)

    def plane(k: int) -> Array:
        values = np.zeros((rows, columns), np.uint8)
        if k0 <= k < k0 + depth:
            values[j0 : j0 + height, i0 : i0 + width] = np.unpackbits(bits[k - k0], axis=1, count=width)
        return values

    return Voxels((columns, rows, planes), np.dtype(np.uint8), plane)


def _indices(work: _Placement, contour: Contour) -> NDArray[np.float64]:
    """(n, 3) continuous (i, j, k)."""
    exact = contour.points @ work.to_index[:3, :3].T + work.to_index[:3, 3]
    return np.asarray(np.round(exact, _DECIMALS))


def _across(axis: int) -> tuple[int, int]:
    """The two index directions within a plane stacked along `axis`: along its columns, and along its rows."""
    return ((1, 2), (0, 2), (0, 1))[axis]


def _spread(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root-mean-square extent along the three principal directions, largest first, in mm."""
    return np.asarray(np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / np.sqrt(len(points)))


def _names(contours: Sequence[Contour]) -> tuple[str, ...]:
    return tuple(f"contour {c.number}" for c in contours)
