"""Write text where it may not fit, and where it would be more than text: terminals, names, tables, pages, JSON.

Rules:
- A byte of a file's name that is no text stands as an escape, \\xe9, in everything that is written: files and terminal.
- A stream that cannot hold one of our own signs gets its plain form, x for ×; any other sign becomes an escape. What was
  done is never lost for a sign that cannot be shown.
- Text from outside is shown and never obeyed: controls, separators of lines, signs that turn the reading direction and
  signs that cannot be seen stand as escapes, \\x1b or \\u202e. JSON alone keeps them, as the escapes of JSON.
- Text of outside is escaped where it is put into words. The standard streams have a fence, for what was forgotten there: it
  lets through line breaks, tabs, and the escape codes of ours, which are marked by a word that no file can hold.
- Standard output that cannot be written is an error of its own, once, and known at the end. What is for standard error goes
  nowhere then: it hides no exit code.
- Only the standard streams of our own process are touched, once, where the command line starts.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO, cast

_ERRORS = "verimask"
_ESC = "\033"
_PLAIN = {"×": "x", "“": '"', "”": '"', "…": "...", "°": " deg", "µ": "u", "²": "2", "±": "+-"}
# Patterns as text: each is compiled when it is first used, since many signs take a millisecond.
_SURROGATE = "[\ud800-\udfff]"
# Cc, Zl, Zp, and of Cf and of Unicode's Default_Ignorable_Code_Point what has no form of its own: a fixed list, since the
# tables of Unicode differ from one Python to the next. The two signs that choose the form of an emoji may stand.
_NOT_SEEN = (
    "\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IN_LINE = f"[\x00-\x1f{_NOT_SEEN}\ud800-\udfff]"
_IN_TEXT = f"[\x00-\x08\x0b-\x1f{_NOT_SEEN}\ud800-\udfff]"  # line breaks and tabs are its own
_IN_JSON = f"[{_NOT_SEEN}]"  # json itself escapes those below a space
_BEYOND_PRINTABLE_ASCII = "[^\x00-\x7e]"  # found fast: a record is long, and has few of them
# What stands around an escape code of ours: signs of private use, by chance, which no text from outside can know.
_OURS = "".join(chr(0x100000 + int.from_bytes(os.urandom(2), "little")) for _ in range(3))


def escape_bytes(text: str, escape: str = "\\") -> str:
    """Text that can be written as UTF-8: bytes that were no text as \\xe9. escape: how the backslash itself is written."""
    if text.isascii():
        return text
    return re.sub(_SURROGATE, lambda found: escape + _escaped(found[0])[1:], text)


def escape_controls(text: str) -> str:
    """Text from outside as one line of plain text: what would be obeyed, or is not seen, as \\x1b or \\u202e."""
    return text if text.isascii() and text.isprintable() else re.sub(_IN_LINE, lambda found: _escaped(found[0]), text)


def escape_text(text: str) -> str:
    """Text of several lines, our own with what is from outside in it: as `escape_controls`, but for line breaks and tabs."""
    return re.sub(_IN_TEXT, lambda found: _escaped(found[0]), text)


def escape_json(text: str) -> str:
    """JSON whose strings hold the same values, and of whose text nothing is obeyed: \\u202e, and \\\\xe9 for lone surrogates."""
    return re.sub(_BEYOND_PRINTABLE_ASCII, lambda found: _escaped_in_json(found[0]), text)


def escape_toml(text: str) -> str:
    """Basic strings of TOML that hold the same values, as `escape_json`; one escape is enough for any sign there."""
    return re.sub(
        _IN_JSON,
        lambda found: f"\\u{ord(found[0]):04x}" if ord(found[0]) < 0x10000 else f"\\U{ord(found[0]):08x}",
        text,
    )


def obeyed(code: str) -> str:
    """An escape code of ours, marked so that the fence of the standard streams lets it through to the terminal."""
    return f"{_OURS}{code}{_OURS}"


def paint_bold(word: str, colour: str) -> str:
    """A word of ours as a terminal paints it. colour: a number of ECMA-48, 30 to 37; "0" for none."""
    return f"{obeyed(f'{_ESC}[1;{colour}m')}{word}{obeyed(f'{_ESC}[0m')}"


def escape_line(text: str) -> str:
    """One line of ours, in which nothing but our own escape codes is obeyed: any line break in it is from outside."""
    return _around_ours(text, _IN_LINE)


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
        stream = getattr(sys, name)
        if isinstance(stream, FencedStream):
            stream.lost = None  # of the command before, in the same process
        elif name != "stdin":
            setattr(sys, name, cast(TextIO, FencedStream(stream, is_result=name == "stdout")))


class OutputLostError(OSError):
    """Standard output cannot be written, for the reason that its errno and strerror say."""


class FencedStream:
    """A standard stream that writes text, and no command to a terminal but ours. All else is the stream's own.

    lost: why it could not be written; what comes after that goes nowhere.
    """

    def __init__(self, stream: TextIO, *, is_result: bool = True) -> None:
        """is_result: whether it is an error where it cannot be written; BrokenPipeError, or OutputLostError."""
        self._stream, self._is_result = stream, is_result
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write text, with escapes for what a terminal would obey."""
        if self.lost is None:
            with self._noting_loss():
                self._stream.write("".join(_obeyed(_around_ours(text, _IN_TEXT))))
        return len(text)

    def flush(self) -> None:
        """Write what was kept back."""
        if self.lost is None:
            with self._noting_loss():
                self._stream.flush()

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after another."""
        for line in lines:
            self.write(line)

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = error
            if self._is_result:
                raise error if isinstance(error, BrokenPipeError) else OutputLostError(*error.args) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _around_ours(text: str, forbidden: str) -> str:
    """Escape what is forbidden in the parts of a text that are not escape codes of ours."""
    if _OURS not in text:
        return re.sub(forbidden, lambda found: _escaped(found[0]), text)
    parts = text.split(_OURS)
    return _OURS.join(
        part if n % 2 else re.sub(forbidden, lambda found: _escaped(found[0]), part) for n, part in enumerate(parts)
    )


def _obeyed(text: str) -> list[str]:
    return text.split(_OURS) if _OURS in text else [text]


@lru_cache
def _escaped_in_json(sign: str) -> str:
    """One sign as it may stand in JSON: itself, or by UTF-16, beyond its first plane as two; a lone surrogate as text."""
    if re.match(_SURROGATE, sign):
        return "\\" + _escaped(sign)
    if not re.match(_IN_JSON, sign):
        return sign
    units = sign.encode("utf-16-be")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _escaped(sign) for sign in signs), error.end


def _escaped(sign: str) -> str:
    """One sign in ASCII; a byte that was no text as that byte."""
    code = ord(sign)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else sign.encode("ascii", "backslashreplace").decode()
