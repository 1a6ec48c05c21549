"""The seven mistakes most often seen in public threads: how each is made, how it looks, and where it was seen.

Each is made from a real series with NumPy and nibabel alone, as a script would make it; the truth comes from the headers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from pydicom import dcmread


@dataclass(frozen=True)
class Series:
    """A series as its headers have it, along its normal. lps: 4 x 4, (i, j, k) to mm. names: of the files, by k."""

    folder: Path
    array: np.ndarray
    lps: np.ndarray
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    thickness: float
    slopes: int = 1

    @property
    def arguments(self) -> tuple[str | Path, ...]:
        """How `diagnose` is given the series. Stored values with a slope for each plane are no image: they are compared as labels."""
        return ("--source", self.folder, *(("--mask-series", self.folder) if self.slopes > 1 else ()))

    @property
    def ras(self) -> np.ndarray:
        return np.diag([-1.0, -1, 1, 1]) @ self.lps

    @property
    def spacing(self) -> np.ndarray:
        return np.linalg.norm(self.lps[:3, :3], axis=0)


def read_series(folder: Path) -> Series:
    """Read a series of one file a plane by the equation of the Image Plane Module."""
    planes = [dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    row, column = np.reshape(np.array(planes[0].ImageOrientationPatient, float), (2, 3))
    planes.sort(key=lambda plane: float(np.cross(row, column) @ np.array(plane.ImagePositionPatient, float)))
    first, last = (np.array(plane.ImagePositionPatient, float) for plane in (planes[0], planes[-1]))
    between_rows, between_columns = map(float, planes[0].PixelSpacing)
    lps = np.eye(4)
    lps[:3, :3] = np.column_stack([row * between_columns, column * between_rows, (last - first) / (len(planes) - 1)])
    lps[:3, 3] = first
    return Series(
        folder,
        np.stack([plane.pixel_array.T for plane in planes], -1),
        lps,
        tuple(Path(str(plane.filename)).name for plane in planes),
        tuple(int(plane.InstanceNumber) for plane in planes),
        float(planes[0].get("SliceThickness") or 0),
        len({plane.get("RescaleSlope") for plane in planes}),
    )


def copy_unpadded(series: Path, folder: Path) -> Path:
    """Copy a series under the names 1.dcm to N.dcm, by Instance Number. As text, 10 comes before 2."""
    folder.mkdir(parents=True)
    for path in series.glob("*"):
        if path.suffix != ".json":
            shutil.copy(path, folder / f"{dcmread(path, stop_before_pixels=True).InstanceNumber}.dcm")
    return folder


def _with_axes(affine: np.ndarray, axes: np.ndarray) -> np.ndarray:
    made = affine.copy()
    made[:3, :3] = axes
    return made


def _no_origin(affine: np.ndarray) -> np.ndarray:
    return affine * [1, 1, 1, 0] + np.diag([0, 0, 0, 1])


def _image(array: np.ndarray, affine: np.ndarray) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(np.ascontiguousarray(array), affine)


def _transposed(s: Series) -> nibabel.Nifti1Image:
    return _image(s.array.transpose(2, 1, 0), s.ras)


def _rows_first(s: Series) -> nibabel.Nifti1Image:
    return _image(s.array.transpose(1, 0, 2), s.ras)


def _swapped(s: Series) -> nibabel.Nifti1Image:
    return _image(s.array, _with_axes(s.ras, s.ras[:3, :3] / s.spacing * s.spacing[[1, 0, 2]]))


def _two_forms(s: Series) -> nibabel.Nifti1Image:
    image = _image(s.array, s.ras)
    image.set_sform(s.ras, 2)
    image.set_qform(_no_origin(s.ras), 1)
    return image


def _by_file_name(s: Series) -> nibabel.Nifti1Image:
    return _image(s.array[:, :, sorted(range(len(s.names)), key=lambda k: s.names[k])], s.ras)


def _by_number(s: Series) -> nibabel.Nifti1Image:
    return _image(s.array[:, :, np.argsort(s.numbers)], s.ras)


def _thick(s: Series) -> nibabel.Nifti1Image:
    return _image(s.array, _with_axes(s.ras, s.ras[:3, :3] / s.spacing * [*s.spacing[:2], s.thickness]))


@dataclass(frozen=True)
class Common:
    """A mistake. make: each way it is made, with the names `diagnose` gives it. threads: GitHub's `owner/name#n`, or a URL."""

    title: str
    looks: str
    make: dict[str, Callable[[Series], nibabel.Nifti1Image]]
    threads: tuple[str, ...]


