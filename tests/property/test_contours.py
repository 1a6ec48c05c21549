"""Properties that hold for every input: see tests/test_contours.py for single cases."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.decode.rtstruct.contours import raster
from pipeline.decode.rtstruct.relations import find_crossings
from tests.test_contours import SHAPE, polygons, quarters


def oracle(points: list[tuple[Fraction, Fraction]], shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Even-odd of every centre in exact arithmetic; an edge counts from its lower end up to, not at, its upper."""
    inside = np.zeros(shape, bool)
    for (u0, v0), (u1, v1) in zip(points, [*points[1:], points[0]], strict=True):
        for row in range(shape[0]):
            if min(v0, v1) <= row < max(v0, v1):
                crossing = u0 + (row - v0) * (u1 - u0) / (v1 - v0)
                for column in range(shape[1]):
                    inside[row, column] ^= column >= crossing
    return inside


@given(polygons)
# In floating point the first edge passes column 5 at row 6 a hair too far to the right, though exactly on its centre.
@example([(Fraction(-7, 4), Fraction(1, 4)), (Fraction(47, 4), Fraction(47, 4)), (Fraction(16), Fraction(2))])
def test_the_pixels_are_those_of_exact_arithmetic(points):
    # Quarters of a pixel: vertices and edges often lie exactly on centres.
    assert (raster(np.array(points, float), SHAPE) == oracle(points)).all()


@given(st.lists(quarters, min_size=3, max_size=8), quarters)
def test_polygons_that_share_edges_partition_their_pixels(points, hub):
    # A fan from any hub: by even-odd, its triangles together are the polygon itself.
    whole = raster(np.array(points, float), SHAPE)
    fan = np.zeros(SHAPE, int)
    for a, b in zip(points, [*points[1:], points[0]], strict=True):
        fan += raster(np.array([hub, a, b], float), SHAPE)
    assert (fan % 2 == whole).all()


@given(polygons, polygons)
def test_every_crossing_is_found_from_either_polygon(one, other):
    def side(a, b, c):
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    expected = 0
    for a, b in zip(one, [*one[1:], one[0]], strict=True):
        for c, d in zip(other, [*other[1:], other[0]], strict=True):
            expected += side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
    p, q = np.array(one, float), np.array(other, float)
    assert len(find_crossings(p, q).edge) == len(find_crossings(q, p).edge) == expected
