"""Properties that hold for every input: see tests/test_derivation.py for single cases."""

from __future__ import annotations

import numpy as np
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.geometry.grid import Plane
from pipeline.geometry.stack import fit_stack
from tests.test_derivation import DELTA_I, DELTA_J, S, T, X, Y, lps_affine

SYMBOLS = (*X, *Y, *S, *T, DELTA_I, DELTA_J)


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
