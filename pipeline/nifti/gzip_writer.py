"""Write gzip files in blocks by several threads: one ordinary member, which every reader takes.

Rules:
- A block is deflated alone and ends at a byte border (a sync flush), so blocks are joined as they are. Several members
  would be legal too, but browsers and some viewers stop after the first.
- Images by ISA-L, near zlib's own level 6 at many times its speed. Label masks by zlib-ng's run-length strategy, at
  memory speed: real ones came out between 0.8 and 1.15 of what zlib's level 6 makes of them, large ones below 1.
- Where a block begins depends on the sizes of the parts alone: it ends with the part that fills 1 MiB. A block of nothing
  but `Zeros` is deflated once in a process and used again: it is what deflating it anew would give.
- No time and no name is written: the same voxels at the same level give the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from io import RawIOBase
from operator import index
from queue import SimpleQueue
from struct import pack
from threading import Thread
from typing import IO, Any, NamedTuple

from ..core.workers import count_cores, start_threads
from .crc32 import combine

_BLOCK = 1 << 20  # bytes that are deflated at once
_THREADS = 2
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_FASTEST_ZLIB = 4  # levels below are ISA-L's own


class Zeros(bytes):
    """So many zero bytes; to a `GzipWriter` they are known to be zero."""

    def __new__(cls, size: int) -> Zeros:
        return super().__new__(cls, index(size))  # a bytes object would be copied


class Deflated(NamedTuple):
    """A block that was deflated. crc, size: of the bytes that went in."""

    data: bytes
    crc: int
    size: int


class GzipBlock:
    """A block on its way through a worker."""

    def __init__(self, parts: Sequence[memoryview]) -> None:
        self.parts = parts
        self.done: SimpleQueue[Deflated | BaseException] = SimpleQueue()

    def result(self) -> Deflated:
        """Wait for it to be deflated. What was raised in the worker is raised here."""
        value = self.done.get()
        if isinstance(value, BaseException):
            raise value
        return value


class GzipWriter(RawIOBase):
    """A stream to write to. What is given must not change until the stream is closed: it is not copied.

    level: 0 to 3 are ISA-L's, 4 to 9 zlib-ng's; None for the run-length strategy.
    """

    def __init__(self, file: IO[bytes], level: int | None) -> None:
        self._file, self._level = file, level
        self._parts: list[memoryview] = []
        self._held = self._size = self._crc = 0
        self._only_zeros = True  # of the parts that are held
        self._under_way: deque[GzipBlock] = deque()
        self._queue: SimpleQueue[GzipBlock | None] = SimpleQueue()
        file.write(_HEADER)
        self._workers: list[Thread] = []  # for `close`, where there is none
        workers = [Thread(target=self._work, daemon=True) for _ in range(min(_THREADS, count_cores()))]
        self._workers = start_threads(workers)

    def writable(self) -> bool:
        """Whether it can be written to: always, as for every stream that is open for writing."""
        return True

    def write(self, data: Any) -> int:
        """Take in bytes, and hand them to a worker once there are enough; the number of bytes."""
        part = memoryview(data).cast("B")
        self._held += part.nbytes
        self._parts.append(part)
        self._only_zeros = self._only_zeros and isinstance(data, Zeros)
        if self._held >= _BLOCK:
            self._hand_over()
        return part.nbytes

    def close(self) -> None:
        """Write what is left and the trailer. The file that is written to stays open."""
        if self.closed:
            return
        try:
            if self._parts:
                self._hand_over()
            while self._under_way:
                self._write_first()
            self._file.write(b"\x03\0" + pack("<II", self._crc, self._size & 0xFFFFFFFF))  # an empty last block
        finally:
            for _ in self._workers:
                self._queue.put(None)
            for worker in self._workers:
                worker.join()
            super().close()

    def _hand_over(self) -> None:
        job = GzipBlock(self._parts)
        if self._only_zeros:
            job.done.put(_deflate_zeros(tuple(part.nbytes for part in self._parts), self._level))
        else:
            self._queue.put(job)
        self._parts, self._held, self._only_zeros = [], 0, True
        self._under_way.append(job)
        if len(self._under_way) > 2 * _THREADS:
            self._write_first()

    def _write_first(self) -> None:
        """Wait for the first block under way, and write it."""
        block = self._under_way.popleft().result()
        self._crc = combine(self._crc, block.crc, block.size)
        self._size += block.size
        self._file.write(block.data)

    def _work(self) -> None:
        """Deflate blocks until there is None in the queue. An error goes to whoever waits for the block."""
        while (job := self._queue.get()) is not None:
            try:
                job.done.put(_deflate(job.parts, self._level))
            except BaseException as error:
                job.done.put(error)
            job.parts = ()


def _deflate(parts: Sequence[memoryview], level: int | None) -> Deflated:
    """Deflate parts as one block that needs nothing before it."""
    from isal import isal_zlib

    crc = 0
    for part in parts:
        crc = isal_zlib.crc32(part, crc)
    if level is not None and level < _FASTEST_ZLIB:
        engine: Any = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15, 9)
        data = b"".join([*map(engine.compress, parts), engine.flush(isal_zlib.Z_SYNC_FLUSH)])
    else:
        from zlib_ng import zlib_ng

        strategy = zlib_ng.Z_DEFAULT_STRATEGY if level else zlib_ng.Z_RLE
        engine = zlib_ng.compressobj(level or 1, zlib_ng.DEFLATED, -15, 9, strategy)
        data = b"".join([*map(engine.compress, parts), engine.flush(zlib_ng.Z_SYNC_FLUSH)])
    return Deflated(data, crc, sum(part.nbytes for part in parts))


@lru_cache(maxsize=16)
def _deflate_zeros(sizes: tuple[int, ...], level: int | None) -> Deflated:
    """Deflate parts of zeros. sizes: of the parts; a block is cut into them, since an engine may look at where they end."""
    zeros = memoryview(bytes(max(sizes)))
    return _deflate([zeros[:size] for size in sizes], level)
