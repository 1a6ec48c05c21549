"""Write JPEG Extended of 12 bits (process 4) as the standard has it, for one component; nothing here can be asked of a library.

Rules:
- Every quantisation step is 1, so that a sample comes back within rounding, and a block of 8 x 8 equal samples exactly.
- ITU-T T.81: markers B.2, DCT A.3.3, zigzag A.3.6, Huffman coding F.1.2. All codes of a table have one length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import cos, pi, sqrt

import numpy as np
from numpy.typing import NDArray

_DC = tuple(range(16))  # categories, codes of 5 bits
_AC = (0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 15)))  # codes of 8 bits
_BASIS = np.array(
    [[sqrt((1 if u == 0 else 2) / 8) * cos((2 * x + 1) * u * pi / 16) for x in range(8)] for u in range(8)]
)
_ZIGZAG = sorted(
    ((v, u) for v in range(8) for u in range(8)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)


def encode(samples: NDArray[np.integer]) -> bytes:
    """Encode (rows, columns) samples of 0 to 4095."""
    rows, columns = samples.shape
    padded = np.pad(samples.astype(np.int64), ((0, -rows % 8), (0, -columns % 8)), mode="edge") - 2048
    bits: list[tuple[int, int]] = []  # value, and of how many bits
    before = 0
    for top in range(0, padded.shape[0], 8):
        for left in range(0, padded.shape[1], 8):
            block = _BASIS @ padded[top : top + 8, left : left + 8] @ _BASIS.T
            coefficients = [round(float(block[at])) for at in _ZIGZAG]
            bits += _dc(coefficients[0] - before)
            bits += _ac(coefficients[1:])
            before = coefficients[0]
    header = struct.pack(">BHHBBBB", 12, rows, columns, 1, 1, 0x11, 0)
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xDB, bytes([0]) + bytes([1] * 64)),
            _segment(0xC1, header),
            _segment(0xC4, _table(0x00, _DC, 5) + _table(0x10, _AC, 8)),
            _segment(0xDA, bytes([1, 1, 0x00, 0, 63, 0])),
            _packed(bits),
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _table(kind: int, symbols: tuple[int, ...], length: int) -> bytes:
    return bytes([kind, *(len(symbols) if n == length else 0 for n in range(1, 17)), *symbols])


def _magnitude(value: int) -> tuple[int, int]:
    """The additional bits of a value, and how many they are (F.1.2.1.1)."""
    size = abs(value).bit_length()
    return (value if value > 0 else value + (1 << size) - 1), size


def _dc(difference: int) -> Iterator[tuple[int, int]]:
    extra, size = _magnitude(difference)
    yield _DC.index(size), 5
    yield extra, size


def _ac(coefficients: list[int]) -> Iterator[tuple[int, int]]:
    run = 0
    for value in coefficients:
        if value == 0:
            run += 1
            continue
        for _ in range(run // 16):
            yield _AC.index(0xF0), 8
        extra, size = _magnitude(value)
        yield _AC.index(run % 16 << 4 | size), 8
        yield extra, size
        run = 0
    if run:
        yield _AC.index(0x00), 8


def _packed(bits: list[tuple[int, int]]) -> bytes:
    text = "".join(f"{value:0{size}b}" for value, size in bits if size)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
