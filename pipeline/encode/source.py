"""Check that a mask lies on the planes of its source, and copy from the source what an export must share with it.

Rules:
- Of patient, study and Frame of Reference, what the standard demands is copied (type 1 and 2, and what those make necessary), and
  the geometry: as they are written, decimal strings included. An export must lie in the same study and at the very same place.
- What else names the patient or describes the study (`ON_REQUEST`) is copied where the user asks for it, and nothing beyond that:
  comments, addresses and other names have no part in a mask, and what the source says of its acquisition is not true of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..core.findings import Code, refuse
from ..core.policy import Policy
from ..dicom.encoding import load
from ..dicom.frame import Frame
from ..dicom.source_file import FileState, sha256, state_of
from ..geometry.frame_of_reference import doubt_same_frame
from ..geometry.grid import Grid
from ..geometry.stack import residuals_mm
from .uids import content_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Patient, General Study and Frame of Reference: types 1 and 2, and those of type 1C whose condition may hold (PS3.3 C.7.1.1,
# C.7.2.1, C.7.4.1): the species of an animal, and how what says that it is de-identified was made so.
_REQUIRED = """
    SpecificCharacterSet PatientName PatientID PatientBirthDate PatientSex PatientSpeciesDescription PatientSpeciesCodeSequence
    PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence
    StudyInstanceUID StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber
    FrameOfReferenceUID PositionReferenceIndicator
""".split()
_OF_SERIES = ("PatientPosition", "Laterality")  # type 2C of CT, MR and Secondary Capture (PS3.3 C.7.3.1)
ON_REQUEST = """
    IssuerOfPatientID PatientAge PatientSize PatientWeight StudyDescription
""".split()
# Names and texts among what is copied, beyond those on request.
_TEXTS = """
    PatientName PatientID PatientSpeciesDescription PatientSpeciesCodeSequence PatientIdentityRemoved DeidentificationMethod
    DeidentificationMethodCodeSequence ReferringPhysicianName StudyID AccessionNumber PositionReferenceIndicator
""".split()
# What a SEG is made from beside them: which images these are, and where their planes lie.
_IMAGE = """
    SOPClassUID SOPInstanceUID SeriesInstanceUID Modality Rows Columns NumberOfFrames ImagePositionPatient
    ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices SharedFunctionalGroupsSequence
    PerFrameFunctionalGroupsSequence LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod
""".split()
# Type 2: present, and empty where the source has none (PS3.3 C.7.1.1, C.7.2.1, C.7.4.1).
_TYPE_2 = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber
    PositionReferenceIndicator
""".split()
# Type 2C: of an animal (PS3.3 C.7.1.1). They stay empty: breed and owner say who it is.
_OF_ANIMALS = """
    PatientBreedDescription PatientBreedCodeSequence BreedRegistrationSequence ResponsiblePerson ResponsibleOrganization
""".split()
_GIVE_SOURCE = "Give the series the mask was made on, or put the mask on its grid first (convert --source)."
_GEOMETRY = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
}


class Copying(NamedTuple):
    """How much of a source is copied. policy: keep_names and strip. secret: of the bytes of its files, where UIDs are stripped."""

    policy: Policy
    secret: str

    def uid(self, uid: str) -> str:
        """Return a UID of the source as it may be written.

        Where UIDs are stripped it is one under 2.25 that follows from the old one and from the bytes of the images: the same for
        every export from them, and nothing that a list of UIDs alone leads to.
        """
        return content_uid(self.secret, uid) if self.policy.strips_uids and uid else uid


def plan_copying(source: Sequence[Frame] | None, policy: Policy) -> Copying:
    """Prepare to copy from a source. Reads all of it where UIDs are stripped.

    Args:
        source: its frames; None for none.
        policy: keep_names and strip.

    Returns: how much is copied.

    Raises: OSError.
    """
    paths = {frame.path for frame in source or ()} if policy.strips_uids else set[Path]()
    return Copying(policy, " ".join(sorted(map(sha256, paths))))


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


def copy_identity(frame: Frame, copying: Copying) -> Dataset:
    """Make a new data set with the patient, the study, the Frame of Reference and the plane of a source frame.

    Args:
        frame: of the source.
        copying: how much of patient and study is copied.

    Returns: the data set, with every attribute of type 2, empty where the source has none.
    """
    from pydicom.dataset import Dataset

    given = read_source(frame.path)
    made = Dataset()
    for keyword in (*_REQUIRED, *_OF_SERIES, *(ON_REQUEST if copying.policy.keep_names else ())):
        if keyword in given:
            made[keyword] = given[keyword]
    _complete(made)
    made.setdefault("Laterality", "")  # of type 2C (PS3.3 C.7.3.1)
    for keyword, group in _GEOMETRY.items():
        holder = _find_holder(given, frame.number, group, keyword)
        if holder is not None:
            made[keyword] = holder[keyword]
    made.setdefault("SliceThickness", "")
    _strip(made, copying)
    return made


def read_for_seg(path: Path, copying: Copying) -> Dataset:
    """Read of a source file what a SEG repeats, with the attributes of type 2 that an anonymiser may have taken out, empty.

    What is not read cannot be copied: highdicom takes over every attribute of the patient, the study, the specimen and the
    equipment that it finds.

    Args:
        path: of the source file.
        copying: how much of patient and study is read.

    Returns: a data set without pixels.
    """
    dataset = load(path, stop_before_pixels=True)
    kept = {*_REQUIRED, *_IMAGE, *(ON_REQUEST if copying.policy.keep_names else ())}
    for element in [element for element in dataset if element.keyword not in kept]:
        del dataset[element.tag]
    _complete(dataset)
    _strip(dataset, copying)
    return dataset


def _complete(dataset: Dataset) -> None:
    """Give a data set of a patient and study what must not be absent, empty, and take out a character set that is empty."""
    is_animal = "PatientSpeciesDescription" in dataset or "PatientSpeciesCodeSequence" in dataset
    for keyword in (*_TYPE_2, *(_OF_ANIMALS if is_animal else ())):
        if keyword not in dataset:
            setattr(dataset, keyword, [] if keyword.endswith("Sequence") else "")
    if not dataset.get("SpecificCharacterSet", "absent"):
        del dataset.SpecificCharacterSet


def _strip(dataset: Dataset, copying: Copying) -> None:
    """Empty what the policy says of patient and study, and replace UIDs of the source; geometry and classes stay."""
    policy = copying.policy
    if policy.strips_names:
        for keyword in (*_TEXTS, *_OF_ANIMALS, *ON_REQUEST):
            if keyword in dataset:
                _empty(dataset, keyword)
    if policy.strip == "all":
        for keyword in ("StudyDate", "StudyTime", "PatientBirthDate"):
            _empty(dataset, keyword)
    if policy.strips_uids:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            if dataset.get(keyword):
                setattr(dataset, keyword, copying.uid(dataset[keyword].value))


def _empty(dataset: Dataset, keyword: str) -> None:
    """Empty an attribute of type 2, and take out any other."""
    if keyword in _TYPE_2:
        setattr(dataset, keyword, "")
    else:
        del dataset[keyword]


def refer_to(frame: Frame, copying: Copying) -> Dataset:
    """Make an item that refers to a source frame (PS3.3 table 10-3), by a new UID where UIDs are stripped."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = frame.get("SOPClassUID", "")
    item.ReferencedSOPInstanceUID = copying.uid(frame.sop_instance_uid)
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
