"""Why voxel centres and DICOM tags of an image set do not speak of the same place: as findings, or as a refusal.

Rules:
- A difference that means wrong coordinates is refused: half a slice (projects of Mimics 14 and 15), corners for centres
  (11 to 13), a frame moved or turned, pixels resized, planes dropped.
- A difference that means another grid in the same place (crop, reduce, reslice) is a finding. A crop and a reduction
  are still proven by the tags; after a reslice nothing proves the frame, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..geometry.affine import Matrix
from ..geometry.grid import GeometryError, Grid, Plane
from ..geometry.stack import Stack, stack
from .bundle import BundleImage

CLAUSE = "PS3.3 C.7.6.2.1.1"
_USE_EXPORT = "Convert what File > Export > DICOM writes instead, or give the original series with --source."


@dataclass(frozen=True, slots=True)
class _Match:
    """How the axes of two grids pair. axis[a]: the grid's axis along the tags' axis a; sign[a]: or against it.

    drift_mm[a]: how far their directions part over the whole length. ratio[a]: the grid's step over that of the tags.
    """

    axis: NDArray[np.int64]
    sign: Matrix
    drift_mm: Matrix
    ratio: Matrix


@dataclass(frozen=True, slots=True)
class TagDifference:
    """A grid and tags that do not agree; `explained` says why, as findings or as a refusal."""

    grid: Grid
    image: BundleImage
    planes: list[Plane]
    flipped: bool
    limit: float
    policy: Policy

    def explained(self) -> list[Finding]:
        step = self.grid.spacing[2]
        try:
            laid = stack(
                self.planes,
                limit_mm=self.limit,
                keep_skew=self.policy.skew_limit,
                keep_mm=self.policy.qform_limit_mm,
                assumed_step_mm=step,
            )
        except GeometryError as error:
            return [frame_assumed(self.image, f"its DICOM tags describe no stack of planes ({error})")]
        tags = laid.grid
        self._refuse_stl_origin(tags)
        match = _match(self.grid, tags)
        if match is None:
            return self._resliced(tags)
        extent = np.array(tags.spacing) * (np.array(tags.shape) - 1)
        aligned = match.drift_mm <= self.limit
        same_step = np.abs(match.ratio - 1) * extent <= self.limit
        same_shape = tuple(self.grid.shape[n] for n in match.axis) == tags.shape
        if laid.residual_mm > self.limit and aligned[:2].all() and same_step[:2].all():
            raise self._dropped(laid)
        if not aligned.all():
            if same_shape and aligned[:2].all() and same_step[:2].all():
                raise self._tilted(tags)
            if same_shape and same_step.all():
                raise self._moved(tags)
            return self._resliced(tags)
        if same_step.all():
            return self._shifted(tags, match, same_shape)
        reduction = int(np.rint(match.ratio[0]))
        if (
            2 <= reduction <= 5
            and same_step[2]
            and (np.abs(match.ratio[:2] / reduction - 1) * extent[:2] <= self.limit).all()
        ):
            return self._reduced(tags, match, reduction)
        if same_shape:
            raise self._resized(tags)
        return self._resliced(tags)

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

    def _shifted(self, tags: Grid, match: _Match, same_shape: bool) -> list[Finding]:
        """One lattice, displaced; a crop when by whole voxels and inside."""
        spacing = np.array(self.grid.spacing)
        start = np.zeros(3)
        start[match.axis] = np.where(match.sign > 0, 0, np.array(self.grid.shape)[match.axis] - 1)
        off = np.linalg.inv(self.grid.lps[:3, :3]) @ (self.grid.points(start) - tags.points((0, 0, 0)))
        if not same_shape:
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
        if not zero.all() or same_shape:
            raise self._moved(tags)
        if self._inside(tags) < 1:
            return self._resliced(tags)
        return [
            self._told(f"is a part of its series, {_by(self.grid.shape)} of {_by(tags.shape)} voxels", Severity.INFO)
        ]

    def _reduced(self, tags: Grid, match: _Match, n: int) -> list[Finding]:
        """n x n pixels joined into one, whose centre is the middle of theirs: (n - 1) / 2 pixels further in."""
        ends = self.grid.points([(0, 0, 0), tuple(n - 1 for n in self.grid.shape)])
        first = ((ends - tags.lps[:3, 3]) @ np.linalg.inv(tags.lps[:3, :3]).T).min(axis=0)
        spacing = np.array(tags.spacing)
        spare = np.array(tags.shape) - n * np.array(self.grid.shape)[match.axis]
        inset = first - np.array([(n - 1) / 2, (n - 1) / 2, 0])
        whole = np.rint(inset)
        fits = np.abs(inset - whole) * spacing <= self.limit
        held = ((whole >= np.minimum(spare, 0)) & (whole <= np.maximum(spare, 0)))[:2]
        if fits.all() and held.all():
            return [self._told(f"was reduced {n} x {n}: its pixels are {n} times those of the files", Severity.WARNING)]
        if (np.abs(first[:2]) * spacing[:2] <= self.limit).all() and fits[2]:
            raise self._refusal(
                Code.REDUCED_IMAGES,
                f"was reduced {n} x {n}, but its centres are those of the first of the joined pixels, "
                f"{(n - 1) / 2 * spacing[0]:.4g} mm from the middle",
                f"Load the project without reducing the images, or: {_USE_EXPORT}",
                tags,
            )
        raise self._moved(tags)

    def _resliced(self, tags: Grid) -> list[Finding]:
        share = self._inside(tags)
        if share < 0.5:
            raise self._moved(tags)
        return [
            frame_assumed(
                self.image,
                f"it was resliced ({_by(self.grid.shape)} voxels, the files {_by(tags.shape)}), so the tags no longer "
                f"describe it; {100 * share:.0f} % of it lies within the series",
            )
        ]

    def _inside(self, tags: Grid) -> float:
        """The share of the grid that lies within the block of the tags."""
        parts = np.stack(np.meshgrid(*[np.linspace(0, n - 1, 9) for n in self.grid.shape], indexing="ij"), -1).reshape(
            -1, 3
        )
        ijk = (self.grid.points(parts) - tags.lps[:3, 3]) @ np.linalg.inv(tags.lps[:3, :3]).T
        return float(((ijk >= -0.51) & (ijk <= np.array(tags.shape) - 0.49)).all(axis=1).mean())

    def _told(self, what: str, severity: Severity) -> Finding:
        code = Code.REDUCED_IMAGES if severity is Severity.WARNING else Code.FRAME_CONFIRMED
        message = f"image set “{self.image.name}” {what}; the DICOM tags confirm its place"
        return Finding(code, message, "The result is on the grid Mimics has now.", severity, where=(self.image.name,))

    def _dropped(self, laid: Stack) -> PipelineError:
        heights = laid.offsets[:, 2]
        steps = np.diff(heights)
        k = int(np.abs(steps - np.median(steps)).argmax())
        return self._refusal(
            Code.PLANES_DROPPED,
            "has evenly spaced planes, but by their DICOM tags they are not: "
            f"from plane {k} to {k + 1} it is {steps[k]:.4g} mm, usually {np.median(steps):.4g} mm",
            f"A slice was left out or dropped, or the series is unevenly spaced. {_USE_EXPORT}",
            laid.grid,
            max(nearest(self.grid, plane)[1] for plane in self.planes),
        )

    def _tilted(self, tags: Grid) -> PipelineError:
        lean = f"by {self.grid.shear_degrees:.2f} degrees, and its DICOM tags by {tags.shear_degrees:.2f}"
        hint = f"The gantry tilt was taken out without resampling, or invented. {_USE_EXPORT}"
        return self._refusal(Code.GANTRY_TILT, f"leans {lean}", hint, tags)

    def _resized(self, tags: Grid) -> PipelineError:
        ours, theirs = (" x ".join(f"{s:.4g}" for s in g.spacing) for g in (self.grid, tags))
        hint = (
            f"Rectangular pixels were “resized” on import, which keeps the voxels and falsifies lengths. {_USE_EXPORT}"
        )
        return self._refusal(
            Code.RESIZED_PIXELS, f"has voxels of {ours} mm, and its DICOM tags say {theirs} mm", hint, tags
        )

    def _moved(self, tags: Grid) -> PipelineError:
        cause = "a registration moved it" if self.image.registered else "the coordinate system was changed in Mimics"
        hint = f"Most likely {cause} (Reslice with “Update CS”, Change orientation, Register). {_USE_EXPORT}"
        where = "is not where its DICOM tags put it"
        return self._refusal(Code.FRAME_CHANGED, where, hint, tags)

    def _refusal(self, code: Code, what: str, hint: str, tags: Grid, distance: float | None = None) -> PipelineError:
        if distance is None:
            distance = _nearest_corner_distance(self.grid, tags)
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


def nearest(grid: Grid, plane: Plane) -> tuple[NDArray[np.int64], float]:
    """(4, 3) the voxels nearest to a plane's corners, and the largest distance to them in mm."""
    exact = (plane.corners() - grid.lps[:3, 3]) @ np.linalg.inv(grid.lps[:3, :3]).T
    nearest = np.rint(exact)
    off = (exact - nearest) @ grid.lps[:3, :3].T
    return nearest.astype(np.int64), float(np.linalg.norm(off, axis=1).max())


def frame_assumed(image: BundleImage, why: str) -> Finding:
    """The warning that nothing confirms the frame. Raises FRAME_CHANGED for an image set that was registered."""
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


def _match(grid: Grid, tags: Grid) -> _Match | None:
    """The pairing of the axes nearest in direction; None where it is not one to one."""
    ours, theirs = grid.lps[:3, :3] / grid.spacing, tags.lps[:3, :3] / tags.spacing
    cosines = ours.T @ theirs
    axis = np.abs(cosines).argmax(axis=0)
    if sorted(axis.tolist()) != [0, 1, 2]:
        return None
    sign = np.sign(cosines[axis, range(3)])
    extent = np.array(tags.spacing) * (np.array(tags.shape) - 1)
    drift = np.linalg.norm(ours[:, axis] * sign - theirs, axis=0) * extent
    return _Match(axis, sign, drift, np.array(grid.spacing)[axis] / np.array(tags.spacing))


def _nearest_corner_distance(grid: Grid, tags: Grid) -> float:
    """The largest distance between a corner of the grid and the corner of the tags' block nearest to it."""
    return float(np.linalg.norm(grid.corners()[:, None] - tags.corners()[None], axis=2).min(axis=1).max())


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
