"""Embed the live viewer in a page: NiiVue's script and the volumes it shows.

Rules:
- The mask is the proven file, byte for byte (gzipped where it was not). The image under it is for the eye only: grey
  bytes, and every second or third voxel where it is large; the page says so.
- NiiVue comes from npm into `viewer/` by `make viewer`, is packed into the wheel, and is never fetched by a page.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.findings import Code, refuse
from ..nifti import file as nifti
from ..volume.mask import Segment, Voxels
from .pictures import colour_of, map_to_bytes
from .views import Scene
from .volume import Volume

SCRIPT = Path(__file__).parent / "viewer" / "niivue.js"
_MOST_VOXELS = 16_000_000  # of the image in a page, so that the page stays small enough to open and to send
_ORDINAL = {2: "second", 3: "third"}
_LIMIT_MM = 1e-2  # of the header of the thinned image, which is for the eye only


@dataclass(frozen=True, slots=True)
class Embedded:
    """script: NiiVue. data: JSON for the page's own script. note: what was thinned out, "" where nothing was."""

    script: str
    data: str
    note: str


def embed_viewer(file: Path, scene: Scene) -> Embedded:
    """Collect all that the viewer needs. file: the proven NIfTI file. Raises NO_VIEWER where NiiVue was not installed."""
    script = _read_script()
    volumes: list[dict[str, Any]] = []
    step = 1
    image = scene.source or (None if scene.segments else scene.block)
    if image is not None:
        step, thinned = _thin_image(image, scene.window)
        volumes.append({"name": "image.nii.gz", "base64": _encode(thinned)})
    if scene.segments:
        labels = _tabulate_labels(scene.segments)
        volumes.append({"name": "mask.nii.gz", "base64": _encode(_read_gzipped(file)), "labels": labels})
    at = (scene.block.ras @ np.array([*scene.middle, 1.0]))[:3].tolist()
    data = {"volumes": volumes, "radiological": scene.convention == "radiological", "at": at}
    # In a script element, "<" could begin the tag that ends it. In JSON it stands in strings only, which allow the escape.
    return Embedded(script, json.dumps(data).replace("<", "\\u003c"), _describe_thinning(step))


def _describe_thinning(step: int) -> str:
    if step == 1:
        return ""
    return f"The image is drawn with every {_ORDINAL.get(step, f'{step}th')} voxel along each axis here."


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
        "labels": ["", *(s.name for s in segments)],
    }


def _thin_image(volume: Volume, window: tuple[float, float] | None) -> tuple[int, bytes]:
    """Take every n-th voxel along each axis, as few as needed. Returns n, and a gzipped NIfTI file of grey bytes or colours."""
    step = 1
    while volume.voxels.size / step**3 > _MOST_VOXELS:
        step += 1
    thin = volume.voxels[::step, ::step, ::step]
    shown = thin if volume.is_colour else map_to_bytes(volume, window, thin)
    columns, rows, planes = shown.shape
    header, _ = nifti.pack_header(
        volume.ras @ np.diag([step, step, step, 1.0]),
        (columns, rows, planes),
        shown.dtype,
        slope=1.0,
        intercept=0.0,
        label=False,
        description="for the eye only",
        limit_mm=_LIMIT_MM,
    )
    body = b"".join(plane.tobytes() for plane in Voxels.of(shown))
    return step, gzip.compress(header + body, 6, mtime=0)


def _read_gzipped(file: Path) -> bytes:
    raw = file.read_bytes()
    return raw if nifti.is_gzip(file) else gzip.compress(raw, 6, mtime=0)


def _encode(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")
