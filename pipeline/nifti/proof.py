"""Prove that a NIfTI file that was written holds what was meant: Proof 2.

Rules:
- The file is read back by `readback`, which shares nothing with the writer, and judged here.
- The header is judged by what it says, not by its bytes alone: shape, type, and the place of every corner.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from ..core.findings import Code, PipelineError, refuse
from ..core.workers import BackgroundCall
from ..geometry.affine import Matrix, corner_distance
from .header import FIRST_VOXEL, NiftiHeader, parse_header
from .readback import ReadBack, read_back
from .streams import is_gzip

_FAULTY_MACHINE = "The disk or memory of this machine may be faulty; nothing was kept."


def prove(
    path: Path,
    affine: Matrix,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    checksums: tuple[int, ...],
    limit_mm: float,
    back: ReadBack | None = None,
) -> float:
    """Hold a file, read back, against what went into it: Proof 2.

    Its own 348 bytes must give the shape, the type, and an sform within the limit at every corner; the header and every
    plane must have the checksum they were written with.

    Args:
        path: of the file.
        affine: 4 x 4, index (i, j, k) to RAS mm, as it was meant.
        shape: (columns, rows, planes), or with a fourth number, of volumes.
        dtype: of the voxels.
        checksums: CRC-32 of the header and of every plane as they were written.
        limit_mm: how far the sform may put a corner from where `affine` puts it.
        back: what the file held; it is read now when None.

    Returns:
        The largest distance in mm between the corners by the sform and by `affine`.

    Raises:
        READ_BACK_DIFFERS: the file holds something else, or is not whole.
    """
    back = back or start_read_back(path, shape, dtype, gzipped=is_gzip(path)).result()
    header = _parse_own_header(path, back)
    _refuse_other_bytes(path, header, back, checksums, is_same_grid=header.shape == shape and header.dtype == dtype)
    distance = corner_distance(header.affine, affine, shape)
    if distance > limit_mm:
        raise refuse(
            Code.READ_BACK_DIFFERS,
            f"the sform in {path.name} lies {distance:.4g} mm from the grid",
            "float32 header fields cannot hold this grid; its origin is too far from the patient.",
            where=(path.name,),
            measured=distance,
            limit=limit_mm,
            unit="mm",
        )
    return distance


def _parse_own_header(path: Path, back: ReadBack) -> NiftiHeader:
    """Read the header of a file of ours. Raises READ_BACK_DIFFERS: whatever is wrong with it, it was not written so."""
    try:
        return parse_header(back.start, path.name)
    except PipelineError as error:
        words = f"{path.name} read back has not the header that was written: {error.finding.message}"
        raise refuse(Code.READ_BACK_DIFFERS, words, _FAULTY_MACHINE, where=(path.name,)) from error


def _refuse_other_bytes(
    path: Path, header: NiftiHeader, back: ReadBack, checksums: tuple[int, ...], *, is_same_grid: bool
) -> None:
    """Refuse a file whose header or planes are not those written. Raises as `prove`."""
    from isal import isal_zlib

    is_same_header = isal_zlib.crc32(back.start) == checksums[0]
    wrong = [k for k, (a, b) in enumerate(zip(back.checksums, checksums[1:], strict=False)) if a != b]
    ends = back.broken or ("" if len(back.checksums) == len(checksums) - 1 and not back.rest else "early or late")
    if ends and is_same_header and is_same_grid:
        words = f"{path.name} read back does not end as written: {ends}"
        raise refuse(Code.READ_BACK_DIFFERS, words, _FAULTY_MACHINE, where=(path.name,))
    if not (is_same_header and is_same_grid) or wrong:
        raise refuse(
            Code.READ_BACK_DIFFERS,
            f"{path.name} read back is not what was written: shape {header.shape}, type {header.dtype}, "
            f"{'the same' if is_same_header else 'another'} header, {len(wrong)} of {len(checksums) - 1} planes differ",
            _FAULTY_MACHINE,
            where=tuple(f"plane {k}" for k in wrong[:5]) or (path.name,),
        )


def start_read_back(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    gzipped: bool,
    labels: bool = False,
    written: Event | None = None,
) -> BackgroundCall[ReadBack]:
    """Start to read a file back in the background, while it is being written.

    Args:
        path: of the file.
        shape: (columns, rows, ...) of what is written.
        dtype: of the voxels.
        gzipped: whether the file is deflated.
        labels: whether the voxels are labels.
        written: is set when writing has ended; None where it has ended already.

    Returns:
        What waits for the end of it, and gives what the file held.
    """
    if written is None:
        written = Event()
        written.set()
    plane_bytes = shape[0] * shape[1] * dtype.itemsize
    return BackgroundCall(partial(read_back, path, FIRST_VOXEL, plane_bytes, written, gzipped=gzipped, labels=labels))
