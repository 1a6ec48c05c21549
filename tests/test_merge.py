"""Masks merged into one, overlaps by choice only; and grey values under a mask and its mirror images."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.findings import Code, PipelineError
from pipeline.geometry.grid import Grid
from pipeline.volume.mask import MaskVolume, Segment, Voxels
from pipeline.volume.merge import Origin, merge
from pipeline.volume.mirror_check import compare_mirror_images
from tests.helpers.phantom import Spec

SHAPE = (23, 19, 7)


def mask(block, name, *names, step=2.0):
    """A mask on a common grid, its labels 1, 2, ... named."""
    lps = np.diag([1.1, 1.3, step, 1.0])
    segments = tuple(Segment(n, title) for n, title in enumerate(names or (name,), 1))
    return MaskVolume(Voxels.of(np.asarray(block, np.uint8)), Grid(block.shape, lps), segments, name)


def box(i, j, k, value=1):
    block = np.zeros(SHAPE, np.uint8)
    block[slice(*i), slice(*j), slice(*k)] = value
    return block


LIVER, TUMOUR = box((2, 12), (3, 11), (1, 5)), box((9, 15), (8, 14), (2, 6))
TWO = box((16, 20), (1, 5), (0, 3)) + box((0, 2), (15, 19), (5, 7), 2)
SHARED = int(np.count_nonzero(LIVER & TUMOUR))


def test_masks_apart_become_labels_in_their_order():
    merged = merge([mask(LIVER, "liver"), mask(TWO, "vessels", "artery", "vein")], name="all")
    expected = LIVER + np.array([0, 2, 3], np.uint8)[TWO]
    np.testing.assert_array_equal(merged.mask.voxels.array(), expected)
    assert [(s.number, s.name) for s in merged.mask.segments] == [(1, "liver"), (2, "artery"), (3, "vein")]
    assert merged.overlaps == merged.findings == ()
    assert merged.mask.name == "all"


def test_an_overlap_is_refused_by_name_and_size():
    with pytest.raises(PipelineError) as caught:
        merge([mask(LIVER, "liver"), mask(TWO, "vessels", "artery", "vein"), mask(TUMOUR, "tumour")])
    finding = caught.value.finding
    assert (finding.code, finding.measured, finding.where) == (Code.SEGMENTS_OVERLAP, SHARED, ("liver", "tumour"))
    assert SHARED > 0


@pytest.mark.parametrize("order", [("liver", "tumour"), ("tumour", "liver"), ("tumour",)])
@pytest.mark.parametrize("turned", [False, True])
def test_the_label_named_first_lies_on_top(order, turned):
    masks = [mask(LIVER, "liver"), mask(TUMOUR, "tumour")]
    merged = merge(masks[::-1] if turned else masks, order=order)
    number = {s.name: s.number for s in merged.mask.segments}
    labels = merged.mask.voxels.array()
    assert (labels[(LIVER & TUMOUR) > 0] == number[order[0]]).all()
    assert (labels[(LIVER > TUMOUR)] == number["liver"]).all()
    assert (labels[(LIVER < TUMOUR)] == number["tumour"]).all()
    assert [o.voxels for o in merged.overlaps] == [SHARED]
    assert merged.findings[0].code is Code.MASKS_MERGED
    assert f"{SHARED:,} voxels; they are “{order[0]}”" in merged.findings[0].message


@pytest.mark.parametrize("order", [("kidney",), ("liver", "liver"), ("twin",)])
def test_an_order_names_labels_once_each(order):
    masks = [mask(LIVER, "liver"), mask(TUMOUR, "tumour"), mask(TWO, "x", "twin", "twin")]
    with pytest.raises(PipelineError) as caught:
        merge(masks, order=order)
    assert caught.value.finding.code is Code.BAD_LABELS


def test_an_order_that_names_neither_of_two_does_not_help():
    with pytest.raises(PipelineError) as caught:
        merge([mask(LIVER, "liver"), mask(TUMOUR, "tumour"), mask(TWO, "x", "a", "b")], order=["a"])
    assert caught.value.finding.code is Code.SEGMENTS_OVERLAP


@pytest.mark.parametrize(
    ("origins", "names"),
    [
        ([Origin(folder="a"), Origin(folder="b")], ["mask (a)", "mask (b)"]),
        ([Origin(folder="a", number=1), Origin(folder="a", number=2)], ["mask (series 1)", "mask (series 2)"]),
        ([Origin(number=7), Origin(folder="a", number=8)], ["mask (series 7)", "mask (series 8)"]),
        ([Origin(folder="a"), Origin(folder="a")], None),
        ([Origin(folder="a", number=1), Origin(folder="a", number=1)], None),
        ([], None),
    ],
)
def test_two_labels_never_have_one_name(origins, names):
    masks = [mask(LIVER, "mask"), mask(TWO, "", "mask", "vein")]
    if names is None:
        with pytest.raises(PipelineError) as caught:
            merge(masks, origins=origins)
        assert (caught.value.finding.code, caught.value.finding.where) == (Code.BAD_LABELS, ("mask",))
    else:
        assert [s.name for s in merge(masks, origins=origins).mask.segments] == [*names, "vein"]


def test_folder_and_number_together_tell_labels_apart_where_neither_does():
    origins = [Origin(folder=f, number=n) for f, n in (("a", 1), ("a", 2), ("b", 1))]
    masks = [
        mask(LIVER, "mask"),
        mask(box((16, 18), (1, 5), (0, 3)), "mask"),
        mask(box((20, 22), (1, 5), (0, 3)), "mask"),
    ]
    names = [s.name for s in merge(masks, origins=origins).mask.segments]
    assert names == ["mask (a, series 1)", "mask (a, series 2)", "mask (b, series 1)"]


ORIGINS = (Origin("1.2", 3, "", "left", "a"), Origin("1.3", 4, "", "right", ""))


@pytest.mark.parametrize("first", ["1.3", "4", "right", "tumour"])
def test_an_order_takes_what_a_series_is_called_by(first):
    masks = [mask(LIVER, "liver"), mask(TUMOUR, "tumour")]
    labels = merge(masks, origins=ORIGINS, order=[first]).mask.voxels.array()
    assert (labels[(LIVER & TUMOUR) > 0] == 2).all()
    labels = merge(masks, origins=ORIGINS, order=["a", first]).mask.voxels.array()
    assert (labels[(LIVER & TUMOUR) > 0] == 1).all()


@pytest.mark.parametrize("order", [("right",), ("left", "3"), ("liver", "1.2"), ("",)])
def test_an_order_that_could_mean_several_or_means_one_twice_is_refused(order):
    with pytest.raises(PipelineError) as caught:
        merge([mask(LIVER, "right"), mask(TUMOUR, "liver")], origins=(ORIGINS[0], ORIGINS[1]), order=(*order, "right"))
    assert caught.value.finding.code is Code.BAD_LABELS
    assert "liver  (right, series 4)" in caught.value.finding.hint


def test_labels_of_one_series_are_not_ordered_among_themselves():
    """An order that names a structure set puts it above all others; which of its ROIs is on top it does not say."""
    masks = [mask(LIVER, "liver"), mask(TUMOUR, "tumour")]
    with pytest.raises(PipelineError) as caught:
        merge(masks, origins=[ORIGINS[0]] * 2, order=["left"])
    assert caught.value.finding.code is Code.SEGMENTS_OVERLAP
    assert merge(masks, origins=[ORIGINS[0]] * 2, order=["tumour"]).overlaps


def test_masks_of_other_grids_are_refused():
    for other in (mask(TUMOUR, "tumour", step=2.001), mask(TUMOUR[:-1], "tumour")):
        with pytest.raises(PipelineError) as caught:
            merge([mask(LIVER, "liver"), other])
        assert caught.value.finding.code is Code.GRID_DIFFERS


def test_grey_values_are_those_under_the_mask_and_its_mirror_images():
    spec = Spec(shape=(30, 26, 11), row_spacing=1.4, column_spacing=1.25)
    block = spec.array() > 0
    image = np.random.default_rng(4).normal(1000, 300, block.shape).astype(np.float32)
    found = compare_mirror_images(Voxels.of(block.astype(np.uint8)), Voxels.of(image))
    assert found is not None
    assert len({m.flips for m in found.mirrored}) == 7
    for under in (found.own, *found.mirrored):
        flipped = np.flip(block, [axis for axis, flip in enumerate(under.flips) if flip])
        values = image[flipped].astype(float)
        assert under.voxels == values.size
        np.testing.assert_allclose((under.mean, under.deviation), (values.mean(), values.std()), rtol=1e-9)
        assert (under.lowest, under.highest) == (values.min(), values.max())
        assert under.dice == pytest.approx(2 * (flipped & block).sum() / (flipped.sum() + block.sum()))


@pytest.mark.parametrize("flip", range(3))
def test_a_flipped_mask_of_a_uniform_structure_gets_a_hint_that_is_no_verdict(flip):
    block = Spec(shape=(30, 26, 11)).array() > 0
    image = np.random.default_rng(4).normal(0, 300, block.shape)
    image[block] = np.random.default_rng(5).normal(500, 10, np.count_nonzero(block))
    right = compare_mirror_images(Voxels.of(block), Voxels.of(image))
    wrong = compare_mirror_images(Voxels.of(np.flip(block, flip)), Voxels.of(image))
    assert right is not None
    assert wrong is not None
    assert right.hint == ""
    assert ("columns", "rows", "planes")[flip] in wrong.hint
    assert "not a finding" in wrong.hint


def test_masks_that_cannot_tell_say_so():
    middle = box((8, 15), (6, 13), (2, 5))
    image = Voxels.of(np.random.default_rng(1).normal(size=SHAPE))
    symmetrical = compare_mirror_images(Voxels.of(middle), image)
    assert symmetrical is not None
    assert "own mirror image" in symmetrical.hint
    assert compare_mirror_images(Voxels.of(np.zeros(SHAPE, np.uint8)), image) is None
    with pytest.raises(ValueError, match="not on one grid"):
        compare_mirror_images(Voxels.of(middle[:-1]), image)
