"""Read an RT Structure Set (PS3.3 A.19): its ROIs, the images they were drawn on, and the points of their contours.

Rules:
- Only the file of the structure set is read. Nothing is placed or filled.
- An ROI without a number, and a number that two ROIs share, are refused by name: one of the two would be hidden. A
  colour that cannot be read is left out, because it decides no voxel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.findings import Code, PipelineError, refuse
from ...dicom.encoding import load
from ...dicom.header import Header
from ...dicom.scan import Series
from .roi import CLOSED, Contour

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Roi:
    """One ROI as the structure set lists it.

    Attributes:
        file: name of the structure set's file.
        contours: how many there are of each Contour Geometric Type (3006,0042).
        colour: ROI Display Color (3006,002A), RGB 0 to 255.
        type: RT ROI Interpreted Type (3006,00A4), such as ORGAN.
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


def rois(series: Series) -> list[Roi]:
    """List every ROI of every structure set in the series. Raises PipelineError(CORRUPT_FILE)."""
    return [roi for header in series.headers for roi, _ in read_rois(header)]


def referenced_series_uids(series: Series) -> tuple[str, ...]:
    """List the Series Instance UIDs of the images the ROIs refer to (PS3.3 C.8.8.5), each once."""
    return tuple(dict.fromkeys(uid for roi in rois(series) for uid in roi.referenced_series_uids))


def referenced_image_uids(series: Series) -> frozenset[str]:
    """Collect the SOP Instance UIDs of all images that the structure set or one of its contours refers to.

    They find the source where the Referenced Series UID is missing or was rewritten.
    """
    found: set[str] = set()
    for header in series.headers:
        dataset = _load(header)
        for _, item in _referenced_series(dataset):
            found.update(str(i.get("ReferencedSOPInstanceUID", "")) for i in item.get("ContourImageSequence") or ())
        for item in dataset.get("ROIContourSequence") or ():
            for contour in _items(item):
                found.update(_image_uids(contour))
    return frozenset(found - {""})


def read_rois(header: Header) -> list[tuple[Roi, Dataset | None]]:
    """Read the ROIs of one structure set, each with its item of the ROI Contour Sequence."""
    dataset = _load(header)
    name = header.path.name
    drawn = _index_by_number(name, dataset, "ROIContourSequence", "ReferencedROINumber")
    series_uids: dict[str, list[str]] = {}
    for frame_uid, item in _referenced_series(dataset):
        series_uids.setdefault(frame_uid, []).append(str(item.get("SeriesInstanceUID", "")))
    types = {
        _read_whole(name, "an observation", item, "ReferencedROINumber"): str(item.get("RTROIInterpretedType") or "")
        for item in dataset.get("RTROIObservationsSequence") or ()
    }
    found = []
    for number, item in _index_by_number(name, dataset, "StructureSetROISequence", "ROINumber").items():
        frame_uid = str(item.get("ReferencedFrameOfReferenceUID") or "")
        contours = drawn.get(number)
        roi = Roi(
            file=name,
            number=number,
            name=str(item.get("ROIName") or "").strip() or f"ROI {number}",
            contours=dict(Counter(map(_kind_of, _items(contours)))),
            colour=_read_colour(contours),
            type=types.get(number, ""),
            algorithm=str(item.get("ROIGenerationAlgorithm") or ""),
            frame_of_reference_uid=frame_uid,
            referenced_series_uids=tuple(uid for uid in series_uids.get(frame_uid, ()) if uid),
        )
        found.append((roi, contours))
    return found


def _index_by_number(file: str, dataset: Dataset, sequence: str, keyword: str) -> dict[int, Dataset]:
    """Return the items of a sequence by their ROI number. Raises CORRUPT_FILE for one without, or with that of another."""
    found: dict[int, Dataset] = {}
    for item in dataset.get(sequence) or ():
        number = _read_whole(file, f"an item of {sequence}", item, keyword)
        if number is None or number in found:
            fault = "no" if number is None else f"the repeated {number} as its"
            raise _corrupt(file, f"an item of {sequence} has {fault} {keyword}")
        found[number] = item
    return found


def _read_whole(file: str, where: str, item: Dataset, keyword: str) -> int | None:
    """Read a whole number, None where there is none. Raises UNREADABLE_NUMBER for anything else."""
    try:
        value = item.get(keyword)
        number = None if value is None or value == "" else float(value)
        if number is None or number == int(number):
            return None if number is None else int(number)
    except (TypeError, ValueError, OverflowError):
        value = "what is there"
    words = f"{where}: {keyword} is no whole number ({value})"
    raise _unreadable(file, words, Code.UNREADABLE_NUMBER)


def _items(item: Dataset | None) -> Sequence[Dataset]:
    return (item.get("ContourSequence") if item is not None else None) or ()


def _kind_of(contour: Dataset) -> str:
    return str(contour.get("ContourGeometricType") or "without a type")


def _load(header: Header) -> Dataset:
    try:
        return load(header.path)
    except (EOFError, ValueError, KeyError, AttributeError) as error:
        raise _corrupt(header.path.name, f"it cannot be read: {error}") from error


def _referenced_series(dataset: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Yield the Frame of Reference UID and the item of every RT Referenced Series."""
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for item in study.get("RTReferencedSeriesSequence") or ():
                yield str(frame.get("FrameOfReferenceUID", "")), item


def read_contours(roi: Roi, item: Dataset | None) -> list[Contour]:
    """Read the contours of an ROI in their order, numbered from 1, with points in LPS mm. Raises CORRUPT_FILE."""
    return [
        Contour(number, _kind_of(contour), _read_points(roi, number, contour), _image_uids(contour))
        for number, contour in enumerate(_items(item), 1)
    ]


def _read_points(roi: Roi, number: int, contour: Dataset) -> NDArray[np.float64]:
    """Read (n, 3) Contour Data (3006,0050), from its bytes at once: value by value takes most of a conversion."""
    place = f"ROI “{roi.name}”, contour {number}"
    raw: Any = contour.get_item("ContourData").value if "ContourData" in contour else b""
    try:
        parts = raw.split(b"\\") if isinstance(raw, bytes) else raw
        values = np.array(parts, dtype=np.float64) if raw else np.empty(0)
    except ValueError as error:
        raise _corrupt(roi.file, f"{place}: Contour Data is not numbers: {error}") from error
    points = _read_whole(roi.file, place, contour, "NumberOfContourPoints")
    if len(values) % 3 or not np.isfinite(values).all() or (points is not None and points * 3 != len(values)):
        raise _corrupt(roi.file, f"{place}: Contour Data has {len(values)} values for {points} points of three")
    return values.reshape(-1, 3)


def _image_uids(contour: Dataset) -> tuple[str, ...]:
    return tuple(str(i.get("ReferencedSOPInstanceUID", "")) for i in contour.get("ContourImageSequence") or ())


def _read_colour(item: Dataset | None) -> tuple[int, int, int] | None:
    if item is None:
        return None
    try:  # a colour only helps the eye, so one that cannot be read must not cost the ROI
        value: Any = item.get("ROIDisplayColor")
        red, green, blue = (min(max(int(float(v)), 0), 255) for v in value)
    except (TypeError, ValueError, OverflowError):
        return None
    return red, green, blue


def _corrupt(file: str, fault: str) -> PipelineError:
    return _unreadable(file, fault, Code.CORRUPT_FILE)


def _unreadable(file: str, fault: str, code: Code) -> PipelineError:
    return refuse(
        code,
        f"{file}: {fault}",
        "The file was cut off or changed in transfer; export or copy it again.",
        where=(file,),
        clause="PS3.3 C.8.8.6",
    )
