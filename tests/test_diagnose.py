"""What was done to a file: the forum's files, mistakes made by hand, random sets of them, and what cannot be known."""

from __future__ import annotations

from pathlib import Path

import dicom2nifti
import nibabel
import numpy as np
import pytest

from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.crosscheck.dicom2nifti import stored_order
from pipeline.diagnosis.diagnose import Diagnosis, diagnose, fix
from pipeline.diagnosis.recipe import Context
from pipeline.geometry.axis_order import ORDERS, Order
from pipeline.geometry.grid import Grid
from pipeline.geometry.rigid_motion import measure_motion
from tests.helpers import phantom
from tests.helpers.forum import CORONAL, FLIPPED_ROWS, mimics_order, series, users_affine
from tests.helpers.spoil import random_grid, spoil

SHAPE = (7, 6, 5)
SPACING = (0.7, 0.8, 2.0)


def oblique() -> Grid:
    """A double oblique grid whose every number differs."""
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    lps = np.eye(4)
    lps[:3, :3] = turn * np.sign(np.linalg.det(turn)) * SPACING
    lps[:3, 3] = (-61.5, 42.25, 118.125)
    return Grid(SHAPE, lps)


def unique(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def judged(affine: np.ndarray, array: np.ndarray, grid: Grid, **more: object) -> Diagnosis:
    truth = unique(grid.shape)
    return diagnose(affine.astype(np.float32), array.shape, grid, array=array, truth=truth, **more)  # type: ignore[arg-type]


def names(diagnosis: Diagnosis) -> list[str]:
    return [m.name for m in diagnosis.mistakes]


# The forum's two files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cosines", [FLIPPED_ROWS, CORONAL])
def test_dicom2niftis_affine_on_the_mimics_buffer(cosines: tuple) -> None:
    grid, _ = series(cosines, SHAPE, SPACING)
    buffer = mimics_order(grid).of(unique(SHAPE))
    affine = grid.ras @ stored_order(grid.ras).matrix(SHAPE)
    found = judged(affine, buffer, grid)
    assert [m.words for m in found.mistakes] == [
        "the affine belongs to the array dicom2nifti stores (LAS), and this array is stored LPS: j reversed"
    ]
    rows_mm = (buffer.shape[1] - 1) * np.linalg.norm(affine[:3, 1])
    assert found.total_mm == pytest.approx(rows_mm, abs=1e-4)
    assert found.mistakes[0].mm == pytest.approx(rows_mm, abs=1e-4)
    check_fixed(found, buffer, grid)


def test_the_matrix_the_thread_got_from_dicom2nifti_on_the_mimics_buffer() -> None:
    grid, _ = series(CORONAL)
    assert grid.ras[:3, :3].tolist() == [[-1, 0, 0], [0, 0, -1], [0, -1, 0]]
    buffer = mimics_order(grid).of(unique(grid.shape))
    found = judged(grid.ras, buffer, grid)
    assert [m.words for m in found.mistakes] == [
        "the affine belongs to the array as DICOM stores it (LIP), and this array is stored LPS: "
        "axes in the order i, k, j with j reversed"
    ]
    check_fixed(found, buffer, grid)


@pytest.mark.parametrize("cosines", [FLIPPED_ROWS, CORONAL])
def test_the_users_own_matrix_on_the_mimics_buffer(cosines: tuple) -> None:
    grid, _ = series(cosines)
    buffer = mimics_order(grid).of(unique(grid.shape))
    found = judged(users_affine(np.zeros(3)), buffer, grid)
    assert [m.words for m in found.mistakes] == [
        "the origin was left out: it is 0, 0, 0, and belongs at Image Position (Patient) of the first plane",
        "the affine has its columns in the order k, i, j of the array's axes (array LPS, affine SLA)",
        "array and affine run opposite ways along k",
    ]
    check_fixed(found, buffer, grid)


def check_fixed(found: Diagnosis, array: np.ndarray, grid: Grid) -> None:
    right, where = fix(found, array, grid)
    assert np.array_equal(right, unique(grid.shape))
    assert where.shape == grid.shape
    assert np.array_equal(where.lps, grid.lps)


# Every mistake made by hand, as a script would make it ----------------------------------------------------------------


TURN = np.diag([-1.0, -1.0, 1.0])
LENGTHS = np.array(SPACING)


def with_axes(grid: Grid, axes: np.ndarray) -> np.ndarray:
    """The right affine but for its 3 x 3."""
    affine = grid.ras.copy()
    affine[:3, :3] = axes
    return affine


def with_origin(grid: Grid, index: tuple[float, float, float]) -> np.ndarray:
    """The right affine but for its origin: the place of this index."""
    affine = grid.ras.copy()
    affine[:3, 3] = (grid.ras @ (*index, 1))[:3]
    return affine


def unit(grid: Grid) -> np.ndarray:
    return grid.lps[:3, :3] / LENGTHS


# The affine of a script with one mistake, written without the catalogue; and the words that must be in the diagnosis.
BY_HAND = {
    "world kept": (lambda g: g.lps, "LPS was kept as RAS"),
    "world after": (lambda g: g.lps @ np.diag([-1, -1, 1, 1]), "multiplied in the wrong order: LPS to RAS"),
    "world x": (lambda g: np.diag([-1, 1, 1, 1]) @ g.lps, "only x was negated"),
    "world zyx": (lambda g: g.ras[[2, 1, 0, 3]], "rows of the affine are in the order z, y, x"),
    "spacing 102": (
        lambda g: with_axes(g, TURN @ (unit(g) * LENGTHS[[1, 0, 2]])),
        "row spacing and column spacing were swapped",
    ),
    "spacing unit": (lambda g: with_axes(g, TURN @ unit(g)), "every step is 1 mm"),
    "step thickness": (lambda g: with_axes(g, TURN @ (unit(g) * (0.7, 0.8, 5.0))), "taken from Slice Thickness"),
    "cosines transposed": (lambda g: with_axes(g, TURN @ (unit(g).T * LENGTHS)), "rows of the matrix"),
    "product rows": (lambda g: with_axes(g, TURN @ np.diag(LENGTHS) @ unit(g)), "stretched the patient's axes"),
    "origin zero": (lambda g: g.ras * [1, 1, 1, 0] + np.diag([0, 0, 0, 1]), "the origin was left out"),
    "last plane": (lambda g: with_origin(g, (0, 0, 4)), "of the last plane, k = 4"),
    "k negated": (lambda g: g.ras * [1, 1, -1, 1], "the sign of column k"),
    "i negated": (lambda g: g.ras * [-1, 1, 1, 1], "the sign of column i"),
    "half voxel": (lambda g: with_origin(g, (-0.5, -0.5, -0.5)), "half a voxel off along i and j and k"),
    "half plane": (lambda g: with_origin(g, (0, 0, -0.5)), "half a plane distance before"),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_one_mistake_by_hand_is_named(kind: str) -> None:
    grid = oblique()
    make, words = BY_HAND[kind]
    wrong = make(grid)
    found = judged(wrong, unique(SHAPE), grid, context=Context(slice_thickness_mm=5.0))
    assert found.status == "mistakes"
    assert len(found.mistakes) == 1
    assert words in found.mistakes[0].words
    corners = np.array([(i, j, k, 1) for i in (0, 6) for j in (0, 5) for k in (0, 4)])
    worst = np.linalg.norm((corners @ (wrong - grid.ras).T)[:, :3], axis=1).max()
    assert found.total_mm == pytest.approx(worst, abs=1e-3)
    assert found.mistakes[0].mm == pytest.approx(worst, abs=1e-3)
    check_fixed(found, unique(SHAPE), grid)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a[:, :, ::-1], "and the affine at the first"),
        (lambda a: a.transpose(1, 0, 2), "the affine is for i, j, k"),
        (lambda a: a.transpose(2, 1, 0), "the affine is for i, j, k"),
        (lambda a: a[::-1, ::-1], "i and j reversed"),
    ],
)
def test_an_array_that_was_rearranged_under_its_affine(change, words: str) -> None:  # type: ignore[no-untyped-def]
    grid = oblique()
    found = judged(grid.ras, change(unique(SHAPE)), grid)
    assert names(found) in (["array order"], ["planes reversed"])
    assert found.mistakes[0].words.endswith(words)
    check_fixed(found, change(unique(SHAPE)), grid)


