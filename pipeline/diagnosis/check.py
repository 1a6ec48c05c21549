"""Whether a mask lies on the grid of an image, and if not, exactly how not.

Rules:
- The grid decides: every corner of the mask within a limit of the same corner of the image. The rest is told as well.
- A header has up to three places: what most software reads, what ITK reads, and its other form. All must be one.
- ITK (5.4, measured) takes the sform where its code is 1 or the qform has none, and only if no entry of D transpose(D)
  is further than 1e-4 from the identity, D the unit columns; else it takes the qform; without one it refuses the file.
- Differences are findings: ERROR where the two do not match, WARNING where some software will stumble, INFO otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.findings import Code, Finding, Severity
from ..core.limits import MOST_LABELS
from ..geometry.affine import Matrix, axis_codes, corner_distance
from ..geometry.axis_order import AS_IS, difference
from ..geometry.grid import Grid
from ..geometry.index_map import find_index_map
from ..nifti.file import read_header, read_planes
from ..nifti.header import NiftiHeader, fills_space
from ..volume.mask import LARGEST_LABEL
from .array_match import same_shape
from .nnunet_pairs import Labels

LIMIT_MM = 1e-3
ITK_ORTHONORMAL = 1e-4
_UNIT_MM = {0: "unknown", 1: "metres", 2: "mm", 3: "micrometres"}


@dataclass(frozen=True, slots=True, eq=False)
class PlacedBlock:
    """A block of voxels and where it lies. ras: 4 x 4, index to RAS mm. header: None for a DICOM series."""

    name: str
    shape: tuple[int, ...]
    ras: Matrix
    header: NiftiHeader | None = None

    @classmethod
    def of_file(cls, path: Path) -> PlacedBlock:
        """From a NIfTI file; its values are not read. Raises PipelineError CORRUPT_FILE."""
        header = read_header(path)
        more = header.shape[3:]
        while more and more[-1] == 1:
            more = more[:-1]
        return cls(path.name, (*header.space, *more), header.affine, header)

    @classmethod
    def of_grid(cls, name: str, grid: Grid) -> PlacedBlock:
        return cls(name, grid.shape, grid.ras)


@dataclass(frozen=True, slots=True)
class MaskValues:
    """What the voxels of a mask mean, scaled as its header says. distinct: up to 256 of the values, ascending."""

    distinct: tuple[float, ...]
    whole: bool
    finite: bool


def compare(mask: PlacedBlock, image: PlacedBlock, *, limit_mm: float = LIMIT_MM) -> list[Finding]:
    """Every difference that matters between a mask and its image; no ERROR among them means they match."""
    found = [finding for placed in (mask, image) for finding in check_header(placed, limit_mm)]
    if not (fills_space(mask.ras) and fills_space(image.ras)):
        return found
    if len(mask.shape) > 3 or len(image.shape) > 3:
        shapes = f"{_size(mask.shape)} and {_size(image.shape)}"
        return [_differs(f"mask and image are {shapes}: one 3-D block each can be compared"), *found]
    return [*_grids(mask, image, limit_mm), *_itk_grids(mask, image, limit_mm), *found]


def check_values(values: MaskValues, header: NiftiHeader, declared: Labels | None = None) -> list[Finding]:
    """Whether the values of a mask are labels; where they are declared, whether they are of those."""
    found = []
    unknown = [value for value in values.distinct if declared is not None and value not in declared.values]
    if declared is not None and unknown:
        words = f"{_listed(unknown)} in the mask, not among the labels of {declared.file} ({_listed(declared.values)})"
        hint = "nnU-Net trains on declared labels only: declare them, or write the mask with those."
        found.append(Finding(Code.UNKNOWN_LABELS, words, hint))
    if header.dtype.kind == "f" or not values.whole:
        told = "they are whole numbers" if values.whole else "and some are not whole numbers"
        found.append(_doubtful(Code.NOT_A_MASK, f"the values are stored as {header.dtype.name}; {told}", values.whole))
    if not values.finite:
        found.append(_doubtful(Code.NOT_A_MASK, "there are values that are not finite (NaN or infinity)", False))
    if values.distinct and values.distinct[0] < 0:
        found.append(
            _doubtful(Code.NOT_A_MASK, f"the smallest value is {values.distinct[0]:g}; labels start at 0", False)
        )
    if values.distinct and values.distinct[-1] > LARGEST_LABEL:
        words = f"there is the value {values.distinct[-1]!r}; labels up to {LARGEST_LABEL} can be held"
        found.append(_doubtful(Code.NOT_A_MASK, words, False))
    if len(values.distinct) > MOST_LABELS:
        words = f"there are more than {MOST_LABELS} different values: an image, not a mask"
        found.append(_doubtful(Code.NOT_A_MASK, words, False))
    if len(values.distinct) == 1:
        found.append(_doubtful(Code.EMPTY, f"every voxel has the value {values.distinct[0]:g}", True))
    if values.distinct == (0, 255) and (declared is None or 255 in unknown):
        words = "the values are 0 and 255: a picture of a mask, in which the label is 255 and not 1"
        found.append(_doubtful(Code.NOT_A_MASK, words, True))
    if header.scaling != (1.0, 0.0):
        slope, intercept = header.scaling
        words = f"the values are scaled (slope {slope:g}, intercept {intercept:g}): labels read as floats"
        found.append(_doubtful(Code.RESCALE_IGNORED, words, True))
    return found


def read_values(path: Path) -> MaskValues:
    """The values of a NIfTI file, read a plane at a time, to its end. Raises as `nifti.read_planes`."""
    slope, intercept = read_header(path).scaling
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
        # The smallest are kept, so that a negative value is never lost among many.
        distinct = set(sorted(distinct.union(values[: MOST_LABELS + 1].tolist()))[: MOST_LABELS + 1])
    return MaskValues(tuple(sorted(distinct)), whole, finite)


def check_header(placed: PlacedBlock, limit_mm: float = LIMIT_MM) -> list[Finding]:
    """What is wrong with the header of one file by itself: codes, the two forms, units, and what ITK makes of it."""
    header, name = placed.header, placed.name
    if header is None:
        return []
    if not header.sform_code and not header.qform_code:
        return [_forms(f"{name} says nothing of its place: sform_code and qform_code are 0")]
    if not fills_space(header.affine):
        return [_forms(f"{name} has an affine that is not finite or lays all voxels on one plane")]
    found = []
    both = header.sform_code and header.qform_code
    if both and not fills_space(header.qform):
        words = f"{name}: the qform (code {header.qform_code}) is not finite or lays all voxels on one plane"
        found.append(_forms(f"{words}; software takes it or the sform", Severity.WARNING))
    elif both and (apart := corner_distance(header.sform, header.qform, placed.shape)) > limit_mm:
        words = (
            f"{name}: sform (code {header.sform_code}) and qform (code {header.qform_code}) are {apart:.4g} mm apart"
        )
        found.append(_forms(f"{words}; software takes one or the other", Severity.WARNING, apart, limit_mm))
    error = orthonormal_error(header.affine)
    if error > ITK_ORTHONORMAL:
        then = "takes the qform instead" if header.qform_code else "refuses the file (ITK-SNAP, 3D Slicer, SimpleITK)"
        words = f"{name}: the axes are not orthonormal enough for ITK, which {then}"
        hint = "Cosines rounded to few decimals, or gantry tilt. Convert the series again, or resample it."
        found.append(
            Finding(
                Code.NOT_ORTHONORMAL,
                words,
                hint,
                Severity.WARNING,
                where=(name,),
                measured=error,
                limit=ITK_ORTHONORMAL,
            )
        )
    if header.units & 7 not in (0, 2):
        found.append(_forms(f"{name}: the header says {_UNIT_MM.get(header.units & 7, 'no known unit')}, not mm"))
    return found


def itk_affine(placed: PlacedBlock) -> Matrix | None:
    """The affine that software built on ITK takes from a file; None where it refuses, or where there is no header."""
    header = placed.header
    if header is None:
        return placed.ras
    prefers_sform = header.sform_code == 1 or header.qform_code == 0
    if header.sform_code and prefers_sform and orthonormal_error(header.sform) <= ITK_ORTHONORMAL:
        return header.sform
    return header.qform if header.qform_code and fills_space(header.qform) else None


def orthonormal_error(affine: Matrix) -> float:
    """The largest entry of D transpose(D) - I, D the columns of the 3 x 3 at unit length."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(axes @ axes.T - np.eye(3)).max())


