"""A NIfTI-1 file: its one way to be written, its one way to be read, and a second reader that proves what was written.

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
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from threading import Event
from typing import IO, Any, Literal

import numpy as np

from ..core.findings import Code, refuse
from ..core.limits import MOST_PLANES
from ..core.workers import BackgroundCall
from ..geometry.affine import Matrix, corner_distance
from ..volume.mask import Array, Voxels
from .gzip_writer import GzipWriter
from .header import (
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
from .readback import ReadBack, read_back

INTENT_LABEL = 1002
_CHUNK = 1 << 20
_DEFLATE_MOST = 1032  # bytes that one byte of deflate can become: a match of 258 in two bits


@dataclass(frozen=True, slots=True)
class GeometryBits:
    """The bytes of a header that place its voxels, little-endian: pixdim[0..3]; and codes, quaternion, offsets, srows."""

    pixdim: bytes
    forms: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """What one write gave. checksums: CRC-32 of the header and of every plane as they went in.

    qform_deviation_mm: of the qform from the sform at the worst corner.
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
    """The 348 bytes and the 4 after them, and the largest corner distance between qform and sform in mm.

    affine: 4 x 4, index to RAS mm. shape: (columns, rows, planes), or with a fourth number, of volumes. like: the
    geometry of another file's header, taken over bit for bit.
    """
    if max(shape) > MOST_PLANES:
        raise refuse(
            Code.TOO_LARGE,
            f"a grid of {' × '.join(map(str, shape))} voxels does not fit NIfTI-1",
            measured=max(shape),
            limit=MOST_PLANES,
            unit="voxels",
            clause="NIfTI-1 dim[]",
        )
    sform = affine.astype(np.float32).astype(np.float64)
    qfac, turn, zooms, deviation = quaternion(sform, shape)
    offset = sform[:3, 3]
    held = deviation <= limit_mm
    if not held:
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
        int(held), 1,
        *turn, *offset,
        *sform[:3].ravel(),
        b"", b"n+1\0",
    )  # fmt: skip
    if like is not None:
        raw = raw[:76] + like.pixdim + raw[92:252] + like.forms + raw[328:]
        taken = parse_header(raw)
        if taken.qform_code and fills_space(taken.qform):
            deviation = corner_distance(taken.affine, taken.qform, shape)
    return raw + bytes(4), deviation


def write(
    file: IO[bytes],
    header: bytes,
    voxels: Voxels,
    progress: Callable[[int], None],
    seen: Callable[[Array], None] = lambda plane: None,
) -> tuple[int, ...]:
    """Write header and planes to an open stream; the CRC-32 of the header and of every plane as they went in.

    seen: is shown every plane as it passes.
    """
    from isal import isal_zlib

    file.write(header)
    checksums = [isal_zlib.crc32(header)]
    for k, plane in enumerate(voxels):
        data = np.ascontiguousarray(plane).data.cast("B")
        checksums.append(isal_zlib.crc32(data))
        file.write(data)
        seen(plane)
        progress(k + 1)
    return tuple(checksums)


@contextmanager
def opened(path: Path, mode: Literal["rb", "wb"], *, gzipped: bool, level: int | None = 2) -> Iterator[IO[bytes]]:
    """A plain or gzip stream. level: see `GzipWriter`; what is written to it must not change until it is closed.

    Raises CORRUPT_FILE from the block that reads gzip which is cut off or damaged.
    """
    if not gzipped:
        with path.open(mode) as plain:
            yield plain
        return
    if mode == "wb":
        with path.open(mode) as plain, GzipWriter(plain, level) as stream:
            yield stream  # type: ignore[misc]
        return
    from gzip import BadGzipFile

    from isal import igzip_threaded, isal_zlib

    try:
        with igzip_threaded.open(path, mode) as stream:
            yield stream
    except (EOFError, BadGzipFile, isal_zlib.error) as error:  # type: ignore[misc]
        raise refuse(Code.CORRUPT_FILE, f"{path.name} is damaged gzip: {error}", where=(path.name,)) from error


def is_gzip(path: Path) -> bool:
    """By its first two bytes, not by its name."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A stream of what a file holds, unpacked. Raises NO_SUCH_INPUT where it cannot be read, and as `opened`."""
    try:
        if not path.is_file():  # a pipe would be waited for, and a device never ends
            words = "is not a regular file" if path.exists() else "is not there"
            raise refuse(Code.NO_SUCH_INPUT, f"{path.name} {words}", "Check the path.", where=(path.name,))
        if _is_half_of_pair(path):
            words = f"{path.name} is half of a .hdr/.img pair, and one file with header and voxels is read here"
            raise refuse(Code.UNSUPPORTED_NIFTI, words, "Convert the pair to one .nii file.", where=(path.name,))
        with opened(path, "rb", gzipped=is_gzip(path)) as file:
            yield file
    except OSError as error:
        words = f"{path.name} cannot be read: {error.strerror or error}"
        raise refuse(Code.NO_SUCH_INPUT, words, "Check the path and its permissions.", where=(path.name,)) from error


def read_header(path: Path) -> NiftiHeader:
    """The header of a .nii or .nii.gz file. Raises as `open_unpacked` and `parse_header`."""
    with open_unpacked(path) as file:
        return parse_header(file.read(SIZE), path.name)


