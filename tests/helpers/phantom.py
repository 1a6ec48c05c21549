"""DICOM series of one asymmetric body on any grid, with the truth about it. Made for tests; needs no patient.

Rules:
- Index order is (i, j, k) = (column, row, plane); k ascends along row x column. The world is LPS, in mm.
- The body is a pure function of a point in the patient: every grid that covers it samples the same body. No mirror and
  no rotation maps it to itself: the head is up, the nose in front, and a cube hangs on the patient's left.
- The truth comes from the specification by equation C.7.6.2.1-1 alone; nothing of `pipeline` is used.
- The same specification gives the same bytes: UIDs are hashes, shuffles have a fixed seed, there is no clock.

`python -m tests.helpers.phantom data/` rewrites the samples of data/.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import cos, radians, sin, tan
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset
from pydicom.uid import generate_uid
from pydicom.valuerep import format_number_as_ds

from tests.helpers.dicom_file import SYNTAXES as SYNTAXES
from tests.helpers.dicom_file import save as save
from tests.helpers.dicom_file import set_pixels

Vector = tuple[float, float, float]
Cosines = tuple[float, float, float, float, float, float]
Array = NDArray[Any]
Order = Literal["along", "against", "shuffled", "constant", "missing"]
# Given the plane number and its data set: change it in place, or answer the list of data sets to write instead of it.
Edit = Callable[[int, Dataset], "list[Dataset] | None"]

_SOP_CLASSES = {
    "ct": ("1.2.840.10008.5.1.4.1.1.2", "CT"),
    "mr": ("1.2.840.10008.5.1.4.1.1.4", "MR"),
    "sc": ("1.2.840.10008.5.1.4.1.1.7", "OT"),
    "sc plain": ("1.2.840.10008.5.1.4.1.1.7", "OT"),
    "enhanced ct": ("1.2.840.10008.5.1.4.1.1.2.1", "CT"),
    "enhanced mr": ("1.2.840.10008.5.1.4.1.1.4.1", "MR"),
    "multi-frame sc": ("1.2.840.10008.5.1.4.1.1.7.3", "OT"),
    "multi-frame sc plain": ("1.2.840.10008.5.1.4.1.1.7.3", "OT"),
}


def turned(
    about_x: float = 0, about_y: float = 0, about_z: float = 0, start: Sequence[float] = (1, 0, 0, 0, 1, 0)
) -> Cosines:
    """Cosines turned about the patient's axes, in degrees, x first."""
    (cx, sx), (cy, sy), (cz, sz) = [(cos(radians(a)), sin(radians(a))) for a in (about_x, about_y, about_z)]
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    both = np.reshape(np.array(start, float), (2, 3)) @ (z @ y @ x).T
    return tuple(float(c) for c in np.round(both, 14).ravel() + 0.0)  # type: ignore[return-value]


# How the axial images of each patient position lie, what Mimics writes, and every other way a stack can be cut.
ORIENTATIONS: dict[str, Cosines] = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
    "rows upward": (1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": turned(about_x=17),
    "double oblique": turned(about_x=-23, about_y=11, about_z=8),
    "steep oblique": turned(about_x=52, about_y=-9, about_z=33),
    "oblique sagittal": turned(about_y=6, about_z=-19, start=(0, 1, 0, 0, 0, -1)),
    "oblique coronal": turned(about_x=14, about_z=7, start=(1, 0, 0, 0, 0, -1)),
}


