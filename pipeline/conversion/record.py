"""Build the record of a conversion: what it was and how it is proven, written beside the NIfTI file as JSON.

Rules:
- Everything a report, a person or another program needs is in it; nothing else is asked later.
- Keys known from BIDS and dcm2niix keep their names, and Prov those of BEP028; our own blocks are Verdict, Geometry,
  Slices, Planes, CrossCheck, Findings, Policy and Provenance. Affines are RAS mm unless the key says LPS; indices are (i, j, k).
- Affine and Shape are of the file; GridShape, GridAffineLPS, CornersLPS, Slices and Planes of the order as acquired.
- What the records of one run share (slices, planes, inputs, versions) is made once, and so is its text: see `record_text`.
- No patient name, id or birth date, no path, and no name of an input's file or folder, see `neutral_names`; where names are
  kept, files appear by name, and their folder relative to the input that was given. `public_record` takes out more on request.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np

from ..core.findings import Exit, Finding
from ..core.policy import Policy
from ..crosscheck.agreement import Agreement
from ..dicom.frame import Frame
from ..dicom.scan import Series
from ..geometry.affine import LPS_TO_RAS, Matrix, axis_codes, axis_lengths
from ..volume.label_table import LabelRow
from ..volume.mask import MaskVolume, Segment
from . import record_digest
from .neutral_names import NeutralNames
from .product import Product, Proof
from .prov import build_prov
from .public_record import name_inputs, strip_record, without_folders
from .record_text import SharedList, as_text
from .request import RunDetails

if TYPE_CHECKING:
    from ..core.record_types import Record

SCHEMA = "verimask outcome 1"
AnyRecord = TypeVar("AnyRecord", bound=Mapping[str, Any])
Verdict = Literal["VERIFIED", "UNCONFIRMED", "DISPUTED", "SKIPPED"]

_VERSIONED = ("verimask", "pydicom", "numpy", "isal", "zlib-ng", "dicom2nifti", "SimpleITK", "dcm2niix")
_BIDS = {
    "Modality": "Modality",
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "ManufacturersModelName",
    "SeriesDescription": "SeriesDescription",
    "SeriesNumber": "SeriesNumber",
    "ProtocolName": "ProtocolName",
    "SliceThickness": "SliceThickness",
    "SpacingBetweenSlices": "SpacingBetweenSlices",
    "PatientPosition": "PatientPosition",
    "ImageType": "ImageType",
    "DoseUnits": "DoseUnits",
    "DoseType": "DoseType",
    "DoseSummationType": "DoseSummationType",
    "ImageOrientationPatient": "ImageOrientationPatientDICOM",
    "SeriesInstanceUID": "SeriesInstanceUID",
    "FrameOfReferenceUID": "FrameOfReferenceUID",
}


@dataclass(frozen=True, slots=True, eq=False)
class Proofs:
    """The two numbers that do not depend on anybody else. planes: proof 1. header_mm: the sform read back."""

    planes: Proof
    header_mm: float
    qform_deviation_mm: float
    sform_code: int
    qform_code: int


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The result of one conversion. output: the NIfTI file.

    proofs: None for one that was passed over (SKIPPED). record: as it lies beside the file; for SKIPPED it has the keys of a
    SkippedRecord, and "Recorded" is the verdict beside the file.
    folder: of the inputs, where what was converted lies, as on disk; see `input_folder`. unnamed: whether its masks have a name
    by that folder only, which was not written. removed: the files that went with one that was replaced.
    """

    verdict: Verdict
    output: Path
    series: str
    shape: tuple[int, ...]
    dtype: str
    labels: tuple[LabelRow, ...] | None
    proofs: Proofs | None
    agreements: tuple[Agreement, ...]
    findings: tuple[Finding, ...]
    record: Record
    folder: str = ""
    unnamed: bool = False
    removed: tuple[str, ...] = ()

    @property
    def exit(self) -> Exit:
        return Exit.DISPUTED if "DISPUTED" in (self.verdict, self.record.get("Recorded")) else Exit.VERIFIED


