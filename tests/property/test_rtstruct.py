"""Properties that hold for every input: see tests/test_rtstruct.py for single cases."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry.grid import Grid
from tests.helpers.rtphantom import (
    FRAME_UID,
    grid,
    on,
    rotation,
)
from tests.test_rtstruct import decode


@given(
    seed=st.integers(0, 10**6),
    axis=st.integers(0, 2),
    spacing=st.tuples(*[st.floats(0.3, 4).map(lambda x: round(x, 3))] * 3),
    planes=st.sets(st.integers(0, 10), min_size=1, max_size=4),
    shear=st.sampled_from([0.0, 0.0, 0.3]),
)
def test_any_grid_and_each_of_its_three_directions(tmp_path_factory, seed, axis, spacing, planes, shear):
    """An L in planes along i, j or k of any grid, tilted gantry too, is the L of voxels."""
    g = grid(rotation(seed), (14, 12, 11), spacing)
    lps = g.lps.copy()
    lps[:3, 2] += shear * lps[:3, 1]
    g = Grid(g.shape, lps, FRAME_UID)
    shape_l = np.array([(1.4, 2.3), (8.6, 2.3), (8.6, 4.7), (4.2, 4.7), (4.2, 9.1), (1.4, 9.1)])
    expected = np.zeros((14, 12, 11), np.uint8)
    for p in planes:
        view = np.moveaxis(expected, axis, 0)[p]
        view[2:9, 3:5] = 1
        view[2:5, 3:10] = 1
    contours = [on(g, shape_l, p, axis) for p in planes]
    decoded = decode(tmp_path_factory.mktemp("any"), g, contours)
    assert (decoded.masks[0].voxels.array() == expected).all()
    assert decoded.reports[0].direction == "ijk"[axis]
    assert decoded.reports[0].planes == len(planes)
    skipped = len(planes) > 2 and np.median(np.diff(sorted(planes))) > 1.5
    assert [f.code.name for f in decoded.findings] == ["CONTOUR_PLANES_SKIPPED"] * bool(skipped)