def test_leaning_planes_stacked_straight() -> None:
    lps = np.diag([0.7, 0.8, 2.0, 1.0])
    lps[1, 2] = 0.5
    grid = Grid(SHAPE, lps)
    straight = np.diag([-0.7, -0.8, 2.0, 1.0])
    assert names(judged(straight, unique(SHAPE), grid)) == ["step straightened"]
    long = np.diag([-0.7, -0.8, np.hypot(2.0, 0.5), 1.0])
    assert names(judged(long, unique(SHAPE), grid)) == ["step straightened long"]


def test_every_order_with_its_own_affine_is_correct() -> None:
    grid = oblique()
    for order in ORDERS:
        found = judged(grid.ras @ order.matrix(SHAPE), order.of(unique(SHAPE)), grid)
        assert found.status == "correct"
        assert found.total_mm == pytest.approx(0, abs=1e-3)
        assert found.lines() == ["Nothing is wrong: every voxel lies within 0.0000 mm of its place."]


# Missing planes -------------------------------------------------------------------------------------------------------


def test_planes_cut_off_and_the_affine_of_the_whole() -> None:
    grid = oblique()
    part = unique(SHAPE)[:, :, 2:]
    found = judged(grid.ras, part, grid)
    assert names(found) == ["planes missing"]
    assert "3 of 5 planes (missing: k = 0 to 1), and the affine is that of the whole series" in found.mistakes[0].words
    assert found.total_mm == pytest.approx(2 * SPACING[2], abs=1e-3)
    right, where = fix(found, part, grid)
    assert np.array_equal(right, part)
    assert np.allclose(where.points((0, 0, 0)), grid.points((0, 0, 2)))


