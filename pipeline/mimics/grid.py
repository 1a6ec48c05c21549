"""Find the grid of an image set from the voxel centres Mimics gave, and put its masks on that grid.

Rules:
- All probed centres decide the affine (least squares), and every one of them must lie on it.
- An image set that the self-tests of the export script contradict is refused.
- The frame is taken for LPS because the DICOM tags confirm it, compared in `mimics.tags`. A frame that nothing confirms
  is a finding; one that the tags contradict is refused.
- Mimics may count planes downwards. Then the planes, and with them the labels, are reversed, so that the grid is
  right-handed like every other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..core.arguments import bad_option, check_number
from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..geometry.affine import Matrix
from ..geometry.grid import GeometryError, Grid, Plane
from ..geometry.stack import fit_stack
from ..volume.mask import MaskVolume, Segment, Voxels
from .bundle import Bundle, BundleImage, BundleMask, as_vector, format_shape
from .tags import compare_with_tags

_SAME_STEP_MM = 1e-4  # steps nearer than this are equal but for the noise of Mimics' float32 centres
_UNKNOWN_THICKNESS_MM = 1.0  # of a single plane whose thickness Mimics does not give


@dataclass(frozen=True, slots=True, eq=False)
class ImageSetGrid:
    """Where an image set lies. flipped: plane k of the grid is plane (last - k) of Mimics' buffer.

    residual_mm: the largest distance of a probed centre's plane to the grid, at its corners.
    """

    grid: Grid
    flipped: bool
    findings: tuple[Finding, ...]
    residual_mm: float

    def reorder(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bring an (i, j, k) buffer of Mimics into the grid's order, or the reverse. A view: nothing is copied."""
        return array[:, :, ::-1] if self.flipped else array


def fit_grid(
    image: BundleImage, *, units_mm_per_unit: float | None = None, policy: Policy | None = None
) -> ImageSetGrid:
    """Find the grid that the probed centres lie on, and compare it with the DICOM tags.

    Args:
        image: the image set, with its probed centres (LPS, in units of the project).
        units_mm_per_unit: length of the project's unit in mm, where the bundle does not give it.
        policy: the limits; by default those of `Policy()`.

    Returns: the grid (LPS, mm) and everything found on the way.

    Raises: PipelineError BUNDLE_INVALID, SELF_TEST_FAILED, UNITS_UNKNOWN, BAD_OPTION, CENTRES_NOT_EVEN, NO_GRID, or what
        the tags contradict (HALF_SLICE_SHIFT, CORNER_ORIGIN, FRAME_CHANGED, REDUCED_IMAGES, RESIZED_PIXELS,
        PLANES_DROPPED, GANTRY_TILT).
    """
    policy = policy or Policy()
    findings = _check_self_tests(image)
    centres = image.centres * _find_mm_per_unit(image, units_mm_per_unit)
    lps = _fit_affine(image, centres, policy)
    planes = _make_planes(image, lps)
    if len(planes) == 1:
        thickness = _find_thickness(image)
        findings.append(_thickness_assumed(image, thickness))
    else:
        thickness = float(np.linalg.norm(lps[:3, 2]))
    limit = policy.corner_limit(min(planes[0].row_spacing, planes[0].column_spacing, thickness))
    try:
        # No skew is kept, since that of probed centres is noise and no value that was printed.
        fitted = fit_stack(planes, limit_mm=limit, keep_skew=0.0, keep_mm=0.0, assumed_step_mm=thickness)
    except GeometryError as error:
        raise _refuse_grid(image, str(error)) from error
    flipped = len(fitted.order) > 1 and fitted.order[0] > fitted.order[-1]
    if flipped:
        findings.append(_planes_flipped(image))
    if fitted.straightened_mm > policy.centre_limit_mm:
        findings.append(_axes_straightened(image, fitted.straightened_mm, limit))
    grid = Grid(fitted.grid.shape, fitted.grid.lps, image.frame_of_reference_uid)
    findings += compare_with_tags(grid, image, flipped=flipped, limit_mm=limit, policy=policy)
    return ImageSetGrid(grid, flipped, tuple(findings), fitted.residual_mm)


