"""Combine the contours of one plane into rings by Shapely's geometry operations.

Rules:
- One contour within another is a hole, one within the hole an island, and so on. Contours that overlap in part are
  united, and one given twice counts once. Boundaries nearer than TOUCH_MM touch and do not overlap.
- Where a tenth of TOUCH_MM decides whether they touch or overlap, both readings are given.
- Contours that lie strictly apart or within each other need no operation: exclusive or gives the same.
- The standard does not say what overlapping CLOSED_PLANAR contours mean, and readers differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely

from .row_runs import RingPoints

TOUCH_MM = 0.02
_JUST_LESS, _JUST_MORE = 0.9, 1.1
# Of the area of what is around it. One that fills more of it may be the same contour, drawn twice.
_MUCH_SMALLER = 0.5
_NO_LENGTH_MM = 1e-9  # rounding of a sum of lengths


class _Nesting(NamedTuple):
    """depths: for each contour how many (united) ones are around it; None for one that repeats another. united: whether
    contours that overlap were."""

    depths: tuple[int | None, ...]
    united: bool


class CombinedContours(NamedTuple):
    """rings: (n, 2) each in pixels, which exclusive or combines. others: those of the other reading, where contours lie
    so near each other that they may touch or overlap; else the same. united: whether contours that overlap were united.
    is_plain: whether the rings are the contours as they are."""

    rings: list[RingPoints]
    others: list[RingPoints]
    united: bool = False
    is_plain: bool = False


def combine(contours: Sequence[RingPoints], pixel_mm: RingPoints) -> CombinedContours:
    """Combine the contours of one plane.

    Args:
        contours: (n, 2) each, in pixels of the plane.
        pixel_mm: (2,) size of a pixel along both.

    Returns: rings.
    """
    plain = CombinedContours(rings := list(contours), rings, is_plain=True)
    if len(contours) == 1 or _are_apart(contours):
        return plain
    scaled = [shapely.LinearRing(contour * pixel_mm) for contour in contours]
    regions = [_to_region(ring) for ring in scaled]
    pairs = [(a, b) for a, b in shapely.STRtree(regions).query(regions, predicate="intersects").T.tolist() if a < b]
    if all(_is_well_within(regions[a], regions[b]) or _is_well_within(regions[b], regions[a]) for a, b in pairs):
        return plain
    one, other = (_nest(scaled, regions, pairs, TOUCH_MM * part) for part in (_JUST_LESS, _JUST_MORE))
    rings = _to_rings(_compose(regions, one), pixel_mm)
    others = rings if one == other else _to_rings(_compose(regions, other), pixel_mm)
    return CombinedContours(rings, others, one.united or other.united)


def _are_apart(contours: Sequence[RingPoints]) -> bool:
    """Whether the boxes of all contours lie apart."""
    low, high = (np.array([end(c, axis=0) for c in contours]) for end in (np.min, np.max))
    apart = np.asarray((low[:, None] > high[None]) | (high[:, None] < low[None])).any(axis=2)
    return bool((apart | np.eye(len(contours), dtype=bool)).all())


def _to_region(ring: Any) -> Any:
    """The even-odd inside of a ring that may cross itself, or run along itself. (`make_valid` is another rule.)"""
    polygon = shapely.Polygon(ring)
    if polygon.is_valid:
        return polygon
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(shapely.node(ring))))
    within = shapely.get_coordinates(shapely.point_on_surface(faces))
    return shapely.union_all(faces[shapely.contains_xy(polygon, within)])


def _list_polygons(region: Any) -> list[Any]:
    """The polygons of a geometry; lines and points among its parts have no inside."""
    parts = shapely.get_parts(shapely.get_parts(region))
    return [part for part in parts if part.geom_type == "Polygon"]


def _is_well_within(inner: Any, outer: Any) -> bool:
    return bool(inner.area < _MUCH_SMALLER * outer.area and outer.contains_properly(inner))


def _nest(rings: Sequence[Any], regions: Sequence[Any], pairs: Sequence[tuple[int, int]], touch_mm: float) -> _Nesting:
    """Find how deep each contour lies. pairs: the contours that meet."""
    edges = [ring.buffer(touch_mm) for ring in rings]
    around: list[set[int]] = [set() for _ in rings]
    group = list(range(len(rings)))
    repeated: set[int] = set()
    for a, b in sorted(pairs, key=lambda pair: (pair[1], pair[0])):
        relation = "" if a in repeated or b in repeated else _relate(b, a, rings, regions, edges)
        if relation == "same":
            repeated.add(b)
        elif relation == "within":
            around[b].add(a)
        elif relation == "around":
            around[a].add(b)
        elif relation == "overlapping":
            group = [group[a] if g == group[b] else g for g in group]
    return _find_depths(around, group, repeated)


def _find_depths(around: Sequence[set[int]], group: Sequence[int], repeated: set[int]) -> _Nesting:
    """Count the groups around each contour's group. around: of each contour. group: those of one number are united."""
    kept = [n for n in range(len(group)) if n not in repeated]
    outer: dict[int, set[int]] = {group[n]: set() for n in kept}
    for n in kept:
        outer[group[n]] |= {group[a] for a in around[n] - repeated} - {group[n]}
    depths = tuple(None if n in repeated else len(outer[g]) for n, g in enumerate(group))
    return _Nesting(depths, len(outer) < len(kept))


def _compose(regions: Sequence[Any], nesting: _Nesting) -> Any:
    """Unite, cut out and put back by depth."""
    region = shapely.Polygon()
    for depth in sorted({depth for depth in nesting.depths if depth is not None}):
        level = shapely.union_all([r for r, own in zip(regions, nesting.depths, strict=True) if own == depth])
        region = region.difference(level) if depth % 2 else region.union(level)
    return region


def _to_rings(region: Any, pixel_mm: RingPoints) -> list[RingPoints]:
    rings = [ring for part in _list_polygons(region) for ring in (part.exterior, *part.interiors)]
    return [shapely.get_coordinates(ring)[:-1] / pixel_mm for ring in rings]


def _relate(b: int, a: int, rings: Sequence[Any], regions: Sequence[Any], edges: Sequence[Any]) -> str:
    """Find how b lies to a, by where its boundary runs farther than TOUCH_MM from that of the other."""
    b_inside, b_outside = _find_sides(rings[b], regions[a], edges[a])
    a_inside, a_outside = _find_sides(rings[a], regions[b], edges[b])
    if (b_inside and b_outside) or (a_inside and a_outside) or (b_inside and a_inside):
        return "overlapping"
    shared = regions[a].intersection(regions[b]).area
    b_in_a, a_in_b = shared > regions[b].area / 2, shared > regions[a].area / 2
    if not b_outside and (b_inside or b_in_a):
        return "same" if not a_outside and a_in_b else "within"
    return "around" if not a_outside and (a_inside or a_in_b) else "apart"


def _find_sides(ring: Any, region: Any, edge: Any) -> tuple[bool, bool]:
    """Whether a boundary runs inside of a region, and outside of it, away from the region's edge."""
    away = ring.difference(edge)
    inside = away.intersection(region).length
    return inside > _NO_LENGTH_MM, away.length - inside > _NO_LENGTH_MM
