"""Write the facts of a series as JSON for the index, and read them back.

Rules:
- What is empty is left out, and image digests are kept apart, 8 bytes each: an index has millions of both.
- What is read back equals what was written.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import fields
from sys import byteorder
from typing import Any

from ..facts import GridFact, MaskFact, SeriesFacts

_NAMES = tuple(field.name for field in fields(SeriesFacts) if field.name not in ("key", "images"))
_EMPTY: dict[str, Any] = {"number": None, "files": 0, "frames": 0} | dict.fromkeys(
    ("identifiers", "grids", "masks", "series_uids"), ()
)


def to_json(facts: SeriesFacts) -> str:
    """Write facts without their key and image digests."""
    values = {name: getattr(facts, name) for name in _NAMES}
    kept = {name: value for name, value in values.items() if value != _EMPTY.get(name, "")}
    return json.dumps(kept, separators=(",", ":"))


def to_packed(images: Sequence[int]) -> bytes:
    """Write image digests."""
    return _big_endian(array("q", images)).tobytes()


def from_json(key: str, text: str, packed: bytes) -> SeriesFacts:
    """Read facts.

    Args:
        key: of the series.
        text: that `to_json` wrote.
        packed: image digests that `to_packed` wrote.

    Returns: the facts.
    """
    values: dict[str, Any] = {name: _EMPTY.get(name, "") for name in _NAMES} | json.loads(text)
    values["grids"] = tuple(GridFact(tuple(shape), tuple(lps)) for shape, lps in values["grids"])
    values["masks"] = tuple(_mask(*mask) for mask in values["masks"])
    values["identifiers"] = tuple(values["identifiers"])
    values["series_uids"] = tuple(values["series_uids"])
    images = array("q")
    images.frombytes(packed)
    return SeriesFacts(key=key, images=tuple(_big_endian(images)), **values)


def _mask(number: int, name: str, code: str, colour: Sequence[int] | None) -> MaskFact:
    return MaskFact(number, name, code, None if colour is None else (colour[0], colour[1], colour[2]))


def _big_endian(numbers: array[int]) -> array[int]:
    """Turn numbers between the order of this machine and that of the index."""
    if byteorder == "little":
        numbers.byteswap()
    return numbers
