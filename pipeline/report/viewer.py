"""Embed the live viewer in a page: NiiVue's script and the volumes it shows.

Rules:
- The mask is the proven file, byte for byte (gzipped where it was not). The image under it is for the eye: on the mask's
  voxels, with the values it stores, and every second or third voxel where it is large; the page says so.
- NiiVue comes from npm into `viewer/` by `make viewer`, is packed into the wheel, and is never fetched by a page.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.findings import Code, refuse
from ..core.plain_text import escape_controls
from ..core.regular_file import read_bytes
from ..geometry.affine import Matrix, corner_distance
from ..nifti import file as nifti
from ..nifti.header import require_affine
from ..volume.mask import Array, Segment, Voxels
from .pictures import SOFT_TISSUE_HU, colour_of
from .views import Scene
from .volume import Volume

SCRIPT = Path(__file__).parent / "viewer" / "niivue.js"
_MOST_VOXELS = 16_000_000  # of the image in a page, so that the page stays small enough to open and to send
_ORDINAL = {2: "second", 3: "third"}
_LIMIT_MM = 1e-2  # of the header of the thinned image, which is for the eye only
_SAME_MM = 1e-3  # two grids whose voxels lie as near to each other are one
_LEAST_WIDTH = 1e-6  # of a window, as part of the range of the values
_HU_WINDOWS = (("lung", -1350.0, 150.0), ("bone", -450.0, 1050.0), ("brain", 0.0, 80.0))  # low and high, as usual
_STEPS = 65535  # that values are shown in which no whole number of 16 bits holds


class Preset(NamedTuple):
    """A window to choose. low, high: the values that are black and white."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Embedded:
    """script: NiiVue. data: JSON for the page's own script. note: what was left out of the image, "" where nothing was.

    has_image: whether there is something under the mask, or nothing else. presets: of grey images.
    """

    script: str
    data: str
    note: str
    has_image: bool
    presets: tuple[Preset, ...]


def embed_viewer(file: Path, scene: Scene, centroids: Mapping[int, Sequence[float] | None]) -> Embedded:
    """Collect all that the viewer needs.

    Args:
        file: the proven NIfTI file.
        scene: what the page's pictures show of it.
        centroids: of the labels by number, RAS mm; None for an empty label.

    Returns:
        Script and data of the page.

    Raises:
        PipelineError: NO_VIEWER where NiiVue was not installed.
    """
    script = _read_script()
    affine = require_affine(nifti.read_header(file), file.name).affine
    volumes: list[dict[str, Any]] = []
    note, reach = "", (0.0, 1.0)
    presets: tuple[Preset, ...] = ()
    image = scene.source or (None if scene.segments else scene.block)
    if image is not None:
        entry, note, reach = _embed_image(image, scene.block)
        volumes.append(entry)
        presets = _list_presets(scene.window, reach)
    if scene.segments:
        base64, labels = _encode(_read_gzipped(file)), _tabulate_labels(scene.segments)
        volumes.append({"name": "mask.nii.gz", "base64": base64, "labels": labels, "affine": affine[:3].tolist()})
    data = {
        "volumes": volumes,
        "radiological": scene.convention == "radiological",
        "at": (scene.block.ras @ np.array([*scene.middle, 1.0]))[:3].tolist(),
        "inverse": np.linalg.inv(affine)[:3].tolist(),
        "centroids": {str(number): at for number, at in centroids.items() if at is not None},
        "window": scene.window if presets else None,
        "range": reach,
        "leastWidth": max((reach[1] - reach[0]) * _LEAST_WIDTH, _LEAST_WIDTH),
        "unit": " HU" if scene.window == SOFT_TISSUE_HU else "",
    }
    # In a script element, "<" could begin the tag that ends it. In JSON it stands in strings only, which allow the escape.
    return Embedded(script, json.dumps(data).replace("<", "\\u003c"), note, image is not None, presets)


def _list_presets(window: tuple[float, float] | None, reach: tuple[float, float]) -> tuple[Preset, ...]:
    if window is None:
        return ()
    usual = tuple(Preset(*one) for one in _HU_WINDOWS) if window == SOFT_TISSUE_HU else ()
    first = "soft tissue" if usual else "as in the pictures"
    return (Preset(first, *window), *usual, Preset("all values", *reach))