def test_planes_cut_off_and_allowed_for_cost_nothing_but_are_not_called_correct() -> None:
    grid = oblique()
    affine = grid.ras.copy()
    affine[:3, 3] = (grid.ras @ (0, 0, 2, 1))[:3]
    found = judged(affine, unique(SHAPE)[:, :, 2:], grid)
    assert found.status == "mistakes"
    assert found.total_mm == pytest.approx(0, abs=1e-3)


def test_a_plane_missing_inside_cannot_be_mended() -> None:
    grid = oblique()
    part = unique(SHAPE)[:, :, [0, 1, 3, 4]]
    found = judged(grid.ras, part, grid)
    assert "4 of 5 planes (missing: k = 2), and" in found.mistakes[0].words
    assert found.total_mm == pytest.approx(SPACING[2], abs=1e-3)
    with pytest.raises(PipelineError) as caught:
        fix(found, part, grid)
    assert caught.value.finding.code is Code.CANNOT_FIX
    assert "k = 2" in caught.value.finding.message
    assert caught.value.exit is Exit.REFUSED


def test_every_other_plane() -> None:
    grid = oblique()
    part = unique(SHAPE)[:, :, ::2]
    found = judged(grid.ras, part, grid)
    assert names(found) == ["planes missing"]
    right, where = fix(found, part, grid)
    assert np.array_equal(right, part)
    assert where.spacing[2] == pytest.approx(2 * SPACING[2])


# What is not a known mistake, and what cannot be known ----------------------------------------------------------------


def test_a_shift_without_cause_is_left_over() -> None:
    grid = oblique()
    wrong = grid.lps.copy()
    wrong[:3, 3] += (3.21, -7.4, 11.9)
    found = judged(wrong, unique(SHAPE), grid)
    assert found.status == "moved"
    assert names(found) == ["world kept"]
    assert found.residual is not None
    assert found.residual.rotation_degrees == pytest.approx(0, abs=1e-3)
    assert np.allclose(found.residual.shift_mm, (3.21, -7.4, 11.9), atol=1e-3)
    check_fixed(found, unique(SHAPE), grid)