def read_geometry(path: Path) -> tuple[NiftiHeader, GeometryBits]:
    """A file's header, which places its voxels, and the bits of it that do. Raises as `read_header` and `require_affine`."""
    with open_unpacked(path) as file:
        raw = file.read(SIZE)
    header = require_affine(parse_header(raw, path.name), path.name)
    _refuse_short(path, header)
    pixdim, forms = raw[76:92], raw[252:328]
    if raw[:4] == struct.pack(">i", SIZE):
        pixdim = struct.pack("<4f", *struct.unpack(">4f", pixdim))
        forms = struct.pack("<2h18f", *struct.unpack(">2h18f", forms))
    return header, GeometryBits(pixdim, forms)


def read_planes(path: Path) -> Iterator[Array]:
    """Every (rows, columns) plane of a file as stored, in order, volume after volume.

    Raises CORRUPT_FILE when it ends early or late, and as `read_header`.
    """
    with open_unpacked(path) as file:
        header = parse_header(file.read(SIZE), path.name)
        columns, rows, *rest = (*header.shape, 1)
        planes, plane_bytes = prod(rest), columns * rows * header.dtype.itemsize
        _refuse_short(path, header)
        between = header.vox_offset - SIZE
        while between and (skipped := file.read(min(between, _CHUNK))):
            between -= len(skipped)
        for k in range(planes):
            data = file.read(plane_bytes)
            if len(data) != plane_bytes:
                raise refuse(Code.CORRUPT_FILE, f"{path.name} ends in plane {k} of {planes}", where=(path.name,))
            yield np.frombuffer(data, header.dtype).reshape(rows, columns)
        if file.read(1):
            raise refuse(Code.CORRUPT_FILE, f"{path.name} goes on after its last voxel", where=(path.name,))


def is_named_nifti(path: Path) -> bool:
    """Whether a name is one of a NIfTI file, or of half of one; what the file is, reading it tells."""
    return path.name.lower().removesuffix(".gz").endswith((".nii", ".hdr")) or _is_half_of_pair(path)


def _is_half_of_pair(path: Path) -> bool:
    other = {".hdr": ".img", ".img": ".hdr"}.get(path.suffix.lower())
    return other is not None and path.with_suffix(other).is_file()


def _refuse_short(path: Path, header: NiftiHeader) -> None:
    """Refuse a header that promises more bytes than the file can hold, before memory or a disk is filled for them."""
    said = header.vox_offset + prod(header.shape) * header.dtype.itemsize
    held = path.stat().st_size * (_DEFLATE_MOST if is_gzip(path) else 1)
    if said > held:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{path.name} is cut off, or its header is damaged: it says {said} bytes, and at most {held} are there",
            "Write or copy the file again from where it came from.",
            where=(path.name,),
            measured=held,
            limit=said,
            unit="bytes",
        )


def prove(
    path: Path,
    affine: Matrix,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    checksums: tuple[int, ...],
    limit_mm: float,
    back: ReadBack | None = None,
) -> float:
    """Proof 2: the file read back, held against what went in. back: what it held; read now when None.

    Its own 348 bytes must give the shape, the type, and an sform within `limit_mm` of the RAS affine at every corner;
    the header and every plane must have the checksum they were written with. Returns the sform's distance in mm.
    Raises READ_BACK_DIFFERS, and CORRUPT_FILE for a file that is not whole.
    """
    from isal import isal_zlib

    back = back or reading_back(path, shape, dtype, gzipped=is_gzip(path)).result()
    header = parse_header(back.start, path.name)
    same_header = isal_zlib.crc32(back.start) == checksums[0]
    distance = corner_distance(header.affine, affine, shape)
    wrong = [k for k, (a, b) in enumerate(zip(back.checksums, checksums[1:], strict=False)) if a != b]
    same_grid = header.shape == shape and header.dtype == dtype
    ends = back.broken or ("" if len(back.checksums) == len(checksums) - 1 and not back.rest else "early or late")
    if ends and same_header and same_grid:
        raise refuse(Code.CORRUPT_FILE, f"{path.name} read back does not end as written: {ends}", where=(path.name,))
    if not (same_header and same_grid) or wrong:
        raise refuse(
            Code.READ_BACK_DIFFERS,
            f"{path.name} read back is not what was written: shape {header.shape}, type {header.dtype}, "
            f"{'the same' if same_header else 'another'} header, {len(wrong)} of {len(checksums) - 1} planes differ",
            "The disk or memory of this machine may be faulty; nothing was kept.",
            where=tuple(f"plane {k}" for k in wrong[:5]),
        )
    if distance > limit_mm:
        raise refuse(
            Code.READ_BACK_DIFFERS,
            f"the sform in {path.name} lies {distance:.4g} mm from the grid",
            "float32 header fields cannot hold this grid; its origin is too far from the patient.",
            measured=distance,
            limit=limit_mm,
            unit="mm",
        )
    return distance


def reading_back(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, gzipped: bool, written: Event | None = None
) -> BackgroundCall[ReadBack]:
    """Start to read back what is written to a path, beside its writing. written: set when that has ended; now if None."""
    if written is None:
        written = Event()
        written.set()
    plane_bytes = shape[0] * shape[1] * dtype.itemsize
    return BackgroundCall(partial(read_back, path, FIRST_VOXEL, plane_bytes, written, gzipped=gzipped))
