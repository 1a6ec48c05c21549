"""Hold the files of an input while they are spoilt, and spoil their bytes without a look at what they mean."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Special:
    """Something with a file's name that is no file."""

    kind: str

    def make(self, path: Path) -> None:
        if self.kind == "folder":
            path.mkdir()
        elif self.kind == "pipe":
            os.mkfifo(path)
        elif self.kind == "socket":
            with socket.socket(socket.AF_UNIX) as made:
                here = os.open(path.parent, os.O_RDONLY)
                try:  # a socket is made under a short name only
                    made.bind(f"/proc/self/fd/{here}/.made")
                finally:
                    os.close(here)
            path.with_name(".made").rename(path)
        else:
            path.symlink_to(path.name if self.kind == "link to itself" else "../annex/gone")


Files = dict[str, "bytes | Special"]
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def spoil_bytes(data: bytes, rng: Random, first: int = 0) -> tuple[bytes, str]:
    """Change some bytes from `first` on. Returns all bytes, and what was done in words."""
    at = rng.randrange(first, len(data)) if len(data) > first else len(data)
    length = rng.choice((1, 1, 2, 4, 8, 16, 64, 400))
    kind = rng.choice(("flip", "set", "number", "insert", "delete", "cut", "zeros", "ones", "move"))
    if kind == "flip" and at < len(data):
        bit = rng.randrange(8)
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :], f"bit {bit} of byte {at} flipped"
    if kind == "number":
        size, number = rng.choice((1, 2, 4)), rng.choice(_NUMBERS)
        put = (number & (1 << 8 * size) - 1).to_bytes(size, rng.choice(("little", "big")))
        return data[:at] + put + data[at + size :], f"{put.hex()} at byte {at}"
    if kind in ("set", "insert"):
        put = rng.randbytes(length)
        after = at + length if kind == "set" else at
        return data[:at] + put + data[after:], f"{length} random bytes {'at' if kind == 'set' else 'before'} byte {at}"
    if kind == "cut":
        return data[:at], f"cut off after {at} bytes"
    if kind == "move":
        on = rng.randrange(first, len(data) + 1) if len(data) >= first else 0
        return data[:on] + data[at : at + length] + data[on:], f"{length} bytes from {at} again at {on}"
    fill = {"zeros": bytes(length), "ones": b"\xff" * length}.get(kind, b"")
    return data[:at] + fill + data[at + length :], f"{length} bytes at {at} {kind if fill else 'deleted'}"
