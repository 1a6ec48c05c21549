"""Properties that hold for every input: see tests/test_fastheader.py for single cases."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dicom import fast_header
from tests.test_fastheader import (
    BASES,
    EXPLICIT,
    IMPLICIT,
    PIXELS,
    Element,
    encode,
    judge,
    part10,
    sort,
)

_TEXT = st.sampled_from(
    [b"", b"A", b"CT", b"1.2.3", b"1", b"-2.5", b"1\\2", b"1e3", b" ", b"a\\", b"x\0", b"\xe4", b"7 "]
)


_ANY = st.binary(max_size=12) | _TEXT


_WINDOWS = st.sampled_from([70, 300, 8192])  # small ones, so that everything lies across an end


_VRS = st.sampled_from(sorted(vr.decode() for vr in fast_header.SHORT_VRS | fast_header.LONG_VRS - {b"SQ"}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slice.dcm"


def _even(value: bytes) -> bytes:
    return value + b" " * (len(value) % 2)


@st.composite
def _attribute(draw: st.DrawFn) -> Element:
    tag, vr = draw(st.sampled_from(sorted(fast_header.ATTRIBUTES.values())))
    size = {b"US": 2, b"FD": 8}.get(vr)
    count = draw(st.integers(0, 3))
    value = draw(st.binary(min_size=size * count, max_size=size * count)) if size else _even(draw(_ANY))
    return Element(tag, vr.decode(), value)


_OTHER = st.builds(
    lambda group, element, vr, value: Element(group << 16 | element, vr, _even(value)),
    st.sampled_from([0x0008, 0x0009, 0x0010, 0x0029, 0x0040, 0x6000, 0x6002, 0x7FDF]),
    st.sampled_from([0x0000, 0x0005, 0x0010, 0x1001, 0x1002, 0x3000]),
    _VRS,
    st.binary(max_size=20),
)


def _sequence(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Element]:
    tags = st.sampled_from([0x00081140, 0x00120064, 0x00291010, 0x00880200, 0x00081142, 0x00091001])
    return st.builds(
        lambda tag, value, undefined: Element(tag, "SQ", tuple(value), undefined),
        tags,
        st.lists(items, max_size=3),
        st.booleans(),
    )


_DATA_SET = st.recursive(
    st.lists(_attribute() | _OTHER, max_size=6).map(lambda es: sort(*es)),
    lambda inner: st.lists(_attribute() | _OTHER | _sequence(inner), max_size=6).map(lambda es: sort(*es)),
    max_leaves=6,
)


@given(_DATA_SET, st.sampled_from([EXPLICIT, IMPLICIT]), st.booleans(), st.binary(max_size=6), _WINDOWS)
def test_generated_data_sets(
    path: Path, elements: Any, syntax: str, with_pixels: bool, tail: bytes, window: int
) -> None:
    elements = sort(*elements, *([PIXELS] if with_pixels else []))
    with patch.object(fast_header, "_WINDOW", window):
        judge(path, part10(encode(elements, syntax), syntax) + tail)


def damage(content: bytes, random: random.Random) -> bytes:
    """One to three changes after the preamble: a bit, a byte, a delimiter, a VR, a piece lost, doubled or cut off."""
    out = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if len(out) <= 134:
            break
        where, kind = random.randrange(130, len(out)), random.randrange(7)
        if kind == 0:
            out[where] ^= 1 << random.randrange(8)
        elif kind == 1:
            out[where] = random.choice((0, 1, 2, 8, 0x20, 0x5C, 0x41, 0x55, 0xFF, 0xFE, random.randrange(256)))
        elif kind == 2:
            out[where : where + 4] = random.choice(
                (b"\xff" * 4, b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xfe\xff\0\xe0")
            )
        elif kind == 3:
            out[where : where + 2] = random.choice((b"UN", b"SQ", b"OB", b"US", b"\0\0", b"\xe0\x7f", b"\2\0", b"DS"))
        elif kind == 4:
            del out[where : where + random.choice((1, 2, 4, 8, 30))]
        elif kind == 5:
            out[where:where] = out[where : where + random.choice((1, 2, 8, 12, 40))]
        else:
            del out[where:]
    return bytes(out)


@given(st.sampled_from(BASES), st.randoms(use_true_random=False), _WINDOWS)
def test_damaged_files(path: Path, base: bytes, random: random.Random, window: int) -> None:
    with patch.object(fast_header, "_WINDOW", window):
        judge(path, damage(base, random))
