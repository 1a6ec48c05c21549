"""Explain why voxel centres and DICOM tags of an image set give different places: as findings, or as a refusal.

Rules:
- A difference that means wrong coordinates is refused: half a slice (projects of Mimics 14 and 15), corners for centres
  (11 to 13), a frame moved or turned, pixels resized, planes dropped.
- A difference that means another grid in the same place (crop, reduce, reslice) is a finding. A crop and a reduction
  are still proven by the tags; after a reslice nothing proves the frame, which is a finding too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..geometry.affine import Matrix
from ..geometry.grid import GeometryError, Grid, Plane
from ..geometry.stack import Stack, fit_stack
from .bundle import BundleImage, format_shape

CLAUSE = "PS3.3 C.7.6.2.1.1"
_REDUCTIONS = range(2, 6)  # Mimics joins groups of 2 x 2 to 5 x 5 pixels
_HALF_VOXEL = 0.51  # from a voxel's centre to its face, and a little for rounding
_LEAST_INSIDE = 0.5  # a resliced image set of which less lies within its series was moved
_SAMPLES = 9  # points along an axis by which a share of a block is measured
_USE_EXPORT = "Convert what File > Export > DICOM writes instead, or give the original series with --source."


@dataclass(frozen=True, slots=True)
class _Match:
    """How the axes of two grids pair. axis[a]: the grid's axis along the tags' axis a. sign[a]: -1 where against it.

    ratio[a]: the grid's step over that of the tags. aligned[a], same_step[a]: whether direction and step are the same,
    within the limit over the whole length. same_shape: whether both have as many voxels along every axis.
    """

    axis: NDArray[np.int64]
    sign: Matrix
    ratio: Matrix
    aligned: NDArray[np.bool_]
    same_step: NDArray[np.bool_]
    same_shape: bool

    @property
    def has_same_rows_and_columns(self) -> bool:
        """Whether rows and columns of both run and step alike, whatever their planes do."""
        return bool(self.aligned[:2].all() and self.same_step[:2].all())

    def find_reduction(self, tags: Grid, limit_mm: float) -> int | None:
        """Find how many pixels along each axis of a plane were joined into one; None where that is not what differs."""
        reduction = int(np.rint(self.ratio[0]))
        if reduction not in _REDUCTIONS or not self.same_step[2]:
            return None
        off_mm = np.abs(self.ratio[:2] / reduction - 1) * _extent(tags)[:2]
        return reduction if (off_mm <= limit_mm).all() else None


@dataclass(frozen=True, slots=True)
class TagDifference:
    """A grid and tags that do not agree.

    grid: fitted to the voxel centres. planes: those of the tags. flipped: whether the grid's planes run against those of
    Mimics' buffer. limit: how far tags and centres may differ, in mm.
    """

    grid: Grid
    image: BundleImage
    planes: list[Plane]
    flipped: bool
    limit: float
    policy: Policy

    def explain(self) -> list[Finding]:
        """Explain the difference. Raises PipelineError where it means that the coordinates are wrong."""
        try:
            series = fit_stack(
                self.planes,
                limit_mm=self.limit,
                keep_skew=self.policy.skew_limit,
                keep_mm=self.policy.qform_limit_mm,
                assumed_step_mm=self.grid.spacing[2],
            )
        except GeometryError as error:
            return [assume_frame(self.image, f"its DICOM tags describe no stack of planes ({error})")]
        tags = series.grid
        self._refuse_stl_origin(tags)
        match = _match_axes(self.grid, tags, self.limit)
        if match is None:
            return self._explain_reslice(tags)
        if series.residual_mm > self.limit and match.has_same_rows_and_columns:
            raise self._planes_dropped(series)
        if not match.aligned.all():
            return self._explain_turn(tags, match)
        if match.same_step.all():
            return self._explain_shift(tags, match)
        reduction = match.find_reduction(tags, self.limit)
        if reduction is not None:
            return self._explain_reduction(tags, match, reduction)
        if match.same_shape:
            raise self._pixels_resized(tags)
        return self._explain_reslice(tags)

    def _refuse_stl_origin(self, tags: Grid) -> None:
        """Mimics 11 to 13: x = y = 0 at the corner of the first voxel, so its centre lies at half a pixel."""
        first = self.grid.points((0, 0, self.grid.shape[2] - 1 if self.flipped else 0))
        half = np.array(self.grid.spacing[:2]) / 2
        if (np.abs(np.abs(first[:2]) - half) < self.policy.centre_limit_mm).all():
            raise self._refusal(
                Code.CORNER_ORIGIN,
                "has its origin at the corner of the first voxel, not in the patient's frame",
                "This is the “STL coordinate system” of Mimics 11 to 13. Let Mimics convert the project when it opens.",
                tags,
            )

    def _explain_turn(self, tags: Grid, match: _Match) -> list[Finding]:
        """Explain axes of other directions: a tilt taken out or invented, a turned frame, or a reslice."""
        if match.same_shape and match.has_same_rows_and_columns:
            raise self._tilt_differs(tags)
        if match.same_shape and match.same_step.all():
            raise self._frame_moved(tags)
        return self._explain_reslice(tags)

    def _explain_shift(self, tags: Grid, match: _Match) -> list[Finding]:
        """Explain one lattice that is displaced: a crop where it is by whole voxels and inside of the series."""
        spacing = np.array(self.grid.spacing)
        start = np.zeros(3)
        start[match.axis] = np.where(match.sign > 0, 0, np.array(self.grid.shape)[match.axis] - 1)
        off = np.linalg.inv(self.grid.lps[:3, :3]) @ (self.grid.points(start) - tags.points((0, 0, 0)))
        if not match.same_shape:
            off = off - np.rint(off)
        zero = (np.abs(off) * spacing <= self.limit)[match.axis]
        half = (np.abs(np.abs(off) - 0.5) * spacing <= self.limit)[match.axis]
        if zero[:2].all() and half[2]:
            hint = "Projects made by Mimics 14 or 15 keep it so. Let Mimics convert the project when it opens it."
            raise self._refusal(Code.HALF_SLICE_SHIFT, "lies half a slice from where its DICOM tags put it", hint, tags)
        if half[:2].all() and (zero[2] or half[2]):
            hint = "It counts from the corner of a voxel, not from its centre, as old projects do. "
            raise self._refusal(
                Code.CORNER_ORIGIN, "lies half a pixel from where its tags put it", hint + _USE_EXPORT, tags
            )
        if not zero.all() or match.same_shape:
            raise self._frame_moved(tags)
        if self._share_inside(tags) < 1:
            return self._explain_reslice(tags)
        part = f"is a part of its series, {format_shape(self.grid.shape)} of {format_shape(tags.shape)} voxels"
        return [self._place_confirmed(part, Code.FRAME_CONFIRMED, Severity.INFO)]

    def _explain_reduction(self, tags: Grid, match: _Match, n: int) -> list[Finding]:
        """Explain n x n pixels joined into one, whose centre is the middle of theirs: (n - 1) / 2 pixels further in."""
        ends = self.grid.points([(0, 0, 0), tuple(n - 1 for n in self.grid.shape)])
        first = ((ends - tags.lps[:3, 3]) @ np.linalg.inv(tags.lps[:3, :3]).T).min(axis=0)
        spacing = np.array(tags.spacing)
        spare = np.array(tags.shape) - n * np.array(self.grid.shape)[match.axis]
        inset = first - np.array([(n - 1) / 2, (n - 1) / 2, 0])
        whole = np.rint(inset)
        fits = np.abs(inset - whole) * spacing <= self.limit
        held = ((whole >= np.minimum(spare, 0)) & (whole <= np.maximum(spare, 0)))[:2]
        if fits.all() and held.all():
            joined = f"was reduced {n} x {n}: its pixels are {n} times those of the files"
            return [self._place_confirmed(joined, Code.REDUCED_IMAGES, Severity.WARNING)]
        if (np.abs(first[:2]) * spacing[:2] <= self.limit).all() and fits[2]:
            raise self._refusal(
                Code.REDUCED_IMAGES,
                f"was reduced {n} x {n}, but its centres are those of the first of the joined pixels, "
                f"{(n - 1) / 2 * spacing[0]:.4g} mm from the middle",
                f"Load the project without reducing the images, or: {_USE_EXPORT}",
                tags,
            )
        raise self._frame_moved(tags)

    def _explain_reslice(self, tags: Grid) -> list[Finding]:
        """Explain another lattice within the series. Raises FRAME_CHANGED for one that lies mostly outside of it."""
        share = self._share_inside(tags)
        if share < _LEAST_INSIDE:
            raise self._frame_moved(tags)
        shapes = f"{format_shape(self.grid.shape)} voxels, the files {format_shape(tags.shape)}"
        inside = f"{100 * share:.0f} % of it lies within the series"
        return [
            assume_frame(self.image, f"it was resliced ({shapes}), so the tags no longer describe it; {inside}"),
        ]

    def _share_inside(self, tags: Grid) -> float:
        """The share of the grid that lies within the block of the tags."""
        steps = [np.linspace(0, n - 1, _SAMPLES) for n in self.grid.shape]
        points = self.grid.points(np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3))
        ijk = (points - tags.lps[:3, 3]) @ np.linalg.inv(tags.lps[:3, :3]).T
        last = np.array(tags.shape) - 1
        return float(((ijk >= -_HALF_VOXEL) & (ijk <= last + _HALF_VOXEL)).all(axis=1).mean())

    def _place_confirmed(self, what: str, code: Code, severity: Severity) -> Finding:
        message = f"image set “{self.image.name}” {what}; the DICOM tags confirm its place"
        return Finding(code, message, "The result is on the grid Mimics has now.", severity, where=(self.image.name,))

    def _planes_dropped(self, series: Stack) -> PipelineError:
        steps = np.diff(series.offsets[:, 2])
        k = int(np.abs(steps - np.median(steps)).argmax())
        return self._refusal(
            Code.PLANES_DROPPED,
            "has evenly spaced planes, but by their DICOM tags they are not: "
            f"from plane {k} to {k + 1} it is {steps[k]:.4g} mm, usually {np.median(steps):.4g} mm",
            f"A slice was left out or dropped, or the series is unevenly spaced. {_USE_EXPORT}",
            series.grid,
            max(find_nearest(self.grid, plane)[1] for plane in self.planes),
        )

    def _tilt_differs(self, tags: Grid) -> PipelineError:
        lean = f"by {self.grid.shear_degrees:.2f} degrees, and its DICOM tags by {tags.shear_degrees:.2f}"
        hint = f"The gantry tilt was taken out without resampling, or invented. {_USE_EXPORT}"
        return self._refusal(Code.GANTRY_TILT, f"leans {lean}", hint, tags)

    def _pixels_resized(self, tags: Grid) -> PipelineError:
        ours, theirs = (" x ".join(f"{s:.4g}" for s in g.spacing) for g in (self.grid, tags))
        hint = (
            f"Rectangular pixels were “resized” on import, which keeps the voxels and falsifies lengths. {_USE_EXPORT}"
        )
        return self._refusal(
            Code.RESIZED_PIXELS, f"has voxels of {ours} mm, and its DICOM tags say {theirs} mm", hint, tags
        )

    def _frame_moved(self, tags: Grid) -> PipelineError:
        cause = "a registration moved it" if self.image.registered else "the coordinate system was changed in Mimics"
        hint = f"Most likely {cause} (Reslice with “Update CS”, Change orientation, Register). {_USE_EXPORT}"
        where = "is not where its DICOM tags put it"
        return self._refusal(Code.FRAME_CHANGED, where, hint, tags)

    def _refusal(self, code: Code, what: str, hint: str, tags: Grid, distance: float | None = None) -> PipelineError:
        if distance is None:
            distance = _measure_corner_distance(self.grid, tags)
        return refuse(
            code,
            f"image set “{self.image.name}” {what}: {distance:.4g} mm",
            hint,
            clause=CLAUSE,
            where=(self.image.name,),
            measured=distance,
            limit=self.limit,
            unit="mm",
        )


def find_nearest(grid: Grid, plane: Plane) -> tuple[NDArray[np.int64], float]:
    """Find the voxels nearest to a plane's corners, (4, 3), and the largest distance to them in mm."""
    exact = (plane.corners() - grid.lps[:3, 3]) @ np.linalg.inv(grid.lps[:3, :3]).T
    nearest = np.rint(exact)
    off = (exact - nearest) @ grid.lps[:3, :3].T
    return nearest.astype(np.int64), float(np.linalg.norm(off, axis=1).max())


