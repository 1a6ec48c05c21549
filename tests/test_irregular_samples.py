"""Real tilted and gapped series: each choice of --on-tilt and --on-gap, checked voxel by voxel against the planes' own equations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.conversion.convert import convert
from pipeline.core.findings import PipelineError
from pipeline.core.policy import Policy
from tests.helpers.hard_truth import RAS_TO_LPS, bilinear, interpolated, truth

FAILING = "icometrix+dicom2nifti/tests/data/failing"
TILTED = f"{FAILING}/gantrytilting/001"
MISSING = f"{FAILING}/sliceincrement/001"
MISSING_AND_TILTED = f"{FAILING}/sliceincrement/002"
TWO_SPACINGS_AND_TILTED = "neurolabusc+dcm_qa_ct/In/GE"
MONAI = "Project-MONAI+MONAI/tests/testing_data/CT_DICOM"

REFUSED = [
    (TILTED, {}, "GANTRY_TILT"),
    (TILTED, {"on_gap": "fill"}, "GANTRY_TILT"),
    (MISSING, {}, "MISSING_PLANES"),
    (MONAI, {}, "MISSING_PLANES"),
    (MISSING_AND_TILTED, {}, "MISSING_PLANES"),
    (MISSING_AND_TILTED, {"on_gap": "fill"}, "GANTRY_TILT"),
    (MISSING_AND_TILTED, {"on_tilt": "shear"}, "MISSING_PLANES"),
    (TWO_SPACINGS_AND_TILTED, {}, "UNEVEN_SPACING"),
    (TWO_SPACINGS_AND_TILTED, {"on_tilt": "shear"}, "UNEVEN_SPACING"),
    (TWO_SPACINGS_AND_TILTED, {"on_gap": "fill", "on_tilt": "shear"}, "UNEVEN_SPACING"),
    (TWO_SPACINGS_AND_TILTED, {"on_gap": "resample", "on_tilt": "resample"}, "UNEVEN_SPACING"),
]
KEPT = [
    (TILTED, {"on_tilt": "shear"}),
    (MISSING, {"on_gap": "fill"}),
    (MISSING_AND_TILTED, {"on_gap": "fill", "on_tilt": "shear"}),
    (MONAI, {"on_gap": "fill"}),
]
BLENDED = [
    (TILTED, {"on_tilt": "resample"}),
    (MISSING, {"on_gap": "resample"}),
    (MISSING_AND_TILTED, {"on_gap": "resample", "on_tilt": "shear"}),
    (MISSING_AND_TILTED, {"on_gap": "resample", "on_tilt": "resample"}),
    (TWO_SPACINGS_AND_TILTED, {"on_gap": "resample", "on_tilt": "shear"}),
]
NEAREST = [
    (MISSING, {"on_gap": "nearest"}),
    (TWO_SPACINGS_AND_TILTED, {"on_gap": "nearest", "on_tilt": "shear"}),
]


def converted(folder: Path, target: Path, **options: Any) -> nibabel.Nifti1Image:
    policy = Policy(as_="image", crosscheck="off", **options)
    return nibabel.load(convert([folder], target / "out.nii", policy=policy).output)


def at(image: nibabel.Nifti1Image, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) voxel indices, as fractions, of (n, 3) LPS points."""
    inverse = np.linalg.inv(image.affine)
    return np.asarray((points @ RAS_TO_LPS) @ inverse[:3, :3].T + inverse[:3, 3])


def centres(image: nibabel.Nifti1Image) -> NDArray[np.float64]:
    """(n, 3) LPS points of all voxels, in C order."""
    index = np.stack(np.unravel_index(np.arange(np.prod(image.shape)), image.shape), -1)
    return np.asarray((index @ image.affine[:3, :3].T + image.affine[:3, 3]) @ RAS_TO_LPS)


@pytest.mark.parametrize(("path", "options", "code"), REFUSED)
def test_refused_by_name(samples: Path, tmp_path: Path, path: str, options: dict[str, Any], code: str) -> None:
    with pytest.raises(PipelineError) as refused:
        converted(samples / path, tmp_path, **options)
    assert refused.value.finding.code.name == code
    assert refused.value.finding.measured is not None


@pytest.mark.parametrize(("path", "options"), KEPT)
def test_every_acquired_voxel_keeps_its_place_and_value(
    samples: Path, tmp_path: Path, path: str, options: dict[str, Any]
) -> None:
    image = converted(samples / path, tmp_path, **options)
    array = image.get_fdata()
    acquired = truth(samples / path)
    touched = np.zeros(array.shape[2], bool)
    for plane in acquired:
        index = at(image, plane.points().reshape(-1, 3))
        nearest = np.rint(index).astype(int)
        away = (index - nearest) @ image.affine[:3, :3].T
        assert np.linalg.norm(away, axis=1).max() < 0.02
        assert np.allclose(array[tuple(nearest.T)], plane.physical.ravel(), atol=1e-4)
        touched[nearest[:, 2]] = True
    assert touched.sum() == len(acquired)
    assert (array[:, :, ~touched] == array.min()).all()
    if options.get("on_tilt") == "shear":
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)


@pytest.mark.parametrize(("path", "options"), BLENDED)
def test_linear_between_the_planes(samples: Path, tmp_path: Path, path: str, options: dict[str, Any]) -> None:
    image = converted(samples / path, tmp_path, **options)
    array = image.get_fdata().ravel()
    acquired = truth(samples / path)
    every = 7 if array.size > 5e6 else 1  # a stride that meets every column, row and plane
    array = array[::every]
    expected = interpolated(acquired, centres(image)[::every])
    known = np.isfinite(expected)
    assert known.sum() * every > 0.5 * sum(p.stored.size for p in acquired)
    assert np.abs(array[known] - expected[known]).max() <= 0.6  # integers; and indices rounded to 1e-4
    if options.get("on_tilt") == "resample":
        corners = np.concatenate([p.points()[[0, 0, -1, -1], [0, -1, 0, -1]] for p in acquired])
        index = at(image, corners)
        assert (index > -0.51).all()
        assert (index < np.array(image.shape) - 0.49).all()
        axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
        assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)


@pytest.mark.parametrize(("path", "options"), NEAREST)
def test_the_nearest_plane(samples: Path, tmp_path: Path, path: str, options: dict[str, Any]) -> None:
    image = converted(samples / path, tmp_path, **options)
    acquired = truth(samples / path)
    array, normal = image.get_fdata(), acquired[0].normal
    points = centres(image).reshape(*image.shape, 3)
    for k in range(image.shape[2]):
        here = points[::3, :, k].reshape(-1, 3)
        away = np.array([abs(float((here[0] - p.position) @ normal)) for p in acquired])
        explained = np.zeros(len(here), bool)
        for plane in (p for p, distance in zip(acquired, away, strict=True) if distance <= away.min() + 1e-3):
            values = bilinear(plane, here)
            explained |= np.isnan(values) | (np.abs(values - array[::3, :, k].ravel()) <= 0.6)
        assert explained.all(), f"{(~explained).sum()} voxels of plane {k}"
