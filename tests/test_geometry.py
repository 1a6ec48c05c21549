"""Geometry: properties over random grids, numbers worked out by hand, the rules of straightening, and the errors."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import permutations, product
from math import cos, isclose, radians, sin, sqrt, tan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipeline import geometry
from pipeline.geometry.affine import axis_codes, corner_indices
from pipeline.geometry.grid import GeometryError, Grid, Plane
from pipeline.geometry.index_map import IndexMap, find_index_map, reorder
from pipeline.geometry.stack import Stack, fit_stack

Matrix = NDArray[np.float64]

positions = st.floats(-800, 800)


def fit(planes: list[Plane], **changes: Any) -> Stack:
    return fit_stack(planes, **{"limit_mm": 0.1, "keep_skew": 8e-5, "keep_mm": 1e-2, **changes})


# --- properties


def turned_grid(grid: Grid, axes: tuple[int, ...], signs: tuple[int, ...]) -> tuple[Matrix, tuple[int, ...]]:
    """The same block stored in another order: its affine and its shape, worked out column by column."""
    lps, shape = np.eye(4), tuple(grid.shape[a] for a in axes)
    lps[:3, 3] = grid.lps[:3, 3]
    for theirs, (ours, sign) in enumerate(zip(axes, signs, strict=True)):
        lps[:3, theirs] = sign * grid.lps[:3, ours]
        if sign < 0:
            lps[:3, 3] += grid.lps[:3, ours] * (grid.shape[ours] - 1)
    return lps, shape


GRID = Grid(
    (5, 4, 3),
    np.array(
        [[0.8, -0.2, 0.1, 12.5], [0.3, 1.4, -0.4, -40.25], [0.05, 0.3, 2.3, 77.0], [0, 0, 0, 1]],
    ),
)


def map_of(grid: Grid, lps: NDArray[np.float64], shape: tuple[int, ...]) -> IndexMap | None:
    """The map from a block to a grid, where they are the same voxels."""
    found = find_index_map(lps, shape, grid.lps, grid.shape)
    return found if found is not None and found.is_onto else None


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_index_map_finds_each_of_the_48_orders_and_reorder_undoes_it(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    lps, shape = turned_grid(GRID, axes, signs)
    found = map_of(GRID, lps, shape)
    assert found is not None
    mapping = found.matrix
    assert found.moved_mm < 1e-9
    assert (found.inverse @ mapping == np.eye(4)).all()
    ours = np.arange(60).reshape(GRID.shape)
    theirs = ours.transpose(axes)[tuple(slice(None, None, s) for s in signs)]
    assert (reorder(theirs, mapping) == ours).all()
    for index in np.ndindex(*shape):
        where = mapping @ (*index, 1)
        assert ours[tuple(where[:3])] == theirs[index]


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -1, 0), (0, 0, 2), (0.6, 0, 0)])
def test_a_block_shifted_by_more_than_half_a_voxel_is_another_block(shift: tuple[float, ...]) -> None:
    lps = GRID.lps.copy()
    lps[:3, 3] += GRID.lps[:3, :3] @ shift
    assert map_of(GRID, lps, GRID.shape) is None


def test_a_shift_below_half_a_voxel_is_measured() -> None:
    lps = GRID.lps.copy()
    lps[:3, 3] += GRID.lps[:3, :3] @ (0.4, 0, 0)
    found = map_of(GRID, lps, GRID.shape)
    assert found is not None
    assert isclose(found.moved_mm, 0.4 * GRID.spacing[0], abs_tol=1e-9)


@pytest.mark.parametrize("shape", [(5, 4, 2), (4, 5, 3), (6, 4, 3)])
def test_a_block_of_another_size_is_another_block(shape: tuple[int, int, int]) -> None:
    assert map_of(GRID, GRID.lps, shape) is None


def test_a_part_of_a_block_lies_inside_of_it() -> None:
    lps = GRID.lps.copy()
    lps[:3, 3] = GRID.points((1, 0, 2))
    part = find_index_map(lps, (4, 4, 1), GRID.lps, (*GRID.shape, 2))
    assert part is not None
    assert (part.is_inside, part.is_onto, part.keeps_axes) == (True, False, True)
    assert part.matrix[:3, 3].tolist() == [1, 0, 2]
    beyond = find_index_map(lps, (4, 4, 2), GRID.lps, GRID.shape)
    assert beyond is not None
    assert (beyond.is_inside, beyond.is_onto) == (False, False)


def test_other_spacing_or_turn_is_another_block() -> None:
    doubled = GRID.lps.copy()
    doubled[:3, 2] *= 2
    assert map_of(GRID, doubled, GRID.shape) is None
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 45, degrees=True).as_matrix() @ GRID.lps[:3, :3]
    turned[:3, 3] = GRID.lps[:3, 3]
    assert map_of(GRID, turned, GRID.shape) is None


def test_a_single_plane_may_be_stacked_either_way() -> None:
    """One plane: turning its normal over leaves every voxel where it is."""
    flat = Grid((5, 4, 1), GRID.lps)
    other = GRID.lps.copy()
    other[:3, 2] *= -1
    found = map_of(flat, other, flat.shape)
    assert found is not None
    assert found.moved_mm < 1e-9


# --- numbers by hand. Each: cosines, first positions of two planes, expected lps and axis codes of the RAS affine.
# 4 columns 2 mm apart, 3 rows 3 mm apart, 2 planes 5 mm apart; the first pixel of one plane is at (10, 20, 30).

HAND: dict[str, tuple[tuple[float, ...], tuple[float, ...], list[list[float]], str]] = {
    "head first supine": ((1, 0, 0, 0, 1, 0), (10, 20, 35), [[2, 0, 0, 10], [0, 3, 0, 20], [0, 0, 5, 30]], "LPS"),
    "head first prone": ((-1, 0, 0, 0, -1, 0), (10, 20, 35), [[-2, 0, 0, 10], [0, -3, 0, 20], [0, 0, 5, 30]], "RAS"),
    "head first right": ((0, 1, 0, -1, 0, 0), (10, 20, 35), [[0, -3, 0, 10], [2, 0, 0, 20], [0, 0, 5, 30]], "PRS"),
    "head first left": ((0, -1, 0, 1, 0, 0), (10, 20, 35), [[0, 3, 0, 10], [-2, 0, 0, 20], [0, 0, 5, 30]], "ALS"),
    # Feet first: row x column points to the feet, so the plane further down comes second.
    "feet first supine": ((-1, 0, 0, 0, 1, 0), (10, 20, 25), [[-2, 0, 0, 10], [0, 3, 0, 20], [0, 0, -5, 30]], "RPI"),
    "feet first prone": ((1, 0, 0, 0, -1, 0), (10, 20, 25), [[2, 0, 0, 10], [0, -3, 0, 20], [0, 0, -5, 30]], "LAI"),
    "feet first right": ((0, -1, 0, -1, 0, 0), (10, 20, 25), [[0, -3, 0, 10], [-2, 0, 0, 20], [0, 0, -5, 30]], "ARI"),
    "feet first left": ((0, 1, 0, 1, 0, 0), (10, 20, 25), [[0, 3, 0, 10], [2, 0, 0, 20], [0, 0, -5, 30]], "PLI"),
    # row (0 1 0) x column (0 0 -1) = (-1 0 0): to the right of the patient
    "sagittal": ((0, 1, 0, 0, 0, -1), (5, 20, 30), [[0, 0, -5, 10], [2, 0, 0, 20], [0, -3, 0, 30]], "PIR"),
    # row (1 0 0) x column (0 0 -1) = (0 1 0): to the back
    "coronal": ((1, 0, 0, 0, 0, -1), (10, 25, 30), [[2, 0, 0, 10], [0, 0, 5, 20], [0, -3, 0, 30]], "LIP"),
    # turned by the 3-4-5 angle about x: normal (0 -0.6 0.8)
    "oblique": ((1, 0, 0, 0, 0.8, 0.6), (10, 17, 34), [[2, 0, 0, 10], [0, 2.4, -3, 20], [0, 1.8, 4, 30]], "LPS"),
}  # fmt: skip


@pytest.mark.parametrize("name", HAND)
@pytest.mark.parametrize("second_first", [False, True])
def test_hand_computed_affines(name: str, second_first: bool) -> None:
    cosines, second, expected, codes = HAND[name]
    planes = [Plane(p, cosines[:3], cosines[3:], 3.0, 2.0, 3, 4) for p in ((10.0, 20.0, 30.0), second)]  # type: ignore[arg-type]
    fitted = fit(planes[::-1] if second_first else planes)
    assert np.abs(fitted.grid.lps[:3] - expected).max() < 1e-13
    assert fitted.order == ((1, 0) if second_first else (0, 1))
    assert fitted.residual_mm < 1e-12
    assert axis_codes(fitted.grid.ras) == codes
    assert fitted.grid.spacing == pytest.approx((2, 3, 5))
    assert fitted.grid.shape == (4, 3, 2)


def test_hand_computed_corners() -> None:
    plane = Plane((10, 20, 30), (1, 0, 0), (0, 0.8, 0.6), 3.0, 2.0, 3, 4)
    assert plane.corners() == pytest.approx(np.array([[10, 20, 30], [16, 20, 30], [10, 24.8, 33.6], [16, 24.8, 33.6]]))
    assert plane.normal == pytest.approx((0, -0.6, 0.8))
    assert Grid((2, 3, 4), np.diag([1.0, 1, 1, 1])).corners()[-1] == pytest.approx((1, 2, 3))
    assert corner_indices((2, 3, 4)).shape == (8, 3)


def test_corners_are_compared_by_one_function_of_the_package() -> None:
    """Another one would sooner or later have another idea of what a corner is."""
    sources = sorted(Path(geometry.__file__).parents[1].rglob("*.py"))
    assert len(sources) > 50
    home = [p.name for p in sources if re.search(r"^def \w*corner_distance\(", p.read_text("utf-8"), re.M)]
    assert home == ["affine.py", "tag_difference.py"], "the latter: to the nearest corner of a block in any order"


# --- straightening


def regular(
    cosines: Any, *, count: int = 20, step: float = 2.0, lean: float = 0.0, decimals: int | None = None
) -> list[Plane]:
    """A regular stack; lean: slope along the columns. decimals: what the cosines are printed with."""
    row, column = np.array(cosines[:3], float), np.array(cosines[3:], float)
    normal = np.cross(row, column)
    shown = np.round(cosines, decimals) if decimals is not None else np.asarray(cosines, float)
    positions = [np.array([-70.0, -90.0, 40.0]) + k * step * (normal + lean * column) for k in range(count)]
    return [Plane(tuple(p.tolist()), tuple(shown[:3]), tuple(shown[3:]), 0.7, 0.6, 200, 256) for p in positions]


OBLIQUE = tuple(Rotation.from_euler("xyz", [17, -8, 31], degrees=True).as_matrix().T[:2].ravel().tolist())


def is_orthonormal(grid: Grid) -> bool:
    directions = grid.lps[:3, :3] / grid.spacing
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() < 1e-9)


@pytest.mark.parametrize("decimals", [4, 6])
def test_axes_that_every_reader_holds_stay_as_printed(decimals: int) -> None:
    planes = regular(OBLIQUE, decimals=decimals)
    fitted = fit(planes)
    assert fitted.straightened_mm == 0
    assert 0 < fitted.kept_skew_mm < 0.01
    assert (fitted.grid.lps[:3, 0] == np.array(planes[0].row_cosine) * 0.6).all()
    assert fitted.residual_mm < 1e-9


@pytest.mark.parametrize("decimals", [2, 3])
def test_rounded_cosines_are_made_orthonormal_and_the_shift_is_told(decimals: int) -> None:
    fitted = fit(regular(OBLIQUE, decimals=decimals))
    assert is_orthonormal(fitted.grid)
    assert fitted.grid.shear_degrees < 1e-5
    true = np.stack([np.array(OBLIQUE[:3]) * 0.6, np.array(OBLIQUE[3:]) * 0.7], 1)
    # The half unit of the last decimal over the longest way in the plane, a little more for three rounded components.
    reach = sqrt((0.6 * 255) ** 2 + (0.7 * 199) ** 2) * 0.5 * 10.0**-decimals * sqrt(3)
    assert 0 < fitted.straightened_mm <= reach
    assert fitted.residual_mm <= fitted.straightened_mm + fitted.irregularity_mm + 1e-9
    assert np.abs(fitted.grid.lps[:3, :2] - true).max() < 2 * 10.0**-decimals


@pytest.mark.parametrize("degrees", [0.5, 2.5, 15.0])
@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), OBLIQUE], ids=["axial", "oblique"])
def test_a_real_lean_is_kept_as_shear(degrees: float, cosines: tuple[float, ...]) -> None:
    fitted = fit(regular(cosines, lean=tan(radians(degrees))))
    assert fitted.grid.shear_degrees == pytest.approx(degrees, abs=1e-6)
    assert fitted.lean == pytest.approx((0, tan(radians(degrees))), abs=1e-6)
    assert fitted.residual_mm < 1e-6
    # The planes themselves stay square.
    i, j = (fitted.grid.lps[:3, :2] / fitted.grid.spacing[:2]).T
    assert abs(i @ j) < 1e-9


def test_a_real_lean_survives_rounded_cosines() -> None:
    fitted = fit(regular(OBLIQUE, lean=tan(radians(0.5)), decimals=4))
    assert fitted.grid.shear_degrees == pytest.approx(0.5, abs=0.02)


def test_a_lean_too_small_to_move_a_voxel_is_rounding() -> None:
    """0.05 mm over the whole stack: straightened, and the shift is half of it at either end."""
    fitted = fit(regular((1, 0, 0, 0, 1, 0), lean=0.05 / 38))
    assert is_orthonormal(fitted.grid)
    assert 0.02 < fitted.straightened_mm < 0.1


def test_a_lean_that_moves_a_voxel_by_more_than_the_limit_is_kept() -> None:
    fitted = fit(regular((1, 0, 0, 0, 1, 0), count=400, lean=0.0015))
    assert fitted.grid.shear_degrees == pytest.approx(np.degrees(np.arctan(0.0015)), abs=1e-9)
    assert fitted.residual_mm < 1e-9


def test_exact_axes_are_not_touched() -> None:
    fitted = fit(regular((1, 0, 0, 0, 1, 0)))
    assert fitted.straightened_mm == 0
    assert fitted.grid.lps.tolist() == [[0.6, 0, 0, -70], [0, 0.7, 0, -90], [0, 0, 2, 40], [0, 0, 0, 1]]


def test_position_jitter_is_measured_and_does_not_lean_the_grid() -> None:
    planes = regular((1, 0, 0, 0, 1, 0))
    fitted = fit(
        [replace(p, position=(-70 + (0.04 if k % 2 else -0.04), -90, 40 + 2.0 * k)) for k, p in enumerate(planes)]
    )
    assert fitted.irregularity_mm == pytest.approx(0.04, abs=0.015)
    assert fitted.residual_mm < 0.06
    assert fitted.grid.shear_degrees < 0.05
    assert fitted.offsets[1] == pytest.approx((0.08, 0, 2))


def test_a_missing_plane_shows_where_it_should() -> None:
    planes = regular((1, 0, 0, 0, 1, 0), count=10, step=2.0)
    del planes[4]
    fitted = fit(planes)
    assert fitted.residual_mm > 0.4
    steps = np.diff(fitted.offsets[:, 2])
    assert steps.argmax() == 3
    assert steps.max() == pytest.approx(4)


def test_one_plane_takes_the_assumed_step_along_its_normal() -> None:
    fitted = fit(regular(OBLIQUE, count=1), assumed_step_mm=3.25)
    assert fitted.grid.spacing[2] == pytest.approx(3.25)
    assert fitted.grid.shear_degrees < 1e-6
    assert fitted.residual_mm < 1e-9


# --- errors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"position": (float("nan"), 0, 0)}, "not finite"),
        ({"row_cosine": (float("inf"), 0, 0)}, "not finite"),
        ({"position": (2e9, 0, 0)}, "beyond"),
        ({"row_spacing": 1e-30}, "not positive"),
        ({"row_spacing": 0.0}, "not positive"),
        ({"column_spacing": -1.0}, "not positive"),
        ({"rows": 0}, "no pixels"),
        ({"columns": -3}, "no pixels"),
    ],
)
def test_a_plane_that_is_none(change: dict[str, Any], said: str) -> None:
    good = {"position": (0.0, 0.0, 0.0), "row_cosine": (1.0, 0.0, 0.0), "column_cosine": (0.0, 1.0, 0.0)}
    good |= {"row_spacing": 1.0, "column_spacing": 1.0, "rows": 3, "columns": 4}
    Plane(**good)  # type: ignore[arg-type]
    with pytest.raises(GeometryError, match=said):
        Plane(**{**good, **change})


@pytest.mark.parametrize(
    ("shape", "lps", "said"),
    [
        ((2, 3), np.eye(4), "no voxels"),
        ((2, 3, 0), np.eye(4), "no voxels"),
        ((2, 3, 4), np.eye(3), "4 x 4"),
        ((2, 3, 4), np.full((4, 4), np.nan), "4 x 4"),
        ((2, 3, 4), np.eye(4)[[0, 1, 3, 2]], "4 x 4"),
        ((2, 3, 4), np.diag([1.0, 1, -1, 1]), "left-handed"),
        ((2, 3, 4), np.diag([1.0, 1, 0, 1]), "singular"),
    ],
)
def test_a_grid_that_is_none(shape: Any, lps: Matrix, said: str) -> None:
    with pytest.raises(GeometryError, match=said):
        Grid(shape, lps)


def test_a_grid_keeps_its_own_read_only_copy() -> None:
    lps = np.eye(4)
    grid = Grid((2, 3, 4), lps)
    lps[0, 3] = 99
    assert grid.lps[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.lps[0, 3] = 1


def test_planes_that_make_no_stack() -> None:
    plane = Plane((0, 0, 0), (1, 0, 0), (0, 1, 0), 1, 1, 3, 4)
    with pytest.raises(GeometryError, match="one position"):
        fit([plane, plane, plane])
    beside = Plane((5, 0, 0), (1, 0, 0), (0, 1, 0), 1, 1, 3, 4)
    with pytest.raises(GeometryError, match="one position"):
        fit([plane, beside])
    # Side by side in an oblique plane: the rounding of the positions is no step.
    row = np.array(OBLIQUE[:3])
    tiles = [
        Plane(tuple((1e3 * row * n + 0.1).tolist()), OBLIQUE[:3], OBLIQUE[3:], 1, 1, 3, 4)  # type: ignore[arg-type]
        for n in range(7)
    ]
    with pytest.raises(GeometryError, match="one position"):
        fit(tiles)
    flat = Plane((0, 0, 0), (1, 0, 0), (1, 0, 0), 1, 1, 3, 4)
    with pytest.raises(GeometryError, match="parallel"):
        fit([flat])


def test_cosine_error_is_how_far_a_cosine_must_move() -> None:
    def error(row: tuple[float, float, float], column: tuple[float, float, float]) -> float:
        return Plane((0, 0, 0), row, column, 1, 1, 3, 4).cosine_error

    assert error((1, 0, 0), (0, 1, 0)) == 0
    assert error((1.002, 0, 0), (0, 1, 0)) == pytest.approx(0.002)
    assert error((1, 0, 0), (sin(0.004), cos(0.004), 0)) == pytest.approx(0.002, rel=1e-4)
