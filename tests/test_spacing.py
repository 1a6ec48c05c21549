"""Where the distance between pixels is from, when it is not from two values of Pixel Spacing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from pydicom import Dataset

from pipeline import PipelineError, Policy, convert
from pipeline.core.findings import Code
from tests.helpers.cases_geometry_source import CASES
from tests.helpers.hard_case import MASK, SMALL
from tests.helpers.phantom import ORIENTATIONS, write

IMAGE = Policy(as_="image", crosscheck="voxels")
OBLIQUE = replace(SMALL, iop=ORIENTATIONS["double oblique"])


def only(keyword: str, **values: Any) -> Callable[[int, Dataset], None]:
    """Leaves one attribute of spacing to a plane, and sets others."""

    def edit(k: int, dataset: Dataset) -> None:
        spacing = dataset.PixelSpacing
        del dataset.PixelSpacing
        setattr(dataset, keyword, spacing)
        for name, value in values.items():
            setattr(dataset, name, value)

    return edit


@pytest.mark.parametrize("keyword", ["NominalScannedPixelSpacing", "ImagerPixelSpacing"])
@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "OT"])
def test_another_spacing_is_taken_and_said(tmp_path: Path, keyword: str, modality: str) -> None:
    truth = write(tmp_path / "in", OBLIQUE, edit=only(keyword, Modality=modality))
    made = convert([truth.folder], tmp_path / "out.nii", policy=IMAGE)
    assert np.allclose(sorted(nibabel.affines.voxel_sizes(nibabel.load(made.output).affine)), [0.8, 1.3, 2.0])
    (told,) = [f for f in made.findings if f.code is Code.OTHER_SPACING]
    assert "Pixel Spacing (0028,0030) is missing" in told.message
    assert {"I": "(0018,1164)", "N": "(0018,2010)"}[keyword[0]] in told.message
    assert made.verdict == "UNCONFIRMED"
    status = {a.witness: a.status for a in made.agreements}
    assert status["dcm2niix"] == status["SimpleITK"] == "KNOWN_WRONG"


@pytest.mark.parametrize("modality", ["CR", "DX", "MG", "XA", "RF"])
def test_the_spacing_of_a_detector_is_none_of_the_patient(tmp_path: Path, modality: str) -> None:
    truth = write(tmp_path / "in", OBLIQUE, edit=only("ImagerPixelSpacing", Modality=modality))
    with pytest.raises(PipelineError) as refused:
        convert([truth.folder], tmp_path / "out.nii", policy=IMAGE)
    assert refused.value.finding.code is Code.MISSING_PLANE_ATTRIBUTES
    assert f"of a projection ({modality}) is magnified" in refused.value.finding.message


def test_pixel_spacing_counts_before_any_other(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.ImagerPixelSpacing = dataset.NominalScannedPixelSpacing = ["7", "7"]

    truth = write(tmp_path / "in", OBLIQUE, edit=edit)
    made = convert([truth.folder], tmp_path / "out.nii", policy=IMAGE)
    assert np.allclose(sorted(nibabel.affines.voxel_sizes(nibabel.load(made.output).affine)), [0.8, 1.3, 2.0])
    assert made.verdict == "VERIFIED"


def test_a_pixel_spacing_that_cannot_be_read_is_replaced_by_no_other(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.ImagerPixelSpacing = dataset.PixelSpacing
        dataset.PixelSpacing = ["0.8", ""]

    truth = write(tmp_path / "in", OBLIQUE, edit=edit)
    with pytest.raises(PipelineError) as refused:
        convert([truth.folder], tmp_path / "out.nii", policy=IMAGE)
    assert "Pixel Spacing (0028,0030) is not readable" in refused.value.finding.message


def test_one_value_is_that_of_square_pixels(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.PixelSpacing = "0.8"

    truth = write(tmp_path / "in", replace(OBLIQUE, column_spacing=0.8), edit=edit)
    made = convert([truth.folder], tmp_path / "out.nii", policy=IMAGE)
    assert {a.status for a in made.agreements if a.witness != "dicom2nifti"} <= {"AGREES", "REORDERED"}
    assert Code.OTHER_SPACING in {f.code for f in made.findings}
    assert made.verdict == "UNCONFIRMED"


@pytest.mark.parametrize("case", [c for c in CASES if c.row == "written by SimpleITK"], ids=lambda c: c.name)
def test_what_simpleitk_writes_lies_where_simpleitk_reads_it(tmp_path: Path, case: Any) -> None:
    case.write(tmp_path / "in")
    files = sorted((tmp_path / "in").iterdir(), key=lambda path: int(path.stem) if path.stem.isdigit() else 0)
    theirs = SimpleITK.ReadImage([str(f) for f in files] if len(files) > 1 else str(files[0]))
    made = convert([tmp_path / "in"], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="off"))
    image = nibabel.load(made.output)
    voxels = SimpleITK.GetArrayFromImage(theirs).T
    for index in np.ndindex(image.shape):
        place = (image.affine @ (*index, 1))[:3] * (-1, -1, 1)
        at = theirs.TransformPhysicalPointToContinuousIndex([float(v) for v in place])
        assert np.abs(np.array(at) - np.rint(at)).max() < 1e-3
        assert voxels[tuple(np.rint(at).astype(int))] == image.dataobj[index]


def test_slices_of_simpleitk_without_a_position_are_no_volume(tmp_path: Path) -> None:
    """It writes 0 for the third coordinate of every slice then."""
    (tmp_path / "in").mkdir()
    volume = SimpleITK.GetImageFromArray(np.ascontiguousarray(MASK.array().T.astype("u1")))
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(volume.GetSize()[2]):
        plane = volume[:, :, k]
        plane.SetMetaData("0020|000e", "1.2.826.0.1.3680043.2.1125.7")
        plane.SetMetaData("0020|0013", str(k))
        writer.SetFileName(str(tmp_path / "in" / f"{k}.dcm"))
        writer.Execute(plane)
    with pytest.raises(PipelineError) as refused:
        convert([tmp_path / "in"], tmp_path / "out.nii", policy=Policy(crosscheck="off"))
    assert refused.value.finding.code in (Code.DUPLICATE_POSITION, Code.MISSING_PLANE_ATTRIBUTES, Code.SEVERAL_VOLUMES)


def test_a_slice_thickness_is_the_step_of_frames_on_request_alone(tmp_path: Path) -> None:
    (flat,) = [c for c in CASES if c.name == "one place for several frames"]
    flat.write(tmp_path / "in")
    with pytest.raises(PipelineError) as refused:
        convert([tmp_path / "in"], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="off"))
    assert "--assume-spacing" in refused.value.finding.hint
    made = convert(
        [tmp_path / "in"], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="off", assume_spacing=True)
    )
    (told,) = [f for f in made.findings if f.code is Code.ASSUMED_GEOMETRY]
    assert "from Slice Thickness (0018,0050)" in told.message
