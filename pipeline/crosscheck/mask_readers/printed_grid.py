"""Read the grid that image planes span from their headers, for a reader that shares no geometry with the rest of us.

Rules:
- Position, orientation and spacing are taken as they are printed (PS3.3 C.7.6.2), or from the functional groups of a
  multi-frame image (PS3.3 C.7.6.16). A plane that prints none is refused.
- The planes are taken in the order in which they are given. The step is the least-squares line through their positions.
- `slack` is what the printed numbers leave open: how far planes lie by their own equations from the one grid, and how
  far right-angled axes would move a corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TAGS = [
    "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SpacingBetweenSlices", "SliceThickness", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
}
_COUNTS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}


@dataclass(frozen=True, slots=True, eq=False)
class PrintedGrid:
    """lps: 4 x 4, index (i, j, k) to LPS mm. shape: columns, rows, planes. steps_mm: (3,) between neighbouring planes of
    each index, square to them. slack: (3,) in voxels, how far the printed numbers leave a place open along i, j and k."""

    lps: NDArray[np.float64]
    shape: tuple[int, int, int]
    steps_mm: NDArray[np.float64]
    slack: NDArray[np.float64]


def read_printed_grid(files: Sequence[str], frame_numbers: Sequence[int], limit_mm: float) -> PrintedGrid:
    """Read the grid of planes in their order.

    Args:
        files: of each plane.
        frame_numbers: from 1, of each plane in its file.
        limit_mm: axes that would have to move a corner farther to be at right angles are so by intent, as of a tilt.

    Returns: the grid (LPS, mm).

    Raises: ValueError where planes print no place, are of several sizes, or stand at one position.
    """
    import pydicom

    headers = {file: pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS) for file in set(files)}
    sizes = {(int(header.Columns), int(header.Rows)) for header in headers.values()}
    if len(sizes) != 1:
        raise ValueError(f"the planes of the source are of {len(sizes)} sizes")
    columns, rows = sizes.pop()
    printed = {name: _read_all(headers, files, frame_numbers, name) for name in _GROUPS}
    position, cosines, spacing = (printed[name] for name in _GROUPS)
    # Pixel Spacing is that between rows first; a column is one step along the row's cosines.
    along_i, along_j = cosines[:, :3] * spacing[:, 1:], cosines[:, 3:] * spacing[:, :1]
    lps: NDArray[np.float64] = np.eye(4)
    lps[:3, 0], lps[:3, 1] = along_i.mean(axis=0), along_j.mean(axis=0)
    lps[:3, 2] = _fit_step(position, lps, headers[files[0]])
    lps[:3, 3] = position.mean(axis=0) - (len(files) - 1) / 2 * lps[:3, 2]
    to_index = np.asarray(np.linalg.inv(lps), np.float64)
    shape = (columns, rows, len(files))
    return PrintedGrid(
        lps,
        shape,
        1 / np.linalg.norm(to_index[:3, :3], axis=1),
        _measure_own(to_index, position, along_i, along_j, shape) + _measure_skew(lps, to_index, shape, limit_mm),
    )


def _read_all(
    headers: dict[str, Any], files: Sequence[str], frame_numbers: Sequence[int], name: str
) -> NDArray[np.float64]:
    """Read one attribute of every plane, (planes, values)."""
    return np.array([_read_one(headers[f], n, name) for f, n in zip(files, frame_numbers, strict=True)], float)


def _read_one(header: Any, number: int, name: str) -> list[float]:
    frames = header.get("PerFrameFunctionalGroupsSequence")
    shared = header.get("SharedFunctionalGroupsSequence")
    if frames or shared:
        groups = [frames[number - 1]] if frames else []
        groups += [shared[0]] if shared else []
        found = next((group[_GROUPS[name]][0].get(name) for group in groups if group.get(_GROUPS[name])), None)
    elif number != 1 or int(header.get("NumberOfFrames") or 1) != 1:
        raise ValueError("it places frames of a multi-frame image by their functional groups only")
    else:
        found = header.get(name)
    values = [float(value) for value in found or ()]
    if len(values) != _COUNTS[name] or not np.isfinite(values).all():
        raise ValueError(f"a plane of the source has no {name} of {_COUNTS[name]} numbers")
    return values


def _fit_step(position: NDArray[np.float64], lps: NDArray[np.float64], header: Any) -> NDArray[np.float64]:
    """(3,) mm from one plane to the next. A single plane has none: then that of its tags, along its normal."""
    normal = np.cross(lps[:3, 0], lps[:3, 1])
    normal /= np.linalg.norm(normal)
    if len(position) == 1:
        tags = (header.get("SpacingBetweenSlices"), header.get("SliceThickness"))
        step: NDArray[np.float64] = normal * next((abs(float(tag)) for tag in tags if tag), 1.0)
    else:
        k = np.arange(len(position)) - (len(position) - 1) / 2
        step = k @ position / (k @ k)
    if not abs(float(step @ normal)) > 0:
        raise ValueError("the planes of the source stand at one position")
    return step


def _measure_own(
    to_index: NDArray[np.float64],
    position: NDArray[np.float64],
    along_i: NDArray[np.float64],
    along_j: NDArray[np.float64],
    shape: tuple[int, int, int],
) -> NDArray[np.float64]:
    """(3,) voxels, the most by which a corner of a plane lies, by its own equation, from its index on the grid."""
    worst = np.zeros(3)
    for i, j in ((0, 0), (shape[0] - 1, 0), (0, shape[1] - 1), (shape[0] - 1, shape[1] - 1)):
        corner = (position + i * along_i + j * along_j) @ to_index[:3, :3].T + to_index[:3, 3]
        corner -= np.stack([np.full(len(position), i), np.full(len(position), j), np.arange(len(position))], axis=1)
        worst = np.maximum(worst, np.abs(corner).max(axis=0))
    return worst


def _measure_skew(
    lps: NDArray[np.float64], to_index: NDArray[np.float64], shape: tuple[int, int, int], limit_mm: float
) -> NDArray[np.float64]:
    """(3,) voxels by which the nearest right-angled axes would move a corner; none where they are not meant to be so."""
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    u, _, vt = np.linalg.svd(lps[:3, :3] / spacing)
    change = np.abs((u @ vt) * spacing - lps[:3, :3])
    half = (np.array(shape) - 1) / 2
    moved_mm = change @ half
    if np.linalg.norm(moved_mm) > limit_mm:
        return np.zeros(3)
    return np.asarray(np.abs(to_index[:3, :3]) @ moved_mm)