def sidecar_of(output: Path) -> Path:
    """liver.nii.gz -> liver.json"""
    return output.with_name(output.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def verdict_of(agreements: Sequence[Agreement]) -> Verdict:
    """VERIFIED: a witness agrees and none disputes."""
    if any(a.status == "DIFFERS" for a in agreements):
        return "DISPUTED"
    return "VERIFIED" if any(a.confirms for a in agreements) else "UNCONFIRMED"


def build_record(
    outcome: Outcome,
    product: Product,
    affine_ras: Matrix,
    policy: Policy,
    details: RunDetails,
    files: Sequence[tuple[str, Path]],
    hashes: Mapping[Path, str],
    labels_file: tuple[str, str] | None,
) -> Record:
    """Build the JSON of a conversion, in the order a person reads it.

    Args:
        outcome: all of the conversion but its record.
        product: what was written.
        affine_ras: (4, 4), of the file, from (i, j, k) to RAS mm.
        policy: tolerances and choices.
        details: what was asked for and typed.
        files: every input with its role, "" for those of the mask or image itself.
        hashes: SHA-256 of the files and of the output.
        labels_file: the name and the SHA-256 of the file of label names beside it.

    Returns: the record, of values that JSON has.

    Raises: ValueError for a conversion that was passed over, which has its record already.
    """
    if outcome.proofs is None:
        raise ValueError("what was passed over keeps the record it has")
    digests = tuple(hashes[path] for _, path in files)
    given = (product.frames, tuple(files), digests, details.looks)
    inputs = details.looks.last(name_inputs, *given, policy.keep_names)
    names = inputs.with_public((outcome.output.name, *(row.name for row in outcome.labels or ())))
    record: dict[str, Any] = {
        "Schema": SCHEMA,
        "Verdict": outcome.verdict,
        **_head(outcome, product.series, keep_names=policy.keep_names),
    }
    if isinstance(product.volume, MaskVolume):
        record["Type"] = "ROI"  # of the four types that BIDS has of a mask, the one that is true of any
        same = bool((affine_ras == product.grid.ras).all())
        rows = zip(outcome.labels or (), product.volume.segments, strict=True)
        record["Labels"] = [_label(row, segment, same_order=same) for row, segment in rows]
    record["Geometry"] = _geometry(product, affine_ras, outcome.proofs, names)
    record["Slices"] = details.looks.last(_slices, product.frames, inputs)
    record["Planes"] = details.looks.last(_planes, product.frames[: product.grid.shape[2]])
    record |= product.extra if policy.keep_names else without_folders(product.extra)
    record["CrossCheck"] = [replace(a, words=names.text(a.words)).as_json() for a in outcome.agreements]
    record["Findings"] = [names.finding(f).as_json() for f in outcome.findings]
    record["Policy"] = policy.as_json()
    record["Request"] = dict(details.request)
    listed = details.looks.last(_inputs, tuple(files), digests, inputs)
    record["Provenance"] = _provenance(listed, hashes[outcome.output], details, labels_file)
    record = strip_record(record, policy)
    record["Prov"] = build_prov(record)
    return cast("Record", record)  # of what the schema allows: the tests hold every record against it, and the type too


def _provenance(
    listed: SharedList, output: str, details: RunDetails, labels_file: tuple[str, str] | None
) -> dict[str, Any]:
    """What went in and what came out. listed: the inputs. output: the digest of the NIfTI file."""
    made: dict[str, Any] = {
        "Inputs": listed,
        "OutputSHA256": output,
        "Command": [token.rstrip("/").rsplit("/", 1)[-1].rsplit("\\", 1)[-1] for token in details.command],
        "Versions": details.looks.once(versions),
    }
    if labels_file is not None:
        made["LabelsFile"] = {"File": labels_file[0], "SHA256": labels_file[1]}
    return made


def _head(outcome: Outcome, series: Series, *, keep_names: bool) -> dict[str, Any]:
    """What other programs know from the files of BIDS and dcm2niix."""
    from ..core.version import __version__

    values = {name: series.get(keyword) for keyword, name in _BIDS.items()}
    known = {name: value for name, value in values.items() if value is not None and _is_said(value)}
    software = {"ConversionSoftware": "verimask", "ConversionSoftwareVersion": __version__}
    shape = {"Shape": list(outcome.shape), "DataType": outcome.dtype}
    folder = outcome.folder if keep_names else ""
    return {"Output": outcome.output.name, **({"Folder": folder} if folder else {}), **known, **software, **shape}


def _is_said(value: object) -> bool:
    """Whether a value of the header says something that JSON can hold: "nan" is a Decimal String to Python, and no number."""
    numbers = value if isinstance(value, list | tuple) else (value,)
    return all(isfinite(number) for number in numbers if isinstance(number, float))


def _inputs(files: Sequence[tuple[str, Path]], digests: Sequence[str], names: NeutralNames) -> SharedList:
    """Every file that had a part in it, by name and digest, in an order that no folder decides."""
    entries = [
        {"File": names.of(path), "SHA256": digest} | ({"Role": role} if role else {})
        for (role, path), digest in zip(files, digests, strict=True)
    ]
    return SharedList(sorted(entries, key=lambda entry: (entry.get("Role", ""), entry["File"], entry["SHA256"])))


def write_record(path: Path, record: AnyRecord) -> AnyRecord:
    """Write a record as a JSON file, UTF-8, with the digest of its own bytes; return it with that digest."""
    own = {key: value for key, value in record.items() if key != record_digest.KEY}
    data, digest = record_digest.seal(as_text({**own, record_digest.KEY: record_digest.ZEROS}) + "\n")
    path.write_bytes(data)
    return cast("AnyRecord", {**own, record_digest.KEY: digest})


def versions() -> dict[str, str]:
    """Of Python and of the packages a result may depend on, by the metadata folders beside them.

    Read from the folders' names: importing importlib.metadata costs more than converting a small mask.
    """
    found = {}
    for folder in filter(os.path.isdir, reversed(sys.path)):  # the first on the path counts
        for name in os.listdir(folder):
            package, dash, rest = name.partition("-")
            if dash and rest.endswith((".dist-info", ".egg-info")):
                found[package.casefold().replace("_", "-")] = (
                    rest.removesuffix(".dist-info").removesuffix(".egg-info").split("-")[0]
                )
    named = {package: found[package.casefold()] for package in _VERSIONED if package.casefold() in found}
    return {"python": sys.version.split()[0]} | named


def _geometry(product: Product, affine_ras: Matrix, proofs: Proofs, names: NeutralNames) -> dict[str, Any]:
    planes, grid = proofs.planes, product.grid
    record = {
        "Affine": affine_ras.tolist(),
        "Frame": "RAS",
        "AffineLPS": (LPS_TO_RAS @ affine_ras).tolist(),
        "SourceFrame": "LPS",
        "AxisCodes": axis_codes(affine_ras),
        "SpacingMm": [float(n) for n in axis_lengths(affine_ras)],
        "StepMm": grid.spacing[2],
        "Handedness": "right" if np.linalg.det(affine_ras[:3, :3]) > 0 else "left",
        "CornerResidualMm": planes.worst_mm,
        "IrregularityMm": planes.irregularity_mm,
        "StraightenedMm": planes.straightened_mm,
        "ShearDegrees": grid.shear_degrees,
        "HeaderDeviationMm": proofs.header_mm,
        "QformDeviationMm": proofs.qform_deviation_mm,
        "SformCode": proofs.sform_code,
        "QformCode": proofs.qform_code,
        "CornersLPS": grid.corners().tolist(),
        "GridShape": list(grid.shape),
        "GridAffineLPS": grid.lps.tolist(),
    }
    first = next(iter(product.frames), None)
    if first is not None and first.plane is not None:
        record["FirstPlane"] = _camel_case(asdict(first.plane))
    if planes.travelled_mm is not None:
        record["ResampledMm"] = planes.travelled_mm
    return record | ({"Assumed": names.text(product.assumed)} if product.assumed else {})


def _planes(frames: Sequence[Frame | None]) -> dict[str, SharedList]:
    """Where the first pixel of every plane lies, in mm from the first one, along its rows, columns and normal."""
    in_space = [(k, frame.plane) for k, frame in enumerate(frames) if frame is not None and frame.plane is not None]
    along = np.zeros((0, 3))
    if in_space:
        first = in_space[0][1]
        axes = np.array([first.row_cosine, first.column_cosine, first.normal])
        along = np.round((np.array([p.position for _, p in in_space]) - first.position) @ axes.T, 6) + 0.0
    return {
        "Index": SharedList(k for k, _ in in_space),
        "AlongNormalMm": SharedList(along[:, 2].tolist()),
        "AlongRowMm": SharedList(along[:, 0].tolist()),
        "AlongColumnMm": SharedList(along[:, 1].tolist()),
    }


def _camel_case(values: dict[str, Any]) -> dict[str, Any]:
    return {"".join(word.capitalize() for word in name.split("_")): value for name, value in values.items()}


def _slices(frames: Sequence[Frame | None], names: NeutralNames) -> SharedList:
    return SharedList(_slice(k, frame, names) for k, frame in enumerate(frames))


def _slice(k: int, frame: Frame | None, names: NeutralNames) -> dict[str, Any]:
    if frame is None:
        return {"Index": k, "SOPInstanceUID": None, "File": None}
    record: dict[str, Any] = {"Index": k, "SOPInstanceUID": frame.sop_instance_uid, "File": names.of(frame.path)}
    if frame.header.number_of_frames > 1:
        record["Frame"] = frame.number
    if frame.plane is not None:
        record["PositionLPS"] = list(frame.plane.position)
    if frame.pairing:
        record["Pairing"] = names.text(frame.pairing)
    return record


def _label(row: LabelRow, segment: Segment, *, same_order: bool) -> dict[str, Any]:
    """One line of the label table. Its extent is told only where the file keeps the grid's order of indices."""
    record = {"Value": row.value, "Name": row.name} | row.as_json()
    if not same_order:
        del record["Extent"]
    if segment.source_value is not None and segment.source_value != segment.number:
        record["StoredValue"] = segment.source_value
    if segment.colour is not None:
        record["Colour"] = list(segment.colour)
    for key, concept in (("Category", segment.category), ("SegmentType", segment.type)):
        if concept is not None:
            record[key] = {"Value": concept.value, "Scheme": concept.scheme, "Meaning": concept.meaning}
    return record | ({"Algorithm": segment.algorithm} if segment.algorithm else {})