@dataclass(frozen=True)
class Spec:
    """One series. All lengths in mm, LPS.

    shape: (columns, rows, planes). row_spacing: between rows, Pixel Spacing[0]. column_spacing: Pixel Spacing[1].
    step: between planes, along the normal. origin: first pixel of plane 0. tilt_degrees: leans the stack towards
    increasing rows. decimals: of the numbers of the plane as printed; None for all that fit.
    content: "mask" for the body, "index" for 1 + i + columns * (j + rows * k), less half the count where signed.
    labels: values of torso, left marker and nose; the last one holds for the rest. radius_mm: of the body, around the
    middle of the grid; None for what fits. stored, names: in which order frames and files lie. instance_numbers: how
    Instance Number counts. rescale: none, one for all, or one (slope, intercept) a plane. dirty: fill unused high bits.
    """

    shape: tuple[int, int, int] = (48, 40, 14)
    row_spacing: float = 1.4
    column_spacing: float = 1.1
    step: float = 2.5
    origin: Vector = (-31.5, -47.25, 112.75)
    iop: Cosines = ORIENTATIONS["HFS"]
    tilt_degrees: float = 0.0
    decimals: int | None = None

    content: Literal["mask", "index"] = "mask"
    labels: tuple[int, ...] = (1,)
    background: int = 0
    radius_mm: float | None = None

    kind: str = "ct"
    stored: Order = "along"
    instance_numbers: Order = "along"
    extension: str = ".dcm"
    transfer_syntax: str = "explicit"
    bits_allocated: int = 16
    bits_stored: int | None = None
    signed: bool = False
    dirty: bool = False
    photometric: str = "MONOCHROME2"
    rescale: tuple[tuple[float, float], ...] = ()
    seed: str = "phantom"
    description: str = "phantom"
    series_number: int = 7

    @property
    def lps(self) -> NDArray[np.float64]:
        """4 x 4, voxel index to LPS mm: equation C.7.6.2.1-1 with the step as third column."""
        row, column = np.array(self.iop[:3], float), np.array(self.iop[3:], float)
        lean = tan(radians(self.tilt_degrees))
        affine = np.eye(4)
        affine[:3, 0] = row * self.column_spacing
        affine[:3, 1] = column * self.row_spacing
        affine[:3, 2] = self.step * (np.cross(row, column) + lean * column)
        affine[:3, 3] = self.origin
        return affine

    @property
    def multi_frame(self) -> bool:
        return self.kind.startswith(("enhanced", "multi-frame"))

    def point(self, ijk: ArrayLike) -> NDArray[np.float64]:
        """(..., 3) indices to (..., 3) LPS mm."""
        return np.asarray(np.asarray(ijk) @ self.lps[:3, :3].T + self.lps[:3, 3])

    def value(self, ijk: ArrayLike) -> Array:
        """(...,) stored value at (..., 3) integer indices."""
        index = np.asarray(ijk)
        columns, rows, planes = self.shape
        if self.content == "index":
            flat = 1 + index @ np.array([1, columns, columns * rows])
            return np.asarray(flat - (columns * rows * planes) // 2 if self.signed else flat)
        table = [self.background, *(self.labels[min(n, len(self.labels) - 1)] for n in range(3))]
        return np.array(table)[self.part(self.point(index))]

    def part(self, points: ArrayLike) -> NDArray[np.intp]:
        """(...,) 0 outside, 1 torso and head, 2 left marker, 3 nose, at (..., 3) LPS mm."""
        middle = self.point((np.array(self.shape) - 1) / 2)
        extents = [
            n * s for n, s in zip(self.shape, (self.column_spacing, self.row_spacing, self.step), strict=True) if n > 1
        ]
        return body((np.asarray(points) - middle) / (self.radius_mm or 0.48 * min(extents, default=self.step)))

    def array(self) -> Array:
        """All stored values, (columns, rows, planes)."""
        return self.value(np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), -1))


