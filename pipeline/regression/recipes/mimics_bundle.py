"""Write the recipe of a Mimics bundle: what export_masks.py writes inside Mimics, and the images it was imported from.

Rules:
- Masks are gzip files whose data is stored, not compressed (RFC 1951 3.2.4): no library decides a byte.
- Every voxel's centre is asked for that the reader wants: the corners, and one on each plane.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from .dicom_file import ds
from .parameters import Parameter, flag, texts
from .phantom import PARTS, Phantom
from .planes import position
from .series import FILES, GRID, phantom_of, write_series

_FORMAT, _VERSION = "verimask-mimics-bundle", 1
_BLOCK = 65535  # bytes in a stored block
_COLOURS = ([0.9, 0.6, 0.0], [0.35, 0.7, 0.9], [0.0, 0.6, 0.5])

BUNDLE = {
    **GRID,
    "SeriesDescription": FILES["SeriesDescription"],
    "masks": Parameter(list(PARTS), "names of body, marker and nose; fewer names, fewer masks", texts(3)),
    "registered": Parameter(False, "whether Mimics moved the images by a registration", flag),
    "source_images": Parameter(False, "whether the images that Mimics imported are written too, to images/", flag),
}


def write_bundle(folder: Path, p: Mapping[str, Any]) -> None:
    """Write bundle.json with a file for each mask, to bundle/."""
    phantom = phantom_of(p)
    if p["source_images"]:
        files = {name: parameter.read(parameter.default) for name, parameter in FILES.items()}
        write_series(folder / "images", phantom, phantom.array(), {**files, **p})
    target = folder / "bundle"
    target.mkdir(parents=True, exist_ok=True)
    parts = phantom.overlapping_parts(phantom.point(phantom.indices()))
    masks = []
    for n, name in enumerate(p["masks"]):
        data = np.ascontiguousarray(parts[n]).astype(np.uint8).tobytes()
        file = f"mask-{n + 1:03d}.raw.gz"
        (target / file).write_bytes(_stored_gzip(data))
        masks.append(_mask(phantom, n, name, file, data))
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "byte_order": "little",
        "mimics": "phantom",
        "python": "",
        "notes": [],
        "left_out": [],
        "images": [_image(phantom, p)],
        "masks": masks,
    }
    (target / "bundle.json").write_bytes(json.dumps(content, indent=1, sort_keys=True).encode())


def _image(phantom: Phantom, p: Mapping[str, Any]) -> dict[str, Any]:
    columns, rows, planes = phantom.shape
    probes = sorted({*product((0, columns - 1), (0, rows - 1), (0, planes - 1)), *((0, 0, k) for k in range(planes))})
    tests = {
        name: {"passed": True, "checked": len(probes), "detail": "made so"} for name in ("round_trip", "grey_value")
    }
    return {
        "number": 0,
        "name": phantom.description,
        "guid": phantom.uid("image set"),
        "shape": list(phantom.shape),
        "units": None,
        "registered": p["registered"],
        "probes": [[*probe, *(round(float(c), 9) for c in phantom.point(probe))] for probe in probes],
        "self_tests": tests,
        "has_tags": True,
        "planes": [_tags(phantom, k) for k in range(planes)],
        "buffer": None,
        "slice_distance": phantom.step,
        "logical_dimensions": list(phantom.shape),
    }


def _tags(phantom: Phantom, k: int) -> dict[str, Any]:
    return {
        "index": k,
        "0008,0018": phantom.uid(f"plane {k}"),
        "0020,000E": phantom.uid("series"),
        "0020,0052": phantom.uid("frame of reference"),
        "0020,0032": "\\".join(position(phantom, k)),
        "0020,0037": "\\".join(ds(phantom.iop, phantom.decimals)),
        "0028,0030": "\\".join(ds((phantom.row_spacing, phantom.column_spacing))),
        "0028,0010": str(phantom.shape[1]),
        "0028,0011": str(phantom.shape[0]),
    }


def _mask(phantom: Phantom, n: int, name: str, file: str, data: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "guid": phantom.uid(f"mask {n}"),
        "color": _COLOURS[n],
        "image": 0,
        "image_assumed": False,
        "voxels": sum(data),
        "number_of_pixels": sum(data),
        "file": file,
        "format": "?",
        "itemsize": 1,
        "shape": list(phantom.shape),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _stored_gzip(data: bytes) -> bytes:
    """Wrap data as a gzip file (RFC 1952) of stored blocks."""
    parts = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff"]
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        is_last = start + _BLOCK >= len(data)
        parts.append(struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF) + block)
    parts.append(struct.pack("<II", zlib.crc32(data), len(data)))
    return b"".join(parts)
