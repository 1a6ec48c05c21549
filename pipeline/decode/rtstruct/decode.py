"""RT Structure Sets (PS3.3 A.19): what ROIs there are, what they were drawn on, and each as a mask on that grid.

Rules:
- Only the file of the structure set is read here; the geometry is the source image's grid, and `roi` and `contours` do
  the filling. One ROI gives one mask with the value 1.
- An ROI that must be refused is an ERROR among the findings and gives no mask, and the others go on. When no mask is
  left the first refusal is raised.
- An ROI drawn in another Frame of Reference than the grid's is refused; one that cannot be compared is a warning, and
  so is one whose contours all name images of this source by their UIDs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.core.policy import Policy
from pipeline.core.unexpected import as_refusal
from pipeline.decode.rtstruct.roi import CLOSED, Contour, place
from pipeline.decode.rtstruct.roi_report import RoiReport
from pipeline.dicom.encoding import load
from pipeline.dicom.header import Header
from pipeline.dicom.scan import Series
from pipeline.geometry.grid import Grid
from pipeline.volume.mask import Mask, Segment

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Roi:
    """One ROI as the structure set lists it. contours: how many of each Contour Geometric Type (3006,0042).

    colour: ROI Display Color (3006,002A), RGB 0 to 255. type: RT ROI Interpreted Type (3006,00A4), such as ORGAN.
    algorithm: ROI Generation Algorithm (3006,0036).
    """

    file: str
    number: int
    name: str
    contours: dict[str, int]
    colour: tuple[int, int, int] | None = None
    type: str = ""
    algorithm: str = ""
    frame_of_reference_uid: str = ""
    referenced_series_uids: tuple[str, ...] = ()

    @property
    def fillable(self) -> bool:
        return any(self.contours.get(kind) for kind in CLOSED)


class DecodedRois(NamedTuple):
    """A mask and a report per ROI that could be filled, in the order of the structure set, and all that was found."""

    masks: list[Mask]
    findings: list[Finding]
    reports: list[RoiReport]


def accepts(series: Series) -> bool:
    """Whether this decoder reads a series of this kind."""
    return series.kind == "rtstruct"


def rois(series: Series) -> list[Roi]:
    """Every ROI of every structure set in the series, for listing. Raises PipelineError(CORRUPT_FILE)."""
    return [roi for header in series.headers for roi, _ in _read(header)]


def referenced_series_uids(series: Series) -> tuple[str, ...]:
    """Series Instance UIDs of the images the ROIs refer to (PS3.3 C.8.8.5), each once."""
    return tuple(dict.fromkeys(uid for roi in rois(series) for uid in roi.referenced_series_uids))


def referenced_image_uids(series: Series) -> frozenset[str]:
    """SOP Instance UIDs of all images referred to, by the structure set and by single contours.

    They find the source where the Referenced Series UID is missing or was rewritten.
    """
    found: set[str] = set()
    for header in series.headers:
        dataset = _dataset(header)
        for _, item in _referenced_series(dataset):
            found.update(str(i.get("ReferencedSOPInstanceUID", "")) for i in item.get("ContourImageSequence") or ())
        for item in dataset.get("ROIContourSequence") or ():
            for contour in _items(item):
                found.update(_image_uids(contour))
    return frozenset(found - {""})


def decode(
    series: Series,
    source: Grid,
    *,
    policy: Policy | None = None,
    wanted: Collection[str] | None = None,
    interpolate: bool = False,
    image_uids: Sequence[str] = (),
) -> DecodedRois:
    """Each ROI, or those `wanted` by name or number, as a mask on the source image's grid.

    image_uids: SOP Instance UID of the source's plane at every k. interpolate: fill between contours by their signed
    distances where they do not lie on the grid's planes.
    Raises PipelineError: NO_SUCH_ROI, SEVERAL_VOLUMES (several structure sets in one series), CORRUPT_FILE, and when
    no mask is left the first ROI's refusal. Any other refusal is an ERROR among the findings.
    """
    if len(series.headers) != 1:
        raise refuse(
            Code.SEVERAL_VOLUMES,
            f"{series.title} holds {len(series.headers)} structure sets, whose ROIs may have the same names",
            "Give the one file to convert instead of the folder.",
            where=tuple(h.path.name for h in series.headers),
        )
    limit_mm = (policy or Policy()).corner_limit(min(source.spacing))
    decoded = DecodedRois([], [], [])
    doubts: dict[str, list[str]] = {}
    for roi, item in _choose(_read(series.headers[0]), wanted):
        if wanted is None and not roi.fillable:
            decoded.findings.append(_nothing_to_fill(roi))
            continue
        try:
            contours = _contours(roi, item)
            doubt = _check_frame_of_reference(roi, contours, source, image_uids)
            voxels, report, findings = place(
                roi.number,
                roi.name,
                contours,
                source,
                limit_mm=limit_mm,
                interpolate=interpolate,
                image_uids=image_uids,
            )
        except Exception as error:
            refusal = as_refusal(error, f"ROI “{roi.name}”")
            decoded.findings.extend((*refusal.others, refusal.finding))
            continue
        if doubt:
            doubts.setdefault(doubt, []).append(roi.name)
        segment = Segment(1, roi.name, roi.colour, algorithm=roi.algorithm)
        decoded.masks.append(Mask(voxels, source, (segment,), roi.name))
        decoded.findings.extend(findings)
        decoded.reports.append(report)
    decoded.findings.extend(_doubtful_frames(doubts))
    if not decoded.masks:
        raise _no_mask(series, decoded.findings)
    return decoded


def _choose(
    found: list[tuple[Roi, Dataset | None]], wanted: Collection[str] | None
) -> list[tuple[Roi, Dataset | None]]:
    if wanted is None:
        return found
    chosen: list[tuple[Roi, Dataset | None]] = []
    for name in wanted:
        matches = [pair for pair in found if pair[0].name == name]
        matches = matches or [pair for pair in found if pair[0].name.casefold() == name.casefold()]
        matches = matches or [pair for pair in found if str(pair[0].number) == name]
        if len(matches) != 1:
            said = "no ROI is" if not matches else f"{len(matches)} ROIs are"
            listed = ", ".join(f"{roi.number} “{roi.name}”" for roi, _ in found)
            raise refuse(Code.NO_SUCH_ROI, f"{said} called “{name}”", f"Choose by name or number among: {listed}")
        if all(matches[0] is not pair for pair in chosen):
            chosen.append(matches[0])
    return chosen


def _check_frame_of_reference(roi: Roi, contours: Sequence[Contour], source: Grid, image_uids: Sequence[str]) -> str:
    """What keeps the ROI from being known to lie in the source's Frame of Reference; empty where nothing does."""
    drawn, given = roi.frame_of_reference_uid, source.frame_of_reference_uid
    if not given:
        return "the source image names no Frame of Reference"
    if not drawn:
        return "the structure set names no Frame of Reference"
    if drawn == given:
        return ""
    if contours and all(set(image_uids).intersection(c.image_uids) for c in contours):
        # Some writers make up a new UID; what is drawn on an image lies in that image's frame.
        return "the structure set names another Frame of Reference, but every contour names an image of this source"
    raise refuse(
        Code.ROI_FRAME_OF_REFERENCE,
        f"ROI “{roi.name}” was drawn in Frame of Reference {drawn}, and the source image is in {given}",
        "The coordinates do not compare; give the series the ROI was drawn on as --source.",
        where=(roi.file,),
        clause="PS3.3 C.8.8.5",
    )