def body(points: ArrayLike) -> NDArray[np.intp]:
    """The part at (..., 3) LPS points, for a body of radius 1 around the origin."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    torso = (x / 0.5) ** 2 + (y / 0.38) ** 2 + ((z + 0.2) / 0.72) ** 2 <= 1
    head = (x + 0.05) ** 2 + y**2 + (z - 0.66) ** 2 <= 0.27**2
    marker = (abs(x - 0.66) <= 0.17) & (abs(y - 0.05) <= 0.2) & (abs(z - 0.15) <= 0.24)
    nose = (abs(x + 0.1) <= 0.15) & (abs(y + 0.45) <= 0.22) & (abs(z - 0.38) <= 0.2)
    return np.select([nose, marker, torso | head], [3, 2, 1], 0)


@dataclass(frozen=True, eq=False)
class Truth:
    """What was written. ijk: stored values (columns, rows, planes). lps: 4 x 4. sop_uids, paths: a plane k each; the
    frame number is 1 + frames[k]. With an `edit`, ijk and lps tell of the series before it was spoilt."""

    spec: Spec
    folder: Path
    ijk: Array
    lps: NDArray[np.float64]
    series_uid: str
    sop_uids: tuple[str, ...]
    paths: tuple[Path, ...]
    frames: tuple[int, ...] = field(default=())

    @property
    def ras(self) -> NDArray[np.float64]:
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.lps


def write(folder: Path, spec: Spec | None = None, *, edit: Edit = lambda k, dataset: None, **changes: Any) -> Truth:
    """Write the series of the specification, changed as given, into the folder.

    `edit` sees every data set before it is encoded; a multi-frame instance comes once, as plane 0. Raises ValueError
    for values that do not fit their bits.
    """
    spec = replace(spec or Spec(), **changes)
    folder.mkdir(parents=True, exist_ok=True)
    values = spec.array()
    planes = spec.shape[2]
    places = _places(spec.stored, planes)
    series_uid = _uid(spec, "series")
    if spec.multi_frame:
        order = sorted(range(planes), key=places.__getitem__)
        dataset = _multi_frame(spec, order)
        _pixels(dataset, spec, values[:, :, order])
        path = _save(folder, "IM0001", [dataset], edit, 0, spec)
        truth_paths, uids = (path,) * planes, (str(dataset.SOPInstanceUID),) * planes
        return Truth(spec, folder, values, spec.lps, series_uid, uids, truth_paths, tuple(places))
    paths, sop_uids = [], []
    for k in range(planes):
        dataset = _single_frame(spec, k)
        _pixels(dataset, spec, values[:, :, k : k + 1])
        sop_uids.append(str(dataset.SOPInstanceUID))
        paths.append(_save(folder, f"IM{places[k] + 1:04d}", [dataset], edit, k, spec))
    return Truth(spec, folder, values, spec.lps, series_uid, tuple(sop_uids), tuple(paths), (0,) * planes)


def ds(*values: float, decimals: int | None = None) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return [format_number_as_ds(float(v if decimals is None else round(v, decimals)) + 0.0) for v in values]


def _uid(spec: Spec, what: str) -> str:
    return str(generate_uid(entropy_srcs=[spec.seed, what]))


def _places(order: Order, count: int) -> list[int]:
    """For each plane, where it comes in the order."""
    if order == "shuffled":
        return Random(f"{count}").sample(range(count), count)
    return list(range(count)) if order == "along" else list(range(count))[::-1]


def _common(spec: Spec, instance: str) -> Dataset:
    dataset = Dataset()
    sop_class, modality = _SOP_CLASSES[spec.kind]
    if spec.kind.startswith("multi-frame") and spec.bits_allocated < 16:
        sop_class = f"1.2.840.10008.5.1.4.1.1.7.{1 if spec.bits_allocated == 1 else 2}"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = _uid(spec, instance)
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = modality
    dataset.Manufacturer = "phantom"
    dataset.SeriesDescription = spec.description
    dataset.PatientName = "Phantom^Asymmetric"
    dataset.PatientID = "PHANTOM"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyInstanceUID = _uid(spec, "study")
    dataset.SeriesInstanceUID = _uid(spec, "series")
    dataset.StudyID = ""
    dataset.SeriesNumber = spec.series_number
    if not spec.kind.endswith("plain"):
        dataset.FrameOfReferenceUID = _uid(spec, "frame of reference")
        dataset.PositionReferenceIndicator = ""
    if spec.kind.startswith(("sc", "multi-frame")):
        dataset.ConversionType = "WSD"
    return dataset


def _position(spec: Spec, k: int) -> list[str]:
    return ds(*spec.point((0, 0, k)), decimals=spec.decimals)


def _single_frame(spec: Spec, k: int) -> Dataset:
    dataset = _common(spec, f"plane {k}")
    if spec.instance_numbers != "missing":
        constant = spec.instance_numbers == "constant"
        dataset.InstanceNumber = 1 if constant else _places(spec.instance_numbers, spec.shape[2])[k] + 1
    if spec.kind != "sc plain":
        dataset.ImagePositionPatient = _position(spec, k)
        dataset.ImageOrientationPatient = ds(*spec.iop, decimals=spec.decimals)
        dataset.PixelSpacing = ds(spec.row_spacing, spec.column_spacing, decimals=spec.decimals)
        dataset.SliceThickness = ds(spec.step)[0]
    if spec.rescale:
        slope, intercept = spec.rescale[k if len(spec.rescale) > 1 else 0]
        dataset.RescaleSlope, dataset.RescaleIntercept = ds(slope, intercept)
    return dataset


def _multi_frame(spec: Spec, order: Sequence[int]) -> Dataset:
    dataset = _common(spec, "instance")
    dataset.InstanceNumber = 1
    dataset.NumberOfFrames = len(order)
    if spec.kind.endswith("plain"):
        return dataset
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=ds(*spec.iop, decimals=spec.decimals))]
    spacing = ds(spec.row_spacing, spec.column_spacing, decimals=spec.decimals)
    shared.PixelMeasuresSequence = [_item(PixelSpacing=spacing, SliceThickness=ds(spec.step)[0])]
    frames = []
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = [_item(ImagePositionPatient=_position(spec, k))]
        frame.FrameContentSequence = [_item(StackID="1", InStackPositionNumber=k + 1)]
        if spec.rescale:
            slope, intercept = ds(*spec.rescale[k if len(spec.rescale) > 1 else 0])
            rescale = _item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")
            (frame if len(spec.rescale) > 1 else shared).PixelValueTransformationSequence = [rescale]
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _pixels(dataset: Dataset, spec: Spec, values: Array) -> None:
    how = {"signed": spec.signed, "dirty": spec.dirty, "photometric": spec.photometric}
    set_pixels(dataset, values, spec.bits_allocated, spec.bits_stored, **how)  # type: ignore[arg-type]


def _save(folder: Path, name: str, datasets: list[Dataset], edit: Edit, k: int, spec: Spec) -> Path:
    """Write what the edit leaves of the data set; the path of the first."""
    edited = edit(k, datasets[0])
    for n, dataset in enumerate(datasets if edited is None else edited):
        path = folder / f"{name}{'' if n == 0 else f'-{n}'}{spec.extension}"
        save(path, dataset, spec.transfer_syntax)
    return folder / f"{name}{spec.extension}"


_SMALL = Spec(shape=(30, 26, 11), row_spacing=1.4, column_spacing=1.25, step=2.5, bits_allocated=8)
SAMPLES: dict[str, Spec] = {
    "axial": replace(_SMALL, bits_allocated=16, shape=(48, 40, 14), column_spacing=1.1),
    "rows-upward": replace(_SMALL, iop=ORIENTATIONS["rows upward"], origin=(-18.0, 22.5, 30.0)),
    "sagittal": replace(_SMALL, iop=ORIENTATIONS["sagittal"], stored="against", instance_numbers="against"),
    "coronal": replace(_SMALL, iop=ORIENTATIONS["coronal"], stored="shuffled"),
    "double-oblique": replace(_SMALL, iop=ORIENTATIONS["double oblique"], row_spacing=0.9, stored="shuffled"),
    "reversed-numbers": replace(_SMALL, instance_numbers="against"),
    "secondary-capture": replace(_SMALL, kind="sc", iop=ORIENTATIONS["oblique"], instance_numbers="missing"),
    "values-0-255": replace(_SMALL, labels=(255,)),
    "multi-label": replace(_SMALL, labels=(3, 7, 12), iop=ORIENTATIONS["steep oblique"]),
}


def write_samples(data: Path) -> list[Truth]:
    """Write every sample into data/samples/<name>/."""
    return [write(data / "samples" / name, spec, seed=name, description=name) for name, spec in SAMPLES.items()]


if __name__ == "__main__":
    for truth in write_samples(Path(sys.argv[1])):
        print(truth.folder)
