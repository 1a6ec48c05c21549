"""Whatever the geometry and the order of an array: its affine, and the file it becomes, put each voxel where its plane says."""

from __future__ import annotations

import shutil
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import verimask
from hypothesis import given
from hypothesis import strategies as st
from verimask import Policy

from pipeline.crosscheck.panel import Panel
from tests.helpers.phantom import ORIENTATIONS, Spec, turned, write
from tests.helpers.plane_equation import Array, place, places_of, planes_of, sort_rows

TO_RAS = np.array([-1.0, -1.0, 1.0])
ORDERS = [(axes, flips) for axes in permutations("ijk") for flips in product((False, True), repeat=3)]


@pytest.fixture(scope="module")
def panel() -> Any:
    """One warm dicom2nifti for all tests of this module."""
    with Panel(Policy()) as shared:
        yield shared


specs = st.builds(
    Spec,
    shape=st.tuples(st.integers(2, 7), st.integers(2, 6), st.integers(1, 6)),
    row_spacing=st.floats(0.3, 4).map(lambda x: round(x, 4)),
    column_spacing=st.floats(0.3, 4).map(lambda x: round(x, 4)),
    step=st.floats(0.3, 6).map(lambda x: round(x, 4)),
    origin=st.tuples(*[st.floats(-300, 300).map(lambda x: round(x, 3))] * 3),
    iop=st.sampled_from(list(ORIENTATIONS.values())) | st.builds(turned, *[st.floats(-180, 180)] * 3),
    content=st.just("index"),
    kind=st.sampled_from(("ct", "mr")),
    stored=st.sampled_from(("along", "against", "shuffled")),
    instance_numbers=st.sampled_from(("along", "against", "shuffled")),
)


def arranged(ijk: Array, axes: tuple[str, ...], flips: tuple[bool, ...]) -> Array:
    """An (i, j, k) array in another order, by NumPy's own means."""
    turned = np.transpose(ijk, ["ijk".index(axis) for axis in axes])
    for a, flip in enumerate(flips):
        turned = np.flip(turned, a) if flip else turned
    return turned


def word(axes: tuple[str, ...], flips: tuple[bool, ...]) -> str:
    return "".join("-" * flip + axis for axis, flip in zip(axes, flips, strict=True))


@given(specs, st.sampled_from(ORDERS), st.booleans(), st.data())
def test_an_affine_puts_each_voxel_of_its_array_where_its_plane_says(
    tmp_path: Path, spec: Spec, order: Any, by_values: bool, data: Any
) -> None:
    folder = tmp_path / "in"
    shutil.rmtree(folder, ignore_errors=True)
    write(folder, spec)
    planes = planes_of(folder)
    ijk = np.stack([plane.pixels.T for plane in planes], axis=2)
    array = arranged(ijk, *order)
    options: dict[str, Any] = {"array": array} if by_values else {"shape": array.shape, "axes": word(*order)}
    found = verimask.affine(folder, **options)
    flat = arranged(np.arange(ijk.size).reshape(ijk.shape), *order)
    index = tuple(data.draw(st.integers(0, n - 1)) for n in array.shape)
    i, j, k = (int(n) for n in np.unravel_index(flat[index], ijk.shape))
    expected = place(planes, i, j, k)
    np.testing.assert_allclose(found.matrix[:3] @ (*index, 1), expected * TO_RAS, atol=2e-3)
    np.testing.assert_allclose(found.lps[:3] @ (*index, 1), expected, atol=2e-3)
    assert found.shape == array.shape
    assert found.order_by == ("values" if by_values else "stated")
    assert found.plane_uids[index[found.plane_axis]] == planes[k].uid
    assert found.axis_codes == "".join(nibabel.aff2axcodes(found.matrix))


@given(specs, st.sampled_from(ORDERS), st.integers(0, 2**32 - 1), st.sampled_from(("u1", "?", "i8", "f4")))
def test_labels_of_an_array_lie_where_their_planes_say_for_other_readers(
    tmp_path: Path, panel: Panel, spec: Spec, order: Any, seed: int, kind: str
) -> None:
    folder, target = tmp_path / "in", tmp_path / "out.nii.gz"
    shutil.rmtree(folder, ignore_errors=True)
    write(folder, spec)
    planes = planes_of(folder)
    labels = np.random.default_rng(seed).integers(0, 2 if kind == "?" else 4, spec.shape).astype(kind)
    labels[0, 0, 0] = 1
    outcome = verimask.write(
        arranged(labels, *order), folder, target, axes=word(*order), policy=Policy(write="overwrite"), panel=panel
    )
    assert outcome.verdict == "UNCONFIRMED"
    assert [agreement.witness for agreement in outcome.agreements if agreement.status == "DIFFERS"] == []
    expected = places_of(planes, labels.astype(int))

    image = nibabel.load(target)
    read = np.asanyarray(image.dataobj)
    assert read.dtype == np.uint8
    by_nibabel = {
        value: nibabel.affines.apply_affine(image.affine, np.argwhere(read == value)) * TO_RAS for value in expected
    }
    itk = sitk.ReadImage(str(target))
    block = sitk.GetArrayFromImage(itk)
    by_itk = {
        value: np.array(
            [itk.TransformIndexToPhysicalPoint(index[::-1].tolist()) for index in np.argwhere(block == value)]
        )
        for value in expected
    }
    assert set(np.unique(read)) - {0} == set(expected) == set(np.unique(block)) - {0}
    for value, points in expected.items():
        np.testing.assert_allclose(sort_rows(by_nibabel[value]), points, atol=2e-3)
        np.testing.assert_allclose(sort_rows(by_itk[value]), points, atol=2e-3)


@given(specs, st.sampled_from(("source", "RAS", "LPS", "SLP", "AIR")))
def test_what_is_read_lies_there_too_and_nibabel_names_the_same_axes(
    tmp_path: Path, panel: Panel, spec: Spec, orient: str
) -> None:
    folder = tmp_path / "in"
    shutil.rmtree(folder, ignore_errors=True)
    truth = write(folder, spec)
    planes = planes_of(folder)
    image = verimask.read(folder, policy=Policy(as_="image", orient=orient), panel=panel)
    theirs = image.to_nibabel()
    assert image.axis_codes == "".join(nibabel.aff2axcodes(theirs.affine))
    assert orient in ("source", image.axis_codes)
    np.testing.assert_array_equal(np.asanyarray(theirs.dataobj), image.array)
    itk = image.to_sitk()
    for index in np.ndindex(*image.array.shape):
        i, j, k = (int(n[0]) for n in np.nonzero(truth.ijk == image.array[index]))
        expected = place(planes, i, j, k)
        np.testing.assert_allclose(image.affine[:3] @ (*index, 1), expected * TO_RAS, atol=2e-3)
        np.testing.assert_allclose(itk.TransformIndexToPhysicalPoint(index), expected, atol=2e-3)
        assert itk.GetPixel(*index) == image.array[index]
        assert image.plane_uids[index[image.plane_axis]] == planes[k].uid
