"""What can be said about a series, a mask or a file, and how a refusal is raised.

Rules:
- A check yields `Finding`s; a computation returns or raises `PipelineError`. Nothing answers None where a reason is known.
- `measured` and `limit` come together, with their unit; a message says what, where, how much, and what to do.
- One `Code` per defect. Its stage and its exit code follow from it, and nothing else decides them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes of the command line; the name is printed with the number."""

    VERIFIED = 0
    INTERNAL_ERROR = 1
    NOTHING_TO_CONVERT = 2
    CORRUPT_INPUT = 4
    NO_SUCH_INPUT = 5
    OUTPUT_PATH = 6
    CANNOT_WRITE = 7
    PARTLY_DONE = 8
    REFUSED = 10
    DISPUTED = 11
    MISMATCH = 12
    UNCONFIRMED = 13
    USAGE = 64


class Severity(str, Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Code(str, Enum):
    """Every defect that has a name. The value is STAGE.NAME."""

    # PROGRAM: bugs of ours
    UNEXPECTED = "PROGRAM.UNEXPECTED"
    # OPTIONS: what was asked for
    BAD_OPTION = "OPTIONS.BAD_OPTION"
    IDLE_OPTION = "OPTIONS.IDLE_OPTION"
    # SCAN: reading folders and headers
    NO_SUCH_INPUT = "SCAN.NO_SUCH_INPUT"
    NO_DICOM = "SCAN.NO_DICOM"
    CORRUPT_FILE = "SCAN.CORRUPT_FILE"
    FILE_LEFT_OUT = "SCAN.FILE_LEFT_OUT"
    FILE_UNREAD = "SCAN.FILE_UNREAD"
    ENCODING_DIFFERS = "SCAN.ENCODING_DIFFERS"
    UNREADABLE_NUMBER = "SCAN.UNREADABLE_NUMBER"
    # PIXELS: bytes that must be what the header says of them
    FRAME_COUNT = "PIXELS.FRAME_COUNT"
    PIXEL_LENGTH = "PIXELS.PIXEL_LENGTH"
    PIXEL_FRAGMENTS = "PIXELS.PIXEL_FRAGMENTS"
    HIGH_BIT = "PIXELS.HIGH_BIT"
    BITS_ABOVE_STORED = "PIXELS.BITS_ABOVE_STORED"
    MIXED_PHOTOMETRIC = "PIXELS.MIXED_PHOTOMETRIC"
    INVERTED_DISPLAY = "PIXELS.INVERTED_DISPLAY"
    MODALITY_LUT = "PIXELS.MODALITY_LUT"
    REAL_WORLD_VALUES = "PIXELS.REAL_WORLD_VALUES"
    REVERSED_ROWS = "PIXELS.REVERSED_ROWS"
    # SERIES: choosing one and knowing what it is
    NO_SUCH_SERIES = "SERIES.NO_SUCH_SERIES"
    SEVERAL_SERIES = "SERIES.SEVERAL_SERIES"
    SEVERAL_VOLUMES = "SERIES.SEVERAL_VOLUMES"
    NO_SUCH_PART = "SERIES.NO_SUCH_PART"
    NOT_CONVERTIBLE = "SERIES.NOT_CONVERTIBLE"
    MOSAIC = "SERIES.MOSAIC"
    # GEOMETRY: planes that are not one grid
    MISSING_PLANE_ATTRIBUTES = "GEOMETRY.MISSING_PLANE_ATTRIBUTES"
    BAD_COSINES = "GEOMETRY.BAD_COSINES"
    COSINES_ORTHONORMALISED = "GEOMETRY.COSINES_ORTHONORMALISED"
    MIXED_SIZE = "GEOMETRY.MIXED_SIZE"
    MIXED_SPACING = "GEOMETRY.MIXED_SPACING"
    MIXED_ORIENTATION = "GEOMETRY.MIXED_ORIENTATION"
    MIXED_FRAME_OF_REFERENCE = "GEOMETRY.MIXED_FRAME_OF_REFERENCE"
    MIXED_STUDY = "GEOMETRY.MIXED_STUDY"
    DUPLICATE_POSITION = "GEOMETRY.DUPLICATE_POSITION"
    MISSING_PLANES = "GEOMETRY.MISSING_PLANES"
    UNEVEN_SPACING = "GEOMETRY.UNEVEN_SPACING"
    DISPLACED_PLANE = "GEOMETRY.DISPLACED_PLANE"
    DRIFT = "GEOMETRY.DRIFT"
    GANTRY_TILT = "GEOMETRY.GANTRY_TILT"
    OFF_GRID = "GEOMETRY.OFF_GRID"
    ASSUMED_THICKNESS = "GEOMETRY.ASSUMED_THICKNESS"
    POSITION_JITTER = "GEOMETRY.POSITION_JITTER"
    DUPLICATE_DROPPED = "GEOMETRY.DUPLICATE_DROPPED"
    PLANES_FILLED = "GEOMETRY.PLANES_FILLED"
    SHEAR_KEPT = "GEOMETRY.SHEAR_KEPT"
    RESAMPLED = "GEOMETRY.RESAMPLED"
    ASSUMED_GEOMETRY = "GEOMETRY.ASSUMED_GEOMETRY"
    TAG_CONTRADICTS = "GEOMETRY.TAG_CONTRADICTS"
    EMPTY_PLANES_ADDED = "GEOMETRY.EMPTY_PLANES_ADDED"
    OFF_SOURCE_GRID = "GEOMETRY.OFF_SOURCE_GRID"
    FRAME_OF_REFERENCE_DIFFERS = "GEOMETRY.FRAME_OF_REFERENCE_DIFFERS"
    NO_SOURCE = "GEOMETRY.NO_SOURCE"
    OUTSIDE_SOURCE = "GEOMETRY.OUTSIDE_SOURCE"
    OFF_IMAGE_GRID = "GEOMETRY.OFF_IMAGE_GRID"
    SEVERAL_MASKS = "MASK.SEVERAL_MASKS"
    # MASK: values
    NOT_A_MASK = "MASK.NOT_A_MASK"
    EMPTY = "MASK.EMPTY"
    COLOUR = "MASK.COLOUR"
    UNSUPPORTED_PIXELS = "MASK.UNSUPPORTED_PIXELS"
    LABELS_REMAPPED = "MASK.LABELS_REMAPPED"
    LABELS_LOST = "MASK.LABELS_LOST"
    RESCALE_PER_PLANE = "MASK.RESCALE_PER_PLANE"
    RESCALE_IGNORED = "MASK.RESCALE_IGNORED"
    LOSSY_PIXELS = "MASK.LOSSY_PIXELS"
    LOSSY_MASK = "MASK.LOSSY_MASK"
    # MASK: contours (RTSTRUCT)
    NO_SUCH_ROI = "MASK.NO_SUCH_ROI"
    EMPTY_ROI = "MASK.EMPTY_ROI"
    ROI_FRAME_OF_REFERENCE = "MASK.ROI_FRAME_OF_REFERENCE"
    CONTOUR_NOT_CLOSED = "MASK.CONTOUR_NOT_CLOSED"
    CONTOUR_WITHOUT_AREA = "MASK.CONTOUR_WITHOUT_AREA"
    CONTOUR_NOT_PLANAR = "MASK.CONTOUR_NOT_PLANAR"
    CONTOUR_PLANE_TILTED = "MASK.CONTOUR_PLANE_TILTED"
    CONTOUR_DIRECTIONS_MIXED = "MASK.CONTOUR_DIRECTIONS_MIXED"
    CONTOUR_BETWEEN_PLANES = "MASK.CONTOUR_BETWEEN_PLANES"
    CONTOURS_SHARE_PLANE = "MASK.CONTOURS_SHARE_PLANE"
    CONTOURS_INTERPOLATED = "MASK.CONTOURS_INTERPOLATED"
    CONTOUR_OTHER_IMAGE = "MASK.CONTOUR_OTHER_IMAGE"
    CONTOUR_CLIPPED = "MASK.CONTOUR_CLIPPED"
    CONTOUR_OUTSIDE = "MASK.CONTOUR_OUTSIDE"
    CONTOURS_NESTED = "MASK.CONTOURS_NESTED"
    CONTOURS_OVERLAP = "MASK.CONTOURS_OVERLAP"
    CONTOURS_REPEATED = "MASK.CONTOURS_REPEATED"
    CONTOUR_CROSSES_ITSELF = "MASK.CONTOUR_CROSSES_ITSELF"
    # MASK: segments (SEG)
    NO_SUCH_SEGMENT = "MASK.NO_SUCH_SEGMENT"
    SEGMENT_WITHOUT_FRAMES = "MASK.SEGMENT_WITHOUT_FRAMES"
    SEGMENT_NOT_DESCRIBED = "MASK.SEGMENT_NOT_DESCRIBED"
    SEGMENTS_OVERLAP = "MASK.SEGMENTS_OVERLAP"
    FRACTIONAL_THRESHOLD = "MASK.FRACTIONAL_THRESHOLD"
    # MASK: exports with a mask in the image (burned in, masked original, colour, overlay)
    GREY_VALUES = "MASK.GREY_VALUES"
    EXPORT_RECOGNISED = "MASK.EXPORT_RECOGNISED"
    AMBIGUOUS_EXPORT = "MASK.AMBIGUOUS_EXPORT"
    VALUES_TAKEN = "MASK.VALUES_TAKEN"
    VALUES_LEFT_OUT = "MASK.VALUES_LEFT_OUT"
    NO_SUCH_VALUE = "MASK.NO_SUCH_VALUE"
    UNDECIDED_VOXELS = "MASK.UNDECIDED_VOXELS"
    CONSTANT_OFFSET = "MASK.CONSTANT_OFFSET"
    OTHER_IMAGE = "MASK.OTHER_IMAGE"
    OVERLAY_CLIPPED = "MASK.OVERLAY_CLIPPED"
    BAD_LABELS = "MASK.BAD_LABELS"
    MASKS_MERGED = "MASK.MASKS_MERGED"
    # EXPORT: masks back into DICOM
    NO_EXPORT_PACKAGE = "EXPORT.NO_EXPORT_PACKAGE"
    EXPORT_SOURCE = "EXPORT.EXPORT_SOURCE"
    SEGMENT_DESCRIPTION = "EXPORT.SEGMENT_DESCRIPTION"
    # NIFTI: writing and reading back
    BAD_ORIENTATION = "NIFTI.BAD_ORIENTATION"
    OUTPUT_EXISTS = "NIFTI.OUTPUT_EXISTS"
    OUTPUT_NAME = "NIFTI.OUTPUT_NAME"
    STALE = "NIFTI.STALE"
    CANNOT_WRITE = "NIFTI.CANNOT_WRITE"
    TOO_LARGE = "NIFTI.TOO_LARGE"
    UNSUPPORTED_NIFTI = "NIFTI.UNSUPPORTED_NIFTI"
    READ_BACK_DIFFERS = "NIFTI.READ_BACK_DIFFERS"
    # MIMICS: bundles written inside Mimics, and masks on their way back
    BUNDLE_INVALID = "MIMICS.BUNDLE_INVALID"
    UNITS_UNKNOWN = "MIMICS.UNITS_UNKNOWN"
    SELF_TEST_FAILED = "MIMICS.SELF_TEST_FAILED"
    SELF_TEST_OPEN = "MIMICS.SELF_TEST_OPEN"
    CENTRES_NOT_EVEN = "MIMICS.CENTRES_NOT_EVEN"
    NO_GRID = "MIMICS.NO_GRID"
    PLANES_FLIPPED = "MIMICS.PLANES_FLIPPED"
    FRAME_CONFIRMED = "MIMICS.FRAME_CONFIRMED"
    FRAME_ASSUMED = "MIMICS.FRAME_ASSUMED"
    FRAME_CHANGED = "MIMICS.FRAME_CHANGED"
    HALF_SLICE_SHIFT = "MIMICS.HALF_SLICE_SHIFT"
    CORNER_ORIGIN = "MIMICS.CORNER_ORIGIN"
    REDUCED_IMAGES = "MIMICS.REDUCED_IMAGES"
    RESIZED_PIXELS = "MIMICS.RESIZED_PIXELS"
    PLANES_DROPPED = "MIMICS.PLANES_DROPPED"
    AXES_REORDERED = "MIMICS.AXES_REORDERED"
    MASK_LEFT_OUT = "MIMICS.MASK_LEFT_OUT"
    IMAGE_ASSUMED = "MIMICS.IMAGE_ASSUMED"
    COUNT_DIFFERS = "MIMICS.COUNT_DIFFERS"
    OTHER_GRID = "MIMICS.OTHER_GRID"
    # CHECK: witnesses
    WITNESS_DIFFERS = "CHECK.WITNESS_DIFFERS"
    WITNESS_REFUSED = "CHECK.WITNESS_REFUSED"
    GRID_DIFFERS = "CHECK.GRID_DIFFERS"
    FORMS_DISAGREE = "CHECK.FORMS_DISAGREE"
    NOT_ORTHONORMAL = "CHECK.NOT_ORTHONORMAL"
    UNPAIRED = "CHECK.UNPAIRED"
    NOTHING_TO_CHECK = "CHECK.NOTHING_TO_CHECK"
    UNKNOWN_LABELS = "CHECK.UNKNOWN_LABELS"
    BAD_DATASET = "CHECK.BAD_DATASET"
    CANNOT_FIX = "CHECK.CANNOT_FIX"
    NOT_THE_PROVEN_FILE = "CHECK.NOT_THE_PROVEN_FILE"
    # REPORT: pages made of records
    NOT_AN_OUTCOME = "REPORT.NOT_AN_OUTCOME"
    NO_REPORT_PACKAGE = "REPORT.NO_REPORT_PACKAGE"
    NO_VIEWER = "REPORT.NO_VIEWER"

    @property
    def stage(self) -> str:
        return self.value.split(".")[0]


# What a witness that agrees cannot settle: not all of the input was seen, its bytes allow two readings, or what was
# written lies where no voxel of the input did.
DOUBTS = frozenset(
    {
        Code.CORRUPT_FILE,
        Code.FILE_UNREAD,
        Code.FRAME_COUNT,
        Code.PIXEL_LENGTH,
        Code.BITS_ABOVE_STORED,
        Code.INVERTED_DISPLAY,
        Code.REAL_WORLD_VALUES,
        Code.REVERSED_ROWS,
        Code.LOSSY_MASK,
        Code.MIXED_STUDY,
        Code.RESAMPLED,
        Code.WITNESS_REFUSED,
    }
)

_EXIT_BY_CODE = {
    Code.BAD_OPTION: Exit.USAGE,
    Code.IDLE_OPTION: Exit.USAGE,
    Code.UNEXPECTED: Exit.INTERNAL_ERROR,
    Code.NO_SUCH_INPUT: Exit.NO_SUCH_INPUT,
    Code.NO_DICOM: Exit.NOTHING_TO_CONVERT,
    Code.CORRUPT_FILE: Exit.CORRUPT_INPUT,
    Code.UNREADABLE_NUMBER: Exit.CORRUPT_INPUT,
    Code.FRAME_COUNT: Exit.CORRUPT_INPUT,
    Code.PIXEL_LENGTH: Exit.CORRUPT_INPUT,
    Code.HIGH_BIT: Exit.CORRUPT_INPUT,
    Code.FILE_UNREAD: Exit.CORRUPT_INPUT,
    Code.NO_SUCH_SERIES: Exit.NOTHING_TO_CONVERT,
    Code.SEVERAL_SERIES: Exit.NOTHING_TO_CONVERT,
    Code.NO_SUCH_PART: Exit.NOTHING_TO_CONVERT,
    Code.NOT_CONVERTIBLE: Exit.NOTHING_TO_CONVERT,
    Code.NO_SOURCE: Exit.NOTHING_TO_CONVERT,
    Code.SEVERAL_MASKS: Exit.NOTHING_TO_CONVERT,
    Code.OUTSIDE_SOURCE: Exit.MISMATCH,
    Code.OFF_IMAGE_GRID: Exit.MISMATCH,
    Code.NO_SUCH_ROI: Exit.NOTHING_TO_CONVERT,
    Code.ROI_FRAME_OF_REFERENCE: Exit.MISMATCH,
    Code.OTHER_IMAGE: Exit.MISMATCH,
    Code.BAD_LABELS: Exit.USAGE,
    Code.NO_SUCH_VALUE: Exit.USAGE,
    Code.AMBIGUOUS_EXPORT: Exit.USAGE,
    Code.BUNDLE_INVALID: Exit.CORRUPT_INPUT,
    Code.OTHER_GRID: Exit.MISMATCH,
    Code.OUTPUT_EXISTS: Exit.OUTPUT_PATH,
    Code.OUTPUT_NAME: Exit.OUTPUT_PATH,
    Code.BAD_ORIENTATION: Exit.USAGE,
    Code.CANNOT_WRITE: Exit.CANNOT_WRITE,
    Code.READ_BACK_DIFFERS: Exit.CANNOT_WRITE,
    Code.OFF_SOURCE_GRID: Exit.MISMATCH,
    Code.FRAME_OF_REFERENCE_DIFFERS: Exit.MISMATCH,
    Code.NO_SUCH_SEGMENT: Exit.NOTHING_TO_CONVERT,
    Code.NO_EXPORT_PACKAGE: Exit.USAGE,
    Code.SEGMENT_DESCRIPTION: Exit.USAGE,
    Code.EXPORT_SOURCE: Exit.MISMATCH,
    Code.WITNESS_DIFFERS: Exit.DISPUTED,
    Code.GRID_DIFFERS: Exit.MISMATCH,
    Code.FORMS_DISAGREE: Exit.MISMATCH,
    Code.UNPAIRED: Exit.MISMATCH,
    Code.NOTHING_TO_CHECK: Exit.NOTHING_TO_CONVERT,
    Code.UNKNOWN_LABELS: Exit.MISMATCH,
    Code.BAD_DATASET: Exit.CORRUPT_INPUT,
    Code.NOT_THE_PROVEN_FILE: Exit.MISMATCH,
    Code.NOT_AN_OUTCOME: Exit.CORRUPT_INPUT,
    Code.NO_REPORT_PACKAGE: Exit.USAGE,
    Code.NO_VIEWER: Exit.USAGE,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the input or the result.

    code: which defect. severity: whether it refuses (ERROR), is to be known (WARNING) or explains (INFO).
    message: what, where and how much, one sentence. hint: the likely cause and what to do.
    clause: the clause of the DICOM or NIfTI standard. where: file names, UIDs or planes.
    measured, limit, unit: the number behind it and its bound; always both or neither.
    """

    code: Code
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    clause: str = ""
    where: tuple[str, ...] = ()
    measured: float | None = None
    limit: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if (self.measured is None) != (self.limit is None):
            raise ValueError(f"{self.code.name}: measured and limit come together")

    @property
    def leaves_doubt(self) -> bool:
        """Whether a result with it stays UNCONFIRMED, whatever other readers say of its grid."""
        return self.code in DOUBTS and self.severity is not Severity.INFO

    def as_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "Code": self.code.name,
            "Stage": self.code.stage,
            "Severity": self.severity.value,
            "Message": self.message,
        }
        extra = {"Hint": self.hint, "Clause": self.clause, "Where": list(self.where)}
        record.update({key: value for key, value in extra.items() if value})
        if self.measured is not None:
            record.update({"Measured": self.measured, "Limit": self.limit, "Unit": self.unit})
        return record


class PipelineError(Exception):
    """The one exception of verimask: a finding that stops the work, with all that was found before it."""

    def __init__(self, finding: Finding, others: tuple[Finding, ...] = ()) -> None:
        super().__init__(finding, others)
        self.finding = finding
        self.others = others

    def __str__(self) -> str:
        return f"{self.finding.code.name}: {self.finding.message}"

    @property
    def exit(self) -> Exit:
        return _EXIT_BY_CODE.get(self.finding.code, Exit.REFUSED)


def refuse(code: Code, message: str, hint: str = "", **details: Any) -> PipelineError:
    """The exception for one refusing finding; `raise refuse(...)` reads as what it does."""
    return PipelineError(Finding(code, message, hint, **details))
