"""A study as it lies in an archive: CT, another CT that no mask refers to, a SEG as OHIF writes it, and a structure set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.helpers import rtphantom, segs

PATIENT = "Zqpatient^Hidden"  # stands nowhere in this project: whoever shows it has read it from a file


@dataclass(frozen=True)
class PacsStudy:
    """truth: (segments, i, j, k) of the SEG. series: the UIDs of the four series, by name: ct, other, seg, struct."""

    folder: Path
    uid: str
    series: dict[str, str]
    truth: Any

    def paths(self, *names: str) -> list[Path]:
        """The files of some series; of all without a name."""
        return sorted(p for name in names or self.series for p in (self.folder / name).iterdir())


def make_study(folder: Path, *, masks: bool = True) -> PacsStudy:
    """Write one, with UIDs of its own."""
    ct = segs.source_files(folder / "ct")
    first = pydicom.dcmread(ct[0])
    study, reference = first.StudyInstanceUID, first.FrameOfReferenceUID
    for path in segs.source_files(folder / "other"):
        ds = pydicom.dcmread(path)
        ds.StudyInstanceUID, ds.SeriesNumber = study, 4
        ds.save_as(path)
    truth = segs.blobs(2, overlap=False)
    if masks:
        _write_seg(folder / "seg", ct, truth, reference)
        _write_struct(folder, first)
    for path in folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.PatientName, ds.PatientID, ds.StudyInstanceUID = PATIENT, PATIENT.partition("^")[0], study
        ds.save_as(path)
    names = ("ct", "other", "seg", "struct") if masks else ("ct", "other")
    series = {name: pydicom.dcmread(next((folder / name).iterdir())).SeriesInstanceUID for name in names}
    return PacsStudy(folder, study, series, truth)


def _write_seg(folder: Path, ct: list[Path], truth: Any, reference: str) -> None:
    """As OHIF writes it by dcmjs: a frame a plane and segment, each with its image; and the series with all its images."""
    folder.mkdir()
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in ct]
    item = Dataset()
    item.SeriesInstanceUID = images[0].SeriesInstanceUID
    item.ReferencedInstanceSequence = [_reference(image) for image in images]
    path = folder / "seg.dcm"
    more = {"ReferencedSeriesSequence": [item], "SeriesDescription": "Research Derived series", "Manufacturer": "OHIF"}
    segs.write_seg(
        path, segs.frames_of(truth), reference=reference, names=("Segment 1", "Segment 2"), tag_step=None, **more
    )
    ds = pydicom.dcmread(path)
    by_place = {tuple(image.ImagePositionPatient): image for image in images}
    for frame in ds.PerFrameFunctionalGroupsSequence:
        derivation = Dataset()
        image = by_place[tuple(frame.PlanePositionSequence[0].ImagePositionPatient)]
        derivation.SourceImageSequence = [_reference(image)]
        frame.DerivationImageSequence = [derivation]
    ds.save_as(path)


def _write_struct(folder: Path, first: Dataset) -> None:
    grid = segs.source_grid(folder / "ct")[0]
    frame, series = first.FrameOfReferenceUID, first.SeriesInstanceUID
    corners = rtphantom.rectangle(1.2, 5.1, 0.8, 3.6)
    contours = [rtphantom.on(grid, corners, k) for k in (1, 2, 3)]
    path = folder / "struct" / "struct.dcm"
    path.parent.mkdir()
    roi = rtphantom.PhantomRoi("liver", contours, frame_uid=frame)
    rtphantom.write_struct(path, [roi], uid=generate_uid(), references=((frame, series),))
    ds = pydicom.dcmread(path)
    ds.SeriesInstanceUID = generate_uid()
    study = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence[0].ContourImageSequence = [_reference(first)]
    ds.save_as(path)


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item
