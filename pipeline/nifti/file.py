"""Write NIfTI-1 files in the one way we write them, and read them plane by plane.

Rules:
- RAS is born here: the sform is the grid's LPS affine with its first two rows negated, and nothing is flipped.
- Codes are (sform, qform) = (1, 1) when the qform puts every corner where the sform does, whoever reads it, and (1, 0)
  when it cannot (shear; some turns of a few hundredths of a degree), so that software which holds only a qform fails
  loudly instead of straightening the image. Units are mm.
- Labels: unsigned integer, slope 1, intercept 0, intent code 1002 (NIFTI_INTENT_LABEL).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..core.findings import Code, refuse
from ..core.limits import DEFLATE_MOST, MOST_PLANES
from ..core.memory import require
from ..geometry.affine import Matrix, corner_distance
from ..volume.colour import is_rgb
from ..volume.mask import Array, Voxels, bytes_of
from .gzip_writer import Zeros
from .header import (
    COPY_AGAIN,
    FIELDS,
    FIRST_VOXEL,
    SIZE,
    TYPES,
    NiftiHeader,
    fills_space,
    parse_header,
    require_affine,
)
from .quaternion import quaternion
from .streams import is_gzip, is_half_of_pair, open_unpacked

INTENT_LABEL = 1002
_CHUNK = 1 << 20
# Where the bytes lie that place voxels: pixdim[0..3]; and qform_code to srow_z.
_PIXDIM, _FORMS = slice(76, 92), slice(252, 328)


@dataclass(frozen=True, slots=True)
class GeometryBits:
    """The bytes of a header that place its voxels, little-endian.

    pixdim: pixdim[0..3]. forms: codes, quaternion, offsets and the rows of the sform.
    """

    pixdim: bytes
    forms: bytes

    def put_into(self, header: bytes) -> bytes:
        """The 348 bytes of another little-endian header, with these in place of its own."""
        before, between, after = header[: _PIXDIM.start], header[_PIXDIM.stop : _FORMS.start], header[_FORMS.stop :]
        return before + self.pixdim + between + self.forms + after


@dataclass(frozen=True, slots=True)
class Written:
    """What was written to one file.

    checksums: CRC-32 of the header and of every plane as they went in.
    qform_deviation_mm: of the qform from the sform, at the worst corner.
    """

    checksums: tuple[int, ...]
    qform_deviation_mm: float
    sform_code: int
    qform_code: int


def pack_header(
    affine: Matrix,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    slope: float,
    intercept: float,
    label: bool,
    description: str,
    limit_mm: float,
    like: GeometryBits | None = None,
) -> tuple[bytes, float]:
    """Pack the header of a file: its 348 bytes, and the 4 after them that say that there is no extension.

    Args:
        affine: 4 x 4, index (i, j, k) to RAS mm.
        shape: (columns, rows, planes), or with a fourth number, of volumes.
        dtype: of the voxels, one of `header.TYPES`.
        slope: of the values, scl_slope; colours have none, and 0 stands for that.
        intercept: of the values, scl_inter.
        label: whether the values are labels, which the intent code then says.
        description: at most 79 characters, ASCII.
        limit_mm: how far the qform may put a corner from where the sform puts it; beyond, there is no qform.
        like: geometry of another file's header, to be taken over bit for bit.

    Returns:
        The 352 bytes, and the largest distance in mm between the corners by qform and by sform.

    Raises:
        TOO_LARGE: a side is longer than the header can say.
    """
    _refuse_too_large(shape)
    sform = affine.astype(np.float32).astype(np.float64)
    qfac, turn, zooms, deviation = quaternion(sform, shape)
    offset = sform[:3, 3]
    has_qform = deviation <= limit_mm
    slope, intercept = (0.0, 0.0) if is_rgb(dtype) else (slope, intercept)
    if not has_qform:
        qfac, turn, offset = 0.0, np.zeros(3), np.zeros(3)
    dims = (len(shape), *shape, *[1] * (7 - len(shape)))
    raw = FIELDS.pack(
        348, b"", b"", 0, 0, ord("r"), 0,
        *dims,
        0.0, 0.0, 0.0,
        INTENT_LABEL if label else 0, TYPES[dtype.str[1:]], dtype.itemsize * 8, 0,
        qfac, *zooms, 0.0, 0.0, 0.0, 0.0,
        float(FIRST_VOXEL), slope, intercept,
        0, 0, 2,  # slice_end, slice_code, xyzt_units: mm
        0.0, 0.0, 0.0, 0.0, 0, 0,
        description.encode("ascii", "replace")[:79], b"",
        int(has_qform), 1,
        *turn, *offset,
        *sform[:3].ravel(),
        b"", b"n+1\0",
    )  # fmt: skip
    if like is not None:
        raw = like.put_into(raw)
        deviation = _qform_deviation(parse_header(raw), shape, deviation)
    return raw + bytes(4), deviation


def _qform_deviation(header: NiftiHeader, shape: tuple[int, ...], otherwise: float) -> float:
    """The largest distance in mm between corners by qform and by sform; `otherwise` where there is no qform."""
    has_qform = header.qform_code and fills_space(header.qform)
    return corner_distance(header.affine, header.qform, shape) if has_qform else otherwise


def _refuse_too_large(shape: tuple[int, ...]) -> None:
    """Refuse a side that dim[], 16 bits with a sign, cannot hold. Raises TOO_LARGE."""
    if max(shape) <= MOST_PLANES:
        return
    raise refuse(
        Code.TOO_LARGE,
        f"a grid of {' × '.join(map(str, shape))} voxels does not fit NIfTI-1",
        f"No side may be longer than {MOST_PLANES} voxels: convert a part of it.",
        where=(("columns", "rows", "planes", "volumes")[shape.index(max(shape))],),
        measured=max(shape),
        limit=MOST_PLANES,
        unit="voxels",
        clause="NIfTI-1 dim[]",
    )


def write(
    file: IO[bytes],
    header: bytes,
    voxels: Voxels,
    progress: Callable[[int], None],
    seen: Callable[[Array | None], None] = lambda plane: None,
) -> tuple[int, ...]:
    """Write a header and all planes to an open stream.

    Args:
        file: the stream.
        header: the 352 bytes of `pack_header`.
        voxels: are read once, in their order.
        progress: is called with the number of planes written so far.
        seen: is called with every (rows, columns) plane as it passes, None for an empty one.

    Returns:
        CRC-32 of the header and of every plane, as they went in.
    """
    from isal import isal_zlib

    file.write(header)
    checksums = [isal_zlib.crc32(header)]
    columns, rows, _ = voxels.shape
    plane_bytes = columns * rows * voxels.dtype.itemsize
    for k, plane in enumerate(voxels.planes()):
        if plane is None:
            empty, checksum = _empty_plane(plane_bytes)
            file.write(empty)
        else:
            data = bytes_of(plane).data
            checksum = isal_zlib.crc32(data)
            file.write(data)
        checksums.append(checksum)
        seen(plane)
        progress(k + 1)
    return tuple(checksums)


@lru_cache(maxsize=1)
def _empty_plane(size: int) -> tuple[Zeros, int]:
    """The bytes of an empty plane, and their CRC-32."""
    from isal import isal_zlib

    zeros = Zeros(size)
    return zeros, isal_zlib.crc32(zeros)


def read_header(path: Path) -> NiftiHeader:
    """Read the header of a .nii or .nii.gz file that may hold what it says. Raises as `open_unpacked`, `parse_header`, CORRUPT_FILE."""
    with open_unpacked(path) as file:
        header = parse_header(file.read(SIZE), path.name)
    _refuse_short(path, header)
    return header


def read_geometry(path: Path) -> tuple[NiftiHeader, GeometryBits]:
    """Read a header that places voxels, and the bytes of it that do. Raises as `read_header` and `require_affine`."""
    with open_unpacked(path) as file:
        raw = file.read(SIZE)
    header = require_affine(parse_header(raw, path.name), path.name)
    _refuse_short(path, header)
    pixdim, forms = raw[_PIXDIM], raw[_FORMS]
    if raw[:4] == struct.pack(">i", SIZE):
        pixdim = struct.pack("<4f", *struct.unpack(">4f", pixdim))
        forms = struct.pack("<2h18f", *struct.unpack(">2h18f", forms))
    return header, GeometryBits(pixdim, forms)


def read_planes(path: Path) -> Iterator[Array]:
    """Read every (rows, columns) plane of a file as it is stored, in order, volume after volume.

    Raises CORRUPT_FILE when it ends early or late, and as `read_header`.
    """
    with open_unpacked(path) as file:
        header = parse_header(file.read(SIZE), path.name)
        columns, rows, *rest = (*header.shape, 1)
        planes, plane_bytes = prod(rest), columns * rows * header.dtype.itemsize
        _refuse_short(path, header)
        require(plane_bytes, f"a plane of {path.name}, {columns} × {rows} voxels,", (path.name,))
        between = header.vox_offset - SIZE
        while between and (skipped := file.read(min(between, _CHUNK))):
            between -= len(skipped)
        for k in range(planes):
            data = file.read(plane_bytes)
            if len(data) != plane_bytes:
                words = f"{path.name} ends in plane {k} of {planes}"
                raise refuse(Code.CORRUPT_FILE, words, COPY_AGAIN, where=(path.name, f"plane {k}"))
            yield np.frombuffer(data, header.dtype).reshape(rows, columns)
        if file.read(1):
            words = f"{path.name} goes on after its last voxel"
            raise refuse(Code.CORRUPT_FILE, words, COPY_AGAIN, where=(path.name,))


def is_named_nifti(path: Path) -> bool:
    """Whether a name is one of a NIfTI file, or of half of one. The content is not looked at."""
    return path.name.lower().removesuffix(".gz").endswith((".nii", ".hdr")) or is_half_of_pair(path)


def _refuse_short(path: Path, header: NiftiHeader) -> None:
    """Refuse a header that promises more bytes than the file can hold, before memory or a disk is filled for them."""
    promised = header.vox_offset + prod(header.shape) * header.dtype.itemsize
    held = path.stat().st_size * (DEFLATE_MOST if is_gzip(path) else 1)
    if promised > held:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{path.name} is cut off, or its header is damaged: it says {promised} bytes, and at most {held} are there",
            COPY_AGAIN,
            where=(path.name,),
            measured=held,
            limit=promised,
            unit="bytes",
        )
