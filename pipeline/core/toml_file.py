"""Parse TOML that anybody may have written: descriptions of segments, label maps. Write texts as it has them.

Rules:
- Whatever is wrong with the text is a ValueError whose words name the line.
- A key has at most `_MOST_PARTS` parts, and a text at most `_MOST_CHARACTERS`: the parser makes tables of every part, and holds
  each beginning of a key by itself, so that memory grows with the square of the parts. Both are looked at before it begins.
- Python before 3.11 has no reader of its own; tomli is the same one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from .plain_text import escape_toml

_MOST_PARTS = 16  # of a key, a.b.c; our own files have three
_MOST_CHARACTERS = 1 << 22  # a list of 10,000 cases has fewer
_BASIC, _LITERAL, _BARE = r'"(?:\\.|[^"\\\n])*"', r"'[^'\n]*'", r"[A-Za-z0-9_-]+"
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"{3,5}|\\?\Z)'
    r"|'''.*?(?:'{3,5}|\Z)"
    r"|\#[^\n]*"
    rf"|(?P<long>(?:(?:{_BARE}|{_BASIC}|{_LITERAL})[ \t]*\.[ \t]*){{{_MOST_PARTS}}})"
    rf"|{_BARE}|{_BASIC}?|{_LITERAL}?",  # one that has no end goes on to the end of its line, lest all of it be tried anew
    re.DOTALL,
)


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a text in TOML holds. Raises ValueError where it is none, or beyond what is read."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, and TOML is read up to {_MOST_CHARACTERS}")
    _refuse_long_keys(text)
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def _refuse_long_keys(text: str) -> None:
    """Refuse a key of too many parts, which stands neither in a string nor in a comment."""
    if text.count(".") < _MOST_PARTS:
        return
    for found in _TOKEN.finditer(text):
        if found["long"] is not None:
            line = text.count("\n", 0, found.start()) + 1
            raise ValueError(f"a key has more than {_MOST_PARTS} parts (at line {line})")


def toml_text(value: str | Sequence[str]) -> str:
    """Write a text or a list of texts, each as a basic string that reads back the same; of a lone surrogate there is none."""
    return escape_toml(json.dumps(value, ensure_ascii=False))
