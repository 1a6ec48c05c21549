"""Describe the record of a conversion to a type checker. Made from record_schema.json by `make pages`: do not edit.

Rules:
- docs/record.md says what every key means. Lengths are in mm; affines are RAS unless the key says LPS.
- Each class has the keys of one object of the schema. A key that may be left out is in a class with `total=False`.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from .record_parts import (
    GreyValuesRecord,
    LabelMapRecord,
    MergedSeriesRecord,
    PolicyRecord,
    ProvenanceRecord,
    ProvRecord,
    RequestRecord,
    RoiRecord,
)

HeaderValue = str | float | list[str | float]  # as the DICOM header has it; several values are a list


class _RequiredRecord(TypedDict):
    Schema: Literal["verimask outcome 1"]
    Verdict: Literal["VERIFIED", "UNCONFIRMED", "DISPUTED"]
    Output: str
    ConversionSoftware: Literal["verimask"]
    ConversionSoftwareVersion: str
    Shape: list[int]
    DataType: Literal[
        "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "RGB24"
    ]
    Geometry: GeometryRecord
    Slices: list[SliceRecord]
    Planes: PlanesRecord
    CrossCheck: list[AgreementRecord]
    Findings: list[FindingRecord]
    Policy: PolicyRecord
    Request: RequestRecord
    Provenance: ProvenanceRecord


class Record(_RequiredRecord, total=False):
    """The record of a conversion that wrote a file: the JSON next to the NIfTI file."""

    Folder: str
    Modality: HeaderValue
    Manufacturer: HeaderValue
    ManufacturersModelName: HeaderValue
    SeriesDescription: HeaderValue
    SeriesNumber: HeaderValue
    ProtocolName: HeaderValue
    SliceThickness: HeaderValue
    SpacingBetweenSlices: HeaderValue
    PatientPosition: HeaderValue
    ImageType: HeaderValue
    DoseUnits: HeaderValue
    DoseType: HeaderValue
    DoseSummationType: HeaderValue
    ImageOrientationPatientDICOM: HeaderValue
    SeriesInstanceUID: HeaderValue
    FrameOfReferenceUID: HeaderValue
    Type: Literal["ROI"]
    Labels: list[LabelRecord]
    Part: str
    Volumes: list[str]
    MaskSource: str
    Array: ArrayRecord
    SourceSeriesInstanceUID: str
    MovedToSourceMm: float
    Roi: RoiRecord
    MergedFrom: list[MergedSeriesRecord]
    LabelMap: LabelMapRecord
    GreyValues: list[GreyValuesRecord]
    Prov: ProvRecord
    RecordSHA256: str


class _RequiredRefusedRecord(TypedDict):
    Verdict: Literal["REFUSED"]
    Exit: Literal[1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 64]
    Findings: list[FindingRecord]


class RefusedRecord(_RequiredRefusedRecord, total=False):
    """What --json prints where nothing was written."""

    Folder: str


class _RequiredSkippedRecord(TypedDict):
    Verdict: Literal["SKIPPED"]
    Output: str
    Recorded: Literal["VERIFIED", "UNCONFIRMED", "DISPUTED"]


class SkippedRecord(_RequiredSkippedRecord, total=False):
    """What --json prints for an output that was there already, and is proven by its own record."""

    Folder: str


class _RequiredUnwrittenRecord(TypedDict):
    Verdict: Literal["PARTNER", "PASSED"]
    Series: str
    Message: str
    Hint: str


class UnwrittenRecord(_RequiredUnwrittenRecord, total=False):
    """What --json prints for an image series among masks that was not written."""

    SeriesInstanceUID: str
    Folder: str


class _RequiredGeometryRecord(TypedDict):
    Affine: list[list[float]]
    Frame: Literal["RAS"]
    AffineLPS: list[list[float]]
    SourceFrame: Literal["LPS"]
    AxisCodes: str
    SpacingMm: list[float]
    StepMm: float
    Handedness: Literal["right", "left"]
    CornerResidualMm: float
    IrregularityMm: float
    StraightenedMm: float
    ShearDegrees: float
    HeaderDeviationMm: float
    QformDeviationMm: float | None
    SformCode: int
    QformCode: int
    CornersLPS: list[list[float]]
    GridShape: list[int]
    GridAffineLPS: list[list[float]]


class GeometryRecord(_RequiredGeometryRecord, total=False):
    """Where the voxels are."""

    FirstPlane: PlaneRecord
    ResampledMm: float
    Assumed: str


class PlaneRecord(TypedDict):
    """One plane by its own header (Image Plane Module, PS3.3 C.7.6.2)."""

    Position: list[float]
    RowCosine: list[float]
    ColumnCosine: list[float]
    RowSpacing: float
    ColumnSpacing: float
    Rows: int
    Columns: int


class ArrayRecord(TypedDict):
    """The array from Python that was written."""

    Axes: str
    OrderBy: Literal["stated", "values"]


class _RequiredSliceRecord(TypedDict):
    Index: int
    SOPInstanceUID: str | None
    File: str | None


class SliceRecord(_RequiredSliceRecord, total=False):
    """One plane of the grid as acquired, and where it comes from."""

    Frame: int
    PositionLPS: list[float]
    Pairing: str


class PlanesRecord(TypedDict):
    """Where the first pixel of every plane lies, measured from that of the first plane."""

    Index: list[int]
    AlongNormalMm: list[float]
    AlongRowMm: list[float]
    AlongColumnMm: list[float]


class _RequiredLabelRecord(TypedDict):
    Value: int
    Name: str
    Voxels: int
    VolumeMl: float
    CentroidLpsMm: list[float] | None
    CentroidRasMm: list[float] | None
    Components: int | None


class LabelRecord(_RequiredLabelRecord, total=False):
    """One label of a mask."""

    Extent: list[list[int]] | None
    StoredValue: float
    Colour: list[int]
    Category: CodedEntryRecord
    SegmentType: CodedEntryRecord
    Algorithm: str


class CodedEntryRecord(TypedDict):
    """A coded entry (PS3.3 section 8.8)."""

    Value: str
    Scheme: str
    Meaning: str


class IndexMapRecord(TypedDict):
    """From its index to ours; null where there is no such map."""

    Matrix: list[list[int]]
    Words: str


class _RequiredAgreementRecord(TypedDict):
    Witness: Literal["dicom2nifti", "SimpleITK", "dcm2niix", "highdicom", "dcmqi", "Shapely", "GDCM"]
    Version: str
    Status: Literal["AGREES", "REORDERED", "REFUSED", "KNOWN_WRONG", "DIFFERS", "ABSENT", "FAILED"]
    MaxCornerMm: float | None
    VoxelsDiffering: int | None
    IndexMap: IndexMapRecord | None
    AffineRAS: list[list[float]] | None
    Words: str


class AgreementRecord(_RequiredAgreementRecord, total=False):
    """What one witness gave, held against the result."""

    Saw: Literal["voxels", "grid", "source"]


class _RequiredFindingRecord(TypedDict):
    Code: str
    Stage: str
    Severity: Literal["info", "warning", "error"]
    Message: str


class FindingRecord(_RequiredFindingRecord, total=False):
    """One fact about the input or the result."""

    Hint: str
    Clause: str
    Where: list[str]
    Measured: float
    Limit: float
    Unit: str
