"""Write small DICOM series and Mimics bundles of made patients, with the truth about every mask.

Rules:
- Nothing of `pipeline` decides what is in a file or where a voxel lies; there is no clock and no random UID, so the same
  arguments give the same bytes.
- Index order is (i, j, k) = (column, row, plane). The world is LPS, in mm, by equation C.7.6.2.1-1.
- Contours run along the borders of pixels, so that which pixels they hold needs no rule of filling.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from tests.helpers.dicom_file import save, set_pixels
from tests.helpers.fake_mimics import inside, run_inside
from tests.helpers.mask_case import PlacedMask

_EXPORT = Path(__file__).parents[2] / "pipeline" / "mimics" / "scripts" / "export_masks.py"
_ROOT = "1.2.826.0.1.3680043.10.1111"
_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
    "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
}
BUNDLE_NAMES = ("bone", "tumour")  # of the masks of a bundle
_BUNDLE_UIDS = "1.2.826.0.1.3680043.9"  # the stand-in's own: .7 of the series, .8 of its frame, .9 of the planes

Voxels = NDArray[np.bool_]
Edit = Callable[[int, Dataset], None]


@dataclass(frozen=True)
class MadeGrid:
    """Where planes lie. spacing: along i, j and k in mm. cosines: of rows, then columns."""

    shape: tuple[int, int, int] = (16, 14, 6)
    spacing: tuple[float, float, float] = (0.7, 0.9, 2.5)
    cosines: tuple[float, ...] = (1, 0, 0, 0, 1, 0)
    origin: tuple[float, float, float] = (-31.5, 12.25, -207.0)

    @property
    def lps(self) -> NDArray[np.float64]:
        row, column = np.array(self.cosines[:3], float), np.array(self.cosines[3:], float)
        affine = np.eye(4)
        affine[:3, :3] = np.stack([row, column, np.cross(row, column)], axis=1) * self.spacing
        affine[:3, 3] = self.origin
        return affine

    def points(self, index: Any) -> NDArray[np.float64]:
        """(n, 3) LPS mm of (n, 3) indices."""
        return np.asarray(np.asarray(index, float) @ self.lps[:3, :3].T + self.lps[:3, 3])


@dataclass(frozen=True)
class Person:
    """What must never be in an output: the Patient ID and the Patient's Name."""

    id: str
    name: str


@dataclass(frozen=True)
class Study:
    """The study that a series is of, and the Frame of Reference that all its series share."""

    person: Person
    label: str
    date: str = "20200102"

    @property
    def uid(self) -> str:
        return made_uid(self.person.id, self.label)

    @property
    def frame(self) -> str:
        return made_uid(self.person.id, self.label, "frame")


@dataclass(frozen=True)
class MadeImage:
    """An image series. sops: UIDs of its planes, those too that were not written."""

    study: Study
    uid: str
    grid: MadeGrid
    modality: str
    folder: Path

    @property
    def sops(self) -> list[str]:
        return [f"{self.uid}.{k + 1}" for k in range(self.grid.shape[2])]


def made_uid(*parts: object) -> str:
    """A UID that follows from the parts."""
    return f"{_ROOT}.{int(sha256(repr(parts).encode()).hexdigest()[:12], 16)}"


