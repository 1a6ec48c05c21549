"""Properties that hold for every input: see tests/test_orders.py for single cases."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from pipeline.geometry.axis_order import order_for
from tests.helpers.spoil import random_grid


@settings(max_examples=300)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["RAS", "LPS", "LAS", "SLA", "PIR", "AIL"]))
def test_the_order_for_codes_is_nibabels_on_any_grid(seed: int, codes: str) -> None:
    """`--orient RAS` gives the array and affine that `nibabel.as_closest_canonical` makes of the file."""
    rng = np.random.default_rng(seed)
    grid = random_grid(rng, (3, 4, 5))
    array = rng.permutation(60).astype(np.uint8).reshape(grid.shape)
    wanted = ornt_transform(io_orientation(grid.ras), axcodes2ornt(codes))
    order = order_for(grid.ras, codes)
    assert np.array_equal(order.of(array), apply_orientation(array, wanted))
    theirs = grid.ras @ inv_ornt_aff(wanted, grid.shape)
    assert np.allclose(grid.ras @ order.matrix(grid.shape), theirs, rtol=0, atol=1e-9)
