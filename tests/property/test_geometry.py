"""Properties that hold for every input: see tests/test_geometry.py for single cases."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from math import cos, isclose, radians, sin
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.geometry.affine import axis_codes, corner_distance, orthonormal
from pipeline.geometry.grid import Grid, Plane
from pipeline.geometry.stack import residuals_mm
from tests.test_geometry import Matrix, fit, map_of, positions, turned_grid

angles = st.floats(-180, 180, allow_nan=False)


spacings = st.floats(0.05, 12)


@st.composite
def grids(draw: st.DrawFn, lean: float = 0.0, planes: tuple[int, int] = (1, 9)) -> Grid:
    """Any rotation, three spacings, sizes that differ, and a lean of the stack up to the slope given."""
    turn = Rotation.from_euler("xyz", [draw(angles) for _ in range(3)], degrees=True).as_matrix()
    x, y, z = (draw(spacings) for _ in range(3))
    shear = np.array([[1, 0, draw(st.floats(-lean, lean))], [0, 1, draw(st.floats(-lean, lean))], [0, 0, 1]])
    lps = np.eye(4)
    lps[:3, :3] = turn @ shear @ np.diag([x, y, z])
    lps[:3, 3] = [draw(positions) for _ in range(3)]
    return Grid((draw(st.integers(2, 40)), draw(st.integers(2, 40)), draw(st.integers(*planes))), lps)


def planes_of(grid: Grid) -> list[Plane]:
    """The planes of a grid, each with its own equation; k ascends."""
    x, y, _ = grid.spacing
    row, column = grid.lps[:3, 0] / x, grid.lps[:3, 1] / y
    return [
        Plane(
            position=tuple(grid.points((0, 0, k)).tolist()),
            row_cosine=tuple(row.tolist()),
            column_cosine=tuple(column.tolist()),
            row_spacing=y,
            column_spacing=x,
            rows=grid.shape[1],
            columns=grid.shape[0],
        )
        for k in range(grid.shape[2])
    ]


def corners_by_hand(plane: Plane) -> Matrix:
    """Equation C.7.6.2.1-1 written out, scalar by scalar."""
    found = []
    for i, j in product((0, plane.columns - 1), (0, plane.rows - 1)):
        found.append(
            [
                plane.row_cosine[n] * plane.column_spacing * i
                + plane.column_cosine[n] * plane.row_spacing * j
                + plane.position[n]
                for n in range(3)
            ]
        )
    return np.array(found)


@given(grids(lean=0.6), st.randoms(use_true_random=False))
def test_a_stack_puts_every_corner_where_its_planes_equation_says(grid: Grid, random: Any) -> None:
    planes = planes_of(grid)
    random.shuffle(planes)
    # The planes of a single-plane grid know no step; the one assumed is theirs along the normal.
    step = grid.spacing[2]
    fitted = fit(planes, assumed_step_mm=step)
    assert sorted(fitted.order) == list(range(len(planes)))
    for k, n in enumerate(fitted.order):
        ours = fitted.grid.points([(i, j, k) for i in (0, grid.shape[0] - 1) for j in (0, grid.shape[1] - 1)])
        assert np.abs(ours - corners_by_hand(planes[n])).max() <= fitted.residuals[k] + 1e-6
    assert fitted.residual_mm < 1e-6 or fitted.straightened_mm > 0
    assert fitted.residual_mm <= fitted.irregularity_mm + fitted.straightened_mm + 1e-9
    assert fitted.grid.shape == grid.shape
    if len(planes) > 1 and fitted.straightened_mm == 0:
        assert np.abs(fitted.grid.lps - grid.lps).max() < 1e-7


@given(grids(lean=0.6), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_change_a_byte(grid: Grid, random: Any) -> None:
    # Cosines and spacings that differ in their last digits: a sum of them depends on its order, unless it is exact.
    planes = [
        replace(
            p,
            row_spacing=p.row_spacing * (1 + 1e-7 * random.random()),
            row_cosine=tuple(c + 1e-6 * random.random() for c in p.row_cosine),
        )
        for p in planes_of(grid)
    ]
    shuffled = list(planes)
    random.shuffle(shuffled)
    one, other = fit(planes), fit(shuffled)
    assert [planes[n] for n in one.order] == [shuffled[n] for n in other.order]
    assert one.grid.lps.tobytes() == other.grid.lps.tobytes()
    assert one.residuals.tobytes() == other.residuals.tobytes()


@given(grids())
def test_residuals_see_what_the_planes_own_corners_see(grid: Grid) -> None:
    planes = planes_of(grid)
    wrong = grid.lps.copy()
    wrong[:3, 0] *= 1.01
    wrong[:3, 3] += (0.3, -0.2, 0.1)
    moved = Grid(grid.shape, wrong)
    for k, (plane, residual) in enumerate(
        zip(planes, residuals_mm(wrong, planes, np.arange(len(planes))), strict=True)
    ):
        ours = moved.points([(i, j, k) for i in (0, grid.shape[0] - 1) for j in (0, grid.shape[1] - 1)])
        assert isclose(residual, np.linalg.norm(ours - corners_by_hand(plane), axis=1).max(), abs_tol=1e-7)


@given(grids(lean=0.3, planes=(2, 9)), st.sampled_from(list(permutations(range(3)))), st.floats(0, 0.2))
def test_index_map_reports_the_millimetres_of_a_perturbation(grid: Grid, axes: tuple[int, ...], part: float) -> None:
    lps, shape = turned_grid(grid, axes, (1, -1, 1))
    away = part * min(grid.spacing) * np.array([0.6, 0, 0.8])
    lps[:3, 3] += away * 0.25
    found = map_of(grid, lps, shape)
    assert found is not None
    assert isclose(found.moved_mm, np.linalg.norm(away * 0.25), abs_tol=1e-6)


@given(angles, angles, st.floats(60, 120), st.floats(0.5, 2), st.floats(0.5, 2))
def test_the_orthonormal_pair_is_the_nearest(a: float, b: float, between: float, long: float, tall: float) -> None:
    turn = Rotation.from_euler("zy", [a, b], degrees=True).as_matrix()
    row, column = turn @ [1, 0, 0], turn @ [cos(radians(between)), sin(radians(between)), 0]
    r, c = orthonormal(long * row, tall * column)
    assert np.abs(np.array([r, c]) @ np.array([r, c]).T - np.eye(2)).max() < 1e-12
    assert isclose(r @ row, c @ column, abs_tol=1e-12)  # both turn by the same angle
    u, _, vt = np.linalg.svd(np.array([row, column]), full_matrices=False)
    assert np.abs(u @ vt - np.array([r, c])).max() < 1e-9  # the polar factor is the nearest in the Frobenius norm


@given(grids(lean=0.2), st.sampled_from(list(permutations(range(3)))), st.tuples(*[st.sampled_from((1, -1))] * 3))
def test_axis_codes_are_nibabels(grid: Grid, axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    ras = np.diag([-1.0, -1, 1, 1]) @ turned_grid(grid, axes, signs)[0]
    u, _, vt = np.linalg.svd(ras[:3, :3] / np.linalg.norm(ras[:3, :3], axis=0))
    sizes = np.sort(np.abs(u @ vt).ravel())
    assume(np.diff(sizes).min() > 1e-9 or np.abs(sizes - np.rint(sizes)).max() < 1e-9)  # no tie, which either may break
    assert axis_codes(ras) == "".join(nibabel.aff2axcodes(ras))


@given(grids(lean=0.5), st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=1, max_size=4))
def test_points_are_the_affine_times_the_index(grid: Grid, indices: list[tuple[float, ...]]) -> None:
    for index, point in zip(indices, grid.points(indices), strict=True):
        assert np.abs(grid.lps @ (*index, 1) - (*point, 1)).max() < 1e-6
    assert (grid.ras[:2] == -grid.lps[:2]).all()
    assert (grid.ras[2:] == grid.lps[2:]).all()


@given(grids(lean=0.3, planes=(1, 6)), grids(lean=0.3, planes=(1, 6)))
def test_no_voxel_lies_farther_apart_than_the_worst_corner(one: Grid, other: Grid) -> None:
    shape = (3, 4, 5)
    voxels = np.array(list(np.ndindex(*shape)))
    apart = np.linalg.norm(one.points(voxels) - other.points(voxels), axis=1).max()
    assert corner_distance(one.lps, other.lps, shape) == pytest.approx(apart, rel=1e-9, abs=1e-9)
    assert corner_distance(one.ras, other.ras, (*shape, 7)) == pytest.approx(apart, rel=1e-9, abs=1e-9)