def make_masks(
    bundle: Bundle,
    *,
    units_mm_per_unit: float | None = None,
    policy: Policy | None = None,
    fitted: Mapping[int, ImageSetGrid] | None = None,
) -> tuple[tuple[MaskVolume, ...], tuple[Finding, ...]]:
    """Make one Mask (label 1) of each mask of the bundle, on the grid of its own image set.

    Args:
        bundle: the bundle; its voxels are unpacked when they are read, one mask at a time.
        units_mm_per_unit: length of the project's unit in mm, where the bundle does not give it.
        policy: the limits; by default those of `Policy()`.
        fitted: by number, the grids of all image sets that have masks, where they are known.

    Returns: the masks, in the order of the bundle, and everything found on the way.

    Raises: PipelineError as `fit_grid`; BUNDLE_INVALID, when voxels are read that are not what was written.
    """
    images = {m.image.number: m.image for m in bundle.masks}
    grids = fitted or {
        n: fit_grid(image, units_mm_per_unit=units_mm_per_unit, policy=policy) for n, image in images.items()
    }
    findings = [finding for found in grids.values() for finding in found.findings]
    findings += [
        Finding(
            Code.MASK_LEFT_OUT, f"the mask “{name}” was not exported: {why}", severity=Severity.WARNING, where=(name,)
        )
        for name, why in bundle.left_out
    ]

    @lru_cache(maxsize=1)
    def labels(number: int) -> NDArray[np.generic]:
        mask = bundle.masks[number]
        return grids[mask.image.number].reorder(mask.buffer.array() != 0).astype(np.uint8)

    masks = []
    for number, mask in enumerate(bundle.masks):
        findings += _check_mask(mask)
        voxels = Voxels(mask.image.shape, np.dtype(np.uint8), _make_plane_reader(labels, number))
        segment = Segment(1, mask.name or f"mask {number + 1}", mask.colour)
        masks.append(MaskVolume(voxels, grids[mask.image.number].grid, (segment,), mask.name))
    return tuple(masks), tuple(findings)


def _make_plane_reader(
    labels: Callable[[int], NDArray[np.generic]], number: int
) -> Callable[[int], NDArray[np.generic]]:
    return lambda k: np.ascontiguousarray(labels(number)[:, :, k].T)


def _check_mask(mask: BundleMask) -> list[Finding]:
    """Check what the bundle gives for one mask: its image set, and how many voxels are set."""
    found = []
    if mask.image_assumed:
        found.append(
            Finding(
                Code.IMAGE_ASSUMED,
                f"the mask “{mask.name}” belongs to no image set; the active one, “{mask.image.name}”, has its size",
                "Link the mask to its image set in Mimics, or look at the result.",
                Severity.WARNING,
                where=(mask.name,),
            )
        )
    if mask.voxels == 0:
        found.append(
            Finding(Code.EMPTY, f"the mask “{mask.name}” is empty", severity=Severity.WARNING, where=(mask.name,))
        )
    if None not in (mask.voxels, mask.mimics_count) and mask.voxels != mask.mimics_count:
        found.append(
            Finding(
                Code.COUNT_DIFFERS,
                f"the mask “{mask.name}” has {mask.voxels} voxels, and Mimics counts {mask.mimics_count}",
                "The buffer may be in another resolution than the mask is drawn in; look at the result.",
                Severity.WARNING,
                where=(mask.name,),
                measured=float(abs((mask.voxels or 0) - (mask.mimics_count or 0))),
                limit=0.0,
                unit="voxels",
            )
        )
    return found


def _check_self_tests(image: BundleImage) -> list[Finding]:
    """Check what the export script found out about the order of voxels. Raises BUNDLE_INVALID or SELF_TEST_FAILED."""
    if not image.self_tests:
        raise refuse(
            Code.BUNDLE_INVALID,
            f"images[{image.number}].self_tests: there are none",
            "Run export_masks.py in Mimics again; without its tests no place can be trusted.",
            where=(image.name,),
        )
    findings = []
    for test in image.self_tests:
        subject = f"the {test.name} test on image set “{image.name}”"
        if test.passed is False:
            raise refuse(
                Code.SELF_TEST_FAILED,
                f"{subject} failed: {test.detail}",
                "This Mimics orders its voxels in a way that is not known, so no place can be trusted. Convert what "
                "File > Export > DICOM writes instead, and please report the version.",
                where=(image.name,),
            )
        if test.passed is None:
            hint = "The order of the axes is as documented, but was not proven on this machine; look at the result."
            message = f"{subject} could not tell: {test.detail}"
            findings.append(Finding(Code.SELF_TEST_OPEN, message, hint, Severity.WARNING, where=(image.name,)))
    if image.logical_dimensions is not None and image.logical_dimensions != image.shape:
        message = f"image set “{image.name}” has {image.shape} voxels, and Mimics calls it {image.logical_dimensions}"
        hint = "A resampled or unevenly spaced project; its centres decide."
        findings.append(Finding(Code.COUNT_DIFFERS, message, hint, Severity.WARNING, where=(image.name,)))
    return findings


def _find_mm_per_unit(image: BundleImage, given: float | None) -> float:
    """Find the length of the project's unit in mm. Only projects made from BMP, TIFF or JPEG are in other units than mm.

    Raises PipelineError UNITS_UNKNOWN where nothing gives it, BAD_OPTION where `given` contradicts it.
    """
    known = image.units == "mm" or (image.units is None and image.has_tags)
    if given is not None:
        check_number("mm_per_unit", given)
        if known and given != 1:
            raise bad_option("--mm-per-unit (mm_per_unit)", given, f"1 or left out: image set “{image.name}” is in mm")
        return given
    if known:
        return 1.0
    if image.units is None:
        why = "does not say its unit of length, and there are no DICOM tags, which would mean mm"
    else:
        why = f"is in {image.units}, not in mm"
    raise refuse(
        Code.UNITS_UNKNOWN,
        f"image set “{image.name}” {why}",
        "Give the length of one unit in mm with --mm-per-unit: 1 for mm, 0.001 for µm.",
        where=(image.name,),
    )