def assume_frame(image: BundleImage, why: str) -> Finding:
    """Assume that the frame is LPS, with a warning that nothing confirms it.

    Raises PipelineError FRAME_CHANGED for an image set that was registered, since its frame may be a moved one.
    """
    if image.registered:
        raise refuse(
            Code.FRAME_CHANGED,
            f"image set “{image.name}” carries a registration, and {why}",
            f"Nothing tells whether its centres are in the patient's frame or the moved one. {_USE_EXPORT}",
            where=(image.name,),
        )
    return Finding(
        Code.FRAME_ASSUMED,
        f"nothing confirms that the frame of image set “{image.name}” is the patient's (LPS): {why}",
        "Current versions of Mimics use it; projects of Mimics 11 to 15 and moved coordinate systems do not.",
        Severity.WARNING,
        where=(image.name,),
    )


def _match_axes(grid: Grid, tags: Grid, limit_mm: float) -> _Match | None:
    """Pair the axes nearest in direction; None where the pairs are not one to one."""
    ours, theirs = grid.lps[:3, :3] / grid.spacing, tags.lps[:3, :3] / tags.spacing
    cosines = ours.T @ theirs
    axis = np.abs(cosines).argmax(axis=0)
    if sorted(axis.tolist()) != [0, 1, 2]:
        return None
    sign = np.sign(cosines[axis, range(3)])
    ratio = np.array(grid.spacing)[axis] / np.array(tags.spacing)
    drift_mm = np.linalg.norm(ours[:, axis] * sign - theirs, axis=0) * _extent(tags)
    same_step = np.abs(ratio - 1) * _extent(tags) <= limit_mm
    same_shape = tuple(grid.shape[n] for n in axis) == tags.shape
    return _Match(axis, sign, ratio, drift_mm <= limit_mm, same_step, same_shape)


def _extent(grid: Grid) -> Matrix:
    """(3,) the distance in mm from the first to the last voxel along each axis."""
    return np.asarray(np.array(grid.spacing) * (np.array(grid.shape) - 1))


def _measure_corner_distance(grid: Grid, tags: Grid) -> float:
    """Measure the largest distance in mm between a corner of the grid and the corner of the tags' block nearest to it."""
    return float(np.linalg.norm(grid.corners()[:, None] - tags.corners()[None], axis=2).min(axis=1).max())