def _read_script() -> str:
    try:
        script = SCRIPT.read_text("utf-8")
    except OSError as error:
        raise refuse(
            Code.NO_VIEWER,
            "the live viewer (NiiVue) is not part of this installation",
            "In a checkout, `make viewer` fetches it from npm; a released wheel has it. The page without "
            "--interactive needs nothing more.",
            where=(SCRIPT.name,),
        ) from error
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _tabulate_labels(segments: tuple[Segment, ...]) -> dict[str, Any]:
    """Make NiiVue's table of label colours; 0 is clear."""
    colours = [colour_of(s) for s in segments]
    return {
        "R": [0, *(c[0] for c in colours)],
        "G": [0, *(c[1] for c in colours)],
        "B": [0, *(c[2] for c in colours)],
        "A": [0, *(255 for _ in colours)],
        "I": [0, *(s.number for s in segments)],
        "labels": ["", *(escape_controls(s.name) for s in segments)],
    }


def _embed_image(image: Volume, block: Volume) -> tuple[dict[str, Any], str, tuple[float, float]]:
    """Put an image on the voxels of a block: the volume for the page, what is to be said of it, and its range of values."""
    notes = []
    moved = not _is_one_grid(image, block)
    shown = _look_up(image, block) if moved else image
    if moved:
        notes.append("The image is drawn at the voxels of the mask, each time the nearest of its own.")
    step = 1
    while shown.voxels.size / step**3 > _MOST_VOXELS:
        step += 1
    if step > 1:
        every = _ORDINAL.get(step, f"{step}th")
        notes.append(
            f"Image and fill are drawn with every {every} voxel along each axis here, outlines with all of them."
        )
    ras = shown.ras @ np.diag([step, step, step, 1.0])
    values, slope, intercept = _as_16_bits(shown, shown.voxels[::step, ::step, ::step])
    entry: dict[str, Any] = {"name": "image.nii.gz", "affine": ras[:3].tolist(), "colour": image.is_colour}
    if moved:  # where the mask reaches beyond the image, there is no value to name
        entry["within"] = {"inverse": np.linalg.inv(image.ras)[:3].tolist(), "shape": image.voxels.shape}
    entry["base64"] = _encode(_pack(values, ras, slope, intercept))
    ends = (0.0, 1.0) if image.is_colour else (values.min() * slope + intercept, values.max() * slope + intercept)
    return entry, " ".join(notes), (float(min(ends)), float(max(ends)))


def _is_one_grid(one: Volume, other: Volume) -> bool:
    shape = one.voxels.shape
    return shape == other.voxels.shape and corner_distance(one.ras, other.ras, shape) < _SAME_MM


def _look_up(image: Volume, block: Volume) -> Volume:
    """Take the values of an image at the voxels of a block, nearest voxel; its smallest beyond its edges."""
    columns, rows, planes = block.voxels.shape
    made = np.empty((planes, rows, columns), image.voxels.dtype)
    beyond = 0 if image.is_colour else image.voxels.min()
    across = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1)
    for k in range(planes):
        ijk = np.concatenate([across, np.full((rows, columns, 1), k)], axis=2)
        values, inside = image.seen_from(block, ijk)
        made[k] = np.where(inside, values, np.array(beyond, values.dtype))
    return Volume(made.transpose(2, 1, 0), block.ras, block.order, image.slope, image.intercept)


def _as_16_bits(volume: Volume, some: Array) -> tuple[Array, float, float]:
    """Store values in 16 bits at most, which browsers draw fast: as they are, or in steps. Returns them, slope and intercept."""
    if volume.is_colour or (some.dtype.kind in "iu" and some.dtype.itemsize <= 2):
        return some, volume.slope, volume.intercept
    real = np.nan_to_num(some.astype(np.float64), nan=np.nan, posinf=np.nan, neginf=np.nan)
    finite = real[np.isfinite(real)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    step = (high - low) / _STEPS or 1.0
    stored = np.rint((np.nan_to_num(real, nan=low) - low) / step).astype(np.uint16)
    return stored, step * volume.slope, low * volume.slope + volume.intercept


def _pack(values: Array, ras: Matrix, slope: float, intercept: float) -> bytes:
    """Write a gzipped NIfTI file."""
    columns, rows, planes = values.shape
    header, _ = nifti.pack_header(
        ras,
        (columns, rows, planes),
        values.dtype,
        slope=slope,
        intercept=intercept,
        label=False,
        description="for the eye only",
        limit_mm=_LIMIT_MM,
    )
    body = b"".join(plane.tobytes() for plane in Voxels.of(values))
    return gzip.compress(header + body, 6, mtime=0)


def _read_gzipped(file: Path) -> bytes:
    raw = read_bytes(file)
    return raw if nifti.is_gzip(file) else gzip.compress(raw, 6, mtime=0)


def _encode(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")
