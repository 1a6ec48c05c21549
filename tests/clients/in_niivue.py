"""Ask NiiVue for every file, in a real browser: the viewer of our page, and of many others.

Rules:
- Its matrix is held against nibabel's, its whole array against the file, and 300 places in RAS mm are asked one by one, as the
  cross-hair asks them: the value there must be the voxel's.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.report.viewer import SCRIPT
from tests.clients.judged import Judged, corner_mm
from tests.clients.our_files import Array, OurFile

NAME = "NiiVue"
PLACES = 300
_LOAD = """async ([base64, name, places]) => {
    const { NVImage } = globalThis.niivue;
    const image = await NVImage.loadFromBase64({ base64, name });
    const values = places.map((mm) => { const v = image.mm2vox(mm); return image.getValue(v[0], v[1], v[2]); });
    const bytes = new Uint8Array(image.img.buffer, image.img.byteOffset, image.img.byteLength);
    let text = "";
    for (let n = 0; n < bytes.length; n += 32768) text += String.fromCharCode(...bytes.subarray(n, n + 32768));
    return { affine: image.hdr.affine, type: image.img.constructor.name, slope: image.hdr.scl_slope, bytes: btoa(text), values };
}"""
_TYPES = {"Uint8Array": "u1", "Int16Array": "i2", "Uint16Array": "u2", "Int32Array": "i4", "Uint32Array": "u4"}
_TYPES |= {"Int8Array": "i1", "Float32Array": "f4", "Float64Array": "f8"}


def ask(page: Any, files: Sequence[OurFile]) -> Iterator[Judged]:
    """Judge every file. page: of Playwright, empty."""
    page.set_content("<!doctype html><title>NiiVue</title>")
    page.add_script_tag(path=str(SCRIPT))
    for ours in files:
        indices = _pick(ours)
        places = (indices @ ours.affine[:3, :3].T + ours.affine[:3, 3]).tolist()
        raw = base64.b64encode(ours.path.read_bytes()).decode("ascii")
        yield _judge(ours, page.evaluate(_LOAD, [raw, ours.path.name, places]), indices)


def version() -> str:
    """The version of the bundle in the page."""
    import json

    lock = json.loads((Path(SCRIPT).parent / "package-lock.json").read_text("utf-8"))
    return str(lock["packages"]["node_modules/@niivue/niivue"]["version"])


def _pick(ours: OurFile) -> Array:
    """Voxels to ask for: the same at every run, half of them filled where some are."""
    chance = np.random.default_rng(17)
    shape = ours.array.shape[:3]
    picked = chance.integers(0, shape, (PLACES // 2, 3))
    flat = ours.array if not ours.array.dtype.names else ours.array[ours.array.dtype.names[0]]
    filled = np.argwhere(flat if flat.ndim == 3 else flat[..., 0])
    more = filled[chance.integers(0, len(filled), PLACES // 2)] if len(filled) else picked
    return np.concatenate([picked, more])


def _judge(ours: OurFile, answer: dict[str, Any], indices: Array) -> Judged:
    values = np.frombuffer(base64.b64decode(answer["bytes"]), _TYPES[answer["type"]])
    if ours.array.dtype.names:
        theirs = values.reshape(3, *ours.array.shape, order="F")
        differing = ours.count_differing(np.moveaxis(theirs, 0, -1))
        at = None
    else:
        theirs = values.reshape(ours.array.shape, order="F")
        differing = int((theirs != ours.array).sum())
        volume = ours.array if ours.array.ndim == 3 else ours.array[..., 0]
        at = volume[tuple(indices.T)] * ours.slope + ours.intercept
    if at is not None:
        differing += int((~np.isclose(answer["values"], at, rtol=1e-6, atol=1e-6)).sum())
    return Judged(NAME, ours.case, ours.path.name, corner_mm(ours, np.array(answer["affine"])), differing)
