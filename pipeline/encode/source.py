"""Check that a mask lies on the planes of its source, and copy from the source what an export must share with it.

Rules:
- Patient, study, Frame of Reference and geometry are copied as they are written, decimal strings included: an export
  must lie in the same study and at the very same place.
- Nothing else is copied: what the source says of its acquisition is not true of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.findings import Code, refuse
from ..core.policy import Policy
from ..dicom.encoding import load
from ..dicom.frame import Frame
from ..dicom.source_file import FileState, state_of
from ..geometry.frame_of_reference import doubt_same_frame
from ..geometry.grid import Grid
from ..geometry.stack import residuals_mm

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_KEPT = """
    SpecificCharacterSet PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientIdentityRemoved
    DeidentificationMethod DeidentificationMethodCodeSequence StudyInstanceUID StudyDate StudyTime
    ReferringPhysicianName StudyID AccessionNumber StudyDescription PatientAge PatientSize PatientWeight
    FrameOfReferenceUID PositionReferenceIndicator PatientPosition BodyPartExamined Laterality
""".split()
# Type 2: present, and empty where the source has none (PS3.3 C.7.1.1, C.7.2.1, C.7.4.1).
TYPE_2 = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber
    PositionReferenceIndicator
""".split()
_NEVER_ABSENT = {*TYPE_2, "Laterality"}  # the latter of type 2C (PS3.3 C.7.3.1)
_GIVE_SOURCE = "Give the series the mask was made on, or put the mask on its grid first (convert --source)."
_GEOMETRY = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
}


def check_source(grid: Grid, source: Sequence[Frame], policy: Policy) -> None:
    """Refuse a mask that does not lie on the planes of its source, one plane each, in their order.

    Args:
        grid: of the mask.
        source: the frames of the source, in the order of the planes.
        policy: has the limit in mm.

    Returns:
        Nothing, where it does.

    Raises:
        EXPORT_SOURCE: the number, size or place of the planes is another.
        FRAME_OF_REFERENCE_DIFFERS: their coordinates cannot be compared.
    """
    planes = [frame.plane for frame in source if frame.plane is not None]
    sizes = {(p.columns, p.rows) for p in planes}
    if len(planes) != grid.shape[2] or len(source) != len(planes) or sizes != {grid.shape[:2]}:
        size = " or ".join(f"{c} × {r}" for c, r in sorted(sizes)) or "no"
        raise refuse(
            Code.EXPORT_SOURCE,
            f"the mask has {' × '.join(map(str, grid.shape))} voxels, the source {len(planes)} planes of {size} pixels",
            _GIVE_SOURCE,
            where=tuple(frame.name for frame in source[:1]),
        )
    residual = residuals_mm(grid.lps, planes, np.arange(len(planes)))
    worst, limit = int(residual.argmax()), policy.corner_limit(min(grid.spacing))
    if residual[worst] > limit:
        raise refuse(
            Code.EXPORT_SOURCE,
            f"plane {worst} of the mask lies {residual[worst]:.4g} mm from {source[worst].name}",
            _GIVE_SOURCE,
            where=(source[worst].name,),
            measured=float(residual[worst]),
            limit=limit,
            unit="mm",
        )
    theirs = str(source[0].get("FrameOfReferenceUID", ""))
    doubt_same_frame(grid.frame_of_reference_uid, theirs, "the mask", where=(source[0].name,))


def next_series_number(source: Sequence[Frame] | None, step: int) -> int:
    """Make a series number that stands near that of the source in a list of series, and is not its own."""
    return 100 * int(source[0].rank("SeriesNumber") or 0) + step if source else step


def copy_identity(frame: Frame) -> Dataset:
    """Make a new data set with the patient, the study, the Frame of Reference and the plane of a source frame."""
    from pydicom.dataset import Dataset

    given = read_source(frame.path)
    made = Dataset()
    for keyword in _KEPT:
        if keyword in given and (given[keyword].value or keyword != "SpecificCharacterSet"):
            made[keyword] = given[keyword]
        elif keyword in _NEVER_ABSENT:
            setattr(made, keyword, "")
    for keyword, group in _GEOMETRY.items():
        holder = _find_holder(given, frame.number, group, keyword)
        if holder is not None:
            made[keyword] = holder[keyword]
    made.setdefault("SliceThickness", "")
    return made


def refer_to(frame: Frame) -> Dataset:
    """Make an item that refers to a source frame (PS3.3 table 10-3)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = frame.get("SOPClassUID", "")
    item.ReferencedSOPInstanceUID = frame.sop_instance_uid
    if frame.header.number_of_frames > 1:
        item.ReferencedFrameNumber = frame.number
    return item


def read_source(path: Path) -> Dataset:
    """Read all of a source file but its pixels; once for the frames of one instance, which follow each other."""
    return _source_as_it_is(path, state_of(path))


@lru_cache(maxsize=2)
def _source_as_it_is(path: Path, _: FileState) -> Dataset:
    return load(path, stop_before_pixels=True)


def _find_holder(given: Dataset, number: int, group: str, keyword: str) -> Dataset | None:
    """Find the data set that has a plane attribute: the frame's functional group, the shared one, or the instance."""
    for groups, at in (("PerFrameFunctionalGroupsSequence", number - 1), ("SharedFunctionalGroupsSequence", 0)):
        items = given.get(groups)
        if items and at < len(items) and items[at].get(group) and keyword in items[at][group].value[0]:
            holder: Dataset = items[at][group].value[0]
            return holder
    return given if keyword in given else None
