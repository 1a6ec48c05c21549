"""The bits of a NIfTI-1 header that say where its voxels lie, by the offsets of nifti1.h."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple


class GeometryOfHeader(NamedTuple):
    """dim: dim[0] to dim[7]. pixdim: with qfac. units: xyzt_units. form: qform_code to the end of srow_z."""

    dim: bytes
    pixdim: bytes
    units: bytes
    form: bytes


def geometry_bits(path: Path) -> GeometryOfHeader:
    with gzip.open(path) as file:
        header = file.read(348)
    if header[:4] != b"\x5c\x01\0\0" or header[344:348] != b"n+1\0":
        raise ValueError(f"{path.name} is no little-endian NIfTI-1 file")
    return GeometryOfHeader(header[40:56], header[76:108], header[123:124], header[252:328])
