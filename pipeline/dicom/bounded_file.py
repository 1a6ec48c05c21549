"""Stand between a parser and an open file, so that neither a length nor a number of elements that is claimed costs memory.

Rules:
- No more is asked of the file than it has: Python makes room for what is asked for before it reads.
- What a parser keeps grows with how often it reads: an element, or an empty item of eight bytes, becomes an object of some
  hundred bytes. Reads are counted, and refused where what they become would pass the limit of `core.memory`.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from ..core.findings import PipelineError
from ..core.memory import limit, require

_PER_READ = (
    512  # bytes of memory that what comes of one read takes: measured 400 to 900 for an empty item, which is two reads
)
_SMALL = 1 << 13  # bytes that cost nothing, whether they are there or not


class BoundedFile:
    """A file open for reading. name: its path, which pydicom keeps. refusal: MEMORY_LIMIT, once it was raised."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.name = file, name
        here = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(here)
        self._left = limit() // _PER_READ
        self.refusal: PipelineError | None = None
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        """Read up to so many bytes; all that are left for -1. Raises MEMORY_LIMIT where too much would be kept of the file."""
        self._left -= 1
        if self._left < 0:
            self._require(limit() + 1, "the data set of {}, of very many elements or items,")
        if size < 0 or size > _SMALL:
            most = max(0, self._size - self._file.tell())
            size = most if size < 0 else min(size, most)
            self._require(size, "an element of {}")
        return self._file.read(size)

    def _require(self, need: int, what: str) -> None:
        name = os.path.basename(self.name)
        try:
            require(need, what.format(name), (name,))
        except PipelineError as refusal:
            self.refusal = refusal
            raise