def _doubtful_frames(doubts: dict[str, list[str]]) -> list[Finding]:
    """One warning for each reason, with its ROIs."""
    return [
        Finding(
            Code.ROI_FRAME_OF_REFERENCE,
            f"{reason}; the coordinates of {len(names)} ROI were taken as they are",
            "Look at the mask over the image.",
            Severity.WARNING,
            "PS3.3 C.8.8.5",
            tuple(names),
        )
        for reason, names in doubts.items()
    ]


def _nothing_to_fill(roi: Roi) -> Finding:
    counts = ", ".join(f"{count} {kind}" for kind, count in roi.contours.items()) or "none at all"
    return Finding(
        Code.CONTOUR_NOT_CLOSED,
        f"ROI “{roi.name}” has no closed contours ({counts}); it gives no mask",
        severity=Severity.WARNING,
        clause="PS3.3 C.8.8.6",
        where=(roi.file,),
    )


def _no_mask(series: Series, findings: list[Finding]) -> PipelineError:
    refusals = [f for f in findings if f.severity is Severity.ERROR]
    if refusals:
        return PipelineError(refusals[0], tuple(f for f in findings if f is not refusals[0]))
    error = refuse(
        Code.EMPTY_ROI,
        f"{series.title} has no ROI with closed contours",
        "There is nothing to fill: only points, lines or empty ROIs.",
    )
    return PipelineError(error.finding, tuple(findings))


