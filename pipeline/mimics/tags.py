"""The voxel centres Mimics gives against the planes its DICOM tags describe: do both speak of the same place?

The tags are those of the files as they were imported. The centres are of the image set as it is now, in a frame that is
LPS in current projects, and was not always. So agreement proves the frame, and a difference has one of few causes.

Rules:
- A slice's tags are paired with a plane of the grid by where they put it, never by their number.
- A difference that means wrong coordinates is refused: half a slice (projects of Mimics 14 and 15), corners for centres
  (11 to 13), a frame moved or turned, pixels resized, planes dropped.
- A difference that means another grid in the same place (crop, reduce, reslice) is a finding. A crop and a reduction
  are still proven by the tags; after a reslice nothing proves the frame, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.core.policy import Policy
from pipeline.geometry.grid import GeometryError, Grid, Matrix, Plane, Stack, corner_indices, stack
from pipeline.mimics.bundle import BundleImage

_CLAUSE = "PS3.3 C.7.6.2.1.1"
_USE_EXPORT = "Convert what File > Export > DICOM writes instead, or give the original series with --source."


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
        return [_assumed(image, "its DICOM tags give no position")]
    reached = [_nearest(grid, plane) for plane in planes]
    if all(distance <= limit_mm and _fills_a_plane(grid, ijk) for ijk, distance in reached):
        farthest = max(distance for _, distance in reached)
        corners = np.array([ijk for ijk, _ in reached])
        return _confirmed(grid, image, corners, farthest, limit_mm) + _reordered(
            grid, image, corners, [index for index, _ in told], flipped
        )
    return _Difference(grid, image, planes, flipped, limit_mm, policy).explained()


def _nearest(grid: Grid, plane: Plane) -> tuple[NDArray[np.int64], float]:
    """(4, 3) the voxels nearest to a plane's corners, and the largest distance to them in mm."""
    exact = (plane.corners() - grid.lps[:3, 3]) @ np.linalg.inv(grid.lps[:3, :3]).T
    nearest = np.rint(exact)
    off = (exact - nearest) @ grid.lps[:3, :3].T
    return nearest.astype(np.int64), float(np.linalg.norm(off, axis=1).max())


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
            clause=_CLAUSE,
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


def _assumed(image: BundleImage, why: str) -> Finding:
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
class _Difference:
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
            return [_assumed(self.image, f"its DICOM tags describe no stack of planes ({error})")]
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
            _assumed(
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
            max(_nearest(self.grid, plane)[1] for plane in self.planes),
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
            distance = _corner_distance(self.grid, tags)
        return refuse(
            code,
            f"image set “{self.image.name}” {what}: {distance:.4g} mm",
            hint,
            clause=_CLAUSE,
            where=(self.image.name,),
            measured=distance,
            limit=self.limit,
            unit="mm",
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


def _corner_distance(grid: Grid, tags: Grid) -> float:
    """The largest distance between a corner of the grid and the corner of the tags' block nearest to it."""
    ours, theirs = (g.points(corner_indices(g.shape)) for g in (grid, tags))
    return float(np.linalg.norm(ours[:, None] - theirs[None], axis=2).min(axis=1).max())


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