def test_a_registration_is_measured() -> None:
    grid = oblique()
    angle = np.radians(12.5)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    found = judged(turn @ grid.ras, unique(SHAPE), grid)
    assert found.status == "moved"
    assert found.residual is not None
    assert found.residual.rotation_degrees == pytest.approx(12.5, abs=1e-3)
    assert np.allclose(found.residual.axis, (0, 0, 1), atol=1e-4)
    assert found.residual.rigid


def test_an_affine_that_nothing_explains() -> None:
    grid = oblique()
    wrong = grid.ras @ np.diag([1.1, 0.93, 1.27, 1])
    found = judged(wrong, unique(SHAPE), grid)
    assert found.status == "unexplained"
    assert found.residual is not None
    assert not found.residual.rigid
    assert sorted(found.residual.stretch) == pytest.approx([0.93, 1.1, 1.27], abs=1e-4)
    check_fixed(found, unique(SHAPE), grid)


def test_a_thousandth_of_a_millimetre_decides() -> None:
    grid = oblique()
    for shift, status in ((0.0005, "correct"), (0.0015, "moved")):
        wrong = grid.ras.copy()
        wrong[0, 3] += shift
        assert diagnose(wrong, SHAPE, grid, array=unique(SHAPE), truth=unique(SHAPE)).status == status


def test_a_series_that_jitters_is_judged_no_finer_than_it_lies() -> None:
    grid = oblique()
    wrong = grid.ras.copy()
    wrong[0, 3] += 0.015
    for irregularity, status in ((0.0, "moved"), (0.02, "correct")):
        context = Context(irregularity_mm=irregularity)
        found = diagnose(wrong, SHAPE, grid, array=unique(SHAPE), truth=unique(SHAPE), context=context)
        assert found.status == status
    assert found.lines() == ["Nothing is wrong: every voxel lies within 0.0150 mm of its place."]


def test_an_error_about_the_middle_is_judged_at_the_corners() -> None:
    grid = oblique()
    middle = np.eye(4)
    middle[:3, 3] = (grid.ras @ (3, 2.5, 2, 1))[:3]
    wrong = middle @ np.diag([1.0002, 1.0002, 1.0002, 1]) @ np.linalg.inv(middle) @ grid.ras
    found = judged_exactly(wrong, grid)
    assert 0.0005 < (found.total_mm or 0) < 0.001
    assert found.status == "correct"


def judged_exactly(wrong: np.ndarray, grid: Grid) -> Diagnosis:
    return diagnose(wrong, SHAPE, grid, array=unique(SHAPE), truth=unique(SHAPE))


def test_a_motion_is_measured_about_the_middle() -> None:
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    half = measure_motion(turned, np.eye(4), (3, 3, 3))
    assert half.rotation_degrees == pytest.approx(180)
    assert np.abs(half.axis) == pytest.approx((0, 0, 1))
    assert half.shift_mm == pytest.approx((-2, -2, 0))
    assert half.rigid
    mirror = measure_motion(np.diag([-1.0, 1.0, 1.0, 1.0]), np.eye(4), (3, 3, 3))
    assert mirror.mirrored
    assert not mirror.rigid
    assert "mirrored" in mirror.words
    assert mirror.rotation_degrees == pytest.approx(0)
    front_to_back = measure_motion(np.diag([1.0, -1.0, 1.0, 1.0]), np.eye(4), (3, 3, 3))
    assert front_to_back.rotation_degrees == pytest.approx(180)  # left to right, and then half a turn about z
    assert np.abs(front_to_back.axis) == pytest.approx((0, 0, 1))


def test_other_voxels_are_never_correct() -> None:
    grid = oblique()
    other = unique(SHAPE)
    other[3, 3, 3] += 1000
    found = judged(grid.ras, other, grid)
    assert found.status == "unexplained"
    assert "1 of 210 voxels differ" in found.notes[0]
    with pytest.raises(PipelineError, match="CANNOT_FIX"):
        fix(found, other, grid)