def _read(header: Header) -> list[tuple[Roi, Dataset | None]]:
    """The ROIs of one structure set, each with its item of the ROI Contour Sequence."""
    dataset = _dataset(header)
    name = header.path.name
    drawn = _by_number(name, dataset, "ROIContourSequence", "ReferencedROINumber")
    series_uids: dict[str, list[str]] = {}
    for frame_uid, item in _referenced_series(dataset):
        series_uids.setdefault(frame_uid, []).append(str(item.get("SeriesInstanceUID", "")))
    types = {
        _whole(name, "an observation", item, "ReferencedROINumber"): str(item.get("RTROIInterpretedType") or "")
        for item in dataset.get("RTROIObservationsSequence") or ()
    }
    found = []
    for number, item in _by_number(name, dataset, "StructureSetROISequence", "ROINumber").items():
        frame_uid = str(item.get("ReferencedFrameOfReferenceUID") or "")
        contours = drawn.get(number)
        roi = Roi(
            file=name,
            number=number,
            name=str(item.get("ROIName") or "").strip() or f"ROI {number}",
            contours=dict(Counter(map(_kind, _items(contours)))),
            colour=_colour(contours),
            type=types.get(number, ""),
            algorithm=str(item.get("ROIGenerationAlgorithm") or ""),
            frame_of_reference_uid=frame_uid,
            referenced_series_uids=tuple(uid for uid in series_uids.get(frame_uid, ()) if uid),
        )
        found.append((roi, contours))
    return found


def _by_number(file: str, dataset: Dataset, sequence: str, keyword: str) -> dict[int, Dataset]:
    """The items of a sequence by their ROI number. One number given twice would hide one of the two."""
    found: dict[int, Dataset] = {}
    for item in dataset.get(sequence) or ():
        number = _whole(file, f"an item of {sequence}", item, keyword)
        if number is None or number in found:
            said = "no" if number is None else f"the repeated {number} as its"
            raise _corrupt(file, f"an item of {sequence} has {said} {keyword}")
        found[number] = item
    return found


def _whole(file: str, where: str, item: Dataset, keyword: str) -> int | None:
    """A whole number, None where there is none. Raises CORRUPT_FILE for what is no number."""
    try:
        value = item.get(keyword)
        number = None if value is None or value == "" else float(value)
        if number is None or number == int(number):
            return None if number is None else int(number)
    except (TypeError, ValueError, OverflowError):
        value = "what is there"
    raise _corrupt(file, f"{where}: {keyword} is no whole number ({value})")


def _items(item: Dataset | None) -> Sequence[Dataset]:
    return (item.get("ContourSequence") if item is not None else None) or ()


def _kind(contour: Dataset) -> str:
    return str(contour.get("ContourGeometricType") or "without a type")


def _dataset(header: Header) -> Dataset:
    try:
        return load(header.path)
    except (EOFError, ValueError, KeyError, AttributeError) as error:
        raise _corrupt(header.path.name, f"it cannot be read: {error}") from error


def _referenced_series(dataset: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Frame of Reference UID and item of every RT Referenced Series."""
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for item in study.get("RTReferencedSeriesSequence") or ():
                yield str(frame.get("FrameOfReferenceUID", "")), item


def _contours(roi: Roi, item: Dataset | None) -> list[Contour]:
    return [
        Contour(number, _kind(contour), _points(roi, number, contour), _image_uids(contour))
        for number, contour in enumerate(_items(item), 1)
    ]


def _points(roi: Roi, number: int, contour: Dataset) -> NDArray[np.float64]:
    """(n, 3) Contour Data (3006,0050). Parsed at once from its bytes: value by value takes most of a conversion."""
    place = f"ROI “{roi.name}”, contour {number}"
    raw: Any = contour.get_item("ContourData").value if "ContourData" in contour else b""
    try:
        parts = raw.split(b"\\") if isinstance(raw, bytes) else raw
        values = np.array(parts, dtype=np.float64) if raw else np.empty(0)
    except ValueError as error:
        raise _corrupt(roi.file, f"{place}: Contour Data is not numbers: {error}") from error
    said = _whole(roi.file, place, contour, "NumberOfContourPoints")
    if len(values) % 3 or not np.isfinite(values).all() or (said is not None and said * 3 != len(values)):
        raise _corrupt(roi.file, f"{place}: Contour Data has {len(values)} values for {said} points of three")
    return values.reshape(-1, 3)


def _image_uids(contour: Dataset) -> tuple[str, ...]:
    return tuple(str(i.get("ReferencedSOPInstanceUID", "")) for i in contour.get("ContourImageSequence") or ())


def _colour(item: Dataset | None) -> tuple[int, int, int] | None:
    if item is None:
        return None
    try:  # a colour is a convenience: one that is none costs nothing else
        value: Any = item.get("ROIDisplayColor")
        red, green, blue = (min(max(int(float(v)), 0), 255) for v in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return red, green, blue


def _corrupt(file: str, said: str) -> PipelineError:
    return refuse(
        Code.CORRUPT_FILE,
        f"{file}: {said}",
        "The file was cut off or changed in transfer; export or copy it again.",
        where=(file,),
        clause="PS3.3 C.8.8.6",
    )
