"""The mask of another reader against ours: what differs, what is left open, and where it lies, in every storage order."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations, product

import numpy as np
import pytest

from pipeline.crosscheck.mask_agreement import judge_mask
from pipeline.crosscheck.mask_panel import READERS
from pipeline.crosscheck.testimony import Testimony as Answer
from pipeline.crosscheck.testimony import either
from pipeline.geometry.grid import Grid
from pipeline.volume.mask import Array, Voxels

SHAPE = (7, 6, 5)
LPS = np.array([[0.0, -0.8, 0.0, 11.0], [0.7, 0.0, 0.0, -5.0], [0.0, 0.0, 2.0, 30.0], [0.0, 0.0, 0.0, 1.0]])
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
GRID = Grid(SHAPE, LPS)


def _mask() -> Array:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 2:5, 1:4] = 1
    mask[4, 4, 3] = 9
    return mask


def _part(mask: Array, low: tuple[int, ...], high: tuple[int, ...]) -> Array:
    return mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]]


def _judge(ours: Array, testimony: Answer) -> tuple[str, int | None, str]:
    agreement = judge_mask(testimony, GRID, 1e-3, Voxels.of(ours).planes())
    return agreement.status, agreement.voxels_differing, agreement.words


def test_a_part_of_the_grid_is_enough_where_the_rest_is_empty() -> None:
    mask = _mask()
    answer = Answer("X", "1", LPS_TO_RAS @ LPS, SHAPE, _part(mask, (1, 2, 1), (5, 5, 4)), box=(1, 2, 1))
    assert _judge(mask, answer)[:2] == ("AGREES", 0)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
def test_every_storage_order_is_seen_through(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    """Their grid is turned by plain index arithmetic, and cut to a part of it."""
    to_ours = np.zeros((4, 4))
    to_ours[3, 3] = 1
    for theirs, (ours, flip) in enumerate(zip(axes, flips, strict=True)):
        to_ours[ours, theirs] = flip
        to_ours[ours, 3] = 0 if flip > 0 else SHAPE[ours] - 1
    turned = _mask()
    for ours, flip in zip(axes, flips, strict=True):
        turned = np.flip(turned, ours) if flip < 0 else turned
    turned = turned.transpose(axes)
    part = turned[1:, :, 1:]
    theirs = Answer("X", "1", LPS_TO_RAS @ LPS @ to_ours, turned.shape, np.ascontiguousarray(part), box=(1, 0, 1))
    expected = _mask()
    back = np.zeros_like(turned)
    back[1:, :, 1:] = part
    differing = int(np.count_nonzero(back != turned))  # what was cut off, where the mask reaches so far
    status = "DIFFERS" if differing else "AGREES" if (axes, flips) == ((0, 1, 2), (1, 1, 1)) else "REORDERED"
    assert _judge(expected, theirs)[:2] == (status, differing)
    other = expected.copy()
    other[2, 3, 2] = 0
    assert _judge(other, theirs)[:2] == ("DIFFERS", differing + 1)


def test_a_voxel_that_is_left_open_is_counted_and_is_right_either_way() -> None:
    mask = _mask()
    theirs = mask.copy()
    theirs[1, 2, 1] = theirs[0, 0, 0] = either(np.uint8)
    answer = Answer("X", "1", LPS_TO_RAS @ LPS, SHAPE, theirs, note="centres on an edge")
    assert _judge(mask, answer) == (
        "AGREES",
        0,
        "the mask itself, same order; it leaves 2 voxels open (centres on an edge)",
    )
    theirs[2, 3, 2] = 0
    assert _judge(mask, answer)[:2] == ("DIFFERS", 1)


def test_labels_outside_of_our_grid_differ() -> None:
    mask = _mask()
    wider = np.zeros((SHAPE[0] + 2, SHAPE[1] + 2, SHAPE[2] + 2), np.uint8)
    wider[1:-1, 1:-1, 1:-1] = mask
    shifted = LPS.copy()
    shifted[:3, 3] -= LPS[:3, :3] @ [1, 1, 1]
    answer = Answer("X", "1", LPS_TO_RAS @ shifted, wider.shape, wider)
    assert _judge(mask, answer)[:2] == ("AGREES", 0)
    for outside in ((0, 3, 3), (3, 0, 3), (3, 3, 0), (8, 7, 6)):
        other = wider.copy()
        other[outside] = 1
        assert _judge(mask, Answer("X", "1", LPS_TO_RAS @ shifted, wider.shape, other))[:2] == ("DIFFERS", 1), outside


def test_a_grid_elsewhere_and_a_grid_of_other_voxels_differ() -> None:
    mask, moved, wide = _mask(), LPS.copy(), LPS.copy()
    moved[0, 3] += 0.1
    wide[2, 2] = 3.0
    for affine, words in ((moved, "has the mask 0.1000 mm away"), (wide, "7 × 6 × 5 voxels on another grid")):
        status, differing, said = _judge(mask, Answer("X", "1", LPS_TO_RAS @ affine, SHAPE, mask))
        assert (status, differing) == ("DIFFERS", None)
        assert words in said


def test_a_refusal_is_quoted_and_an_answer_without_labels_has_failed() -> None:
    mask = _mask()
    assert _judge(mask, Answer("X", "1", refusal="no such segment"))[::2] == ("REFUSED", "refuses: no such segment")
    assert _judge(mask, Answer("X", "1", failure="died"))[::2] == ("FAILED", "died")
    assert _judge(mask, Answer("X", "1", LPS_TO_RAS @ LPS, SHAPE))[0] == "FAILED"
    assert _judge(mask, Answer("X", "1", LPS_TO_RAS @ LPS, SHAPE, mask.astype(float)))[0] == "FAILED"


@pytest.mark.parametrize("name", [reader.module for reader in READERS])
def test_a_reader_imports_nothing_of_ours_that_reads(name: str) -> None:
    """Beside what runs it: only what opens a file, which may be a member of an archive."""
    code = f"import sys, pipeline.crosscheck.mask_readers.{name}; print(*(m for m in sys.modules if m.startswith('pipeline.')))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    rooms = {
        module for module in printed if module.split(".")[1] in ("decode", "geometry", "dicom", "volume", "stacking")
    }
    assert rooms <= {"pipeline.dicom", "pipeline.dicom.source_file", "pipeline.dicom.archive", "pipeline.dicom.files"}
