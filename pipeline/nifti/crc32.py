"""Combine the CRC-32 of two byte strings into that of both, one after the other, without reading them again.

Rules:
- A CRC is a remainder of polynomials over GF(2), so n zero bytes appended multiply it by x^(8n), and the CRC of what
  follows is added (RFC 1952 8; zlib's crc32_combine, which Python does not offer).
- Bits are reflected, as in gzip: the highest bit of a number is the coefficient of x^0.
"""

from __future__ import annotations

from functools import lru_cache

_POLYNOMIAL = 0xEDB88320
_ONE, _BYTE = 1 << 31, 1 << 23  # x^0, x^8


def combine(first: int, second: int, size: int) -> int:
    """Compute the CRC-32 of two byte strings together.

    Args:
        first: CRC-32 of the first.
        second: CRC-32 of the second.
        size: bytes of the second.

    Returns:
        CRC-32 of the first followed by the second.
    """
    return _multiply(first, _power(size)) ^ second


@lru_cache(maxsize=64)
def _power(size: int) -> int:
    """Compute x^(8 size) modulo the polynomial."""
    power, square = _ONE, _BYTE
    while size:
        if size & 1:
            power = _multiply(power, square)
        square = _multiply(square, square)
        size >>= 1
    return power


def _multiply(one: int, other: int) -> int:
    """Multiply two remainders modulo the polynomial."""
    product = 0
    while one:
        if one & _ONE:
            product ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product
