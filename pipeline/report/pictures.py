"""Draw cuts through a block: a PNG of its voxels, outlines along voxel edges, letters and lengths.

Rules:
- One unit of a drawing is one mm, so every aspect ratio is the true one. Positions count from the outer edge of the
  first voxel drawn.
- An outline runs along the edges of voxels: it shows what is in the file, not a smooth guess of what was meant.
- Seen radiologically the patient's left is on the right of the picture; neurologically it is on the left. Sagittal
  cuts have the front on the left in both.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.extras import imported
from ..volume.colour import SAMPLES, to_samples
from ..volume.label_table import Colour
from ..volume.mask import Array, Segment
from .volume import Box, Volume

Convention = Literal["radiological", "neurological"]

# Okabe and Ito: colours that differ with every common kind of colour blindness. Without black, which is the background.
_PALETTE: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
NAMES = ("sagittal", "coronal", "axial")  # by the axis that is cut across
_BACKGROUND = 26  # grey behind a mask without an image: dark, but not the black of a picture without voxels
_AIR_HU = -900.0  # a CT with values below holds air, so that its numbers are Hounsfield units
SOFT_TISSUE_HU = (-160.0, 240.0)  # the usual window of an abdomen: width 400, level 40
_OUTERMOST = (1, 99)  # percentiles that are drawn black and white: single bright voxels do not darken the rest
_SAMPLES = 96  # voxels along each axis, about, that are looked at for the window, so that large volumes cost little
_LEAST_RANGE = 1e-6  # between black and white: an image of one value divides by it
_TINT, _FILL = 0.55, 0.8  # strength of a label's colour over an image, and over the plain background
_LONGEST_OUTLINE = 150_000  # characters of one picture; beyond it, labels are filled
_MOST_PIXELS = 768  # a side


@dataclass(frozen=True, slots=True)
class Cut:
    """The plane a picture shows. axis: of the volume, cut across at `index`. ijk: (rows, columns, 3) voxels it shows.

    axes: of the volume, that rows and columns count. size: (rows, columns) mm of one voxel. letters: what lies left,
    right, above and below.
    """

    name: str
    axis: int
    index: int
    ijk: NDArray[np.int64]
    axes: tuple[int, int]
    size: tuple[float, float]
    letters: tuple[str, str, str, str]

    @property
    def width(self) -> float:
        return float(self.ijk.shape[1] * self.size[1])

    @property
    def height(self) -> float:
        return float(self.ijk.shape[0] * self.size[0])

    def place(self, ijk: Sequence[int]) -> tuple[float, float]:
        """Find the (x, y) mm of a voxel's centre in the picture."""
        rows, columns = self.axes
        y = int(np.flatnonzero(self.ijk[:, 0, rows] == ijk[rows])[0])
        x = int(np.flatnonzero(self.ijk[0, :, columns] == ijk[columns])[0])
        return (x + 0.5) * self.size[1], (y + 0.5) * self.size[0]


@dataclass(frozen=True, slots=True)
class Picture:
    """A cut, drawn. png: a data URI. outlines: (colour, path in voxels, label). filled: outlines were too long.

    counts: how many voxels of it each label has, by its number.
    """

    cut: Cut
    png: str
    outlines: tuple[tuple[str, str, str], ...]
    filled: bool
    smooth: bool
    counts: Mapping[int, int]


def choose_cut(volume: Volume, axis: int, index: int, convention: Convention, box: Box | None = None) -> Cut:
    """Choose the voxels of a cut across an axis, in the order a picture shows them.

    Args:
        volume: the block to cut.
        axis: 0 sagittal, 1 coronal, 2 axial.
        index: of the plane, along that axis.
        convention: the side the patient's left is on.
        box: first and last index along each axis, both included; None for the whole block.

    Returns:
        The cut, with the letters of its four sides.
    """
    ranges = [np.arange(low, high + 1) for low, high in box or [(0, n - 1) for n in volume.voxels.shape]]
    columns, rows = {0: (1, 2), 1: (0, 2), 2: (0, 1)}[axis]
    across, down = ranges[columns], ranges[rows]
    ends = (("R", "L"), ("A", "P"), ("I", "S"))
    (left, right), (top, bottom) = ends[columns], ends[rows]
    if columns == 0 and convention == "neurological":
        across, (left, right) = across[::-1], (right, left)
    if rows == 2:
        down, (top, bottom) = down[::-1], (bottom, top)
    ijk = np.empty((len(down), len(across), 3), np.int64)
    ijk[..., axis], ijk[..., columns], ijk[..., rows] = index, across[None, :], down[:, None]
    size = (float(volume.spacing[rows]), float(volume.spacing[columns]))
    return Cut(NAMES[axis], axis, index, ijk, (rows, columns), size, (left, right, top, bottom))