def _fit_affine(image: BundleImage, centres: Matrix, policy: Policy) -> Matrix:
    """Fit a 4 x 4 affine to the centres by least squares. Raises CENTRES_NOT_EVEN unless every centre lies on it."""
    if image.shape[0] < 2 or image.shape[1] < 2:
        raise _refuse_grid(image, f"with {format_shape(image.shape[:2])} voxels a plane shows no direction")
    axes = [a for a in range(3) if image.shape[a] > 1]
    design = np.column_stack([image.indices[:, axes], np.ones(len(centres))])
    solution = np.linalg.lstsq(design, centres, rcond=None)[0]
    lps = np.eye(4)
    lps[:3, axes] = solution[:-1].T
    lps[:3, 3] = solution[-1]
    if len(axes) == 2:
        lps[:3, 2] = 0.0  # one plane: no centre gives the step to a next one
    smallest = float(np.linalg.norm(lps[:3, axes], axis=0).min())
    limit = min(policy.centre_limit_mm, policy.corner_limit(smallest))
    distances = np.linalg.norm(design @ solution - centres, axis=1)
    worst = int(distances.argmax())
    if distances[worst] > limit:
        raise refuse(
            Code.CENTRES_NOT_EVEN,
            f"the voxel centres of image set “{image.name}” are not one even grid: voxel "
            f"{tuple(image.indices[worst].tolist())} is {distances[worst]:.4g} mm off; {_describe_uneven_step(image, centres)}",
            "A slice is missing or was left out on import, or the series is unevenly spaced. Reslice the images in "
            "Mimics to an even distance, or convert what File > Export > DICOM writes, which names the planes.",
            where=(f"k={image.indices[worst][2]}",),
            measured=float(distances[worst]),
            limit=limit,
            unit="mm",
        )
    return lps


def _describe_uneven_step(image: BundleImage, centres: Matrix) -> str:
    """Describe the step between two planes that differs most from the others."""
    line = [n for n in np.lexsort((image.indices[:, 2],)) if (image.indices[n, :2] == 0).all()]
    steps = np.diff(centres[line], axis=0)
    usual = np.median(steps, axis=0)
    k = int(np.linalg.norm(steps - usual, axis=1).argmax()) if len(steps) else 0
    if not len(steps) or np.allclose(steps[k], usual, atol=_SAME_STEP_MM):
        return "the steps between planes are even, those within a plane are not"
    lengths = np.linalg.norm(steps[k]), np.linalg.norm(usual)
    return f"from plane k={k} to k={k + 1} it is {lengths[0]:.4g} mm, usually {lengths[1]:.4g} mm"


def _make_planes(image: BundleImage, lps: Matrix) -> list[Plane]:
    """Make the planes of the fitted affine, in Mimics' order. Raises PipelineError NO_GRID."""
    i, j, k = lps[:3, :3].T
    columns, rows, count = image.shape
    try:
        return [
            Plane(
                position=as_vector(lps[:3, 3] + n * k),
                row_cosine=as_vector(i / np.linalg.norm(i)),
                column_cosine=as_vector(j / np.linalg.norm(j)),
                row_spacing=float(np.linalg.norm(j)),
                column_spacing=float(np.linalg.norm(i)),
                rows=rows,
                columns=columns,
            )
            for n in range(count)
        ]
    except GeometryError as error:
        raise _refuse_grid(image, str(error)) from error


def _find_thickness(image: BundleImage) -> float:
    """Find the thickness of a single plane in mm: the slice distance of Mimics where it gives one."""
    given = image.slice_distance
    return float(given) if given and given > 0 else _UNKNOWN_THICKNESS_MM


def _thickness_assumed(image: BundleImage, thickness: float) -> Finding:
    return Finding(
        Code.ASSUMED_THICKNESS,
        f"image set “{image.name}” is one plane; its thickness is taken as {thickness:g} mm",
        severity=Severity.WARNING,
        where=(image.name,),
    )


def _planes_flipped(image: BundleImage) -> Finding:
    return Finding(
        Code.PLANES_FLIPPED,
        f"Mimics counts the planes of “{image.name}” against their normal; they, and the labels, were reversed",
        "Only the order in the file differs; no voxel moved.",
        Severity.INFO,
        where=(image.name,),
    )


def _axes_straightened(image: BundleImage, moved: float, limit: float) -> Finding:
    return Finding(
        Code.COSINES_ORTHONORMALISED,
        f"the axes of “{image.name}” are almost at right angles and were made so; a corner moved {moved:.4g} mm",
        severity=Severity.INFO,
        where=(image.name,),
        measured=moved,
        limit=limit,
        unit="mm",
    )


def _refuse_grid(image: BundleImage, reason: str) -> PipelineError:
    return refuse(
        Code.NO_GRID,
        f"the voxel centres of image set “{image.name}” span no grid: {reason}",
        "Export the image set itself from Mimics as DICOM.",
        where=(image.name,),
    )
