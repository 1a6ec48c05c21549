"""Properties that hold for every input: see tests/test_nifti.py for single cases."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.geometry.grid import Grid
from pipeline.nifti import file as nifti
from tests.test_nifti import LIMIT_MM, TYPES, numbered, worst_mm, write


@st.composite
def grids(draw: st.DrawFn, lean: float = 0.0, largest: int = 6) -> Grid:
    """Any rotation, anisotropic spacing and origin; a lean of the planes where asked."""
    turn = Rotation.from_euler("zyx", draw(st.tuples(*[st.floats(-180, 180)] * 3)), degrees=True).as_matrix()
    axes = turn @ np.diag(draw(st.tuples(*[st.floats(0.05, 9)] * 3)))
    axes[:, 2] += axes[:, 1] * lean
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = axes, draw(st.tuples(*[st.floats(-700, 700)] * 3))
    return Grid(draw(st.tuples(*[st.integers(1, largest)] * 3)), lps)


def half_turn_short_of(grid: Grid) -> float:
    """By how many radians the rotation of a grid misses a half turn."""
    turn = grid.ras[:3, :3] / grid.spacing
    turn[:, 2] *= np.sign(np.linalg.det(turn))
    return float(np.pi - np.linalg.norm(Rotation.from_matrix(turn).as_rotvec()))


@given(grids(), st.sampled_from(TYPES), st.booleans())
def test_the_header_is_what_nibabel_reads(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, dtype: str, label: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "header.nii"
    array = numbered(grid.shape, dtype)
    write(path, grid, array, slope=2.5, intercept=-7, label=label)
    image = nibabel.load(path)
    header = image.header
    assert image.shape == grid.shape
    assert header.get_data_dtype() == np.dtype(dtype)
    assert worst_mm(header.get_sform(), grid.ras, grid.shape) < 2e-4
    assert header["sform_code"] == 1
    if header["qform_code"]:
        assert worst_mm(header.get_qform(), header.get_sform(), grid.shape) < LIMIT_MM
    else:
        assert abs(half_turn_short_of(grid)) < 2e-3
    assert np.allclose(header.get_zooms(), grid.spacing, rtol=1e-6)
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_intent(code_repr="code")[0] == (1002 if label else 0)
    assert (image.dataobj.slope, image.dataobj.inter) == (2.5, -7)
    assert bytes(header["descrip"]).rstrip(b"\0") == b"verimask"
    assert (np.asarray(image.dataobj.get_unscaled()) == array).all()
    assert header["sizeof_hdr"] == 348
    assert not header.extensions


@given(grids(lean=0.1), grids())
def test_our_own_parser_reads_what_nibabel_reads(
    tmp_path_factory: pytest.TempPathFactory, leaning: Grid, upright: Grid
) -> None:
    for grid in (leaning, upright):
        path = tmp_path_factory.getbasetemp() / "parsed.nii"
        write(path, grid, numbered(grid.shape, "i2"), slope=0.5, intercept=3)
        ours, image = nifti.read_header(path), nibabel.load(path)
        theirs = image.header
        assert ours.shape == grid.shape
        assert (ours.sform_code, ours.qform_code) == (int(theirs["sform_code"]), int(theirs["qform_code"]))
        assert np.allclose(ours.sform, theirs.get_sform(), atol=1e-12)
        # Next to a half turn nibabel takes the rotation for the half turn; both are within the limit of the sform.
        assert np.allclose(ours.qform, theirs.get_qform(coded=False), atol=2 * LIMIT_MM, rtol=1e-5)
        assert (ours.slope, ours.intercept) == (image.dataobj.slope, image.dataobj.inter) == (0.5, 3)
        assert (ours.intent, ours.units, ours.description) == (1002, 2, "verimask")
        assert ours.vox_offset == 352


@given(grids(lean=0.1))
def test_a_sheared_grid_has_an_sform_only(grid: Grid) -> None:
    raw, deviation = nifti.pack_header(
        grid.ras,
        (30, 40, 20),
        np.dtype("u1"),
        slope=1,
        intercept=0,
        label=True,
        description="",
        limit_mm=0.01 * min(grid.spacing),
    )
    header = nifti.parse_header(raw)
    assert deviation > 0.01 * min(grid.spacing)
    assert (header.sform_code, header.qform_code) == (1, 0)
    assert worst_mm(header.affine, grid.ras, (30, 40, 20)) < 2e-4


@given(grids(largest=9), st.data())
def test_nibabel_and_simpleitk_put_every_voxel_where_the_grid_says(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, data: st.DataObject
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = tmp_path_factory.getbasetemp() / "seen.nii.gz"
    array = np.arange(1, np.prod(grid.shape) + 1).reshape(grid.shape[::-1]).T.astype("u2")
    write(path, grid, array)
    seen, image = nibabel.load(path), sitk.ReadImage(str(path))
    for _ in range(4):
        index = data.draw(st.tuples(*[st.integers(0, n - 1) for n in grid.shape]))
        world = grid.points(index)
        assert np.allclose(nibabel.affines.apply_affine(seen.affine, index) * (-1, -1, 1), world, atol=5e-4)
        assert np.allclose(image.TransformIndexToPhysicalPoint(index), world, atol=5e-4)
        assert int(seen.dataobj[index]) == image.GetPixel(*index) == array[index]
