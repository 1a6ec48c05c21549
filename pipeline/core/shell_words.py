"""Write a command line as the user's own shell takes it.

Rules:
- A word that needs no quotes has none, so that a command stays easy to read.
- A word with signs that cannot be shown is written with their bytes as escapes, as shells of our time read them.
- On Windows a quoted word is the same for cmd and PowerShell: in double quotes, or in single ones where PowerShell would put
  something in the place of a sign. A backslash at the end, which would quote the quote, is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from .plain_text import escape_controls

_PLAIN_ON_WINDOWS = re.compile(r"[\w.:/\\+=-]+")


def join_words(words: Iterable[str], *, windows: bool = os.name == "nt") -> str:
    """Write words as one line that can be typed.

    Args:
        words: as the program is to get them.
        windows: whether it is for a shell of Windows.

    Returns: the line.
    """
    if windows:
        return " ".join(map(_quote_for_windows, words))
    import shlex  # a command that suggests nothing does not need it

    return " ".join(shlex.quote(word) if escape_controls(word) == word else _quote_bytes(word) for word in words)


def _quote_bytes(word: str) -> str:
    """A word that cannot be shown as it is, for bash, zsh and their like: $'a\\x1bb'."""
    signs = (
        chr(byte) if 0x20 <= byte <= 0x7E else f"\\x{byte:02x}" for byte in os.fsencode(word.replace("\\", "\\\\"))
    )
    return "$'" + "".join(signs).replace("'", "\\'") + "'"


def _quote_for_windows(word: str) -> str:
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    word = word.rstrip("\\") if not word.endswith(":\\") else word
    return f"'{word}'" if set(word) & {"$", "`"} and "'" not in word else f'"{word}"'
