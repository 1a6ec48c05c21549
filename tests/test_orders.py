"""The 48 orders: the one for given codes held against nibabel, the one dicom2nifti stores against dicom2nifti."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom2nifti.image_reorientation import reorient_image

from pipeline.crosscheck.dicom2nifti import stored_order
from pipeline.geometry.affine import axis_codes
from pipeline.geometry.axis_order import AS_IS, ORDERS, describe_difference, order_for
from pipeline.geometry.index_map import reorder
from tests.helpers.spoil import random_grid


@pytest.mark.parametrize("seed", range(25))
def test_las_is_what_dicom2nifti_stores_for_any_grid(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    grid = random_grid(rng, (3, 4, 5))
    array = rng.permutation(60).astype(np.uint8).reshape(grid.shape)
    theirs = reorient_image(nibabel.Nifti1Image(array, grid.ras), str(tmp_path / "las.nii"))
    order = stored_order(grid.ras)
    assert np.array_equal(np.asarray(theirs.dataobj), order.of(array))
    assert np.allclose(theirs.affine, grid.ras @ order.matrix(grid.shape), atol=1e-9)


def test_on_some_oblique_grids_dicom2nifti_stores_another_order_than_nibabel() -> None:
    """Why there are two rules: the share of random grids on which they differ is small, and is not nothing."""
    grids = [random_grid(np.random.default_rng(seed), (3, 4, 5)) for seed in range(500)]
    assert 0 < sum(stored_order(grid.ras) != order_for(grid.ras, "LAS") for grid in grids) < 100


def test_every_order_goes_there_and_back() -> None:
    array = np.arange(60).reshape(3, 4, 5)
    assert len({o.of(array).tobytes() + bytes(o.shape(array.shape)) for o in ORDERS}) == 48
    for order in ORDERS:
        stored = order.of(array)
        assert stored.shape == order.shape(array.shape)
        assert np.array_equal(reorder(stored, order.matrix(array.shape)), array)
        assert np.array_equal(order.inverse.of(stored), array)
        i, j, k = (order.matrix(array.shape) @ (1, 2, 0, 1))[:3]
        assert stored[1, 2, 0] == array[i, j, k]


def test_one_order_after_another() -> None:
    array = np.arange(60).reshape(3, 4, 5)
    for first in ORDERS[::5]:
        for then in ORDERS[::7]:
            assert np.array_equal(then.after(first).of(array), then.of(first.of(array)))


@pytest.mark.parametrize("codes", ["LAS", "LPS", "RAS", "SLA", "PIR"])
def test_order_for_gives_those_codes(codes: str) -> None:
    grid = random_grid(np.random.default_rng(3), (3, 4, 5))
    assert axis_codes(grid.ras @ order_for(grid.ras, codes).matrix(grid.shape)) == codes


def test_difference_in_words() -> None:
    grid = random_grid(np.random.default_rng(3), (3, 4, 5))
    lps, las, slp = (order_for(grid.ras, c) for c in ("LPS", "LAS", "SLP"))
    assert describe_difference(lps, lps) == ""
    assert describe_difference(lps, las) == "j reversed"
    assert describe_difference(slp, lps) == "axes in the order k, i, j"
    assert describe_difference(order_for(grid.ras, "IPR"), lps) == "axes in the order k, j, i with i and k reversed"
    assert describe_difference(order_for(grid.ras, "AIL"), lps) == "axes in the order j, k, i with j and k reversed"
    assert describe_difference(order_for(grid.ras, "ALS"), lps) == "axes in the order j, i, k with j reversed"
    assert AS_IS in ORDERS
