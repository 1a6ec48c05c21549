"""The live viewer of a page: NiiVue's script, and the volumes it shows, all inside the page.

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
from .pictures import Convention, colour_of, grey_bytes
from .volume import ShownImage, Volume, middle_of

SCRIPT = Path(__file__).parent / "viewer" / "niivue.js"
_MOST_VOXELS = 16_000_000


@dataclass(frozen=True, slots=True)
class Embedded:
    """script: NiiVue. data: JSON for the page's own script. note: what was thinned out, "" where nothing was."""

    script: str
    data: str
    note: str


def embedded(
    file: Path,
    block: Volume,
    segments: tuple[Segment, ...],
    source: ShownImage | None,
    window: tuple[float, float] | None,
    convention: Convention,
) -> Embedded:
    """All that the viewer needs. Raises NO_VIEWER where NiiVue was not installed."""
    script = _script()
    volumes: list[dict[str, Any]] = []
    thinned = 1
    if source is not None:
        thinned, image = _image(source.volume, window or (0.0, 1.0))
        volumes.append({"name": "image.nii.gz", "base64": _base64(image)})
    elif not segments:
        thinned, image = _image(block, window or (0.0, 1.0))
        volumes.append({"name": "image.nii.gz", "base64": _base64(image)})
    if segments:
        volumes.append({"name": "mask.nii.gz", "base64": _base64(_gzipped(file)), "labels": _labels(segments)})
    middle = middle_of(block if segments else None, block.voxels.shape)
    at = (block.ras @ np.array([*middle, 1.0]))[:3].tolist()
    data = {"volumes": volumes, "radiological": convention == "radiological", "at": at}
    note = (
        ""
        if thinned == 1
        else f"The image is drawn with every {_ORDINAL.get(thinned, f'{thinned}th')} voxel along each axis here."
    )
    return Embedded(script, json.dumps(data).replace("<", "\\u003c"), note)


_ORDINAL = {2: "second", 3: "third"}


def _script() -> str:
    try:
        script = SCRIPT.read_text("utf-8")
    except OSError as error:
        raise refuse(
            Code.NO_VIEWER,
            "the live viewer (NiiVue) is not part of this installation",
            "In a checkout, `make viewer` fetches it from npm; a released wheel has it. The page without "
            "--interactive needs nothing more.",
        ) from error
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _labels(segments: tuple[Segment, ...]) -> dict[str, Any]:
    """NiiVue's table of label colours; 0 is clear."""
    colours = [colour_of(s) for s in segments]
    return {
        "R": [0, *(c[0] for c in colours)],
        "G": [0, *(c[1] for c in colours)],
        "B": [0, *(c[2] for c in colours)],
        "A": [0, *(255 for _ in colours)],
        "I": [0, *(s.number for s in segments)],
        "labels": ["", *(s.name for s in segments)],
    }


def _image(volume: Volume, window: tuple[float, float]) -> tuple[int, bytes]:
    """Every n-th voxel as grey bytes, with its affine, as a gzipped NIfTI file; and n."""
    step = 1
    while volume.voxels.size / step**3 > _MOST_VOXELS:
        step += 1
    thin = volume.voxels[::step, ::step, ::step]
    grey = grey_bytes(volume, window, thin)
    columns, rows, planes = grey.shape
    header, _ = nifti.pack_header(
        volume.ras @ np.diag([step, step, step, 1.0]),
        (columns, rows, planes),
        grey.dtype,
        slope=1.0,
        intercept=0.0,
        label=False,
        description="for the eye only",
        limit_mm=1e-2,
    )
    body = b"".join(plane.tobytes() for plane in Voxels.of(grey))
    return step, gzip.compress(header + body, 6, mtime=0)


def _gzipped(file: Path) -> bytes:
    raw = file.read_bytes()
    return raw if nifti.is_gzip(file) else gzip.compress(raw, 6, mtime=0)


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")
