"""Planes full of polygons, made from a seed: every way in which contours nest, touch, cross, repeat or degenerate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.helpers.rtphantom import ellipse, rectangle

Polygons = list[NDArray[np.float64]]
Random = np.random.Generator
GAPS = (0, 0.005, 0.019, 0.02, 0.021, 0.03, 0.1, 1)  # mostly around the tolerance of 0.02


def comb(teeth: int, pitch: float = 1.0, height: float = 6.0) -> NDArray[np.float64]:
    """Teeth upwards from a back one below 0."""
    u = np.repeat(np.arange(teeth) * pitch, 4) + np.tile((0, 0, 0.4, 0.4), teeth) * pitch
    v = np.tile((0, height, height, 0), teeth)
    return np.concatenate([np.stack([u, v], 1), [(teeth * pitch, -1), (0, -1)]])


def zigzag(count: int, pitch: float = 0.5, height: float = 8.0, width: float = 0.1) -> NDArray[np.float64]:
    """A band of a zigzag and its own copy, one width higher."""
    line = np.stack([np.arange(count) * pitch, np.arange(count) % 2 * height], 1)
    return np.concatenate([line, line[::-1] + np.array((0, width))])


def spikes(count: int, inner: float, outer: float, r: Random) -> NDArray[np.float64]:
    """A star whose edges run in all directions."""
    angle, radius = np.arange(count) * 2 * np.pi / count, r.uniform(inner, outer, count)
    return 10 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def _lattice(r: Random, points: int, size: int, parts: int) -> NDArray[np.float64]:
    return r.integers(0, size * parts, (points, 2)) / parts


def _few_points(r: Random) -> Polygons:
    return [_lattice(r, r.integers(3, 12), 12, 4) for _ in range(r.integers(1, 5))]


def _on_a_lattice(r: Random) -> Polygons:
    return [_lattice(r, r.integers(3, 40), 6, 1) for _ in range(r.integers(1, 4))]


def _rings(r: Random) -> Polygons:
    gap, count = r.choice(GAPS), r.integers(5, 120)
    return [ellipse(10, 10, 8, 6, count), ellipse(10, 10, 8 - gap, 6 - gap, r.choice([count, r.integers(3, 120)]))]


def _shared_edges(r: Random) -> Polygons:
    one = _lattice(r, r.integers(4, 30), 12, 4)
    part = np.concatenate([one[: r.integers(1, len(one))], _lattice(r, r.integers(1, 6), 12, 4)])
    return [one, part, np.roll(one, r.integers(0, len(one)), axis=0)[:: r.choice([1, -1])]]


def _combs(r: Random) -> Polygons:
    by = np.array((r.choice([0.2, 0.4, 0.41, 0.42, 0.45, 0.5]), r.choice([-0.5, 0.01, 0.02, 0.03, 0.5, 8])))
    return [comb(r.integers(2, 20)), (comb(r.integers(2, 20)) + by) * r.choice([1, -1], 2) + r.choice([0, 6], 2)]


def _islands(r: Random) -> Polygons:
    large = ellipse(20, 20, 19, 19, r.integers(20, 200))
    tiny = [
        ellipse(*r.uniform(3, 37, 2), *r.uniform(0.05, 1.5, 2), r.integers(3, 12)) for _ in range(r.integers(2, 30))
    ]
    both = [large, *tiny]
    return [both[n] for n in r.permutation(len(both))]


def _zigzags(r: Random) -> Polygons:
    width = r.choice([0.01, 0.02, 0.03, 0.2, 1])
    one = zigzag(r.integers(3, 60), width=width)
    other = one + np.array((r.choice([0, 0.1, 0.25]), r.choice([width, width + 0.01, width + 0.03, 2 * width, 1])))
    angle = r.choice([0, np.pi / 4, 0.3, np.pi / 2])
    turned = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return [np.round(p @ turned, 6) for p in (one, other)]


def _doubled_points(r: Random) -> Polygons:
    one = ellipse(6, 6, 5, 4, r.integers(3, 50))
    doubled = one[np.sort(r.integers(0, len(one), 2 * len(one)))]
    return [np.round(p, r.integers(0, 7)) for p in (doubled, one, ellipse(6, 6, 3, 2, 9))]


def _spiky(r: Random) -> Polygons:
    one = spikes(r.integers(5, 200), 3, 8, r)
    return [one, (one - 10) * r.choice([0.5, 0.99, 0.999, 1, 1.01]) + 10 + r.choice([0, 0, 0.01])]


def _degenerate(r: Random) -> Polygons:
    line = np.stack([np.arange(5.0), np.full(5, 3.0)], 1)
    return [
        line,
        _lattice(r, 5, 12, 4),
        np.repeat(_lattice(r, 1, 12, 4), 4, axis=0),
        line + np.array((1, 0)),
        rectangle(0, 5, 3, 4),
    ]


def _keyholes(r: Random) -> Polygons:
    outline = [(0, 0), (12, 0), (12, 10), (0, 10), (0, 5), (3, 5), (3, 8), (9, 8), (9, 3), (3, 3), (3, 5), (0, 5)]
    keyhole = np.array(outline, float)
    (u, v), (width, height) = r.integers(-2, 10, 2), r.integers(1, 10, 2)
    other = rectangle(u, u + width, v, v + height) + r.choice([0, 0.01, 0.02, 0.03, 0.5])
    return [keyhole, other, keyhole[::-1] + r.choice([0, 0.01, 3])]


def _scribbles(r: Random) -> Polygons:
    return [
        r.normal(size=(r.integers(3, 150), 2)) * 5,
        np.round(np.cumsum(r.normal(size=(r.integers(3, 300), 2)), 0), 2),
    ]


KINDS: tuple[Callable[[Random], Polygons], ...] = (
    _few_points,
    _on_a_lattice,
    _rings,
    _shared_edges,
    _combs,
    _islands,
    _zigzags,
    _doubled_points,
    _spiky,
    _degenerate,
    _keyholes,
    _scribbles,
)
