"""Read an RT Structure Set (PS3.3 A.19): its ROIs, and the images they were drawn on.

Rules:
- Only the file of the structure set is read. Nothing is placed or filled.
- ROI Number joins the lists of the file. An ROI that it cannot join (no number, one that cannot be read, one that stands
  twice) is an ERROR by name, and the other ROIs go on. Contours of an ROI that is not listed are an ROI without a name.
- A colour or a type that cannot be read is left out, because it decides no voxel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.findings import Code, Finding, Severity, refuse
from ...dicom.encoding import load
from ...dicom.header import Header
from ...dicom.scan import Series
from .contour import CLAUSE, FILLED
from .contour_items import contour_items, image_uids_of, kind_of_item

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LISTED = "Structure Set ROI Sequence (3006,0020)"
_DRAWN = "ROI Contour Sequence (3006,0039)"


@dataclass(frozen=True, slots=True)
class Roi:
    """One ROI as the structure set lists it.

    Attributes:
        file: name of the structure set's file.
        contours: how many there are of each Contour Geometric Type (3006,0042).
        colour: ROI Display Color (3006,002A), RGB 0 to 255.
        type: RT ROI Interpreted Type (3006,00A4), such as ORGAN.
        code: of RT ROI Identification Code Sequence (3006,0086), as SCHEME:VALUE; "" where it has none.
        algorithm: ROI Generation Algorithm (3006,0036).
        fault: why its contours cannot be told from another ROI's; None where they can.
    """

    file: str
    number: int
    name: str
    contours: dict[str, int]
    colour: tuple[int, int, int] | None = None
    type: str = ""
    code: str = ""
    algorithm: str = ""
    frame_of_reference_uid: str = ""
    referenced_series_uids: tuple[str, ...] = ()
    fault: Finding | None = None

    @property
    def fillable(self) -> bool:
        return any(self.contours.get(kind) for kind in FILLED)


class RoiItem(NamedTuple):
    """An ROI with its item of the ROI Contour Sequence; None where it has none."""

    roi: Roi
    item: Dataset | None

    def drawn_on(self) -> list[frozenset[str]]:
        """The SOP Instance UIDs of the images that each contour names; contours that name none are left out."""
        named = (frozenset(image_uids_of(contour)) - {""} for contour in contour_items(self.item))
        return [uids for uids in named if uids]


class ReferencedSeries(NamedTuple):
    """One RT Referenced Series (3006,0014). frame_uid: the Frame of Reference it stands under."""

    frame_uid: str
    series_uid: str
    image_uids: frozenset[str]


class StructureSet(NamedTuple):
    """What one file holds.

    related_frames: pairs of Frames of Reference that a Frame of Reference Relationship Sequence (3006,00C0) relates.
    findings: of ROIs that could not be joined, and of contours whose ROI is not listed.
    """

    file: str
    rois: tuple[RoiItem, ...]
    series: tuple[ReferencedSeries, ...]
    related_frames: frozenset[frozenset[str]]
    findings: tuple[Finding, ...]


class _Numbered(NamedTuple):
    """The items of a sequence by ROI number; those whose number cannot be read stand in `faults`, with why."""

    items: dict[int, list[Dataset]]
    faults: list[tuple[Dataset, str]]


def rois(series: Series) -> list[Roi]:
    """List every ROI of every structure set in the series. Raises PipelineError(CORRUPT_FILE)."""
    return [roi for header in series.headers for roi, _ in read(header).rois]


def count_rois(series: Series) -> int:
    """Count the ROIs that a series lists, without reading their contours; 0 for what cannot be read."""
    keyword = "StructureSetROISequence"
    try:
        datasets = [load(header.path, specific_tags=[keyword]) for header in series.headers]
    except Exception:  # whoever reads it whole says what is wrong with it
        return 0
    return sum(len(dataset.get(keyword) or ()) for dataset in datasets)


def referenced_series_uids(structure: StructureSet) -> tuple[str, ...]:
    """List the Series Instance UIDs of the images the ROIs refer to (PS3.3 C.8.8.5), each once."""
    return tuple(dict.fromkeys(uid for roi, _ in structure.rois for uid in roi.referenced_series_uids))


def read_one(series: Series) -> StructureSet:
    """Read the structure set of a series. Raises SEVERAL_VOLUMES where it holds several, CORRUPT_FILE."""
    if len(series.headers) != 1:
        raise refuse(
            Code.SEVERAL_VOLUMES,
            f"{series.title} holds {len(series.headers)} structure sets, whose ROIs may have the same names",
            "Give the one file to convert instead of the folder.",
            where=tuple(h.path.name for h in series.headers),
        )
    return read(series.headers[0])


def read(header: Header) -> StructureSet:
    """Read one file. Raises PipelineError(CORRUPT_FILE)."""
    file, dataset = header.path.name, _load(header)
    series = tuple(list_referenced_series(dataset))
    listed = _number(dataset, "StructureSetROISequence", "ROINumber")
    drawn = _number(dataset, "ROIContourSequence", "ReferencedROINumber")
    observed = _number(dataset, "RTROIObservationsSequence", "ReferencedROINumber").items
    types = {number: str(items[0].get("RTROIInterpretedType") or "") for number, items in observed.items()}
    codes = {number: _read_code(items[0]) for number, items in observed.items()}
    found: list[RoiItem] = []
    for number, items in listed.items.items():
        fault = _repeated(file, number, items, drawn.items.get(number, ()))
        for item in items:
            contours = drawn.items.get(number, [None])[0]
            roi = _read_roi(file, number, item, contours, series)
            known = replace(roi, type=types.get(number, ""), code=codes.get(number, ""), fault=fault)
            found.append(RoiItem(known, contours))
    findings = [*_unnumbered(file, listed, _LISTED), *_unnumbered(file, drawn, _DRAWN)]
    for number in sorted(drawn.items.keys() - listed.items.keys()):
        roi = Roi(file, number, f"ROI {number}", {}, fault=_repeated(file, number, (), drawn.items[number]))
        item = drawn.items[number][0]
        found.append(RoiItem(replace(roi, contours=_count_kinds(item), colour=_read_colour(item)), item))
        findings.append(_unlisted(file, number))
    return StructureSet(file, tuple(found), series, frozenset(_related_frames(dataset)), tuple(findings))


def _read_roi(
    file: str, number: int, item: Dataset, contours: Dataset | None, series: Sequence[ReferencedSeries]
) -> Roi:
    frame_uid = str(item.get("ReferencedFrameOfReferenceUID") or "")
    return Roi(
        file=file,
        number=number,
        name=str(item.get("ROIName") or "").strip() or f"ROI {number}",
        contours=_count_kinds(contours),
        colour=_read_colour(contours),
        algorithm=str(item.get("ROIGenerationAlgorithm") or ""),
        frame_of_reference_uid=frame_uid,
        referenced_series_uids=tuple(s.series_uid for s in series if s.frame_uid == frame_uid and s.series_uid),
    )


def _count_kinds(item: Dataset | None) -> dict[str, int]:
    return dict(Counter(map(kind_of_item, contour_items(item))))


def _number(dataset: Dataset, sequence: str, keyword: str) -> _Numbered:
    """Sort the items of a sequence by the ROI number that they give."""
    found = _Numbered({}, [])
    for item in dataset.get(sequence) or ():
        try:
            value: Any = item.get(keyword)
            number = None if value is None or value == "" else float(value)
        except (TypeError, ValueError, OverflowError):
            found.faults.append((item, f"a {keyword} that is no number"))
            continue
        if number is None or number % 1:
            found.faults.append((item, f"no {keyword}" if number is None else f"{number:g} as its {keyword}"))
        else:
            found.items.setdefault(int(number), []).append(item)
    return found


def _unnumbered(file: str, numbered: _Numbered, sequence: str) -> Iterator[Finding]:
    for item, fault in numbered.faults:
        name = str(item.get("ROIName") or "").strip()
        what = f"ROI “{name}” of the {sequence}" if name else f"an item of the {sequence}"
        text = f"{file}: {what} has {fault}, so nothing says which contours are whose; it was left out"
        hint = "The file was changed, or its writer numbers ROIs wrongly; export it again."
        yield Finding(Code.UNREADABLE_NUMBER, text, hint, clause=CLAUSE, where=(name or file,))


def _repeated(file: str, number: int, listed: Sequence[Dataset], drawn: Sequence[Dataset]) -> Finding | None:
    """Refuse the ROIs of one number, where it stands twice in one of the sequences."""
    names = tuple(str(item.get("ROIName") or "").strip() or f"ROI {number}" for item in listed) or (f"ROI {number}",)
    counts = [f"{len(s)} times in the {name}" for s, name in ((listed, _LISTED), (drawn, _DRAWN)) if len(s) > 1]
    if not counts:
        return None
    called = " and ".join(f"“{name}”" for name in names)
    return Finding(
        Code.ROI_NUMBER,
        f"{file}: ROI number {number} ({called}) stands {' and '.join(counts)}, so nothing says which contours are whose",
        "Export the structure set again, from a program that numbers each ROI once.",
        clause=CLAUSE,
        where=names,
    )


def _unlisted(file: str, number: int) -> Finding:
    return Finding(
        Code.ROI_NUMBER,
        f"{file}: ROI number {number} has contours and is not in the {_LISTED}, which would give its name",
        f"It is called “ROI {number}”. Find out which ROI it is before you use it.",
        Severity.WARNING,
        CLAUSE,
        (f"ROI {number}",),
    )


def _load(header: Header) -> Dataset:
    try:
        return load(header.path)
    except (EOFError, ValueError, KeyError, AttributeError) as error:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{header.path.name}: it cannot be read: {error}",
            "The file was cut off or changed in transfer; export or copy it again.",
            where=(header.path.name,),
            clause=CLAUSE,
        ) from error


def list_referenced_series(dataset: Dataset) -> Iterator[ReferencedSeries]:
    """List what its Referenced Frame of Reference Sequence (3006,0010) names, in the order of the file."""
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for item in study.get("RTReferencedSeriesSequence") or ():
                frame_uid, series_uid = (
                    str(frame.get("FrameOfReferenceUID", "")),
                    str(item.get("SeriesInstanceUID", "")),
                )
                yield ReferencedSeries(frame_uid, series_uid, frozenset(image_uids_of(item)) - {""})


def _related_frames(dataset: Dataset) -> Iterator[frozenset[str]]:
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for relation in frame.get("FrameOfReferenceRelationshipSequence") or ():
            yield frozenset(
                (str(frame.get("FrameOfReferenceUID", "")), str(relation.get("RelatedFrameOfReferenceUID", "")))
            )


def _read_code(item: Dataset) -> str:
    """The code of what an ROI shows, which only names it: one that cannot be read must not cost the ROI."""
    codes = item.get("RTROIIdentificationCodeSequence")
    value = (
        next((codes[0].get(k) for k in ("CodeValue", "LongCodeValue", "URNCodeValue") if codes[0].get(k)), "")
        if codes
        else ""
    )
    return f"{codes[0].get('CodingSchemeDesignator', '')}:{value}" if codes and value else ""


def _read_colour(item: Dataset | None) -> tuple[int, int, int] | None:
    if item is None:
        return None
    try:  # a colour only helps the eye, so one that cannot be read must not cost the ROI
        value: Any = item.get("ROIDisplayColor")
        red, green, blue = (min(max(int(float(v)), 0), 255) for v in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return red, green, blue
