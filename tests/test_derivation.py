"""The affines derived symbolically from PS3.3 equation C.7.6.2.1-1, and held against what the pipeline computes.

    P = X * column_spacing * i + Y * row_spacing * j + S         for one plane, in LPS

X and Y are the cosines of a row and a column, S is the position of the plane. S of plane k is the first position plus
k steps. RAS is LPS with x and y negated. Nothing here knows how `pipeline.geometry.grid` does it.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.geometry.grid import Plane
from pipeline.geometry.stack import fit_stack

I, J, K = sp.symbols("i j k")  # noqa: E741
DELTA_I, DELTA_J = sp.symbols("column_spacing row_spacing", positive=True)
X, Y, S, T = (sp.Matrix(sp.symbols(f"{name}_x {name}_y {name}_z")) for name in ("X", "Y", "S", "T"))
SYMBOLS = (*X, *Y, *S, *T, DELTA_I, DELTA_J)


def standard_equation() -> sp.Matrix:
    """The 4 x 4 of equation C.7.6.2.1-1 as printed there: (i, j, 0, 1) to (x, y, z, 1)."""
    zero = sp.Matrix([0, 0, 0])
    columns = [X * DELTA_I, Y * DELTA_J, zero, S]
    return sp.Matrix.hstack(*columns).col_join(sp.Matrix([[0, 0, 0, 1]]))


def lps_affine() -> sp.Matrix:
    """Voxel (i, j, k, 1) to LPS: the equation with S + k T as position, read off as the coefficients of i, j, k."""
    moved = standard_equation().subs(dict(zip(S, S + K * T, strict=True)), simultaneous=True)
    point = sp.expand(moved * sp.Matrix([I, J, 0, 1]))
    columns = [point.applyfunc(lambda e, v=v: sp.diff(e, v)) for v in (I, J, K)]
    columns.append(point.subs({I: 0, J: 0, K: 0}))
    return sp.Matrix.hstack(*columns)


def ras_affine() -> sp.Matrix:
    return sp.diag(-1, -1, 1, 1) * lps_affine()


LPS = sp.lambdify(SYMBOLS, lps_affine(), "numpy")
RAS = sp.lambdify(SYMBOLS, ras_affine(), "numpy")
angles = st.floats(-180, 180)


@given(
    st.tuples(angles, angles, angles),
    st.tuples(*[st.floats(0.05, 12)] * 3),
    st.tuples(*[st.floats(-800, 800)] * 3),
    st.tuples(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7)).filter(lambda lean: abs(lean[0]) + abs(lean[1]) > 0.01),
    st.integers(2, 7),
)
def test_the_pipeline_computes_what_the_standard_derives(
    turn: tuple[float, ...],
    spacing: tuple[float, float, float],
    first: tuple[float, float, float],
    lean: tuple[float, float],
    count: int,
) -> None:
    row, column, normal = Rotation.from_euler("xyz", turn, degrees=True).as_matrix().T
    step = spacing[2] * (normal + lean[0] * row + lean[1] * column)
    planes = [
        Plane(tuple(first + k * step), tuple(row), tuple(column), spacing[1], spacing[0], 37, 53) for k in range(count)
    ]
    grid = fit_stack(planes[::-1], limit_mm=1e-9, keep_skew=0, keep_mm=0).grid
    numbers = (*row, *column, *first, *step, spacing[0], spacing[1])
    assert np.abs(LPS(*numbers) - grid.lps).max() < 1e-8
    assert np.abs(RAS(*numbers) - grid.ras).max() < 1e-8


def test_one_plane_is_the_standards_own_matrix() -> None:
    assert lps_affine().subs(dict(zip(T, (0, 0, 0), strict=True))) == standard_equation()


def test_ascending_along_row_x_column_makes_the_affine_right_handed() -> None:
    """det = column_spacing * row_spacing * (X x Y) . T, so it has the sign of the step along the normal."""
    expected = DELTA_I * DELTA_J * X.cross(Y).dot(T)
    assert sp.expand(lps_affine().det() - expected) == 0