COMMON = (
    Common(
        "row spacing taken for column spacing",
        "too wide and too low in each slice, and farther off with each row; unseen where pixels are square",
        {"spacing 102": _swapped},
        (
            "icometrix/dicom2nifti#37", "fo-dicom/fo-dicom#1121", "QIICR/dcmqi#425", "razorx89/pydicom-seg#37",
            "FNNDSC/ami#166", "bastula/dicompyler#92", "dicompyler/dicompyler-core#274", "ivmartel/dwv#1602",
            "cornerstonejs/cornerstone3D#2602", "Kitware/VolView#886", "medical-physics-usz/z-rad#287",
        ),
    ),
    Common(
        "the array is in another order than its affine",
        "turned by a right angle or mirrored; where sizes differ, ITK-SNAP does not take it as a segmentation",
        {"array order": _transposed, "array order ": _rows_first},
        (
            "icometrix/dicom2nifti#96",
            "https://community.materialise.com/t/dicom-to-nifti-format-using-mimics-scripting-problem-with-affine-transformation-matrix/438",
            "SimpleITK/SimpleITK#97", "Project-MONAI/MONAI#1357", "Project-MONAI/research-contributions#419",
            "rcuocolo/PROSTATEx_masks#9", "v7labs/darwin-py#979", "tomaroberts/nii2dcm#59", "bowang-lab/MedSAM#295",
            "spinalcordtoolbox/spinalcordtoolbox#4345",
        ),
    ),
    Common(
        "sform and qform disagree",
        "right in FSLeyes or nibabel, and elsewhere in ITK-SNAP and 3D Slicer, or the other way round",
        {"forms": _two_forms},
        (
            "spinalcordtoolbox/spinalcordtoolbox#2106", "spinalcordtoolbox/spinalcordtoolbox#2429",
            "spinalcordtoolbox/spinalcordtoolbox#4132", "nipreps/fmriprep#819", "ANTsX/ANTs#500", "ANTsX/ANTs#1337",
            "Project-MONAI/MONAILabel#211", "MRtrix3/mrtrix3#1318",
        ),
    ),
    Common(
        "directions, spacing or origin left out",
        "in 3D Slicer far from the image and turned, with the identity of another size too; ITK-SNAP may hide it",
        {
            "identity": lambda s: _image(s.array, np.eye(4)),
            "directions and origin left out": lambda s: _image(s.array, np.diag([*s.spacing, 1])),
            "directions left out": lambda s: _image(s.array, _with_axes(s.ras, np.diag(s.spacing))),
            "origin zero": lambda s: _image(s.array, _no_origin(s.ras)),
        },
        (
            "taigw/brats17#1", "Tencent/MedicalNet#6", "nipy/nibabel#863", "Deep-MI/FatSegNet#4", "pyvista/pyvista#3284",
            "BioMedIA/deepali#155", "UK-Digital-Heart-Project/4Dsegment#1",
        ),
    ),
    Common(
        "planes stacked by file name or Instance Number",
        "each slice is right, and the stack is torn in the other two views; by Instance Number often upside down",
        {"planes reordered": _by_file_name, "planes reversed": _by_number},
        (
            "girder/girder#2864", "imageio/imageio#347", "imageio/imageio#1068", "cni/rtfmri#4", "innolitics/dicom-numpy#9",
            "ivmartel/dwv#560", "janpipek/pydiq#12",
        ),
    ),
    Common(
        "LPS written as RAS",
        "half a turn about the axis from foot to head: left at right, front at back, often outside of the image",
        {"world kept": lambda s: _image(s.array, s.lps)},
        (
            "ANTsX/ANTsPy#52", "Project-MONAI/MONAI#3914", "wasserth/TotalSegmentator#509", "uncbiag/uniGradICON#21",
            "pyushkevich/c3d#32", "https://itk.org/pipermail/community/2016-April/011172.html",
        ),
    ),
    Common(
        "Slice Thickness taken for the distance between planes",
        "right at the first slice, and farther off with each: the whole is too short or too long",
        {"step thickness": _thick},
        (
            "InsightSoftwareConsortium/ITK#243", "BRAINSia/BRAINSTools#334", "rordenlab/dcm2niix#555",
            "rordenlab/dcm2niix#1018", "bbrister/SIFT3D#14", "moloney/dcmstack#29",
        ),
    ),
)  # fmt: skip
