"""Write the recipe of an RT Structure Set (PS3.3 A.19): an ellipse with a hole, a rectangle and a triangle, on its images.

Rules:
- Contours are drawn in units of pixels, on the slices, and lie nowhere along the centres of pixels, so that which voxels
  they hold is no matter of taste.
- ROI 1 “body” narrows towards the last slice, with a hole on the middle slices; ROI 2 “marker” is where the columns end, in
  the upper half of the slices; ROI 3 “nose” is where the rows begin, in the lower half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, pi, sin
from pathlib import Path
from typing import Any

from pydicom import Dataset

from .dicom_file import ds, item, save
from .parameters import Parameter, choice, flag, refuse_value, texts, whole
from .phantom import PARTS, Phantom
from .planes import patient_and_study, reference
from .series import FILES, GRID, phantom_of, write_series

_STRUCTURE_SET, _STUDY = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.3.1.2.3.1"
_COLOURS = ([230, 159, 0], [86, 180, 233], [0, 158, 115])
_CLEARANCE = 0.3  # pixels from their centres, for straight edges
_LEAST = 12  # rows and columns in which the three shapes are apart

Contour2D = Sequence[tuple[float, float]]  # columns and rows, in pixels from the centre of the first

RTSTRUCT = {
    **GRID,
    **FILES,
    "Rows": GRID["Rows"]._replace(read=whole(_LEAST, 1024)),
    "Columns": GRID["Columns"]._replace(read=whole(_LEAST, 1024)),
    "NumberOfSlices": GRID["NumberOfSlices"]._replace(read=whole(3, 1024)),
    "ROIName": Parameter(list(PARTS), "names of body, marker and nose; fewer names, fewer ROIs", texts(3)),
    "hole": Parameter(True, "whether the body has a hole, which is a contour within its contour", flag),
    "ContourGeometricType": Parameter("CLOSED_PLANAR", "of every contour", choice("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")),
    "points": Parameter(60, "points of an ellipse", whole(3, 2000)),
    "source_images": Parameter(True, "whether its images are written too, to images/", flag),
}


def write_rtstruct(folder: Path, p: Mapping[str, Any]) -> None:
    """Write rtstruct.dcm, and the images it was drawn on."""
    phantom = phantom_of(p)
    if phantom.multi_frame:
        raise refuse_value("SOPClassUID", p["SOPClassUID"], "a class of one file a slice, which contours refer to")
    if p["source_images"]:
        write_series(folder / "images", phantom, phantom.array(), p)
    dataset = patient_and_study(phantom)
    dataset.SOPClassUID, dataset.SOPInstanceUID = _STRUCTURE_SET, phantom.uid("structure set")
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SeriesNumber = phantom.uid("structures"), "RTSTRUCT", 9
    dataset.SeriesDescription = f"{phantom.description} structures"
    dataset.StructureSetLabel, dataset.StructureSetDate, dataset.StructureSetTime = "PHANTOM", "", ""
    frame = phantom.uid("frame of reference")
    images = [reference(phantom, k) for k in range(phantom.shape[2])]
    series = item(SeriesInstanceUID=phantom.uid("series"), ContourImageSequence=images)
    study = item(
        ReferencedSOPClassUID=_STUDY,
        ReferencedSOPInstanceUID=phantom.uid("study"),
        RTReferencedSeriesSequence=[series],
    )
    dataset.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    names = list(enumerate(p["ROIName"], 1))
    dataset.StructureSetROISequence = [
        item(ROINumber=n, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm="MANUAL")
        for n, name in names
    ]
    dataset.ROIContourSequence = [_roi(phantom, p, n) for n, _ in names]
    dataset.RTROIObservationsSequence = [
        item(ObservationNumber=n, ReferencedROINumber=n, RTROIInterpretedType="ORGAN", ROIInterpreter="")
        for n, _ in names
    ]
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "rtstruct.dcm", dataset)


def _roi(phantom: Phantom, p: Mapping[str, Any], number: int) -> Dataset:
    contours = [
        _contour(phantom, k, shape, p["ContourGeometricType"])
        for k in range(phantom.shape[2])
        for shape in _shapes(phantom, p, number, k)
    ]
    return item(ReferencedROINumber=number, ROIDisplayColor=_COLOURS[number - 1], ContourSequence=contours)


def _contour(phantom: Phantom, k: int, shape: Contour2D, kind: str) -> Dataset:
    made = item(
        ContourImageSequence=[reference(phantom, k)], ContourGeometricType=kind, NumberOfContourPoints=len(shape)
    )
    made.ContourData = ds(phantom.point([(u, v, k) for u, v in shape]), phantom.decimals)
    return made


def _shapes(phantom: Phantom, p: Mapping[str, Any], number: int, k: int) -> list[Contour2D]:
    """List the contours of one ROI on plane k."""
    columns, rows, planes = phantom.shape
    if number == 1:
        share = 1 - 0.5 * k / planes
        middle = (0.44 * columns + 0.13, 0.52 * rows + 0.17)
        radii = (0.31 * columns * share, 0.29 * rows * share)
        found = [_ellipse(middle, radii, p["points"])]
        if p["hole"] and planes // 4 <= k < planes - planes // 4:
            off = (middle[0] + 0.2 * radii[0], middle[1] - 0.15 * radii[1])
            found.append(_ellipse(off, (0.45 * radii[0], 0.5 * radii[1]), p["points"]))
        return found
    upper = k >= planes // 2
    if number == 2 and upper:
        left, right, top, bottom = (_edge(n) for n in (0.8 * columns, 0.92 * columns, 0.4 * rows, 0.65 * rows))
        return [[(left, top), (right, top), (right, bottom), (left, bottom)]]
    if number == 3 and not upper:
        left, right, top, bottom = (_edge(n) for n in (0.3 * columns, 0.5 * columns, 0.03 * rows, 0.18 * rows))
        return [[(left, bottom), (right, bottom), (left + 0.37, top)]]
    return []


def _edge(pixels: float) -> float:
    """The place of a straight edge near so many pixels, away from the centres of any."""
    return round(pixels) + _CLEARANCE


def _ellipse(middle: tuple[float, float], radii: tuple[float, float], count: int) -> Contour2D:
    angles = [2 * pi * n / count for n in range(count)]
    # Rounded, since the last digits of a cosine are the machine's.
    return [(middle[0] + radii[0] * round(cos(a), 9), middle[1] + radii[1] * round(sin(a), 9)) for a in angles]