def item(**values: Any) -> Dataset:
    """A data set with these attributes."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def write_image(
    folder: Path, study: Study, grid: MadeGrid, modality: str = "CT", *, number: int = 2, description: str = "thorax",
    planes: Sequence[int] | None = None, edit: Edit = lambda k, dataset: None, uid: str = "",
) -> MadeImage:  # fmt: skip
    """Write an image series of many grey values. planes: those that are written, all where None."""
    uid = uid or made_uid(study.uid, modality, number, description)
    image = MadeImage(study, uid, grid, modality, folder)
    columns, rows, count = grid.shape
    first = int(sha256(uid.encode()).hexdigest()[:2], 16)  # no two series hold the same values
    values = first + (np.arange(columns * rows * count).reshape(count, rows, columns).T * 37) % 1999
    _write_planes(folder, image, values, 16, number, description, planes, edit)
    return image


def write_mask_series(
    folder: Path, image: MadeImage, voxels: Voxels, *, number: int = 3, description: str = "mask", refers: bool = True
) -> str:
    """Write planes of 0 and 1 on the grid of an image. refers: by Source Image Sequence. Returns its Series Instance UID."""
    uid = made_uid(image.uid, "mask", number, description)
    mask = MadeImage(image.study, uid, image.grid, "OT", folder)

    def edit(k: int, dataset: Dataset) -> None:
        dataset.ImageType, dataset.ConversionType = ["DERIVED", "SECONDARY"], "WSD"
        if refers:
            dataset.SourceImageSequence = [_reference(image, k)]

    _write_planes(folder, mask, voxels.astype(np.uint8), 8, number, description, None, edit)
    return uid


def write_seg(
    folder: Path, image: MadeImage, masks: Sequence[tuple[str, Voxels]], *, number: int = 4, description: str = "segmentation",
    codes: Sequence[tuple[str, str]] = (),
) -> str:  # fmt: skip
    """Write a binary SEG on the grid of an image, without its empty frames. Returns its Series Instance UID.

    codes: (value, meaning) in SNOMED CT of each segment's type; "tissue" where there are none.
    """
    uid = made_uid(image.uid, "seg", number, description)
    dataset = _header(image.study, "SEG", uid, f"{uid}.1", number, description)
    dataset.ImageType, dataset.SegmentationType, dataset.InstanceNumber = ["DERIVED", "PRIMARY"], "BINARY", 1
    dataset.ContentLabel, dataset.LossyImageCompression = "SEGMENTATION", "00"
    types = codes or [("85756007", "Tissue")] * len(masks)
    dataset.SegmentSequence = [_segment(n, name, *types[n - 1]) for n, (name, _) in enumerate(masks, 1)]
    references = [_reference(image, k) for k in range(image.grid.shape[2])]
    dataset.ReferencedSeriesSequence = [item(SeriesInstanceUID=image.uid, ReferencedInstanceSequence=references)]
    across, down, step = image.grid.spacing
    measures = item(PixelSpacing=[down, across], SliceThickness=step, SpacingBetweenSlices=step)
    turn = item(ImageOrientationPatient=_ds(image.grid.cosines))
    dataset.SharedFunctionalGroupsSequence = [item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[turn])]
    _add_dimensions(dataset, uid)
    frames = [(n, k) for n, (_, v) in enumerate(masks, 1) for k in range(v.shape[2]) if v[:, :, k].any()]
    dataset.NumberOfFrames = len(frames)
    dataset.PerFrameFunctionalGroupsSequence = [_segment_frame(image, n, k) for n, k in frames]
    stored = np.stack([masks[n - 1][1][:, :, k] for n, k in frames], axis=2)
    set_pixels(dataset, stored.astype(np.uint8), 1)
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "SEG.dcm", dataset)
    return uid


def write_struct(
    folder: Path,
    image: MadeImage,
    rois: Sequence[tuple[str, Voxels]],
    *,
    number: int = 5,
    description: str = "contours",
    sliver: str = "",
) -> str:
    """Write a structure set of the borders of the voxels, which must be boxes or L shapes. Returns its series UID.

    A ROI whose voxels are all clear has no contour. sliver: name of one more ROI, whose contour runs between the centres of
    pixels and holds none.
    """
    uid = made_uid(image.uid, "struct", number, description)
    dataset = _header(image.study, "RTSTRUCT", uid, f"{uid}.1", number, description)
    dataset.StructureSetLabel = "MADE"
    series = item(
        SeriesInstanceUID=image.uid, ContourImageSequence=[_reference(image, k) for k in range(image.grid.shape[2])]
    )
    study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=image.study.uid,
        RTReferencedSeriesSequence=[series],
    )
    frame = image.study.frame
    dataset.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    drawn = [(name, _contours(image, voxels)) for name, voxels in rois]
    drawn += [(sliver, [_contour(image, 2, [(2.6, 2.6), (2.9, 2.6), (2.9, 2.9), (2.6, 2.9)])])] if sliver else []
    dataset.StructureSetROISequence = [
        item(ROINumber=n, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm="MANUAL")
        for n, (name, _) in enumerate(drawn, 1)
    ]
    dataset.ROIContourSequence = [
        item(ReferencedROINumber=n, ROIDisplayColor=[250, 20 * n % 255, 3], ContourSequence=contours)
        for n, (_, contours) in enumerate(drawn, 1)
    ]
    dataset.RTROIObservationsSequence = [
        item(ObservationNumber=n, ReferencedROINumber=n, RTROIInterpretedType="ORGAN") for n in range(1, len(drawn) + 1)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "RS.dcm", dataset)
    return uid


def write_bundle(folder: Path, image: MadeImage) -> tuple[PlacedMask, ...]:
    """Write what the export script writes inside Mimics with the image open; the masks that are in it.

    The image lies on an axial grid, as the stand-in for Mimics draws it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        f"{_BUNDLE_UIDS}.9.0.": f"{image.uid}.",
        f"{_BUNDLE_UIDS}.7.0": image.uid,
        f"{_BUNDLE_UIDS}.8": image.study.frame,
    }
    for name, content in _bundle(image.grid).items():
        for theirs, ours in own.items() if name.endswith(".json") else ():
            content = content.replace(theirs.encode(), ours.encode())
        (folder / name).write_bytes(content)
    found = []
    for number, name in enumerate(BUNDLE_NAMES):
        voxels = np.zeros(image.grid.shape, bool)
        for index in product(*map(range, image.grid.shape)):
            voxels[index] = inside(number, *index)
        found.append(PlacedMask(name, voxels, image.grid.lps))
    return tuple(found)


