"""Patches of voxels that cannot be told, against a flood fill written down a second time; and comparisons by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.findings import Code, PipelineError
from pipeline.decode.embedded.ambiguous_voxels import Tally, settle
from pipeline.decode.embedded.image_difference import Constant, compare
from pipeline.volume.mask import Voxels


def patches(undecided, mask):
    """Sets of pixels that touch by edges, each with what is around it: any of mask, other."""
    rows, columns = undecided.shape
    left = {tuple(p) for p in np.argwhere(undecided)}
    while left:
        patch, front, around = set(), [left.pop()], set()
        while front:
            r, c = front.pop()
            patch.add((r, c))
            for near in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if near in left:
                    left.remove(near)
                    front.append(near)
                elif near not in patch and near not in front:
                    inside = 0 <= near[0] < rows and 0 <= near[1] < columns
                    around.add("mask" if inside and mask[near] else "other")
        yield patch, around


@pytest.mark.parametrize("seed", range(25))
def test_a_patch_is_mask_when_nothing_but_mask_is_around_it(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, (13, 17), p=[(0.3, 0.3, 0.4), (0.05, 0.8, 0.15)][seed % 2])
    undecided, mask = kinds == 2, kinds == 1
    expected, open_ = np.zeros_like(mask), 0
    for patch, around in patches(undecided, mask):
        for pixel in patch:
            expected[pixel] = around == {"mask"}
        open_ += len(patch) * (around == {"mask", "other"})
    found, tally = settle(undecided, mask, "surrounded")
    np.testing.assert_array_equal(found, expected)
    surrounded = int(expected.sum())
    assert tally == Tally(surrounded, open_, int(undecided.sum()) - surrounded - open_)
    np.testing.assert_array_equal(settle(undecided, mask, "inside")[0], undecided)
    assert not settle(undecided, mask, "outside")[0].any()


def test_every_pair_of_difference_and_value_is_counted():
    rng = np.random.default_rng(2)
    image = rng.integers(-40, 40, (9, 8, 4)).astype(np.int16)
    shown = (image + np.where(rng.random(image.shape) < 0.8, 7, rng.integers(-3, 3, image.shape))).astype(np.int32)
    found = compare(Voxels.of(shown), Voxels.of(image))
    pairs = zip(found.difference.tolist(), found.value.tolist(), found.voxels.tolist(), strict=True)
    expected: dict[tuple[int, int], int] = {}
    for d, v in zip((shown - image).ravel().tolist(), shown.ravel().tolist(), strict=True):
        expected[d, v] = expected.get((d, v), 0) + 1
    assert {(d, v): n for d, v, n in pairs} == expected


def test_the_offset_is_the_one_that_leaves_a_constant_even_where_most_voxels_are_mask():
    image = np.arange(200).reshape(10, 10, 2)
    shown = image - 1024
    shown[:9] = 77  # 180 of 200 voxels
    image[:8] = 3  # most of them over one value, so that most voxels have the difference 74
    split = compare(Voxels.of(shown), Voxels.of(image)).split(-1024)
    found = compare(Voxels.of(shown), Voxels.of(image))
    assert found.offset() == -1024
    assert split.constants == (Constant(77, 180, 21),)
    assert (split.same, split.same_values, split.differing) == (20, 20, 180)


def test_images_that_differ_nearly_everywhere_are_refused_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr("pipeline.decode.embedded.image_difference._MOST_PAIRS", 1000)
    rng = np.random.default_rng(2)
    a, b = (Voxels.of(rng.integers(0, 60000, (30, 20, 5)).astype(np.uint16)) for _ in range(2))
    with pytest.raises(PipelineError) as caught:
        compare(a, b)
    assert caught.value.finding.code is Code.OTHER_IMAGE
