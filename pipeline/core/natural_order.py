"""Sort names as people do: P2 before P10.

Rules:
- Numbers in a name count by their value, and come before letters. Names that are equal so far are sorted as they are spelled.
"""

from __future__ import annotations

import re

_PARTS = re.compile("[0-9]+|[^0-9]+")


def natural_order(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key to sort a name by."""
    parts = _PARTS.findall(text)
    return tuple((0, int(p), p) if p.isdecimal() and p.isascii() else (1, 0, p) for p in parts)