@cache
def _bundle(grid: MadeGrid) -> dict[str, bytes]:
    """The files of the bundle that the script writes of an image on this grid, with the stand-in's own UIDs."""
    knobs = {
        "shape": list(grid.shape), "spacing": list(grid.spacing), "origin": list(grid.origin),
        "row": list(map(float, grid.cosines[:3])), "column": list(map(float, grid.cosines[3:])), "names": list(BUNDLE_NAMES),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as made, redirect_stdout(StringIO()):
        folder = Path(made, "bundle")
        run_inside(_EXPORT, [str(folder)], knobs)
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def corner(rng: np.random.Generator, shape: tuple[int, int, int]) -> Voxels:
    """An L shape over some planes: no two draws are alike, and no mirror maps it to itself."""
    columns, rows, planes = shape
    voxels = np.zeros(shape, bool)
    i, j, k = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(0, 2))
    right, bottom = int(rng.integers(i + 4, columns - 1)), int(rng.integers(j + 4, rows - 1))
    last = int(rng.integers(k + 2, planes))
    voxels[i:right, j:bottom, k:last] = True
    voxels[i + 2 : right, j + 1 : bottom, k:last] = False  # what is left: the first two columns and the first row
    return voxels


def box(shape: tuple[int, int, int], *edges: tuple[int, int]) -> Voxels:
    """A box. edges: first and one past the last index, along i, j and k."""
    voxels = np.zeros(shape, bool)
    voxels[tuple(slice(*edge) for edge in edges)] = True
    return voxels


def _write_planes(
    folder: Path, series: MadeImage, values: Any, bits: int, number: int, description: str,
    planes: Sequence[int] | None, edit: Edit,
) -> None:  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    grid, count = series.grid, series.grid.shape[2]
    for k in range(count) if planes is None else planes:
        dataset = _header(series.study, series.modality, series.uid, series.sops[k], number, description)
        dataset.ImageType, dataset.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = _ds(grid.points((0, 0, k))), _ds(grid.cosines)
        dataset.PixelSpacing, dataset.SliceThickness = [grid.spacing[1], grid.spacing[0]], grid.spacing[2]
        set_pixels(dataset, values[:, :, k : k + 1], bits)
        edit(k, dataset)
        save(folder / f"IM{401 * k % 997:04d}.dcm", dataset)  # in an order that is not the planes'


