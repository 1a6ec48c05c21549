"""Check that a mask lies on the grid of an image, and list every difference where it does not.

Rules:
- The grid decides: every corner of the mask within a limit of the same corner of the image. Other differences are listed too.
- A header gives up to three places: the one most software reads, the one ITK reads, and its other form. All must agree.
- ITK (5.4, measured) takes the sform where its code is 1 or the qform has none, and only if no entry of D transpose(D)
  is further than 1e-4 from the identity, D the unit columns; else it takes the qform; without one it refuses the file.
- Differences are findings: ERROR where the two do not match, WARNING where some software may fail, INFO otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.findings import Code, Finding, Severity
from ..core.limits import MOST_LABELS
from ..geometry.affine import Matrix, axis_codes, axis_lengths, corner_distance
from ..geometry.axis_order import AS_IS, describe_difference
from ..geometry.grid import Grid
from ..geometry.index_map import find_index_map
from ..nifti.file import read_header, read_planes
from ..nifti.header import NiftiHeader, fills_space, require_numbers
from ..volume.mask import LARGEST_LABEL
from .array_match import list_orders
from .nnunet_pairs import Labels

LIMIT_MM = 1e-3  # two writers of one grid, in float32 and in float64, stay well below it
ITK_ORTHONORMAL = 1e-4  # measured with ITK 5.4, see the rules
_SPACE_UNITS = 7  # the bits of xyzt_units that give the unit of space
_READ_AS_MM = (0, 2)  # no unit is read as mm by all software
_UNIT_NAMES = {0: "unknown", 1: "metres", 2: "mm", 3: "micrometres"}
_LISTED = 12  # values that are listed in a message


@dataclass(frozen=True, slots=True, eq=False)
class PlacedBlock:
    """A block of voxels and where it lies. name: for messages. ras: 4 x 4, index to RAS mm. header: None for a series."""

    name: str
    shape: tuple[int, ...]
    ras: Matrix
    header: NiftiHeader | None = None

    @classmethod
    def of_file(cls, path: Path) -> PlacedBlock:
        """Read the block of a NIfTI file without its values. Raises PipelineError as `read_header`."""
        header = read_header(path)
        more = header.shape[3:]
        while more and more[-1] == 1:
            more = more[:-1]
        return cls(path.name, (*header.space, *more), header.affine, header)

    @classmethod
    def of_grid(cls, name: str, grid: Grid) -> PlacedBlock:
        """Make the block of a series from its grid."""
        return cls(name, grid.shape, grid.ras)


@dataclass(frozen=True, slots=True)
class MaskValues:
    """The values of a mask, scaled as its header says.

    distinct: up to 256 of the values, ascending, without those that are not finite. whole: whether all are whole
    numbers. finite: whether all are finite. file: its name, for messages.
    """

    distinct: tuple[float, ...]
    whole: bool
    finite: bool
    file: str


def compare(mask: PlacedBlock, image: PlacedBlock, *, limit_mm: float = LIMIT_MM) -> list[Finding]:
    """Find every difference that matters between a mask and its image.

    Args:
        mask: the block of the mask.
        image: the block of the image it belongs to.
        limit_mm: how far a corner of the mask may lie from the same corner of the image, in mm.

    Returns: findings: GRID_DIFFERS, FORMS_DISAGREE or NOT_ORTHONORMAL. No ERROR among them means that the two match.
    """
    found = [finding for block in (mask, image) for finding in check_header(block, limit_mm)]
    if not (fills_space(mask.ras) and fills_space(image.ras)):
        return found
    if len(mask.shape) > 3 or len(image.shape) > 3:
        shapes = f"{_size(mask.shape)} and {_size(image.shape)}"
        hint = "Split the file into one file for each volume, and check each."
        words = f"mask and image are {shapes}: one 3-D block each can be compared"
        return [_differs(mask, image, words, hint), *found]
    return [*_compare_grids(mask, image, limit_mm), *_compare_in_itk(mask, image, limit_mm), *found]


def check_values(values: MaskValues, header: NiftiHeader, declared: Labels | None = None) -> list[Finding]:
    """Check that the values of a mask are labels, and where labels are declared, that they are of those.

    Args:
        values: what `read_values` read from the mask.
        header: the header of the mask.
        declared: the labels of its data set; None where none are declared.

    Returns: findings: UNKNOWN_LABELS, NOT_A_MASK, EMPTY or RESCALE_IGNORED.
    """
    unknown = [value for value in values.distinct if declared is not None and value not in declared.values]
    found = []
    if declared is not None and unknown:
        words = f"{_listed(unknown)} in the mask, not among the labels of {declared.file} ({_listed(declared.values)})"
        hint = "nnU-Net trains on declared labels only: declare them, or write the mask with those."
        found.append(Finding(Code.UNKNOWN_LABELS, words, hint, where=(values.file, declared.file)))
    found += [*_check_type(values, header), *_check_range(values)]
    if values.distinct == (0, 255) and (declared is None or 255 in unknown):
        words = "the values are 0 and 255: a picture of a mask, in which the label is 255 and not 1"
        found.append(_doubt(values, Code.NOT_A_MASK, words, "Write the label as 1 where software expects it."))
    if header.scaling != (1.0, 0.0):
        slope, intercept = header.scaling
        words = f"the values are scaled (slope {slope:g}, intercept {intercept:g}): labels read as floats"
        hint = "Write the labels themselves, with slope 1 and intercept 0."
        found.append(_doubt(values, Code.RESCALE_IGNORED, words, hint))
    return found


def read_values(path: Path) -> MaskValues:
    """Read the values of a NIfTI file, a plane at a time, to its end. Raises UNSUPPORTED_NIFTI for colours, and as `nifti.read_planes`."""
    slope, intercept = require_numbers(read_header(path), path.name).scaling
    distinct: set[float] = set()
    whole = finite = True
    for plane in read_planes(path):
        values = np.unique(plane)
        if (slope, intercept) != (1.0, 0.0):
            values = np.unique(values * np.float64(slope) + intercept)
        if values.dtype.kind == "f":
            finite = finite and bool(np.isfinite(values).all())
            values = values[np.isfinite(values)]
            whole = whole and bool((values == np.rint(values)).all())
        # The smallest are kept, so that a negative value is never lost among many others.
        distinct = set(sorted(distinct.union(values[: MOST_LABELS + 1].tolist()))[: MOST_LABELS + 1])
    return MaskValues(tuple(sorted(distinct)), whole, finite, path.name)


def check_header(block: PlacedBlock, limit_mm: float = LIMIT_MM) -> list[Finding]:
    """Find what is wrong with the header of one file by itself: codes, the two forms, units, and what ITK makes of it."""
    header, name = block.header, block.name
    if header is None:
        return []
    if not header.sform_code and not header.qform_code:
        return [_forms(name, f"{name} says nothing of its place: sform_code and qform_code are 0")]
    if not fills_space(header.affine):
        return [_forms(name, f"{name} has an affine that is not finite or lays all voxels on one plane")]
    found = [*_compare_forms(block, header, limit_mm), *_check_axes(name, header)]
    unit = header.units & _SPACE_UNITS
    if unit not in _READ_AS_MM:
        found.append(_forms(name, f"{name}: the header says {_UNIT_NAMES.get(unit, 'no known unit')}, not mm"))
    return found


def find_itk_affine(block: PlacedBlock) -> Matrix | None:
    """Find the affine that software built on ITK takes from a file; None where it refuses the file.

    A block without a header, which is no file, keeps its own.
    """
    header = block.header
    if header is None:
        return block.ras
    prefers_sform = header.sform_code == 1 or header.qform_code == 0
    if header.sform_code and prefers_sform and measure_skew(header.sform) <= ITK_ORTHONORMAL:
        return header.sform
    return header.qform if header.qform_code and fills_space(header.qform) else None


def measure_skew(affine: Matrix) -> float:
    """Measure the largest entry of D transpose(D) - I, D the columns of the 3 x 3 at unit length."""
    axes = affine[:3, :3] / axis_lengths(affine)
    return float(np.abs(axes @ axes.T - np.eye(3)).max())


def _check_type(values: MaskValues, header: NiftiHeader) -> Iterator[Finding]:
    if header.dtype.kind == "f" or not values.whole:
        more = "they are whole numbers" if values.whole else "and some are not whole numbers"
        words = f"the values are stored as {header.dtype.name}; {more}"
        if values.whole:
            yield _doubt(values, Code.NOT_A_MASK, words, "Store labels as unsigned integers.")
        else:
            hint = "An image, or a mask that was resampled by interpolation, looks so; resample masks by nearest neighbour."
            yield _no_mask(values, words, hint)
    if not values.finite:
        words = "there are values that are not finite (NaN or infinity)"
        yield _no_mask(values, words, "Give every voxel outside the labels the value 0.")


def _check_range(values: MaskValues) -> Iterator[Finding]:
    distinct = values.distinct
    if distinct and distinct[0] < 0:
        words = f"the smallest value is {distinct[0]:g}; labels start at 0"
        yield _no_mask(values, words, "Give the background 0 and every label a number from 1 on.")
    if distinct and distinct[-1] > LARGEST_LABEL:
        words = f"there is the value {distinct[-1]!r}; labels up to {LARGEST_LABEL} can be held"
        yield _no_mask(values, words, "Number the labels from 1 on.")
    if len(distinct) > MOST_LABELS:
        words = f"there are more than {MOST_LABELS} different values: an image, not a mask"
        yield _no_mask(values, words, "Give the mask first, and the image after it.")
    if len(distinct) == 1:
        hint = "Nothing is marked, or everything is; look at the file it was made from."
        yield _doubt(values, Code.EMPTY, f"every voxel has the value {distinct[0]:g}", hint)


def _compare_forms(block: PlacedBlock, header: NiftiHeader, limit_mm: float) -> Iterator[Finding]:
    """Compare sform and qform, since some software reads the one and some the other."""
    if not (header.sform_code and header.qform_code):
        return
    name = block.name
    if not fills_space(header.qform):
        words = f"{name}: the qform (code {header.qform_code}) is not finite or lays all voxels on one plane"
        yield _forms(name, f"{words}; software takes it or the sform", Severity.WARNING)
        return
    apart = corner_distance(header.sform, header.qform, block.shape)
    if apart > limit_mm:
        codes = f"sform (code {header.sform_code}) and qform (code {header.qform_code})"
        words = f"{name}: {codes} are {apart:.4g} mm apart; software takes one or the other"
        yield replace(_forms(name, words, Severity.WARNING), measured=apart, limit=limit_mm, unit="mm")


def _check_axes(name: str, header: NiftiHeader) -> Iterator[Finding]:
    """Check that the axes are near enough to right angles for ITK."""
    error = measure_skew(header.affine)
    if error <= ITK_ORTHONORMAL:
        return
    then = "takes the qform instead" if header.qform_code else "refuses the file (ITK-SNAP, 3D Slicer, SimpleITK)"
    yield Finding(
        Code.NOT_ORTHONORMAL,
        f"{name}: the axes are not orthonormal enough for ITK, which {then}",
        "Cosines rounded to few decimals, or gantry tilt. Convert the series again, or resample it.",
        Severity.WARNING,
        where=(name,),
        measured=error,
        limit=ITK_ORTHONORMAL,
    )


def _compare_grids(mask: PlacedBlock, image: PlacedBlock, limit_mm: float) -> Iterator[Finding]:
    """Compare corner by corner, in every order in which the mask may store the voxels of the image."""
    for order in list_orders(mask.shape, image.shape[:3]):  # type: ignore[arg-type]
        apart = corner_distance(mask.ras, image.ras @ order.matrix(image.shape), mask.shape)
        if apart > limit_mm:
            continue
        if order != AS_IS:
            yield _differs(
                mask,
                image,
                f"the mask covers the image exactly, in another order: {axis_codes(mask.ras)} for {axis_codes(image.ras)}, "
                f"{describe_difference(order, AS_IS)}",
                "Viewers show it right; software that lays arrays on each other (nnU-Net, NumPy) does not.",
            )
        elif apart > 0:
            words = f"the grids are one within {apart:.2g} mm, but the headers are not equal to the last bit"
            found = Finding(Code.GRID_DIFFERS, words, severity=Severity.INFO, where=(mask.name, image.name))
            yield replace(found, measured=apart, limit=limit_mm, unit="mm")
        return
    yield from _list_differences(mask, image, limit_mm)


def _list_differences(mask: PlacedBlock, image: PlacedBlock, limit_mm: float) -> Iterator[Finding]:
    """List shape, spacing, direction and origin, each where it differs, and the whole in mm."""
    if mask.shape != image.shape:
        words = f"shape: the mask has {_size(mask.shape)} voxels, the image {_size(image.shape)}"
        yield _differs(mask, image, words, "Check it against the image it was drawn on, or resample it onto this one.")
    lengths = [axis_lengths(p.ras) for p in (mask, image)]
    reach = np.maximum(np.array(mask.shape) - 1, 1)
    if (np.abs(lengths[0] - lengths[1]) * reach > limit_mm).any():
        texts = [" × ".join(f"{x:.6g}" for x in each) for each in lengths]
        words = f"spacing: the mask has {texts[0]} mm, the image {texts[1]} mm"
        yield _differs(mask, image, words, "One of the two was resampled, or has its spacing from another tag.")
    axes = [p.ras[:3, :3] / each for p, each in zip((mask, image), lengths, strict=True)]
    degrees = [_angle_degrees(a, b) for a, b in zip(axes[0].T, axes[1].T, strict=True)]
    if (np.radians(degrees) * lengths[0] * reach > limit_mm).any():
        texts = [f"{axis} {angle:.3f}°" for axis, angle in zip("ijk", degrees, strict=True)]
        codes = f"{axis_codes(mask.ras)} for {axis_codes(image.ras)}"
        words = f"direction: the axes differ by {', '.join(texts)} (orientation {codes})"
        yield _differs(mask, image, words, "One of the two was turned, or its array is stored in another order.")
    shift = mask.ras[:3, 3] - image.ras[:3, 3]
    if np.linalg.norm(shift) > limit_mm:
        x, y, z = shift
        words = f"origin: the mask's first voxel lies {np.linalg.norm(shift):.4g} mm from the image's"
        words += f" (R {x:+.4g}, A {y:+.4g}, S {z:+.4g}){_locate_part(mask, image, limit_mm)}"
        yield _differs(mask, image, words, "A crop, another order of the array, or a wrong origin looks so.")
    if mask.shape == image.shape:
        apart = corner_distance(mask.ras, image.ras, mask.shape)
        words = f"the worst corner of the mask lies {apart:.4g} mm from the image's"
        found = _differs(mask, image, words, "`verimask diagnose` names the cause where it is a known one.")
        yield replace(found, measured=apart, limit=limit_mm, unit="mm")


def _locate_part(mask: PlacedBlock, image: PlacedBlock, limit_mm: float) -> str:
    """Say where the mask begins in the image when it is a part of the same grid; nothing when it is not."""
    within = find_index_map(mask.ras, mask.shape, image.ras, image.shape)
    if within is None or not within.keeps_axes or within.moved_mm > limit_mm:
        return ""
    return f": the same grid, beginning at the image's voxel ({', '.join(str(int(n)) for n in within.matrix[:3, 3])})"


def _compare_in_itk(mask: PlacedBlock, image: PlacedBlock, limit_mm: float) -> Iterator[Finding]:
    """Compare what ITK sees, where it is not what the affines give."""
    ours, theirs = find_itk_affine(mask), find_itk_affine(image)
    if ours is None or theirs is None or mask.shape != image.shape:
        return
    apart = corner_distance(ours, theirs, mask.shape)
    if apart > limit_mm and corner_distance(mask.ras, image.ras, mask.shape) <= limit_mm:
        words = f"the sforms match, but software built on ITK reads the qform of one: {apart:.4g} mm apart"
        found = _differs(mask, image, words, "Give both files the same codes, (1, 1).")
        yield replace(found, measured=apart, limit=limit_mm, unit="mm")


def _angle_degrees(a: Matrix, b: Matrix) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def _listed(values: Sequence[float]) -> str:
    more = ", …" if len(values) > _LISTED else ""
    return ", ".join(f"{value:.9g}" if value % 1 else str(int(value)) for value in values[:_LISTED]) + more


def _size(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape))


def _differs(mask: PlacedBlock, image: PlacedBlock, words: str, hint: str) -> Finding:
    return Finding(Code.GRID_DIFFERS, words, hint, where=(mask.name, image.name))


def _forms(name: str, words: str, severity: Severity = Severity.ERROR) -> Finding:
    hint = "Write one place: sform and qform equal, codes 1 and 1, units mm."
    return Finding(Code.FORMS_DISAGREE, words, hint, severity, where=(name,))


def _no_mask(values: MaskValues, words: str, hint: str) -> Finding:
    return Finding(Code.NOT_A_MASK, words, hint, where=(values.file,))


def _doubt(values: MaskValues, code: Code, words: str, hint: str) -> Finding:
    return Finding(code, words, hint, Severity.WARNING, where=(values.file,))