def _grids(mask: PlacedBlock, image: PlacedBlock, limit_mm: float) -> Iterator[Finding]:
    for order in same_shape(mask.shape, image.shape[:3]):  # type: ignore[arg-type]
        apart = corner_distance(mask.ras, image.ras @ order.matrix(image.shape), mask.shape)
        if apart > limit_mm:
            continue
        if order != AS_IS:
            yield _differs(
                f"the mask covers the image exactly, in another order: {axis_codes(mask.ras)} for {axis_codes(image.ras)}, "
                f"{difference(order, AS_IS)}",
                hint="Viewers show it right; software that lays arrays on each other (nnU-Net, NumPy) does not.",
            )
        elif apart > 0:
            words = f"the grids are one within {apart:.2g} mm, but the headers are not equal to the last bit"
            yield Finding(Code.GRID_DIFFERS, words, severity=Severity.INFO, measured=apart, limit=limit_mm, unit="mm")
        return
    yield from _how_not(mask, image, limit_mm)


def _how_not(mask: PlacedBlock, image: PlacedBlock, limit_mm: float) -> Iterator[Finding]:
    """Shape, spacing, direction and origin, each where it differs, and the whole in mm."""
    if mask.shape != image.shape:
        yield _differs(f"shape: the mask has {_size(mask.shape)} voxels, the image {_size(image.shape)}")
    lengths = [np.linalg.norm(p.ras[:3, :3], axis=0) for p in (mask, image)]
    reach = np.maximum(np.array(mask.shape) - 1, 1)
    if (np.abs(lengths[0] - lengths[1]) * reach > limit_mm).any():
        texts = [" × ".join(f"{x:.6g}" for x in each) for each in lengths]
        yield _differs(f"spacing: the mask has {texts[0]} mm, the image {texts[1]} mm")
    axes = [p.ras[:3, :3] / each for p, each in zip((mask, image), lengths, strict=True)]
    degrees = [_angle(a, b) for a, b in zip(axes[0].T, axes[1].T, strict=True)]
    if (np.radians(degrees) * lengths[0] * reach > limit_mm).any():
        texts = [f"{axis} {angle:.3f}°" for axis, angle in zip("ijk", degrees, strict=True)]
        codes = f"{axis_codes(mask.ras)} for {axis_codes(image.ras)}"
        yield _differs(f"direction: the axes differ by {', '.join(texts)} (orientation {codes})")
    shift = mask.ras[:3, 3] - image.ras[:3, 3]
    if np.linalg.norm(shift) > limit_mm:
        x, y, z = shift
        words = f"origin: the mask's first voxel lies {np.linalg.norm(shift):.4g} mm from the image's"
        yield _differs(f"{words} (R {x:+.4g}, A {y:+.4g}, S {z:+.4g}){_in_voxels(mask, image, limit_mm)}")
    if mask.shape == image.shape:
        apart = corner_distance(mask.ras, image.ras, mask.shape)
        hint = "`verimask diagnose` names the cause where it is a known one."
        yield _differs(f"the worst corner of the mask lies {apart:.4g} mm from the image's", apart, limit_mm, hint)


