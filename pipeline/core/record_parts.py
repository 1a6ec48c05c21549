"""Describe parts of the record of a conversion to a type checker. Made from record_schema.json by `make pages`: do not edit.

Rules:
- docs/record.md says what every key means. Lengths are in mm; affines are RAS unless the key says LPS.
- Each class has the keys of one object of the schema. A key that may be left out is in a class with `total=False`.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class _RequiredPolicyRecord(TypedDict):
    CornerLimitMm: float
    CornerLimitFraction: float
    CentreLimitMm: float
    CosineLimit: float
    HeaderLimitMm: float
    SkewLimit: float
    QformLimitMm: float
    WitnessLimitMm: float
    Dcm2niixLimitMm: float
    WitnessLimitS: float
    As: Literal["mask", "image"]
    Palette: Literal["stored", "apply"]
    OnTilt: Literal["refuse", "shear", "resample"]
    OnGap: Literal["refuse", "fill", "nearest", "resample"]
    OnDuplicate: Literal["refuse", "drop", "first", "last"]
    OnLossy: Literal["refuse", "threshold", "keep"]
    OnUnread: Literal["refuse", "leave-out"]
    AssumeSpacing: bool
    Orient: str
    SameFrame: bool
    Resample: Literal["refuse", "nearest"]
    Fractional: float | Literal["keep"]
    Combine: Literal["auto", "separate", "merge"]
    Interpolate: bool
    MmPerUnit: float | None
    GreyValues: bool
    KeepValues: bool
    AllowEmpty: bool
    Crosscheck: Literal["affine", "voxels", "off"]
    GzipLevel: int | None
    KeepDisputed: bool
    LabelsFile: Literal["none", "bids", "itksnap", "slicer"]
    Write: Literal["refuse", "suffix", "skip", "overwrite"]


class PolicyRecord(_RequiredPolicyRecord, total=False):
    """Every tolerance and every choice of the conversion."""

    KeepNames: bool
    Strip: Literal["none", "names", "uids", "all"]


class RequestRecord(TypedDict):
    """What was asked for."""

    Series: str | None
    Part: str | None
    Rois: list[str] | None
    Inside: list[list[str | int | list[int]]]
    Outside: int | None
    Kind: Literal["labels", "burned", "masked", "colour", "overlay", None]
    Undecided: Literal["surrounded", "inside", "outside"]
    Merge: bool
    Order: list[str]
    Images: bool


class _RequiredInputFileRecord(TypedDict):
    File: str
    SHA256: str


class InputFileRecord(_RequiredInputFileRecord, total=False):
    """One input file."""

    Role: Literal["source", "clean", "like"]


class LabelsFileRecord(TypedDict):
    """The file of label names and colours that was written next to it."""

    File: str
    SHA256: str


class _RequiredProvenanceRecord(TypedDict):
    Inputs: list[InputFileRecord]
    OutputSHA256: str
    Command: list[str]
    Versions: VersionsRecord


class ProvenanceRecord(_RequiredProvenanceRecord, total=False):
    """What went in, and what came out."""

    LabelsFile: LabelsFileRecord


class _RequiredVersionsRecord(TypedDict):
    python: str


_OptionalVersionsRecord = TypedDict(
    "_OptionalVersionsRecord",
    {
        "verimask": str,
        "pydicom": str,
        "numpy": str,
        "isal": str,
        "zlib-ng": str,
        "dicom2nifti": str,
        "SimpleITK": str,
        "dcm2niix": str,
    },
    total=False,
)


class VersionsRecord(_RequiredVersionsRecord, _OptionalVersionsRecord):
    """Versions of Python and of what the result may depend on."""


class ProvSoftwareRecord(TypedDict):
    """The program."""

    Id: str
    Label: Literal["verimask"]
    Version: str


class ProvEnvironmentRecord(TypedDict):
    """The packages that it ran with."""

    Id: str
    Label: Literal["Python environment"]
    Dependencies: VersionsRecord


class ProvActivityRecord(TypedDict):
    """The conversion."""

    Id: str
    Label: Literal["DICOM to NIfTI conversion"]
    Command: str
    AssociatedWith: str
    Used: list[str]


class _RequiredProvFileRecord(TypedDict):
    Id: str
    Label: Literal[
        "NIfTI mask",
        "NIfTI image",
        "label names",
        "input file",
        "source image file",
        "clean export file",
        "reference file",
    ]
    Digest: ProvDigestRecord


class ProvFileRecord(_RequiredProvFileRecord, total=False):
    """A file that was written, or the only one that was read for its part."""

    GeneratedBy: str


class ProvCollectionRecord(TypedDict):
    """The files that were read for one part, as a prov:Collection."""

    Id: str
    Label: str
    Digest: ProvDigestRecord
    Type: Literal["prov:Collection"]


class _RequiredProvPartsRecord(TypedDict):
    Software: list[ProvSoftwareRecord]
    Environments: list[ProvEnvironmentRecord]
    Activities: list[ProvActivityRecord]
    Files: list[ProvFileRecord]


_OptionalProvPartsRecord = TypedDict(
    "_OptionalProvPartsRecord",
    {
        "prov:Entity": "list[ProvCollectionRecord]",
    },
    total=False,
)


class ProvPartsRecord(_RequiredProvPartsRecord, _OptionalProvPartsRecord):
    """The records of BEP028, by what they are."""


# Where the file comes from, as JSON-LD in the terms of W3C PROV and BEP028 (provenance in BIDS).
ProvRecord = TypedDict(
    "ProvRecord",
    {
        "@context": dict[str, object],
        "Records": "ProvPartsRecord",
    },
)


# The digest that the Id is made of.
ProvDigestRecord = TypedDict(
    "ProvDigestRecord",
    {
        "SHA-256": str,
    },
)


class RoiRecord(TypedDict):
    """One ROI of a structure set: its contours against the voxels that they filled."""

    Number: int
    Name: str
    Direction: Literal["i", "j", "k"]
    Contours: int
    Holes: int
    Planes: int
    Interpolated: bool
    ContourAreaMm2: float
    ContourVolumeMl: float
    Voxels: int
    VoxelAreaMm2: float
    VoxelVolumeMl: float
    DifferencePercent: float


class LabelMapRecord(TypedDict):
    """What labels.toml, the label map of a cohort, made of the masks of one case."""

    SHA256: str
    Overlap: Literal["order", "refuse", "regions"]
    Unmatched: list[str]
    Ignored: list[str]
    Missing: list[str]


class _RequiredMergedLabelRecord(TypedDict):
    Value: int
    Name: str


class MergedLabelRecord(_RequiredMergedLabelRecord, total=False):
    """A label that came from it."""

    FromNumber: int
    FromName: str
    FoundBy: Literal["name", "code", "regex"]


class MergedSeriesRecord(TypedDict):
    """One series of a merge."""

    SeriesInstanceUID: str | None
    SeriesNumber: int | None
    SeriesDescription: str | None
    Folder: str
    Labels: list[MergedLabelRecord]


class GreyValuesRecord(TypedDict):
    """Grey values of the source under the mask, or under one mirror image of it."""

    flips: list[bool]
    voxels: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    dice: float
