"""What `explain` says is what is computed: against dicom2nifti itself, and for the forum's series by hand."""

from __future__ import annotations

import re
from pathlib import Path

import dicom2nifti
import dicom2nifti.settings
import nibabel
import numpy as np
import pytest

from pipeline.diagnosis.explain import describe_direction, explain, explain_affine
from pipeline.geometry.grid import Grid, Plane
from tests.helpers import phantom
from tests.helpers.forum import CORONAL, FLIPPED_ROWS, USERS_MATRIX, mimics_order, series
from tests.helpers.phantom import ORIENTATIONS


def matrices(text: str) -> list[np.ndarray]:
    """Every matrix printed in a text, (3, 4)."""
    rows = re.findall(r"^    [xyzRAS]  (.*)$", text, re.M)
    return [np.array([r.split() for r in rows[n : n + 3]], float) for n in range(0, len(rows), 3)]


def pasted(text: str) -> np.ndarray:
    lines = re.findall(r"^      \[(.*)\],$", text, re.M)
    return np.array([line.split(",") for line in lines], float)


def grid_of(spec: phantom.Spec) -> tuple[Grid, Plane]:
    plane = Plane(spec.origin, spec.iop[:3], spec.iop[3:], spec.row_spacing, spec.column_spacing, *spec.shape[1::-1])
    return Grid(spec.shape, spec.lps), plane


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_las_matrix_is_the_one_dicom2nifti_writes(name: str, tmp_path: Path) -> None:
    spec = phantom.Spec(shape=(12, 10, 6), row_spacing=1.4, column_spacing=0.9, iop=ORIENTATIONS[name])
    phantom.write(tmp_path / "in", spec)
    grid, plane = grid_of(spec)
    text = explain(grid, plane)
    dicom2nifti.dicom_series_to_nifti(str(tmp_path / "in"), str(tmp_path / "las.nii"), reorient_nifti=True)
    theirs = nibabel.load(tmp_path / "las.nii")
    printed = matrices(text)
    assert np.allclose(printed[0], grid.lps[:3], atol=6e-5)
    assert np.allclose(printed[1], grid.ras[:3], atol=6e-5)
    assert np.allclose(printed[-1], theirs.affine[:3], atol=1e-4)
    assert (len(printed) == 3) or "this very order" in text
    if len(printed) == 3:
        assert f"It has {' × '.join(map(str, theirs.shape))} voxels" in text
    assert np.array_equal(pasted(text), grid.ras)
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    ("cosines", "where", "code", "ras", "las"),
    [
        (
            FLIPPED_ROWS,
            ("to the left", "to the front", "to the feet"),
            "LAI",
            [[-1, 0, 0], [0, 1, 0], [0, 0, -1]],
            [[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
        ),
        (
            CORONAL,
            ("to the left", "to the feet", "to the back"),
            "LIP",
            [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
            [[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
        ),
    ],
)
def test_the_forums_series_by_hand(cosines: tuple, where: tuple, code: str, ras: list, las: list) -> None:
    grid, plane = series(cosines)
    text = explain(grid, plane)
    for axis, words in zip(("i, to the next column", "j, to the next row", "k, to the next plane"), where, strict=True):
        assert re.search(rf"{axis} +1\.0000 mm  {words}$", text, re.M)
    assert f"orientation code {code}" in text
    printed = matrices(text)
    assert printed[1][:, :3].tolist() == ras
    assert printed[2][:, :3].tolist() == las


def test_what_the_thread_quotes() -> None:
    # dicom2nifti's matrix of the thread is the one of a coronal DICOM array, before any reordering.
    coronal, _ = series(CORONAL)
    assert coronal.ras[:3, :3].tolist() == [[-1, 0, 0], [0, 0, -1], [0, -1, 0]]
    # The author's own is a mirror image; no grid of DICOM planes has it, in the order the planes are stored.
    assert np.linalg.det(USERS_MATRIX) == -1
    assert "i to the head, j to the left, k to the front" in explain_affine(
        np.pad(USERS_MATRIX, (0, 1)) + last(), (7, 6, 5)
    )
    # Mimics' buffer runs left, back, head: this is what its affine has to be, for either series.
    for cosines in (FLIPPED_ROWS, CORONAL):
        grid, _ = series(cosines)
        buffer = grid.ras @ mimics_order(grid).matrix(grid.shape)
        assert buffer[:3, :3].tolist() == [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]


def last() -> np.ndarray:
    return np.diag([0.0, 0.0, 0.0, 1.0])


def test_a_direction_in_words() -> None:
    assert describe_direction((0, 0, -2)) == "to the feet"
    tilted = (np.cos(np.radians(20)), 0, np.sin(np.radians(20)))
    assert describe_direction(tilted) == "to the left, 20.0° off it: 20.0° to the head"
    both = np.array([10.0, -1.0, 2.0])
    assert describe_direction(both) == "to the left, 12.6° off it: 11.3° to the head and 5.6° to the front"
    assert describe_direction((1, 1e-4, 0)) == "to the left (0.0057° off)"


def test_a_leaning_stack_and_a_single_plane_say_so() -> None:
    lps = np.diag([0.7, 0.8, 2.0, 1.0])
    lps[1, 2] = 0.5
    plane = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 0.8, 0.7, 6, 7)
    assert "lean by 14.04°" in explain(Grid((7, 6, 5), lps), plane)
    assert "lean" not in explain(Grid((7, 6, 5), np.diag([0.7, 0.8, 2, 1])), plane)
    assert "the step of k is assumed" in explain(Grid((7, 6, 1), np.diag([0.7, 0.8, 2, 1])), plane)
    assert "14.04° from being at right angles" in explain_affine(Grid((7, 6, 5), lps).ras, (7, 6, 5))


def test_an_affine_alone() -> None:
    ras = np.diag([-0.7, 0.8, 2.0, 1.0])
    ras[:3, 3] = (10, 20, 30)
    text = explain_affine(ras, (11, 6, 5))
    assert "orientation code LAS: i to the left, j to the front, k to the head" in text
    assert "left hand" in text
    assert "middle of the block at R 6.5000, A 22.0000, S 34.0000" in text
    assert np.allclose(matrices(text)[1], np.diag([-1, -1, 1, 1])[:3] @ ras, atol=1e-4)
    with pytest.raises(np.linalg.LinAlgError):
        explain_affine(np.diag([1.0, 1.0, 0.0, 1.0]), (2, 2, 2))