def draw_cut(
    where: Cut,
    block: Volume,
    segments: Sequence[Segment],
    source: Volume | None = None,
    window: tuple[float, float] | None = None,
) -> Picture:
    """Draw a cut: the source where there is one, else the block itself, and the labels over it.

    Args:
        where: the cut, of `block`.
        block: of the proven file.
        segments: labels of the block; empty where the block is an image.
        source: the image under a mask, looked up at the block's voxels.
        window: the values (black, white) of what is grey; `window_of` it when None. Colours have none.

    Returns:
        The picture. Outlines that would be too long are left out, and the labels filled instead.
    """
    labels = block.at(where.ijk) if segments else None
    behind = source if source is not None else (None if segments else block)
    step = max(1, -(-max(where.ijk.shape[:2]) // _MOST_PIXELS))
    drawn = where.ijk[::step, ::step]
    shown = np.full(drawn.shape[:2], _BACKGROUND, np.uint8)
    if behind is not None:
        values, inside = behind.seen_from(block, drawn)
        shown = map_to_bytes(behind, window, values)
        shown[~inside] = 0
    counts = {} if labels is None else _count_labels(labels)
    outlines = () if labels is None else _trace_outlines(labels, [s for s in segments if s.number in counts])
    filled = sum(len(path) for _, path, _ in outlines) > _LONGEST_OUTLINE
    pixels = shown
    if labels is not None and (behind is None or filled):
        pixels = _fill(shown, labels[::step, ::step], segments, _FILL if behind is None else _TINT)
    return Picture(where, encode_png(pixels), () if filled else outlines, filled, behind is not None, counts)


def colour_of(segment: Segment) -> Colour:
    """Choose a segment's own colour, or one of a palette that colour-blind eyes can tell from each other."""
    return segment.colour or _PALETTE[(segment.number - 1) % len(_PALETTE)]


def hex_of(colour: Colour) -> str:
    """(230, 159, 0) -> #e69f00"""
    return "#" + "".join(f"{part:02x}" for part in colour)


def window_of(volume: Volume, modality: str = "") -> tuple[float, float]:
    """Choose the values (black, white), after slope and intercept: soft tissue for CT, else all but the outermost 1 %.

    A CT counts as one when it holds air: then its numbers are Hounsfield units. modality: "" where it is not known.
    Raises ValueError for colours, which have no window.
    """
    if volume.is_colour:
        raise ValueError("colours have no window")
    steps = tuple(slice(None, None, max(1, n // _SAMPLES)) for n in volume.voxels.shape)
    some = volume.voxels[steps].astype(np.float64) * volume.slope + volume.intercept
    some = some[np.isfinite(some)]
    if modality in ("CT", "") and some.size and some.min() <= _AIR_HU:
        return SOFT_TISSUE_HU
    low, high = np.percentile(some, _OUTERMOST) if some.size else (0.0, 1.0)
    return float(low), float(max(high, low + _LEAST_RANGE))


def encode_png(pixels: Array) -> str:
    """Encode (rows, columns) grey or (rows, columns, 3) RGB bytes as a PNG data URI."""
    stream = BytesIO()
    imported("report", "PIL.Image").fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(stream.getvalue()).decode("ascii")


def map_to_bytes(volume: Volume, window: tuple[float, float] | None, values: Array) -> Array:
    """Map stored values to bytes between the window's ends; colours are theirs already.

    Args:
        volume: whose slope and intercept apply.
        window: the values (black, white), after slope and intercept; `window_of` the volume when None.
        values: stored values of the volume, of any shape.

    Returns:
        uint8 of the same shape; of colours with a last axis of red, green and blue.
    """
    if volume.is_colour:
        return to_samples(values)
    return _apply_window(volume, values, window).astype(np.uint8)


def _apply_window(volume: Volume, values: Array, window: tuple[float, float] | None) -> Array:
    low, high = window or window_of(volume)
    real = values.astype(np.float32) * np.float32(volume.slope) + np.float32(volume.intercept)
    shown: Array = np.clip((np.nan_to_num(real, nan=low) - low) / (high - low), 0, 1) * 255
    return shown


def _fill(shown: Array, labels: Array, segments: Sequence[Segment], strength: float) -> Array:
    pixels = (shown if shown.ndim > labels.ndim else np.repeat(shown[..., None], SAMPLES, axis=2)).astype(np.float32)
    for segment in segments:
        inside = labels == segment.number
        pixels[inside] = (1 - strength) * pixels[inside] + strength * np.array(colour_of(segment), np.float32)
    return pixels.astype(np.uint8)


def _trace_outlines(labels: Array, segments: Sequence[Segment]) -> tuple[tuple[str, str, str], ...]:
    return tuple((hex_of(colour_of(s)), trace_edges(labels == s.number), s.name) for s in segments)


def _count_labels(labels: Array) -> dict[int, int]:
    found, counts = np.unique(labels, return_counts=True)
    return {int(number): int(count) for number, count in zip(found, counts, strict=True) if number}


def trace_edges(inside: NDArray[np.bool_]) -> str:
    """Trace the edges of the voxels that are inside as an SVG path; one unit is one voxel."""
    padded = np.pad(inside, 1)
    parts = [f"M{a} {n}H{b}" for n, a, b in _find_runs(padded[1:] != padded[:-1])]
    parts += [f"M{n} {a}V{b}" for n, a, b in _find_runs((padded[:, 1:] != padded[:, :-1]).T)]
    return "".join(parts)


def _find_runs(lines: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Find (line, start, end) of every run of True; lines are padded by one on both sides."""
    found = []
    for n in np.flatnonzero(lines.any(axis=1)):
        turns = np.flatnonzero(np.diff(lines[n].astype(np.int8)))
        found += [(int(n), int(a), int(b)) for a, b in turns.reshape(-1, 2)]
    return found


def segments_of(labels: Sequence[Mapping[str, Any]]) -> tuple[Segment, ...]:
    """Read the segments of a record's Labels."""
    return tuple(
        Segment(int(s["Value"]), str(s["Name"]), tuple(s["Colour"]) if s.get("Colour") else None) for s in labels
    )