def test_another_shape() -> None:
    found = judged(oblique().ras, unique((7, 6, 9)), oblique())
    assert found.status == "unexplained"
    assert "7 × 6 × 9" in found.notes[0]


def test_without_voxels_nothing_is_called_correct() -> None:
    grid = oblique()
    found = diagnose(grid.ras, SHAPE, grid)
    assert found.status == "undecided"
    assert found.total_mm is None
    assert "cannot be known" in found.unknown[0]
    las = stored_order(grid.ras)
    reordered = diagnose(grid.ras @ las.matrix(SHAPE), las.shape(SHAPE), grid)
    assert reordered.status == "undecided"
    assert "stored LAS" in reordered.notes[0]
    assert names(diagnose(grid.lps, SHAPE, grid)) == ["world kept"]
    with pytest.raises(PipelineError, match="CANNOT_FIX"):
        fix(found, unique(SHAPE), grid)


def test_a_symmetrical_mask_says_so_and_takes_the_fewest_mistakes() -> None:
    grid = oblique()
    truth = np.zeros(SHAPE, np.uint8)
    truth[2:5, 1:3, 1:4] = 1  # the same backwards along i and along k, not along j
    found = diagnose(grid.lps, SHAPE, grid, array=truth, truth=truth)
    assert names(found) == ["world kept"]
    assert "fits in 4 orders" in found.unknown[0]
    # Reversed along i it is the same file, so nothing is wrong with it: every voxel has the value it should.
    assert diagnose(grid.ras, SHAPE, grid, array=truth[::-1], truth=truth).status == "correct"
    assert diagnose(grid.ras, SHAPE, grid, array=truth[:, ::-1], truth=truth).status == "mistakes"


def test_an_empty_mask_tells_nothing_of_its_order() -> None:
    empty = np.zeros(SHAPE, np.uint8)
    found = diagnose(oblique().lps, SHAPE, oblique(), array=empty, truth=empty)
    assert "All voxels are equal" in found.unknown[0]


def test_255_for_1_is_reported_and_the_place_still_judged() -> None:
    grid = oblique()
    truth = np.zeros(SHAPE, np.uint8)
    truth[1:3, 2:6, 0:2] = 1
    truth[3, 3, 3] = 1
    found = diagnose(grid.lps, SHAPE, grid, array=truth.astype(float) * 255, truth=truth)
    assert names(found) == ["world kept", "values"]
    assert "255 where the series has 1" in found.mistakes[1].words


def test_a_broken_affine_and_a_series_of_volumes_are_refused() -> None:
    for wrong, shape, code in (
        (np.full((4, 4), np.nan), SHAPE, Code.CORRUPT_FILE),
        (oblique().ras, (*SHAPE, 2), Code.SEVERAL_VOLUMES),
    ):
        with pytest.raises(PipelineError) as caught:
            diagnose(wrong, shape, oblique())
        assert caught.value.finding.code is code
    flat = diagnose(np.diag([1.0, 1, 0, 1]), SHAPE, oblique(), array=unique(SHAPE), truth=unique(SHAPE))
    assert flat.status == "unexplained"


def test_as_json_is_complete() -> None:
    record = judged(oblique().lps, unique(SHAPE), oblique()).as_json()
    assert record["Status"] == "mistakes"
    assert record["Mistakes"][0]["Name"] == "world kept"
    assert record["Planes"] == [0, 1, 2, 3, 4]


