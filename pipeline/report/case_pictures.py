"""Draw the small pictures of a case: its image with the outlines of its masks, as WebP data URIs.

Rules:
- All cuts go through the middle of all masks: a close one for the row, and three of the whole image.
- A pixel is square in mm. Grey is averaged where pixels are larger than voxels; an outline follows the voxels of the mask.
- What was drawn is kept in a folder, by the SHA-256 of all that it was drawn from, and never drawn a second time.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.atomic_file import in_place
from ..core.extras import imported
from ..core.json_file import read_json
from ..core.version import __version__
from ..nifti.file import read_header, read_planes
from ..nifti.header import require_affine
from ..volume.label_table import Colour
from ..volume.mask import Array
from .pictures import choose_cut, map_to_bytes, window_of
from .volume import Box, Volume, middle_plane, read_volume

_DRAWING = 1  # goes up when the same files are drawn in another way
_SMALL, _LARGE = 144, 288  # pixels of the longer side: of the row's picture, and of each of the three cuts
_QUALITY = 55  # of WebP: grain of the image goes, outlines stay
_MARGIN_MM = 20.0  # around the masks in the row's picture, so that one sees what they lie in
_BACKGROUND = 26  # grey behind masks without an image, as in `pictures`
_AXIAL = 2
_VIEWS = (_AXIAL, 0, 1)  # axial, sagittal, coronal, as on the page of one record


class MaskFile(NamedTuple):
    """One mask to outline. value: of its voxels, None for all that are not 0. digest: SHA-256 of the file."""

    path: Path
    digest: str
    value: int | None
    colour: Colour


class ImageFile(NamedTuple):
    """The image under the masks. digest: SHA-256 of the file. modality: (0008,0060), "" where it is not known."""

    path: Path
    digest: str
    modality: str


class SmallPicture(NamedTuple):
    """A picture. webp: a data URI. width, height: pixels. view: its plane. letters: what lies left, right, above and below."""

    webp: str
    width: int
    height: int
    view: str
    letters: tuple[str, ...]


class CasePictures(NamedTuple):
    """The pictures of one case. row: close to the masks. cuts: axial, sagittal and coronal, whole."""

    row: SmallPicture
    cuts: tuple[SmallPicture, ...]


_Outlined = tuple[
    Volume, list[tuple[int | None, Colour]]
]  # a file cut down to what is filled, and what of it is outlined


def draw_case(image: ImageFile | None, masks: Sequence[MaskFile], kept: Path | None) -> tuple[CasePictures, str]:
    """Draw a case, or take what was drawn of the same files before.

    Args:
        image: that the masks lie on, or None.
        masks: to outline; all on one background where there is no image.
        kept: the folder of what was drawn; nothing is kept where it is None.

    Returns:
        The pictures, and the name of the file they are kept in.

    Raises:
        PipelineError: a file is no NIfTI file that can be read, or CANNOT_WRITE.
        ValueError: there is neither image nor mask.
    """
    name = f"{_digest_of(image, masks)}.json"
    place = None if kept is None else kept / name
    if place is not None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return _from_json(read_json(place)), name
    drawn = _draw(image, masks)
    if place is not None:
        with in_place(place, overwrite=True) as part:
            part.write_text(json.dumps(drawn), "utf-8")
    return drawn, name


def _digest_of(image: ImageFile | None, masks: Sequence[MaskFile]) -> str:
    drawn_from = [
        [__version__, _DRAWING, _SMALL, _LARGE, _QUALITY],
        image and [image.digest, image.modality],
        [[mask.digest, mask.value, mask.colour] for mask in masks],
    ]
    return sha256(json.dumps(drawn_from).encode()).hexdigest()


def _from_json(values: Any) -> CasePictures:
    row, cuts = values
    return CasePictures(SmallPicture(*row), tuple(SmallPicture(*cut) for cut in cuts))


def _draw(image: ImageFile | None, masks: Sequence[MaskFile]) -> CasePictures:
    base = _base_of(image, masks)
    wanted: dict[Path, list[tuple[int | None, Colour]]] = {}
    for mask in masks:
        wanted.setdefault(mask.path, []).append((mask.value, mask.colour))
    outlined = [(volume, labels) for path, labels in wanted.items() if (volume := _read_filled(path)) is not None]
    filled = _count_filled(base, [volume for volume, _ in outlined])
    middle = [middle_plane(counts) for counts in filled]
    window = None if image is None or base.is_colour else window_of(base, image.modality)
    grey = image is not None
    close = _close_box(base, filled)
    row = _draw_cut(base, _AXIAL, middle[_AXIAL], close, outlined, window, grey, _SMALL)
    cuts = (_draw_cut(base, axis, middle[axis], None, outlined, window, grey, _LARGE) for axis in _VIEWS)
    return CasePictures(row, tuple(cuts))


def _base_of(image: ImageFile | None, masks: Sequence[MaskFile]) -> Volume:
    """The block that is cut: the image, or an empty one on the grid of the first mask."""
    if image is not None:
        return read_volume(image.path)
    if not masks:
        raise ValueError("there is nothing to draw")
    header = require_affine(read_header(masks[0].path), masks[0].path.name)
    return Volume.of(np.broadcast_to(np.uint8(0), header.space), header.affine)


def _read_filled(path: Path) -> Volume | None:
    """Read a mask, cut down to the voxels that are not 0; None where all are."""
    header = require_affine(read_header(path), path.name)
    planes = islice(read_planes(path), header.space[2])
    filled = {k: plane for k, plane in enumerate(planes) if plane.any()}
    if not filled:
        return None
    first = min(filled)
    block = np.zeros((max(filled) + 1 - first, *filled[first].shape), filled[first].dtype)
    for k, plane in filled.items():
        block[k - first] = plane
    rows, columns = (np.flatnonzero((block != 0).any(axis=axes)) for axes in ((0, 2), (0, 1)))
    block = block[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ras = header.affine.copy()
    ras[:3, 3] += ras[:3, :3] @ (columns[0], rows[0], first)
    return Volume.of(block.transpose(2, 1, 0), ras)


def _count_filled(base: Volume, masks: Sequence[Volume]) -> list[NDArray[np.float64]]:
    """Count the voxels of masks in each plane of the base, along each axis. A mask on another grid has no say."""
    counts = [np.zeros(n) for n in base.voxels.shape]
    for mask in masks:
        to_base = np.linalg.inv(base.ras) @ mask.ras
        first = np.rint(to_base[:3, 3]).astype(int)
        if not np.allclose(to_base[:3, :3], np.eye(3), atol=1e-3):
            continue
        inside = mask.voxels != 0
        for axis, along in enumerate(counts):
            others = tuple(a for a in range(3) if a != axis)
            here = first[axis] + np.arange(mask.voxels.shape[axis])
            within = (here >= 0) & (here < len(along))
            along[here[within]] += inside.sum(axis=others)[within]
    return counts


def _close_box(base: Volume, filled: Sequence[NDArray[np.float64]]) -> Box | None:
    """The masks with a margin, made as square across the axial axis as the base allows; None where there are none."""
    if not filled[0].any():
        return None
    extents = [np.flatnonzero(counts)[[0, -1]] for counts in filled]
    lengths = [
        (high - low + 1) * step + 2 * _MARGIN_MM for (low, high), step in zip(extents, base.spacing, strict=True)
    ]
    side = max(lengths[:2])
    found = []
    for (low, high), step, count in zip(extents, base.spacing, base.voxels.shape, strict=True):
        wanted = min(int(np.ceil(side / step)), count)
        start = min(max(int(low + high + 1 - wanted) // 2, 0), count - wanted)
        found.append((start, start + wanted - 1))
    return found[0], found[1], found[2]


def _draw_cut(
    base: Volume,
    axis: int,
    index: int,
    box: Box | None,
    masks: Sequence[_Outlined],
    window: tuple[float, float] | None,
    grey: bool,
    side: int,
) -> SmallPicture:
    """Draw one cut with square pixels, `side` of them along its longer side."""
    cut = choose_cut(base, axis, index, "radiological", box)
    scale = side / max(cut.width, cut.height)
    width, height = (max(1, round(length * scale)) for length in (cut.width, cut.height))
    shown = map_to_bytes(base, window, base.at(cut.ijk)) if grey else np.full(cut.ijk.shape[:2], _BACKGROUND, np.uint8)
    pictures = imported("report", "PIL.Image")
    drawn = (
        pictures.fromarray(np.ascontiguousarray(shown)).convert("RGB").resize((width, height), pictures.Resampling.BOX)
    )
    pixels = np.array(drawn)
    rows, columns = (
        (np.arange(n) * count + count // 2) // n for n, count in zip((height, width), cut.ijk.shape, strict=False)
    )
    places = cut.ijk[rows][:, columns]
    for volume, labels in masks:
        values, inside = volume.seen_from(base, places)
        for value, colour in labels:
            pixels[_edge_of(inside & (values != 0 if value is None else values == value))] = colour
    return SmallPicture(_encode(pixels), width, height, cut.name, cut.letters)


def _edge_of(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels on both sides of the edge of a region; the border of the picture is none."""
    padded = np.pad(inside, 1, mode="edge")
    neighbours = (padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1])
    return np.asarray(np.logical_or.reduce([inside != neighbour for neighbour in neighbours]))


def _encode(pixels: Array) -> str:
    """Encode (rows, columns, 3) bytes as a WebP data URI; as PNG where this Pillow was built without WebP."""
    kind = "webp" if imported("report", "PIL.features").check("webp") else "png"
    stream = BytesIO()
    picture = imported("report", "PIL.Image").fromarray(pixels)
    picture.save(stream, kind.upper(), quality=_QUALITY, method=4)
    return f"data:image/{kind};base64,{b64encode(stream.getvalue()).decode('ascii')}"
