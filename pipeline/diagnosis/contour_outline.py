"""Take the outermost points of a contour: enough to draw one of its size, place and plane again, and not its shape.

Rules:
- The points are those that lie farthest along the axes and the diagonals of the patient, in the order of the contour, with
  the digits that stand in the file. Each lies on the convex hull, so they make a convex polygon in the contour's own plane.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_DIRECTIONS = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]], float
)


def outline(texts: Sequence[str]) -> list[list[str]]:
    """List the outermost points.

    Args:
        texts: x, y, z of every point, mm in LPS, as they are written.

    Returns: the points, each of three texts.
    """
    count = len(texts) // 3
    if not count:
        return []
    points = np.array(texts[: 3 * count], float).reshape(count, 3)
    along = points @ _DIRECTIONS.T
    kept = sorted({int(n) for n in [*along.argmin(0), *along.argmax(0)]})
    return [list(texts[3 * n : 3 * n + 3]) for n in kept]
