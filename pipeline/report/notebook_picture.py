"""Compose one picture of three cuts with the labels over them, for places that show pictures and run nothing.

Rules:
- It is a PNG, since notebooks, their exports and the sites that show them keep a picture where they drop drawings and scripts.
- All cuts have one scale and go through one voxel. A voxel is a box of whole pixels: nothing is smoothed.
- A label is tinted, with a rim of its own colour inside of its edge.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

from ..core.extras import imported
from ..volume.colour import SAMPLES
from ..volume.mask import Array, Segment
from .pictures import Cut, choose_cut, colour_of, map_to_bytes
from .views import Scene

_SIDE = 340  # pixels of the longest side of a cut: three beside each other fit a notebook
_GAP = 26  # pixels around a cut, where its letters stand
_LETTERS = 16  # pixels high
_PAPER = (17, 17, 17)
_INK = (255, 224, 138)
_EMPTY = 38  # grey behind a mask without an image
_TINT, _TINT_ALONE = 0.4, 0.75  # strength of a colour inside of its rim
_RIM = 2  # pixels
_CUTS = (2, 0, 1)  # axial, sagittal, coronal


def compose_picture(scene: Scene) -> bytes:
    """Draw the axial, the sagittal and the coronal cut beside each other, as a PNG.

    Args:
        scene: the block, its labels, and the image under them.

    Returns: the bytes of the file.

    Raises: PipelineError NO_NOTEBOOK_PACKAGE without Pillow.
    """
    pillow, drawing = imported("notebook", "PIL.Image"), imported("notebook", "PIL.ImageDraw")
    middle = scene.middle
    cuts = [choose_cut(scene.block, axis, middle[axis], scene.convention) for axis in _CUTS]
    scale = _SIDE / max(length for cut in cuts for length in (cut.width, cut.height))
    panes = [_draw_pane(scene, cut, scale) for cut in cuts]
    height = max(pane.shape[0] for pane in panes) + 2 * _GAP
    width = sum(pane.shape[1] + 2 * _GAP for pane in panes)
    picture = pillow.new("RGB", (width, height), _PAPER)
    pen, left = drawing.Draw(picture), 0
    for cut, pane in zip(cuts, panes, strict=True):
        rows, columns = pane.shape[:2]
        x, y = left + _GAP, (height - rows) // 2
        picture.paste(pillow.fromarray(pane), (x, y))
        _write_letters(pen, cut, (x, y, x + columns, y + rows))
        left += columns + 2 * _GAP
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _draw_pane(scene: Scene, cut: Cut, scale: float) -> Array:
    """Draw one cut, (rows, columns, 3) bytes. scale: pixels for each mm."""
    ijk = cut.ijk[_nearest(cut.ijk.shape[0], cut.height * scale)][:, _nearest(cut.ijk.shape[1], cut.width * scale)]
    behind = scene.source if scene.source is not None else (None if scene.segments else scene.block)
    grey: Array = np.full(ijk.shape[:2], _EMPTY, np.uint8)
    if behind is not None:
        values, inside = behind.seen_from(scene.block, ijk)
        grey = map_to_bytes(behind, scene.window, values)
        grey[~inside] = 0
    pixels: Array = grey if grey.ndim > 2 else np.repeat(grey[..., None], SAMPLES, axis=2)
    if scene.segments:
        _lay_labels(pixels, scene.block.at(ijk), scene.segments, _TINT_ALONE if behind is None else _TINT)
    return np.ascontiguousarray(pixels)


def _nearest(voxels: int, pixels: float) -> Array:
    """The voxel under the centre of each pixel along one side."""
    count = max(1, round(pixels))
    return ((np.arange(count) + 0.5) * voxels / count).astype(np.int64)


def _lay_labels(pixels: Array, labels: Array, segments: tuple[Segment, ...], tint: float) -> None:
    """Colour the labels in place: tinted, with a rim."""
    rim = _find_rim(labels)
    for segment in segments:
        inside = labels == segment.number
        colour = np.array(colour_of(segment), np.float32)
        pixels[inside] = ((1 - tint) * pixels[inside] + tint * colour).astype(np.uint8)
        pixels[inside & rim] = colour.astype(np.uint8)


def _find_rim(labels: Array) -> Array:
    """Which pixels have another label within the width of a rim; what lies beyond the picture is the background."""
    rim = np.zeros(labels.shape, bool)
    padded = np.pad(labels, _RIM)
    rows, columns = labels.shape
    for step in range(1, _RIM + 1):
        for down, across in ((step, 0), (-step, 0), (0, step), (0, -step)):
            rim |= padded[_RIM + down : _RIM + down + rows, _RIM + across : _RIM + across + columns] != labels
    return rim


def _write_letters(pen: Any, cut: Cut, box: tuple[int, int, int, int]) -> None:
    """Write what lies on each side of a cut. box: left, top, right and bottom of it, in pixels."""
    left, top, right, bottom = box
    font = imported("notebook", "PIL.ImageFont").load_default(_LETTERS)
    half, middle = _GAP / 2, ((left + right) / 2, (top + bottom) / 2)
    places = ((left - half, middle[1]), (right + half, middle[1]), (middle[0], top - half), (middle[0], bottom + half))
    for letter, place in zip(cut.letters, places, strict=True):
        pen.text(place, letter, fill=_INK, font=font, anchor="mm")
