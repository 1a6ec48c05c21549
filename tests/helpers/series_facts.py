"""What the index would know of the series below a folder, read here by the scan and by pydicom.

Rules:
- It stands on its own, so that tests of links and subjects do not rest on the index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from pydicom import Dataset, dcmread

from pipeline.cohort.facts import GridFact, Role, SeriesFacts, image_digest
from pipeline.core.findings import PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom.scan import Series, scan
from pipeline.stacking.stack_frames import lay_frames


class FactsOfTree:
    """The facts of every series below a folder, and which images each holds."""

    def __init__(self, root: Path, masks: Collection[str] = ()) -> None:
        """masks: descriptions of image series that are masks."""
        self.facts: list[SeriesFacts] = []
        self.held: dict[str, frozenset[int]] = {}
        for series in scan(root).series:
            facts = _facts(series, root, masks)
            self.facts.append(facts)
            self.held[facts.key] = frozenset(image_digest(frame.sop_instance_uid) for frame in series.frames)

    def holds(self, key: str, images: Collection[int]) -> int:
        return len(self.held[key].intersection(images))


def _facts(series: Series, root: Path, masks: Collection[str]) -> SeriesFacts:
    first = dcmread(series.headers[0].path, stop_before_pixels=True)
    folder = series.headers[0].path.parent.relative_to(root).as_posix()
    patient = str(first.get("PatientID", ""))
    is_mask = series.kind in ("seg", "rtstruct") or series.description in masks
    role: Role = "mask" if is_mask else "image" if series.kind == "image" else "other"
    return SeriesFacts(
        key=hashlib.sha256(f"{series.kind} {series.uid}".encode()).hexdigest()[:16],
        role=role,
        kind=series.kind,
        uid=series.uid,
        modality=series.modality,
        number=series.number,
        description=series.description,
        folder="" if folder == "." else folder,
        mask_name=series.mask_name,
        study_uid=str(first.get("StudyInstanceUID", "")),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID", "")),
        patient=hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else "",
        identifiers=tuple(dict.fromkeys(str(first.get(k, "")) for k in ("PatientID", "PatientName") if first.get(k))),
        files=len(series.headers),
        frames=len(series.frames),
        grids=_grids(series),
        series_uids=tuple(sorted(_referred(first, "ReferencedSeriesSequence", "RTReferencedSeriesSequence"))),
        images=tuple(sorted(image_digest(uid) for uid in _named(first))),
    )


def _grids(series: Series) -> tuple[GridFact, ...]:
    if series.kind != "image":
        return ()
    try:
        grid = lay_frames(series.frames, Policy(as_="image"), series.title).grid
    except PipelineError:
        return ()
    i, j, k = grid.shape
    return (GridFact((i, j, k), tuple(float(n) for n in grid.lps[:3].ravel())),)


def _referred(dataset: Dataset, *keywords: str) -> set[str]:
    found = set()
    for element in dataset.iterall():
        if element.keyword in keywords:
            found |= {str(item.SeriesInstanceUID) for item in element.value}
    return found


def _named(dataset: Dataset) -> set[str]:
    found = set()
    for element in dataset.iterall():
        if element.keyword in ("ContourImageSequence", "SourceImageSequence"):
            found |= {str(item.ReferencedSOPInstanceUID) for item in element.value}
    return found
