"""Read a file back while it is still being written, for Proof 2.

Rules:
- The reader opens the file itself and follows it as it grows; it shares nothing with the writer but the path and the
  word that writing has ended. Every byte of the file is read, hashed and, where deflated, inflated.
- What comes back is what the operating system holds of the file, in its cache or on the disk: it proves the writer and
  the compression, and that nothing else wrote there; it does not prove the disk's surface.
- Nothing is judged here: header, checksums and hash are handed on.
- Labels are inflated by zlib-ng, which fills long runs three times as fast as ISA-L and takes what zlib takes, bit for
  bit; images by ISA-L, which is a fifth faster there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from ..core.regular_file import open_regular

_CHUNK = 1 << 20
_CHUNK_OF_LABELS = (
    1 << 16
)  # of a file, deflated to a hundredth or less: what is left of it is copied for every MiB inflated


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a file held.

    start: the bytes before the voxels. checksums: CRC-32 of every whole plane. rest: how many bytes follow the last.
    sha256: of the file as it is. broken: why inflating it failed, "" where it did not.
    """

    start: bytes
    checksums: tuple[int, ...]
    rest: int
    sha256: str
    broken: str = ""


def read_back(
    path: Path, offset: int, plane_bytes: int, written: Event, *, gzipped: bool, labels: bool = False
) -> ReadBack:
    """Read a file until it ends and its writing has ended.

    Args:
        path: of the file, which may still grow.
        offset: bytes before the first voxel, once inflated.
        plane_bytes: bytes of one plane.
        written: is set when writing has ended.
        gzipped: whether the file is deflated.
        labels: whether the voxels are labels, which decides how it is inflated fastest.

    Returns:
        The header, checksums and hash. What inflating found wrong is in it, and is not raised.
    """
    from isal import isal_zlib

    digest = hashlib.sha256()
    start, left, crc, rest = b"", plane_bytes, 0, 0
    checksums: list[int] = []
    broken = ""
    library = _library(labels=labels)
    chunks = _chunks(path, written, digest, _CHUNK_OF_LABELS if gzipped and labels else _CHUNK)
    try:
        for data in _inflate(chunks, library) if gzipped else chunks:
            view = memoryview(data)
            if len(start) < offset:
                missing = offset - len(start)
                start += view[:missing]
                view = view[missing:]
            while view.nbytes:
                part = view[:left]
                crc, left, rest = isal_zlib.crc32(part, crc), left - part.nbytes, rest + part.nbytes
                view = view[part.nbytes :]
                if not left:
                    checksums.append(crc)
                    left, crc, rest = plane_bytes, 0, 0
    except (library.error, EOFError) as error:
        broken = str(error)
        for _ in chunks:  # read on to the end: the hash is of the whole file all the same
            pass
    return ReadBack(start, tuple(checksums), rest, digest.hexdigest(), broken)


def _library(*, labels: bool) -> Any:
    """The library that inflates labels or images fastest: zlib's functions by another name."""
    if labels:
        from zlib_ng import zlib_ng

        return zlib_ng
    from isal import isal_zlib

    return isal_zlib


def _chunks(path: Path, written: Event, digest: hashlib._Hash, most: int) -> Iterator[memoryview]:
    """Yield the bytes of a growing file, at most so many at a time. A chunk is overwritten by the next one."""
    buffer = bytearray(most)
    view = memoryview(buffer)
    with open_regular(path, buffering=0) as file:
        while True:
            over = written.is_set()  # asked first, so that the read sees all that was written before
            count = file.readinto(buffer)  # type: ignore[attr-defined]
            if count:
                digest.update(view[:count])
                yield view[:count]
            elif over:
                return
            else:
                written.wait(0.002)


def _inflate(chunks: Iterator[memoryview], library: Any) -> Iterator[bytes]:
    """Inflate one gzip member and check its CRC and length. Raises EOFError and the error of the library."""
    engine = library.decompressobj(wbits=31)
    for chunk in chunks:
        if engine.eof:
            raise EOFError("there are bytes after the end of the gzip member")
        data = engine.decompress(chunk, _CHUNK)
        while data:
            yield data
            data = engine.decompress(engine.unconsumed_tail, _CHUNK) if engine.unconsumed_tail else b""
    if not engine.eof:
        raise EOFError("the gzip member does not end")
    if engine.unused_data:
        raise EOFError("there are bytes after the end of the gzip member")
