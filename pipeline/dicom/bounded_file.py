"""Stand between a parser and an open file, so that neither a length nor a number of elements that is claimed costs memory.

Rules:
- No more is asked of the file than it has: Python makes room for what is asked for before it reads.
- What a parser keeps grows with how often it reads: an element, or an empty item of eight bytes, becomes an object of some
  hundred bytes. Reads are counted, and refused where what they become would pass the limit of `core.memory`.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from ..core.memory import limit, require

_PER_READ = (
    512  # bytes of memory that what comes of one read takes: measured 400 to 900 for an empty item, which is two reads
)


class BoundedFile:
    """A file open for reading. name: its path, which pydicom keeps. Raises MEMORY_LIMIT where too much would be kept of it."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.name = file, name
        here = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(here)
        self._left = limit() // _PER_READ
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            require(limit() + 1, "its data set has so many elements and items that reading it", (self.name,))
        if size < 0 or size > 8192:
            most = max(0, self._size - self._file.tell())
            size = most if size < 0 else min(size, most)
            require(size, f"an element of {os.path.basename(self.name)}", (os.path.basename(self.name),))
        return self._file.read(size)

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
