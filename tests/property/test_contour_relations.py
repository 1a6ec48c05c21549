"""The relations of contours are those of comparing everything with everything, and take work linear in the points."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.decode.rtstruct import contours, edge_tree
from pipeline.decode.rtstruct.contours import arrange
from pipeline.decode.rtstruct.edge_tree import EdgeTree
from tests.helpers import slow_contours
from tests.helpers.contour_shapes import KINDS, Polygons, comb, zigzag
from tests.helpers.rtphantom import ellipse


@pytest.fixture(params=[1 << 18, 256], ids=["one tile", "many tiles"])
def tile(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_tree, "_TILE", request.param)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.strip("_"))
@pytest.mark.usefixtures("tile")
def test_every_arrangement_is_that_of_the_rule_alone(kind: Callable[[np.random.Generator], Polygons]) -> None:
    for seed in range(25):
        r = np.random.default_rng(seed)
        polygons, tolerance, scale = kind(r), float(r.choice([0.02, 0.02, 0.5, 0.001])), r.choice([1, 1, 0.7, 1.3], 2)
        found = arrange(polygons, tolerance, tuple(scale))
        expected = slow_contours.arrange([p * scale for p in polygons], tolerance)
        assert (found.depth, found.overlapping, found.crossed) == expected, f"seed {seed}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.strip("_"))
@pytest.mark.usefixtures("tile")
def test_every_point_is_held_and_touched_as_by_the_rule_alone(kind: Callable[[np.random.Generator], Polygons]) -> None:
    for seed in range(10):
        r = np.random.default_rng(seed)
        polygons = kind(r)
        tree = EdgeTree.of(polygons[0])
        points = np.concatenate([*polygons, r.uniform(-2, 22, (50, 2)), r.integers(-2, 22, (50, 2))])
        assert (tree.holds(points) == slow_contours.inside(polygons[0], points)).all(), f"seed {seed}"
        assert (tree.touches(points, 0.02) == (slow_contours.distance(polygons[0], points) <= 0.02)).all(), (
            f"seed {seed}"
        )


# What a sweep or a grid finds hard, each of about as many points as are asked for.
WORST: dict[str, Callable[[int], Polygons]] = {
    "nested": lambda n: [ellipse(0, 0, 200, 150, n // 2), ellipse(0, 0, 150, 100, n // 2)],
    "nearly touching": lambda n: [ellipse(0, 0, 200, 150, n // 2), ellipse(0, 0, 199.9, 149.9, n // 2)],
    "touching": lambda n: [ellipse(0, 0, 200, 150, n // 2), ellipse(0, 0, 199.99, 149.99, n // 2)],
    "the same": lambda n: [ellipse(0, 0, 200, 150, n // 2), ellipse(0, 0, 200, 150, n // 2)],
    "interleaved combs": lambda n: [comb(n // 8, 1, 200), comb(n // 8, 1, 200) * (1, -1) + (0.5, 201)],
    "zigzags": lambda n: [zigzag(n // 4, 0.5, 200), zigzag(n // 4, 0.5, 200) + np.array((0, 0.2))],
    "islands": lambda n: [
        ellipse(0, 0, 900, 900, n // 2),
        *(ellipse(6 * (k % 20) - 60, 6 * (k // 20) - 60, 1, 1, 8) for k in range(n // 16)),
    ],
}


@pytest.mark.parametrize("name", WORST)
def test_the_work_is_linear_in_the_points(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0
    plain = edge_tree._open

    def count(*args: Any) -> Any:
        nonlocal opened
        opened += len((found := plain(*args))[0])
        return found

    monkeypatch.setattr(edge_tree, "_open", count)
    work = []
    for points in (1600, 6400):
        opened = 0
        arrange(WORST[name](points), 0.02)
        work.append(opened / points)
    assert max(work) < 400, "boxes compared for each point; with all edges it would be thousands"
    assert work[1] < 1.5 * work[0] + 10, "four times the points, four times the work"


@pytest.mark.parametrize("name", ["nested", "the same", "interleaved combs"])
def test_memory_is_linear_in_the_points(name: str) -> None:
    polygons = WORST[name](20_000)
    tracemalloc.start()
    arrange(polygons, 0.02)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20, "all points against all edges would take 800 MB for each number"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.strip("_"))
def test_pixels_are_the_same_in_blocks_of_edges(
    kind: Callable[[np.random.Generator], Polygons], monkeypatch: pytest.MonkeyPatch
) -> None:
    polygons = kind(np.random.default_rng(5))
    row, column = np.indices((23, 31))
    centres = np.stack([column.ravel(), row.ravel()], 1).astype(float)
    for polygon in polygons:
        whole = contours.raster(polygon, row.shape)
        monkeypatch.setattr(contours, "_BLOCK", 7)
        assert (contours.raster(polygon, row.shape) == whole).all()
        monkeypatch.undo()
        clear = slow_contours.distance(polygon, centres) > 1e-6
        assert (whole.ravel() == slow_contours.inside(polygon, centres))[clear].all()