def _in_voxels(mask: PlacedBlock, image: PlacedBlock, limit_mm: float) -> str:
    """Where the mask begins in the image, when it is a part of the same grid."""
    within = find_index_map(mask.ras, mask.shape, image.ras, image.shape)
    if within is None or not within.keeps_axes or within.moved_mm > limit_mm:
        return ""
    return f": the same grid, beginning at the image's voxel ({', '.join(str(int(n)) for n in within.matrix[:3, 3])})"


def _itk_grids(mask: PlacedBlock, image: PlacedBlock, limit_mm: float) -> Iterator[Finding]:
    """What ITK sees, where it is not what the affines say."""
    ours, theirs = itk_affine(mask), itk_affine(image)
    if ours is None or theirs is None or mask.shape != image.shape:
        return
    apart = corner_distance(ours, theirs, mask.shape)
    if apart > limit_mm and corner_distance(mask.ras, image.ras, mask.shape) <= limit_mm:
        words = f"the sforms match, but software built on ITK reads the qform of one: {apart:.4g} mm apart"
        yield _differs(words, apart, limit_mm, "Give both files the same codes, (1, 1).")


def _angle(a: Matrix, b: Matrix) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def _listed(values: Sequence[float]) -> str:
    more = ", …" if len(values) > 12 else ""
    return ", ".join(f"{value:.9g}" if value % 1 else str(int(value)) for value in values[:12]) + more


def _size(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape))


def _differs(words: str, measured: float | None = None, limit: float | None = None, hint: str = "") -> Finding:
    return Finding(Code.GRID_DIFFERS, words, hint, measured=measured, limit=limit, unit="mm" if limit else "")


def _forms(
    words: str, severity: Severity = Severity.ERROR, measured: float | None = None, limit: float | None = None
) -> Finding:
    hint = "Write one place: sform and qform equal, codes 1 and 1, units mm."
    return Finding(
        Code.FORMS_DISAGREE, words, hint, severity, measured=measured, limit=limit, unit="mm" if limit else ""
    )


def _doubtful(code: Code, words: str, harmless: bool) -> Finding:
    return Finding(code, words, severity=Severity.WARNING if harmless else Severity.ERROR)
