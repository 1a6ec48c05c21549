"""Read a file back while it is still being written, for Proof 2.

Rules:
- The reader opens the file itself and follows it as it grows; it shares nothing with the writer but the path and the
  word that writing has ended. Every byte of the file is read, hashed and, where deflated, inflated.
- What comes back is what the operating system holds of the file, in its cache or on the disk: it proves the writer and
  the compression, and that nothing else wrote there; it does not prove the disk's surface.
- Nothing is judged here: header, checksums and hash are handed on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

_CHUNK = 1 << 20


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


def read_back(path: Path, offset: int, plane_bytes: int, written: Event, *, gzipped: bool) -> ReadBack:
    """Read a file until it ends and its writing has ended.

    Args:
        path: of the file, which may still grow.
        offset: bytes before the first voxel, once inflated.
        plane_bytes: bytes of one plane.
        written: is set when writing has ended.
        gzipped: whether the file is deflated.

    Returns:
        The header, checksums and hash. What inflating found wrong is in it, and is not raised.
    """
    from isal import isal_zlib

    digest = hashlib.sha256()
    start, left, crc, rest = b"", plane_bytes, 0, 0
    checksums: list[int] = []
    broken = ""
    chunks = _chunks(path, written, digest)
    try:
        for data in _inflate(chunks) if gzipped else chunks:
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
    except (isal_zlib.error, EOFError) as error:  # type: ignore[misc]
        broken = str(error)
        for _ in chunks:  # read on to the end: the hash is of the whole file all the same
            pass
    return ReadBack(start, tuple(checksums), rest, digest.hexdigest(), broken)


def _chunks(path: Path, written: Event, digest: hashlib._Hash) -> Iterator[memoryview]:
    """Yield the bytes of a growing file. A chunk is overwritten by the next one."""
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while True:
            over = written.is_set()  # asked first, so that the read sees all that was written before
            count = file.readinto(buffer)
            if count:
                digest.update(view[:count])
                yield view[:count]
            elif over:
                return
            else:
                written.wait(0.002)


def _inflate(chunks: Iterator[memoryview]) -> Iterator[bytes]:
    """Inflate one gzip member and check its CRC and length. Raises EOFError and isal_zlib.error."""
    from isal import isal_zlib

    engine = isal_zlib.decompressobj(wbits=31)
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
