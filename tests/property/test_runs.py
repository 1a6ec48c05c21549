"""Properties that hold for every input: see tests/test_runs.py for single cases."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.test_runs import counted, expected


@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 11), st.integers(1, 13)),
    fill=st.floats(0.05, 1),
    labels=st.integers(1, 4),
    at_a_time=st.integers(1, 5),
)
def test_pieces_are_those_of_scipy(
    seed: int, shape: tuple[int, int, int], fill: float, labels: int, at_a_time: int
) -> None:
    rng = np.random.default_rng(seed)
    block = np.where(rng.random(shape) < fill, rng.integers(1, labels + 1, shape), 0).astype(np.uint8)
    assert counted(block, at_a_time) == expected(block)
