"""Write text where it may not fit: names whose bytes are no text, and streams that cannot hold every sign.

Rules:
- A byte of a file's name that is no text stands as an escape, \\xe9, in everything that is written: files and terminal.
- A stream that cannot hold one of our own signs gets its plain form, x for ×; any other sign becomes an escape. What was
  done is never lost for a sign that cannot be shown.
- A control character of a name stands as an escape on a terminal, which would obey it otherwise.
- Only the standard streams of our own process are touched, once, where the command line starts.
"""

from __future__ import annotations

import codecs
import os
import re
import sys

_ERRORS = "verimask"
_PLAIN = {"×": "x", "“": '"', "”": '"', "…": "...", "°": " deg", "µ": "u", "²": "2", "±": "+-"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)  # with the signs that turn the reading direction


def escape_bytes(text: str, escape: str = "\\") -> str:
    """Text that can be written as UTF-8: bytes that were no text as \\xe9. escape: how the backslash itself is written."""
    return _SURROGATE.sub(lambda found: escape + _escaped(found[0])[1:], text)


def escape_controls(text: str) -> str:
    """Text of one line that no terminal obeys: control characters as \\x1b."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def strip_folders(text: str) -> str:
    """Return a text from outside as it may be shown and recorded: no control characters, and files by their names."""
    shown = "".join(c if c.isprintable() else " " for c in text).strip()
    return re.sub(r"(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])+", "", shown)


def prepare_streams() -> None:
    """Make standard output and error hold everything that is printed, also where they are closed."""
    codecs.register_error(_ERRORS, _replaced)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # its descriptor is free, and would become that of an input, or of a file being written
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def silence_output() -> None:
    """Let what is still to be printed go nowhere: standard output cannot be written any more."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _escaped(sign) for sign in signs), error.end


def _escaped(sign: str) -> str:
    """One sign in ASCII; a byte that was no text as that byte."""
    code = ord(sign)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else sign.encode("ascii", "backslashreplace").decode()
