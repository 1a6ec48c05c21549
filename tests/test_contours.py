"""Polygons in a plane: pixels by an exact oracle, relations by hand-made pairs, areas by formula."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import strategies as st

from pipeline.decode.rtstruct.contours import area, area_of, arrange, fill, raster
from pipeline.decode.rtstruct.edge_tree import EdgeTree
from pipeline.decode.rtstruct.relations import crosses_itself
from pipeline.decode.rtstruct.relations import relate as relate_trees
from tests.helpers.rtphantom import ellipse, rectangle

SHAPE = (13, 17)  # rows, columns
quarters = st.tuples(st.integers(-8, 76), st.integers(-8, 60)).map(lambda p: (Fraction(p[0], 4), Fraction(p[1], 4)))
polygons = st.lists(quarters, min_size=3, max_size=9)


def relate(b: np.ndarray, a: np.ndarray, tolerance: float) -> str:
    return relate_trees(EdgeTree.of(b), EdgeTree.of(a), tolerance)


def test_a_rectangle_holds_its_lower_edges_and_not_its_upper_ones():
    expected = np.zeros(SHAPE, bool)
    expected[3:7, 2:5] = True
    assert (raster(rectangle(2, 5, 3, 7), SHAPE) == expected).all()
    assert (raster(rectangle(1.5, 4.5, 2.5, 6.5), SHAPE) == expected).all()
    assert (raster(rectangle(2, 5, 3, 7)[::-1], SHAPE) == expected).all(), "whichever way round"


def test_what_lies_beyond_the_raster_is_clipped():
    expected = np.zeros(SHAPE, bool)
    expected[10:, 12:] = True
    assert (raster(rectangle(11.5, 90, 9.5, 70), SHAPE) == expected).all()
    assert raster(rectangle(-9, 99, -9, 99), SHAPE).all()
    for away in ((20, 30, 2, 5), (-9, -2, 2, 5), (2, 5, 20, 30), (2, 5, -9, -2)):
        assert not raster(rectangle(*away), SHAPE).any()


OUTER = rectangle(0, 12, 0, 10)
U_SHAPE = np.array([(0, 0), (12, 0), (12, 10), (8, 10), (8, 4), (4, 4), (4, 10), (0, 10)], float)
NARROW_U = np.array([(0, 0), (12, 0), (12, 10), (4, 10), (4, 4), (3, 4), (3, 10), (0, 10)], float)
KEYHOLE = np.array(
    [(0, 0), (12, 0), (12, 10), (0, 10), (0, 5), (3, 5), (3, 8), (9, 8), (9, 3), (3, 3), (3, 5), (0, 5)], float
)

OTHER_KEYHOLE = np.array(
    [(0, 0), (12, 0), (12, 10), (0, 10), (0, 1), (4, 1), (4, 2), (7, 2), (7, 1), (4, 1), (0, 1)], float
)


def test_a_crossing_that_rounding_puts_beyond_the_polygon_stays_in_it():
    far = np.array([(3, 3), (7e16, -8e16), (11, -2)])
    assert not raster(far, (10, 10))[:, :3].any()


@pytest.mark.parametrize(
    ("b", "a", "relation"),
    [
        (rectangle(2, 5, 3, 7), OUTER, "within"),
        (OUTER, rectangle(2, 5, 3, 7), "around"),
        (rectangle(0, 5, 3, 7), OUTER, "within"),  # touching from inside
        (rectangle(-0.01, 5, 3, 7), OUTER, "within"),  # less than the tolerance over the edge
        (rectangle(-0.5, 5, 3, 7), OUTER, "overlapping"),
        (rectangle(-1, 13, 3, 7), OUTER, "overlapping"),  # a cross: no corner of either in the other
        (rectangle(2, 10, 5, 7), U_SHAPE, "overlapping"),  # all corners in the arms, the middle in the gap
        (rectangle(1, 11, 5, 7), NARROW_U, "overlapping"),  # the same over a gap away from the middle of its edges
        (rectangle(5, 7, 5, 12), U_SHAPE, "apart"),  # in the gap
        (rectangle(4, 8, 4, 10), U_SHAPE, "apart"),  # filling the gap, edge on edge
        (rectangle(12, 15, 0, 10), OUTER, "apart"),  # edge on edge
        (rectangle(12.5, 15, 0, 10), OUTER, "apart"),
        (np.roll(OUTER, 2, axis=0)[::-1], OUTER, "same"),
        (ellipse(6, 5, 3, 2), ellipse(6, 5, 3, 2, 300), "same"),  # within the tolerance
        (rectangle(4, 8, 4, 7), KEYHOLE, "apart"),  # in the keyhole's hole
        (rectangle(3, 9, 3, 8), KEYHOLE, "apart"),  # filling it
        (rectangle(10, 11, 2, 7), KEYHOLE, "within"),  # in its ring
        (OTHER_KEYHOLE, KEYHOLE, "overlapping"),  # the same outside, with a hole elsewhere
        (rectangle(1, 11, 1, 9), KEYHOLE, "overlapping"),  # its boundary in the ring, its inside not
    ],
)
def test_relations(b, a, relation):
    assert relate(b, a, 0.02) == relation
    other = {"within": "around", "around": "within"}.get(relation, relation)
    assert relate(a, b, 0.02) == other


def test_a_crossing_at_the_very_end_of_the_last_edge_does_not_break_off():
    # In these pixels of 1.5 by 0.7 the crossing is rounded to the end of the polygon's last edge.
    b, a = ([(3, 10), (10, 9), (5, 6)], [(0, 13), (7, 11), (9, 8), (6, 7)])
    pixel = np.array((1.5, 0.7))
    assert relate(np.array(b, float) * pixel, np.array(a, float) * pixel, 0.02) == "overlapping"
    assert relate(np.array(a, float) * pixel, np.array(b, float) * pixel, 0.02) == "overlapping"


def together(*polygons: np.ndarray) -> tuple[np.ndarray, float, tuple[int | None, ...]]:
    arrangement = arrange(polygons, 0.02)
    return fill(polygons, arrangement, (40, 50)), area(polygons, arrangement), arrangement.depth


def test_nesting_four_deep_alternates_in_any_order():
    nested = [rectangle(0.5 + n, 40.5 - n, 1.5 + n, 31.5 - n) for n in (0, 4, 8, 12)]
    expected = 40 * 30 - 32 * 22 + 24 * 14 - 16 * 6
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
        filled, area_, depth = together(*[nested[n] for n in order])
        assert filled.sum() == expected == pytest.approx(area_)
        assert depth == order


def test_partly_overlapping_polygons_unite():
    filled, area_, depth = together(rectangle(2.5, 22.5, 3.5, 13.5), rectangle(7.5, 27.5, 8.5, 18.5))
    assert filled.sum() == 200 + 200 - 75
    assert area_ == pytest.approx(325, rel=1e-3)
    assert depth == (0, 0)


def test_a_hole_in_the_overlap_of_two_is_a_hole():
    # Two around it, but they are one: counting each would fill it.
    filled, area_, depth = together(
        rectangle(0.5, 25.5, 0.5, 20.5), rectangle(10.5, 35.5, 5.5, 25.5), rectangle(12.5, 20.5, 8.5, 14.5)
    )
    assert depth == (0, 0, 1)
    assert filled.sum() == 500 + 500 - 15 * 15 - 8 * 6
    assert area_ == pytest.approx(filled.sum(), rel=1e-3)


def test_overlapping_holes_unite_too():
    filled, _, depth = together(
        rectangle(0.5, 40.5, 0.5, 30.5), rectangle(5.5, 15.5, 5.5, 15.5), rectangle(10.5, 20.5, 10.5, 20.5)
    )
    assert depth == (0, 1, 1)
    assert filled.sum() == 1200 - 175


def test_what_overlaps_a_neighbour_is_no_hole():
    # The third lies within the first, but overlaps the second, which overlaps the first: all three are one.
    three = rectangle(0.5, 20.5, 0.5, 20.5), rectangle(14.5, 30.5, 4.5, 12.5), rectangle(10.5, 18.5, 6.5, 10.5)
    filled, _, depth = together(*three)
    assert depth == (0, 0, 0)
    assert filled.sum() == 400 + 16 * 8 - 6 * 8


def test_repeats_count_once_and_touching_ones_partition():
    one = rectangle(2.5, 12.5, 3.5, 9.5)
    filled, area_, depth = together(one, np.roll(one, 1, axis=0), rectangle(12.5, 20.5, 3.5, 9.5), one[::-1])
    assert depth == (0, None, 0, None)
    assert filled.sum() == 18 * 6 == pytest.approx(area_)
    hole = rectangle(4.5, 6.5, 4.5, 6.5)
    assert together(one, hole, hole)[0].sum() == 60 - 4, "a hole given twice is still a hole"
    assert together(hole, one, one)[0].sum() == 60 - 4, "and so is one within what is given twice"


def test_a_keyhole_has_its_hole():
    filled, area_, depth = together(KEYHOLE + 0.5)
    assert filled.sum() == 120 - 30 == pytest.approx(area_)
    assert depth == (0,)
    assert not crosses_itself(KEYHOLE, 0.02)


def test_crossing_itself():
    bow = np.array([(0, 0), (10, 10), (10, 0), (0, 10)], float)
    assert crosses_itself(bow, 0.02)
    assert area_of(bow, crossed=True) == pytest.approx(50)
    assert not crosses_itself(ellipse(6, 5, 3, 2), 0.02)
    barely = np.array([(0, 0), (10, 0), (10, 5), (5, -0.01), (0, 5)], float)
    assert not crosses_itself(barely, 0.02), "less than the tolerance"


@pytest.mark.parametrize("scale", [1, 4])
def test_areas_are_those_of_the_formula(scale):
    assert area_of(ellipse(9.3, 7.1, 5 * scale, 3 * scale, 4000), crossed=False) == pytest.approx(
        np.pi * 15 * scale**2, rel=1e-5
    )
    touching = np.array([(0, 0), (2, 2), (4, 0), (4, 4), (2, 2), (0, 4)], float) * scale
    # A figure of eight through a vertex: run one way round and the other, so a shoelace sum would be nothing.
    assert area_of(touching, crossed=False) == pytest.approx(8 * scale**2)
    bow = np.array([(0, 0), (2, 2), (4, 4), (4, 0), (2, 2), (0, 4)], float) * scale
    assert area_of(bow, crossed=False) == pytest.approx(8 * scale**2)
