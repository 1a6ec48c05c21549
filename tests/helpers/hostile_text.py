"""Texts that a terminal, a spreadsheet, a browser or an eye would take for something else, and how to find them again.

Rules:
- `hostile` gives such a text for every field and name of `command_tree`; what may stand in the name of a file is less.
- What is forbidden is said here by Unicode's own properties, not by the list that the code under test holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

COLOUR = "\x1b[1;31m"  # one of those that we use ourselves: it must not pass for ours
SIGNS = (
    f"{COLOUR}EVIL\x1b]0;title\x07\x1bP\x9b2J\x08\x7f\r\u202e\u2066\u200e\u061c\u2028\u2029\x85\u200b\u200d\u2060"
    "\ufeff\xad\U000e0041\ufff9\u3164\tx\nINJECTED"
)
MARKUP = "</script><!--<img src=x onerror=alert(1)>"
_NAMES = ("file", "folder", "word")  # what a file may be called, or a command line hold
_NO_TEXT = ("file", "folder of seg", "folder of bundle")  # where a byte that is no UTF-8 stands too

# Zero-width or blank, though Unicode calls them letters or marks; joined to Cc, Cf, Cs, Zl and Zp, these are the forbidden.
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
_VISIBLE = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f]")
OUR_COLOURS = re.compile("\x1b\\[(?:1;3[0-9]|0)m(?!EVIL)|\r\x1b\\[K")


def hostile(what: str) -> str:
    """A hostile text for one field or name of the tree."""
    if what.startswith(_NAMES):
        no_text = "\udce9" if what in _NO_TEXT else ""
        return f"-={what}{SIGNS}{MARKUP.replace('/', '')}{no_text}"
    return f"=1+{what}{SIGNS}{MARKUP if what == 'SeriesDescription' else ''}"


def forbidden(text: str, allowed: str = "\n") -> Iterator[str]:
    """Every sign of a text that must not stand in it as itself, with what is around it."""
    for place, sign in enumerate(text):
        if sign not in allowed and is_forbidden(sign):
            yield f"{sign!a} in {text[max(0, place - 60) : place + 20]!a}"


def is_forbidden(sign: str) -> bool:
    """Whether a sign is a control, cannot be seen, or turns the reading direction."""
    if " " <= sign <= "~" or _VISIBLE.match(sign):
        return False
    return (
        unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        or sign in _BLANK
        or "\U000e0000" <= sign <= "\U000e0fff"
    )
