"""Make the UIDs of exports from what they hold.

Rules:
- The same masks of the same source give the same UIDs, so that an export made twice is recognised as one.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable

import numpy as np

from ..volume.mask import MaskVolume

_NAMESPACE = uuid.UUID("5e1d7a52-8f0c-5b0e-9b57-0d6a3b1f2c44")


def content_uid(*parts: str | bytes) -> str:
    """Make a UID under 2.25 (PS3.5 B.2) that these parts alone decide."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode("utf-8")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return f"2.25.{uuid.uuid5(_NAMESPACE, digest.hexdigest()).int}"


def content_digest(masks: Iterable[MaskVolume], references: Iterable[str]) -> str:
    """Hash what decides the UIDs of an export: every voxel, the grids, the segments and the instances referred to."""
    digest = hashlib.sha256()
    for mask in masks:
        digest.update(repr((mask.grid.shape, mask.segments)).encode() + mask.grid.lps.tobytes())
        for plane in mask.voxels:
            digest.update(np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).tobytes())
    for reference in references:
        digest.update(reference.encode() + b"\0")
    return digest.hexdigest()
