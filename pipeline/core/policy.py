"""Every tolerance and every choice of a conversion, recorded in its Outcome.

A tolerance is a number in mm (or a plain ratio) with its reason beside it. A choice says what to do where a series
leaves room; the default is always the one that cannot be silently wrong.

Rules:
- Choices and defaults stand here once: the command line takes its own from `choices` and `default`.
- A Policy is checked when it is made; what is not allowed is refused by its name and value.
- Light to import: the options of `convert` are built from it before anything is read.
"""

# No annotations as text here: `choices` reads them.
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, get_args

from .arguments import bad_option, check_choice, check_flag, check_number, check_whole

Combine = Literal["auto", "separate", "merge"]
Fractional = float | Literal["keep"]
LabelsFile = Literal["none", "bids", "itksnap", "slicer"]
# Of an export with the mask in its image: what it is, and what becomes of voxels with the mask's own value.
ExportKind = Literal["labels", "burned", "masked", "colour", "overlay"]
Undecided = Literal["surrounded", "inside", "outside"]
# What else may say who somebody is, and is taken out of what is written: see docs/privacy.md.
Strip = Literal["none", "names", "uids", "all"]
EXPORT_KINDS: tuple[ExportKind, ...] = get_args(ExportKind)
UNDECIDED: tuple[Undecided, ...] = get_args(Undecided)  # the first is the default
OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


@dataclass(frozen=True, slots=True)
class Policy:
    """Tolerances and choices of one conversion; the comment beside each is its reason.

    Raises PipelineError when made: BAD_OPTION for a value that is not allowed, BAD_ORIENTATION for `orient`.
    """

    # A plane may lie this far from the written grid. Real scanners jitter by up to 0.055 mm and the smallest real
    # defect seen (a missing plane) shows 0.31 mm; in 0.1 mm micro-CT a gap needs the fraction.
    corner_limit_mm: float = 0.1
    corner_limit_fraction: float = 0.1  # of the smallest spacing; the smaller of the two limits holds
    # Mimics' voxel centres show noise of 1e-5 mm (float32 inside); a plane that is really off is off by far more.
    centre_limit_mm: float = 1e-3
    # Direction cosines printed with three decimals are off by less than this; a length of 0.99 is not rounding.
    cosine_limit: float = 1e-3
    # The header holds float32: 2.8e-5 mm at 1.2 m was measured for the sform, 1.5e-4 mm for the qform.
    header_limit_mm: float = 2e-4
    # Axes this little off right angles are kept as printed: ITK takes an sform up to 1e-4 off, and drops the skew beyond.
    skew_limit: float = 8e-5
    # A qform further than this from the sform says another place: then it is left out (code 0).
    qform_limit_mm: float = 1e-2
    # Witnesses keep float32 affines; dcm2niix rounds more (1.3e-3 mm measured).
    witness_limit_mm: float = 1e-3
    dcm2niix_limit_mm: float = 5e-3
    # How long to wait for a witness, once for every GiB it reads; the slowest seen (dicom2nifti, JPEG 2000) needs minutes.
    witness_limit_s: float = 600.0

    as_: Literal["mask", "image"] = "mask"
    palette: Literal["stored", "apply"] = "stored"
    on_tilt: Literal["refuse", "shear", "resample"] = "refuse"
    on_gap: Literal["refuse", "fill", "nearest", "resample"] = "refuse"
    # Of a plane with the same pixels at the same place nothing is lost; others are refused with "drop" too.
    on_duplicate: Literal["refuse", "drop", "first", "last"] = "drop"
    on_lossy: Literal["refuse", "threshold", "keep"] = "refuse"
    on_unread: Literal["refuse", "leave-out"] = "refuse"
    assume_spacing: bool = False
    orient: str = "source"
    same_frame: bool = False
    resample: Literal["refuse", "nearest"] = "refuse"
    fractional: Fractional = 0.5
    combine: Combine = "auto"
    interpolate: bool = False
    mm_per_unit: float | None = None
    grey_values: bool = False
    keep_values: bool = False
    allow_empty: bool = False
    crosscheck: Literal["affine", "voxels", "off"] = "affine"
    gzip_level: int | None = None  # by the kind of voxels: see `gzipped`
    keep_disputed: bool = False
    labels_file: LabelsFile = "none"
    write: Literal["refuse", "suffix", "skip", "overwrite"] = "refuse"
    # What is written holds no name of an input's file or folder, unless the user says that they may be known.
    keep_names: bool = False
    strip: Strip = "none"

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, field.type, getattr(self, field.name))

    def corner_limit(self, smallest_spacing_mm: float) -> float:
        """The limit of the corner proof in mm, for a grid whose smallest voxel edge is given."""
        return min(self.corner_limit_mm, self.corner_limit_fraction * smallest_spacing_mm)

    @property
    def strips_names(self) -> bool:
        """Whether texts of the files, and what names their device, are taken out of what is written."""
        return self.strip in ("names", "all")

    @property
    def strips_uids(self) -> bool:
        """Whether UIDs are replaced in what is written."""
        return self.strip in ("uids", "all")

    def as_json(self) -> dict[str, Any]:
        return {_camel(f.name): getattr(self, f.name) for f in fields(self)}


def choices(name: str) -> tuple[str, ...]:
    """What a field of Policy may be, where it is one of a few words."""
    return get_args(next(f.type for f in fields(Policy) if f.name == name))


def default(name: str) -> Any:
    """What a field of Policy is where nothing is said."""
    return next(f.default for f in fields(Policy) if f.name == name)


def checked_codes(codes: str) -> str:
    """Three letters, one of each pair R/L, A/P, S/I; upper case. Raises BAD_ORIENTATION."""
    letters = codes.upper() if isinstance(codes, str) else ""
    if len(letters) != 3 or {min(c, OPPOSITE.get(c, "?")) for c in letters} != {"A", "I", "L"}:
        from .findings import Code, refuse

        raise refuse(
            Code.BAD_ORIENTATION,
            f"{codes} is no orientation: one letter each of R/L, A/P and S/I, such as RAS or LPS",
            "Say --orient RAS, or leave it out to keep the acquired order.",
            where=(str(codes),),
        )
    return letters


def _check(name: str, kind: Any, value: object) -> None:
    """Refuse a value that the field's type or range does not allow."""
    field = f"Policy.{name}"
    if name in _CHECKS:
        _CHECKS[name](field, value)
    elif kind is bool:
        check_flag(field, value)
    elif kind is float:
        check_number(field, value)
    else:
        check_choice(field, value, get_args(kind))


def _check_orient(field: str, value: Any) -> None:
    if value != "source":
        checked_codes(value)


def _check_fractional(field: str, value: object) -> None:
    if isinstance(value, str) and value != "keep":
        raise bad_option(field, value, "a number above 0 and up to 1, or keep")
    if value != "keep":
        check_number(field, value, most=1.0)


def _check_gzip_level(field: str, value: object) -> None:
    if value is not None:
        check_whole(field, value, 0, 9)


def _check_mm_per_unit(field: str, value: object) -> None:
    if value is not None:
        check_number(field, value)


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "corner_limit_fraction": partial(check_number, most=1.0),
    "orient": _check_orient,
    "fractional": _check_fractional,
    "gzip_level": _check_gzip_level,
    "mm_per_unit": _check_mm_per_unit,
}


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_") if word)
