"""Pieces counted plane by plane are those scipy finds in the whole block."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.volume.components import Pieces, runs_of


def counted(block: NDArray[np.uint8], at_a_time: int = 1) -> dict[int, int]:
    """block: (planes, rows, columns)."""
    pieces = Pieces()
    for k in range(0, len(block), at_a_time):
        pieces.add(runs_of(block[k : k + at_a_time]))
    return pieces.counts()


def expected(block: NDArray[np.uint8]) -> dict[int, int]:
    return {int(v): int(ndimage.label(block == v)[1]) for v in np.unique(block) if v}


def test_a_long_winding_piece_is_one() -> None:
    """A corridor that visits every plane and turns in each: labels must travel far to meet."""
    block = np.zeros((9, 31, 17), np.uint8)
    block[:, ::2] = 3
    for j in range(1, 31, 2):
        block[:, j, 0 if j % 4 == 1 else -1] = 3
    block[1::2] = 0
    for k in range(1, 9, 2):
        block[k, 0 if k % 4 == 1 else -1, 5] = 3
    assert counted(block) == counted(block, 4) == expected(block) == {3: 1}


def test_rows_do_not_touch_around_their_ends() -> None:
    block = np.zeros((1, 2, 5), np.uint16)
    block[0, 0, 4] = block[0, 1, 0] = 700
    assert counted(block) == {700: 2}


def test_the_last_row_of_a_plane_does_not_touch_the_first_of_the_next() -> None:
    block = np.zeros((2, 3, 5), np.uint8)
    block[0, 2] = block[1, 0] = 1
    assert counted(block) == counted(block, 2) == {1: 2}


def test_pieces_that_meet_late_are_one() -> None:
    block = np.zeros((3, 4, 9), np.uint8)
    block[:, 1, 2] = block[:, 1, 6] = 1
    assert counted(block[:2]) == {1: 2}
    block[2, 1, 2:7] = 1
    assert counted(block) == {1: 1}
    assert counted(block[::-1]) == {1: 1}


@pytest.mark.parametrize("planes", [0, 3])
def test_nothing_has_no_pieces(planes: int) -> None:
    assert counted(np.zeros((planes, 4, 5), np.uint8)) == {}
