"""Convert the bytes of header values to what pydicom would give, or give up.

Rules:
- What is out of the ordinary raises `GiveUp`, and then pydicom has to read the file. Nothing is guessed.
- Nothing is kept of the patient but a key that tells two patients apart in this process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from struct import unpack
from typing import Any

# With these characters only, float and int read what pydicom reads: it calls them too.
_NUMBER_CHARACTERS = {b"DS": b"0123456789+-.eE \\", b"IS": b"0123456789+- \\"}
_TOO_LARGE = 2**31  # an IS holds 32 bits with a sign (PS3.5 6.2); what to make of more is left to pydicom
_SECRET = os.urandom(16)


class GiveUp(Exception):
    """The file is out of the ordinary; the message says where. Not an error: pydicom has to read it."""


@lru_cache(maxsize=64)
def patient_key(patient_id: str) -> str:
    """Make a key that tells two patients apart in this process, and reveals nothing of either."""
    text = patient_id.strip("\0 ")
    return hashlib.blake2s(text.encode("utf-8", "replace"), key=_SECRET, digest_size=8).hexdigest() if text else ""


def name_key(raw: bytes) -> str:
    """Make a key that tells two names of patients apart, likewise; it is of their bytes, in whatever character set."""
    return patient_key(raw.decode("latin-1"))


def plain_id(raw: bytes) -> str:
    """Decode the ID of a patient. Raises GiveUp for several."""
    if b"\\" in raw:
        raise GiveUp("a patient with several numbers")
    return raw.decode("ascii")


@lru_cache(maxsize=1024)  # most values are the same in every file of a series
def plain_value(vr: bytes, raw: bytes) -> Any:
    """Convert a value to str, int, float or a tuple of them, None if it is empty. Raises GiveUp or ValueError."""
    values: Sequence[Any]
    if vr == b"US":
        values = unpack(f"<{len(raw) // 2}H", raw)
    elif vr == b"FD":
        values = unpack(f"<{len(raw) // 8}d", raw)
    elif vr in _NUMBER_CHARACTERS:
        values = _parse_numbers(vr, raw.rstrip(b"\0 "))
    else:
        values = _parse_texts(vr, raw.rstrip(b"\0 "))
    if len(values) == 1:
        return values[0]
    return tuple(values) or None


def _parse_numbers(vr: bytes, text: bytes) -> list[int] | list[float]:
    if text.translate(None, _NUMBER_CHARACTERS[vr]):
        raise GiveUp("a character that is not part of a number")
    if not text:
        return []
    if vr == b"DS":
        return [float(part) for part in text.split(b"\\")]
    integers = [int(part) for part in text.split(b"\\")]
    if max(map(abs, integers)) >= _TOO_LARGE:
        raise GiveUp("an integer of more than 32 bits")
    return integers


def _parse_texts(vr: bytes, raw: bytes) -> list[str]:
    text = raw.decode("ascii")
    if not text.isprintable():
        raise GiveUp("a control character in a text")
    parts = [part.strip(" ") for part in ([text] if vr in (b"ST", b"UI") else text.split("\\"))]
    return [] if "" in parts else parts
