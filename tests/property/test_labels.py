"""Properties that hold for every input: see tests/test_labels.py for single cases."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.volume.label_table import label_table
from tests.test_labels import LPS, mask_of


def faces(points: set[tuple[int, ...]]) -> int:
    """Components by a flood fill, voxel by voxel."""
    left, count = set(points), 0
    while left:
        count += 1
        front = [left.pop()]
        while front:
            at = front.pop()
            for axis, step in product(range(3), (-1, 1)):
                near = tuple(v + step * (n == axis) for n, v in enumerate(at))
                if near in left:
                    left.remove(near)
                    front.append(near)
    return count


@given(seed=st.integers(0, 10**6), fill=st.floats(0.02, 0.9))
def test_every_number_equals_a_plain_count(seed: int, fill: float) -> None:
    rng = np.random.default_rng(seed)
    array = np.where(rng.random((7, 5, 4)) < fill, rng.choice([1, 4], (7, 5, 4)), 0).astype(np.uint8)
    rows = {row.value: row for row in label_table(mask_of(array))}
    assert [row.name for row in rows.values()] == ["left kidney", "spleen", "nothing here"]
    for value in (1, 4):
        points = np.argwhere(array == value)
        row = rows[value]
        assert row.voxels == len(points)
        assert row.volume_ml == pytest.approx(len(points) * np.linalg.det(LPS[:3, :3]) / 1000)
        if not len(points):
            assert row.centroid_lps_mm is None
            continue
        world = points @ LPS[:3, :3].T + LPS[:3, 3]
        assert row.centroid_lps_mm == pytest.approx(world.mean(axis=0))
        assert row.centroid_ras_mm == pytest.approx(world.mean(axis=0) * (-1, -1, 1))
        assert row.extent == tuple(zip(points.min(0).tolist(), points.max(0).tolist(), strict=True))
        assert row.components == faces({tuple(p) for p in points.tolist()})
