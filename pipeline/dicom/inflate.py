"""Inflate the data set of a deflated file, up to a bound: a megabyte of it may stand for a gigabyte.

Rules:
- It is inflated piece by piece, and refused as soon as there is more than the limit of `core.memory`.
- It ends where its stream says; what is cut off before is damaged, and what follows is padding.
"""

from __future__ import annotations

import zlib

from ..core.memory import limit, require, show_size

_STEP = 1 << 20  # bytes that are inflated at a time


def inflate(deflated: bytes, name: str) -> bytes:
    """Inflate a raw deflate stream (PS3.5 A.5). name: of the file. Raises MEMORY_LIMIT, ValueError for a damaged stream."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    total, rest, most = 0, deflated, limit()
    try:
        while not engine.eof:
            part = engine.decompress(rest, _STEP)
            if not part and not engine.unconsumed_tail and not engine.eof:
                raise ValueError("its deflated data set is cut off")
            rest = engine.unconsumed_tail
            parts.append(part)
            total += len(part)
            if total > most:
                require(total, f"{name}, {show_size(len(deflated))} deflated, inflated", (name,))
    except zlib.error as error:
        raise ValueError(f"its deflated data set is damaged: {error}") from error
    return b"".join(parts)
