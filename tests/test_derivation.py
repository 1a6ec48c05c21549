"""The affines derived symbolically from PS3.3 equation C.7.6.2.1-1, and held against what the pipeline computes.

    P = X * column_spacing * i + Y * row_spacing * j + S         for one plane, in LPS

X and Y are the cosines of a row and a column, S is the position of the plane. S of plane k is the first position plus
k steps. RAS is LPS with x and y negated. Nothing here knows how `pipeline.geometry.grid` does it.
"""

from __future__ import annotations

import sympy as sp

I, J, K = sp.symbols("i j k")  # noqa: E741
DELTA_I, DELTA_J = sp.symbols("column_spacing row_spacing", positive=True)
X, Y, S, T = (sp.Matrix(sp.symbols(f"{name}_x {name}_y {name}_z")) for name in ("X", "Y", "S", "T"))


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


def test_one_plane_is_the_standards_own_matrix() -> None:
    assert lps_affine().subs(dict(zip(T, (0, 0, 0), strict=True))) == standard_equation()


def test_ascending_along_row_x_column_makes_the_affine_right_handed() -> None:
    """det = column_spacing * row_spacing * (X x Y) . T, so it has the sign of the step along the normal."""
    expected = DELTA_I * DELTA_J * X.cross(Y).dot(T)
    assert sp.expand(lps_affine().det() - expected) == 0