# Files other software wrote -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HFS", "rows upward", "coronal", "sagittal", "double oblique"])
def test_what_dicom2nifti_writes_is_correct_until_its_affine_is_borrowed(name: str, tmp_path: Path) -> None:
    spec = phantom.Spec(shape=(12, 10, 6), iop=phantom.ORIENTATIONS[name], content="index")
    truth = phantom.write(tmp_path / "in", spec)
    grid = Grid(spec.shape, truth.lps)
    dicom2nifti.dicom_series_to_nifti(str(tmp_path / "in"), str(tmp_path / "las.nii"), reorient_nifti=True)
    theirs = nibabel.load(tmp_path / "las.nii")
    array = np.asarray(theirs.dataobj)
    found = diagnose(theirs.affine, array.shape, grid, array=array, truth=truth.ijk)
    assert found.status == "correct"
    buffer = mimics_order(grid).of(truth.ijk)
    borrowed = diagnose(theirs.affine, buffer.shape, grid, array=buffer, truth=truth.ijk)
    assert names(borrowed) == ["array order"]
    assert "dicom2nifti stores (LAS), and this array is stored LPS: j reversed" in borrowed.mistakes[0].words
    right, _ = fix(borrowed, buffer, grid)
    assert np.array_equal(right, truth.ijk)


# Random sets ----------------------------------------------------------------------------------------------------------


def test_random_sets_of_up_to_three_mistakes() -> None:
    rng = np.random.default_rng(20)
    for _ in range(40):
        grid = random_grid(rng)
        spoilt = spoil(rng, grid)
        found = diagnose(
            spoilt.affine, spoilt.array.shape, grid, array=spoilt.array, truth=spoilt.truth, context=spoilt.context
        )
        assert (found.status == "correct") == spoilt.is_correct, spoilt.drawn
        assert found.status in ("correct", "mistakes"), spoilt.drawn
        assert len(found.mistakes) <= len(spoilt.drawn), (spoilt.drawn, names(found))
        assert found.fit is not None
        if found.fit.stride is not None:
            right, where = fix(found, spoilt.array, grid)
            assert np.array_equal(right, spoilt.truth[:, :, list(found.fit.planes)])
            first = grid.points((0, 0, found.fit.planes[0]))
            assert np.allclose(where.points((0, 0, 0)), first)


def test_small_masks_are_never_called_correct_by_mistake() -> None:
    """Masks of a few voxels, often symmetrical: correct is what puts every value where the truth has it."""
    rng = np.random.default_rng(21)
    seen = set()
    for _ in range(60):
        grid = random_grid(rng, (5, 5, 4))
        truth = np.zeros(grid.shape, np.uint8)
        low = rng.integers(0, 3, 3)
        high = low + rng.integers(1, 3, 3)
        truth[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = 1
        order = ORDERS[rng.integers(48)]
        array = order.of(truth)
        meant = order if rng.random() < 0.5 else ORDERS[rng.integers(48)]
        affine = grid.ras @ meant.matrix(grid.shape)
        found = diagnose(affine, array.shape, grid, array=array, truth=truth)
        assert (found.status == "correct") == puts_values_right(affine, array, grid, truth)
        seen.add(found.status)
    assert seen >= {"correct", "mistakes"}


def puts_values_right(affine: np.ndarray, array: np.ndarray, grid: Grid, truth: np.ndarray) -> bool:
    """By walking through every voxel of the file and looking its place up in the truth."""
    back = np.linalg.inv(grid.ras) @ affine
    for place, value in np.ndenumerate(array):
        there = (back @ (*place, 1))[:3]
        index = tuple(np.rint(there).astype(int))
        inside = all(0 <= n < size for n, size in zip(index, truth.shape, strict=True))
        if not inside or np.abs(there - index).max() > 1e-6 or truth[index] != value:
            return False
    return True


def test_a_large_block_with_three_mistakes() -> None:
    shape = (128, 128, 128)
    i, j, k = np.indices(shape, dtype=np.int16)
    truth = ((i - 60) ** 2 // 9 + (j - 50) ** 2 // 4 + (k - 70) ** 2 // 16 < 100).astype(np.uint8)
    truth[(i > 60) & (j > 60) & (truth > 0)] = 2
    truth[70, 50, 70:90] = 3
    lps = np.diag([0.7, 0.7, 1.5, 1.0])
    lps[:3, 3] = (-100, -90, 20)
    grid = Grid(shape, lps)
    array = Order((2, 0, 1), (True, False, True)).of(truth)
    found = diagnose(lps, shape, grid, array=array[:-3], truth=truth)
    assert names(found) == ["planes missing", "world kept", "array order"]