def _header(study: Study, modality: str, series: str, sop: str, number: int, description: str) -> Dataset:
    return item(
        SpecificCharacterSet="ISO_IR 192", SOPClassUID=_CLASSES[modality], SOPInstanceUID=sop, Modality=modality,
        StudyInstanceUID=study.uid, SeriesInstanceUID=series, FrameOfReferenceUID=study.frame, PositionReferenceIndicator="",
        PatientID=study.person.id, PatientName=study.person.name, PatientBirthDate="", PatientSex="", StudyDate=study.date,
        StudyTime="030405", StudyID="1", AccessionNumber="", ReferringPhysicianName="", Manufacturer="made",
        SeriesNumber=number, SeriesDescription=description, PatientPosition="HFS",
    )  # fmt: skip


def _reference(image: MadeImage, k: int) -> Dataset:
    return item(ReferencedSOPClassUID=_CLASSES[image.modality], ReferencedSOPInstanceUID=image.sops[k])


def _segment(number: int, name: str, value: str, meaning: str) -> Dataset:
    category = item(CodeValue="85756007", CodingSchemeDesignator="SCT", CodeMeaning="Tissue")
    kind = item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning=meaning)
    return item(
        SegmentNumber=number,
        SegmentLabel=name,
        SegmentAlgorithmType="MANUAL",
        SegmentedPropertyCategoryCodeSequence=[category],
        SegmentedPropertyTypeCodeSequence=[kind],
    )


def _segment_frame(image: MadeImage, number: int, k: int) -> Dataset:
    derived = item(CodeValue="113076", CodingSchemeDesignator="DCM", CodeMeaning="Segmentation")
    return item(
        PlanePositionSequence=[item(ImagePositionPatient=_ds(image.grid.points((0, 0, k))))],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
        DerivationImageSequence=[item(SourceImageSequence=[_reference(image, k)], DerivationCodeSequence=[derived])],
        FrameContentSequence=[item(DimensionIndexValues=[number, k + 1])],
    )


def _add_dimensions(dataset: Dataset, uid: str) -> None:
    """What the indices of a frame count: its segment, and its position."""
    organization = f"{uid}.2"
    dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    dataset.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=tag_for_keyword(keyword),
            FunctionalGroupPointer=tag_for_keyword(group),
        )
        for group, keyword in (
            ("SegmentIdentificationSequence", "ReferencedSegmentNumber"),
            ("PlanePositionSequence", "ImagePositionPatient"),
        )
    ]


def _contours(image: MadeImage, voxels: Voxels) -> list[Dataset]:
    """One contour a plane, along the borders of its pixels."""
    outlines = [(k, _outline(voxels[:, :, k])) for k in range(voxels.shape[2])]
    return [_contour(image, k, corners) for k, corners in outlines if corners]


def _contour(image: MadeImage, k: int, corners: Sequence[tuple[float, float]]) -> Dataset:
    """A contour on plane k. corners: in units of pixels; 0 is the outer border of the first one."""
    points = image.grid.points([(i - 0.5, j - 0.5, k) for i, j in corners])
    contour = item(
        ContourImageSequence=[_reference(image, k)],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
    )
    contour.ContourData = _ds(points.ravel())
    return contour


def _outline(plane: Voxels) -> list[tuple[int, int]]:
    """The corners of a box or of an L shape of `corner`, as indices of pixel borders."""
    at = np.argwhere(plane)
    if not len(at):
        return []
    (i, j), (right, bottom) = at.min(0).tolist(), (at.max(0) + 1).tolist()
    if plane[i:right, j:bottom].all():
        return [(i, j), (right, j), (right, bottom), (i, bottom)]
    return [(i, j), (right, j), (right, j + 1), (i + 2, j + 1), (i + 2, bottom), (i, bottom)]


def _ds(values: Any) -> list[str]:
    """Decimal Strings of at most 16 characters."""
    return [f"{float(v) + 0.0:.9f}"[:16] for v in np.ravel(np.asarray(values, float))]
