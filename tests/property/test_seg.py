"""Properties that hold for every input: see tests/test_seg.py for single cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.seg import decode as seg
from tests.helpers.segs import (
    blobs,
    frames_of,
    write_seg,
)
from tests.test_seg import by_number, only


@given(order=st.permutations(range(15)))
def test_the_order_of_frames_never_matters(tmp_path: Path, order: list[int]) -> None:
    frames = frames_of(blobs(3, overlap=True))
    assert len(frames) == 14
    shuffled = [frames[n] for n in order if n < 14]
    straight = by_number(seg.decode(only(write_seg(tmp_path / "a.dcm", frames))).masks)
    turned = by_number(seg.decode(only(write_seg(tmp_path / "b.dcm", shuffled))).masks)
    for number, array in straight.items():
        np.testing.assert_array_equal(turned[number], array)
