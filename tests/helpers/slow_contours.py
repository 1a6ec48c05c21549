"""How polygons lie to each other, by the rule alone: every edge against every edge, every point against every edge.

It is slow and takes points x points of memory; `pipeline.decode.rtstruct.contours.arrange` must agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
Arranged = tuple[tuple[int | None, ...], tuple[tuple[int, int], ...], tuple[int, ...]]


def arrange(polygons: Sequence[Polygon], tolerance: float) -> Arranged:
    """Depths, overlapping pairs and those that cross themselves."""
    around: list[set[int]] = [set() for _ in polygons]
    overlapping, repeated = [], set()
    for b, polygon in enumerate(polygons):
        for a in range(b):
            if a in repeated or not _boxes_meet(polygon, polygons[a]):
                continue
            relation = relate(polygon, polygons[a], tolerance)
            if relation == "same":
                repeated.add(b)
                break
            if relation == "within":
                around[b].add(a)
            if relation == "around":
                around[a].add(b)
            if relation == "overlapping":
                overlapping.append((a, b))
    group = list(range(len(polygons)))
    for a, b in overlapping:
        group = [group[a] if g == group[b] else g for g in group]
    outer = {
        g: {group[a] for n, own in enumerate(group) if own == g for a in around[n] - repeated} - {g} for g in group
    }
    depths = tuple(None if n in repeated else len(outer[g]) for n, g in enumerate(group))
    crossed = tuple(n for n, p in enumerate(polygons) if (_crossings(p, p)[2] > tolerance).any())
    return depths, tuple(overlapping), crossed


def relate(b: Polygon, a: Polygon, tolerance: float) -> str:
    """One word for how b lies to a."""
    b_inside, b_outside = _sides(b, a, tolerance)
    a_inside, a_outside = _sides(a, b, tolerance)
    if (b_inside and b_outside) or (a_inside and a_outside) or (b_inside and a_inside):
        return "overlapping"
    if not b_outside and (b_inside or _holds_centre_of(a, b)):
        return "same" if not a_outside and _holds_centre_of(b, a) else "within"
    if not a_outside and (a_inside or _holds_centre_of(b, a)):
        return "around"
    return "apart"


def inside(polygon: Polygon, points: Polygon) -> NDArray[np.bool_]:
    """Even-odd along the row of each point."""
    low, high = _upwards(polygon)
    meets = (low[:, 1] <= points[:, None, 1]) & (points[:, None, 1] < high[:, 1])
    left = _cross(high - low, points[:, None] - low) <= 0
    return np.count_nonzero(meets & left, axis=1) % 2 == 1


def distance(polygon: Polygon, points: Polygon) -> NDArray[np.float64]:
    """From each point to the nearest edge."""
    along = np.roll(polygon, -1, axis=0) - polygon
    length = np.maximum((along**2).sum(axis=1), np.finfo(float).tiny)
    to = points[:, None] - polygon
    foot = np.clip((to * along).sum(axis=2) / length, 0, 1)[..., None] * along
    return np.sqrt(((to - foot) ** 2).sum(axis=2).min(axis=1))


def _boxes_meet(b: Polygon, a: Polygon) -> bool:
    return bool((a.min(0) < b.max(0)).all() and (a.max(0) > b.min(0)).all())


def _sides(b: Polygon, a: Polygon, tolerance: float) -> tuple[bool, bool]:
    """Whether any of b's boundary, cut where a's crosses it, is further than the tolerance inside a, and outside a."""
    edge, along, _ = _crossings(b, a)
    cuts = np.unique(np.concatenate([np.arange(len(b) + 1.0), edge + along]))
    middle = (cuts[1:] + cuts[:-1]) / 2
    whole = np.minimum(middle.astype(int), len(b) - 1)
    start, end = b[whole], b[(whole + 1) % len(b)]
    points = np.concatenate([b, start + (middle - whole)[:, None] * (end - start)])
    held, far = inside(a, points), distance(a, points) > tolerance
    return bool((held & far).any()), bool((~held & far).any())


def _crossings(p: Polygon, q: Polygon) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The edge of p, how far along it, and the smallest distance of an end to the other edge's line."""
    p0, q0 = p[:, None], q[None]
    p_along, q_along = (np.roll(p, -1, axis=0) - p)[:, None], (np.roll(q, -1, axis=0) - q)[None]
    p1, q1 = np.roll(p, -1, axis=0)[:, None], np.roll(q, -1, axis=0)[None]
    meet = ((np.minimum(p0, p1) <= np.maximum(q0, q1)) & (np.minimum(q0, q1) <= np.maximum(p0, p1))).all(axis=2)
    q_from, q_to = _cross(p_along, q0 - p0), _cross(p_along, q0 + q_along - p0)
    p_from, p_to = _cross(q_along, p0 - q0), _cross(q_along, p0 + p_along - q0)
    proper = meet & (q_from * q_to < 0) & (p_from * p_to < 0)
    e, f = np.nonzero(proper)
    p_from, p_to, q_from, q_to = (values[proper] for values in (p_from, p_to, q_from, q_to))
    to_p = np.minimum(np.abs(q_from), np.abs(q_to)) / np.linalg.norm(p_along[e, 0], axis=1)
    to_q = np.minimum(np.abs(p_from), np.abs(p_to)) / np.linalg.norm(q_along[0, f], axis=1)
    return e, p_from / (p_from - p_to), np.minimum(to_p, to_q)


def _holds_centre_of(outer: Polygon, inner: Polygon) -> bool:
    """Whether `outer` holds the middle of the widest run of `inner`, half-way up its tallest strip without vertices."""
    rows = np.unique(inner[:, 1])
    if len(rows) < 2:
        return False
    tallest = int(np.diff(rows).argmax())
    v = (rows[tallest] + rows[tallest + 1]) / 2
    low, high = _upwards(inner)
    meets = (low[:, 1] <= v) & (v < high[:, 1])
    low, high = low[meets], high[meets]
    u = np.sort(low[:, 0] + (v - low[:, 1]) / (high[:, 1] - low[:, 1]) * (high[:, 0] - low[:, 0]))
    widest = int((u[1::2] - u[::2]).argmax())
    return bool(inside(outer, np.array([[(u[2 * widest] + u[2 * widest + 1]) / 2, v]]))[0])


def _upwards(polygon: Polygon) -> tuple[Polygon, Polygon]:
    following = np.roll(polygon, -1, axis=0)
    down = (polygon[:, 1] > following[:, 1])[:, None]
    return np.where(down, following, polygon), np.where(down, polygon, following)


def _cross(a: Polygon, b: Polygon) -> NDArray[np.float64]:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
