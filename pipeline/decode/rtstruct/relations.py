"""Compare polygons in one plane: how they lie to each other, and where their edges cross. Numbers only, no DICOM.

Rules:
- What is nearer than `tolerance` counts as touching, and touching ones do not overlap.
- Only edges that come near each other are compared. Where the edges of a polygon keep away from another one, all of
  them lie on one side of it, and one point tells on which.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .edge_tree import EdgeTree, NearPairs, widen
from .polygon import Numbers, Polygon, cross, edges_upwards, follow, holds

Relation = Literal["apart", "within", "around", "same", "overlapping"]


class Crossings(NamedTuple):
    """Where edges of p properly cross edges of q.

    edge: (n,) the edge of p. along: how far along it, 0 to 1. depth: the smallest distance of the four ends to the
    other edge's line, in the polygons' unit.
    """

    edge: Numbers
    along: NDArray[np.float64]
    depth: NDArray[np.float64]


def relate(b: EdgeTree, a: EdgeTree, tolerance: float) -> Relation:
    """Find how b lies to a: from where their boundaries run and, where these only touch, from a point inside.

    Args:
        b: the polygon that is described.
        a: the polygon it is compared with.
        tolerance: boundaries nearer than this touch and do not overlap, in the polygons' unit.

    Returns:
        "within" where b lies in a, "around" where a lies in b, or one of the relations that hold for both.
    """
    b_inside, b_outside = _sides(b, a, tolerance)
    if b_inside and b_outside:
        return "overlapping"
    a_inside, a_outside = _sides(a, b, tolerance)
    if (a_inside and a_outside) or (b_inside and a_inside):
        return "overlapping"
    if not b_outside and (b_inside or _holds_centre_of(a.polygon, b.polygon)):
        same = not a_outside and _holds_centre_of(b.polygon, a.polygon)
        return "same" if same else "within"
    if not a_outside and (a_inside or _holds_centre_of(b.polygon, a.polygon)):
        return "around"
    return "apart"


def crosses_itself(polygon: Polygon, tolerance: float) -> bool:
    """Return whether two edges cross, with all four ends further than `tolerance` from the other edge's line.

    The channel of a keyhole runs there and back on one line, so it does not cross itself.
    """
    if _winds_once(polygon):
        return False
    tree = EdgeTree.of(polygon)
    return any((_cross_at(polygon, polygon, pairs).depth > tolerance).any() for pairs in tree.near(tree, 0))


def find_crossings(p: Polygon, q: Polygon) -> Crossings:
    """Find where edges of p properly cross edges of q."""
    found = [_cross_at(p, q, pairs) for pairs in EdgeTree.of(p).near(EdgeTree.of(q), 0)]
    edge, along, depth = zip(*found, strict=True)
    return Crossings(np.concatenate(edge), np.concatenate(along), np.concatenate(depth))


def _winds_once(polygon: Polygon) -> bool:
    """Return whether the polygon winds once, all one way, around the middle of its points; it cannot cross itself then."""
    spoke = polygon - polygon.mean(axis=0)
    turn = cross(spoke, follow(spoke))
    above = spoke[:, 1] > 0
    one_way = (turn > 0).all() or (turn < 0).all()
    return bool(one_way and np.count_nonzero(above[1:] != above[:-1]) <= 2)


def _sides(b: EdgeTree, a: EdgeTree, tolerance: float) -> tuple[bool, bool]:
    """Return whether any of the boundary of b lies inside a, and outside a, further than `tolerance` from a's boundary.

    The boundary is cut where it crosses a's, so each piece lies on one side, and testing its middle and ends is enough.
    """
    inside = outside = False
    for pairs in b.near(a, widen(tolerance)):
        points, near = _points_to_test(b.polygon, a.polygon, pairs)
        points = np.concatenate([points[~near], points[near][~a.touches(points[near], tolerance)]])
        held = a.holds(points)
        inside, outside = inside or bool(held.any()), outside or not held.all()
        if inside and outside:
            break
    return inside, outside


def _points_to_test(b: Polygon, a: Polygon, pairs: NearPairs) -> tuple[Polygon, NDArray[np.bool_]]:
    """List points of edges of b that lie on all sides of a that these edges reach, and whether each may be near to it.

    Edges near a are tested at their start and between the cuts. Of a run of edges that keep away the first start is enough.
    """
    close = np.zeros(pairs.end - pairs.start, np.bool_)
    close[pairs.first - pairs.start] = True
    opens = np.concatenate([[True], close[:-1]])  # a run, where the edge is not near
    edges = np.flatnonzero(close) + pairs.start
    found = _cross_at(b, a, pairs)
    cuts = np.unique(np.concatenate([edges, edges + 1.0, found.edge + found.along]))
    middle = (cuts[1:] + cuts[:-1]) / 2
    # A cut may lie so near the end of the last edge that the middle is rounded to the end itself.
    whole = np.minimum(middle.astype(np.int64), len(b) - 1)
    on_close = (whole < pairs.end) & close[np.minimum(whole, pairs.end - 1) - pairs.start]
    whole, middle = whole[on_close], middle[on_close]
    start, end = b[whole], b[(whole + 1) % len(b)]
    kept_away = b[pairs.start : pairs.end][opens & ~close]
    points = np.concatenate([kept_away, b[edges], start + (middle - whole)[:, None] * (end - start)])
    return points, np.arange(len(points)) >= len(kept_away)


def _cross_at(p: Polygon, q: Polygon, pairs: NearPairs) -> Crossings:
    """Find which of the pairs of edges properly cross."""
    e, f = pairs.first, pairs.second
    p0, q0, p1, q1 = p[e], q[f], p[(e + 1) % len(p)], q[(f + 1) % len(q)]
    meet = ((np.minimum(p0, p1) <= np.maximum(q0, q1)) & (np.minimum(q0, q1) <= np.maximum(p0, p1))).all(axis=1)
    e, p0, q0, p1, q1 = e[meet], p0[meet], q0[meet], p1[meet], q1[meet]
    p_along, q_along = p1 - p0, q1 - q0
    q_from, q_to = cross(p_along, q0 - p0), cross(p_along, q0 + q_along - p0)
    p_from, p_to = cross(q_along, p0 - q0), cross(q_along, p0 + p_along - q0)
    proper = (q_from * q_to < 0) & (p_from * p_to < 0)
    p_from, p_to, q_from, q_to = (values[proper] for values in (p_from, p_to, q_from, q_to))
    to_p = np.minimum(np.abs(q_from), np.abs(q_to)) / np.linalg.norm(p_along[proper], axis=1)
    to_q = np.minimum(np.abs(p_from), np.abs(p_to)) / np.linalg.norm(q_along[proper], axis=1)
    return Crossings(e[proper], p_from / (p_from - p_to), np.minimum(to_p, to_q))


def _holds_centre_of(outer: Polygon, inner: Polygon) -> bool:
    """Return whether `outer` holds a point inside `inner`: the middle of its widest run at a height without vertices."""
    rows = np.unique(inner[:, 1])
    if len(rows) < 2:
        return False
    tallest = int(np.diff(rows).argmax())
    v = (rows[tallest] + rows[tallest + 1]) / 2
    low, high = edges_upwards(inner)
    meets = (low[:, 1] <= v) & (v < high[:, 1])
    low, high = low[meets], high[meets]
    u = np.sort(low[:, 0] + (v - low[:, 1]) / (high[:, 1] - low[:, 1]) * (high[:, 0] - low[:, 0]))
    widest = int((u[1::2] - u[::2]).argmax())
    return holds(outer, np.array([(u[2 * widest] + u[2 * widest + 1]) / 2, v]))
