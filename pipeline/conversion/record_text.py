"""Write a record as JSON: indented, lists of plain values on one line, and no character that a terminal would obey.

Rules:
- What many records hold is written once, while they follow each other.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from ..core.plain_text import escape_json

_LISTS = 6  # that one record shares with those after it; a text of them is kept no longer than it is asked for in a row


class SharedList(list[Any]):
    """A list that many records hold, and that nobody changes: it is known by itself, not by what is in it."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def as_text(record: Any) -> str:
    """JSON, indented, with every list of plain values on one line."""
    if isinstance(record, SharedList):
        return _text_of(record)
    if not _shares(record):
        return _dump(record)
    members = [f"{_dump(key)}: {as_text(value)}".replace("\n", "\n ") for key, value in record.items()]
    return "{\n " + ",\n ".join(members) + "\n}"


@lru_cache(maxsize=_LISTS)
def _text_of(shared: SharedList) -> str:
    return _dump(list(shared))


def _shares(value: Any) -> bool:
    """Whether a part of a record is, or holds by its keys, what other records hold too."""
    return isinstance(value, SharedList) or (isinstance(value, dict) and any(map(_shares, value.values())))


def _dump(value: Any) -> str:
    text = escape_json(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", text)
