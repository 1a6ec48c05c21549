"""Properties that hold for every input: see tests/test_gzipped.py for single cases."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st

from tests.test_gzipped import LEVELS, packed


@given(st.lists(st.binary(max_size=60), max_size=12), st.sampled_from(LEVELS))
def test_parts_of_any_size_come_back(parts: list[bytes], level: int | None) -> None:
    assert gzip.decompress(packed(parts, level)) == b"".join(parts)
