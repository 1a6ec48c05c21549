"""Properties that hold for every input: see tests/test_report.py for single cases."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.report.pictures import trace_edges


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 7))))
def test_an_outline_encloses_exactly_its_voxels(inside: np.ndarray[Any, Any]) -> None:
    rows, columns = inside.shape
    walls = np.zeros((rows, columns + 1), bool)
    for x, y, end in re.findall(r"M(\d+) (\d+)V(\d+)", trace_edges(inside)):
        walls[int(y) : int(end), int(x)] ^= True
    assert ((np.cumsum(walls, axis=1)[:, :-1] % 2 == 1) == inside).all()
    floors = np.zeros((rows + 1, columns), bool)
    for x, y, end in re.findall(r"M(\d+) (\d+)H(\d+)", trace_edges(inside)):
        floors[int(y), int(x) : int(end)] ^= True
    assert ((np.cumsum(floors, axis=0)[:-1] % 2 == 1) == inside).all()
