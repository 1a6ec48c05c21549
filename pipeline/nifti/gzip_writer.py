"""Write gzip files in blocks by several threads: one ordinary member, which every reader takes.

Rules:
- A block is deflated alone and ends at a byte border (a sync flush), so blocks are joined as they are. Several members
  would be legal too, but browsers and some viewers stop after the first.
- Images by ISA-L, near zlib's own level 6 at many times its speed. Label masks by zlib-ng's run-length strategy, at
  memory speed: real ones came out between 0.8 and 1.15 of what zlib's level 6 makes of them, large ones below 1.
- No time and no name is written: the same voxels at the same level give the same bytes.
"""

from __future__ import annotations

from collections import deque
from io import RawIOBase
from queue import SimpleQueue
from struct import pack
from threading import Thread
from typing import IO, Any

from ..core.workers import count_cores

_BLOCK = 1 << 20  # bytes that are deflated at once
_THREADS = 2
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_FASTEST_ZLIB = 4  # levels below are ISA-L's own


class GzipBlock:
    """A block on its way through a worker."""

    def __init__(self, parts: list[memoryview]) -> None:
        self.parts = parts
        self.done: SimpleQueue[bytes | BaseException] = SimpleQueue()

    def result(self) -> bytes:
        """Wait for the deflated bytes. What was raised in the worker is raised here."""
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
        self._under_way: deque[GzipBlock] = deque()
        self._queue: SimpleQueue[GzipBlock | None] = SimpleQueue()
        file.write(_HEADER)
        self._workers = [Thread(target=self._work, daemon=True) for _ in range(min(_THREADS, count_cores()))]
        for worker in self._workers:
            worker.start()

    def writable(self) -> bool:
        """Whether it can be written to: always, as for every stream that is open for writing."""
        return True

    def write(self, data: Any) -> int:
        """Take in bytes, and hand them to a worker once there are enough; the number of bytes."""
        from isal import isal_zlib

        part = memoryview(data).cast("B")
        self._crc = isal_zlib.crc32(part, self._crc)
        self._size += part.nbytes
        self._held += part.nbytes
        self._parts.append(part)
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
                self._file.write(self._under_way.popleft().result())
            self._file.write(b"\x03\0" + pack("<II", self._crc, self._size & 0xFFFFFFFF))  # an empty last block
        finally:
            for _ in self._workers:
                self._queue.put(None)
            for worker in self._workers:
                worker.join()
            super().close()

    def _hand_over(self) -> None:
        job = GzipBlock(self._parts)
        self._parts, self._held = [], 0
        self._queue.put(job)
        self._under_way.append(job)
        if len(self._under_way) > 2 * _THREADS:
            self._file.write(self._under_way.popleft().result())

    def _work(self) -> None:
        """Deflate blocks until there is None in the queue. An error goes to whoever waits for the block."""
        while (job := self._queue.get()) is not None:
            try:
                job.done.put(self._deflate(job.parts))
            except BaseException as error:
                job.done.put(error)
            job.parts = []

    def _deflate(self, parts: list[memoryview]) -> bytes:
        if self._level is not None and self._level < _FASTEST_ZLIB:
            from isal import isal_zlib

            engine: Any = isal_zlib.compressobj(self._level, isal_zlib.DEFLATED, -15, 9)
            return b"".join([*map(engine.compress, parts), engine.flush(isal_zlib.Z_SYNC_FLUSH)])
        from zlib_ng import zlib_ng

        level, strategy = self._level or 1, zlib_ng.Z_DEFAULT_STRATEGY if self._level else zlib_ng.Z_RLE
        engine = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -15, 9, strategy)
        return b"".join([*map(engine.compress, parts), engine.flush(zlib_ng.Z_SYNC_FLUSH)])
