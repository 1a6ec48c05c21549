"""Read text that anybody may have written: JSON, TOML, tables. Every file of text is read here.

Rules:
- At most `MOST_TEXT_BYTES` are read, whatever the file holds; a longer one is a ValueError, as is what is no UTF-8.
- Anything but a regular file is an OSError: a pipe would be waited for without end, and a device has no end.
"""

from __future__ import annotations

from pathlib import Path

from .limits import MOST_TEXT_BYTES
from .regular_file import open_regular


class TooLong(ValueError):
    """A file of text that is longer than is read."""


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a mark at its beginning, and its own line ends.

    Raises OSError where it cannot be read, ValueError where it is no text or too long.
    """
    return read_bytes(path).decode("utf-8-sig")


def read_bytes(path: Path, most: int = MOST_TEXT_BYTES) -> bytes:
    """Return the bytes of a file of text. Raises OSError where it cannot be read, TooLong where there are more than `most`."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLong(f"it is longer than {most} bytes, and text is read up to that")
    return data
