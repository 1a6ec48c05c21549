"""Recognise volumes that GE's epi_pepolar sequence stores upside down, which only its private attributes show.

Rules:
- Its name is in Pulse Sequence Name (0019,109C), its scheme in User Data 12 (0019,10B3), both of the block GEMS_ACQU_01:
  0 forward, 1 reversed, 2 reversed and forward in turns, 3 forward and reversed in turns. One that is not given, or is
  another, may be any of these.
- Rows of a reversed volume run against their Image Orientation. They are written as the header says, with a warning, because
  it is not certain which volumes of a series of turns they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.findings import Code, Finding, Severity
from .encoding import load
from .frame import Frame

_SEQUENCE = "epi_pepolar"
_WHICH = {
    1: "every volume is stored with its rows upside down",
    2: "every other volume, from the first, is stored with its rows upside down",
    3: "every other volume, from the second, is stored with its rows upside down",
}
_FORWARD = 0


def may_be_reversed(frames: Sequence[Frame]) -> bool:
    """Whether any volume of the series these frames are of may be stored upside down."""
    return _read_scheme(frames[0]) not in (None, _FORWARD)


def about_polarity(frames: Sequence[Frame]) -> list[Finding]:
    """Warn of rows of an image that may run against their orientation."""
    if not may_be_reversed(frames):
        return []
    first, scheme = frames[0], _read_scheme(frames[0])
    which = _WHICH.get(scheme or -1)
    how = (
        f"with polarity scheme {scheme} (0019,10B3): {which}"
        if which
        else "and its polarity scheme (0019,10B3) is none that is known: volumes may be stored with their rows upside down"
    )
    return [
        Finding(
            Code.REVERSED_ROWS,
            f"{first.name} is of GE's sequence epi_pepolar {how}, against its Image Orientation (0020,0037), which was "
            "followed",
            "Look at every volume beside another series, and turn round the rows of those that are upside down.",
            Severity.WARNING,
            "PS3.3 C.7.6.2.1.1",
            (first.name,),
        )
    ]


def _read_scheme(frame: Frame) -> int | None:
    """The polarity scheme of a frame: None for any other sequence, -1 where the scheme cannot be read."""
    maker = str(frame.get("Manufacturer", "")).casefold()
    if not maker.startswith("ge") or frame.get("Modality") != "MR":
        return None
    try:
        block = load(frame.path, stop_before_pixels=True).private_block(0x0019, "GEMS_ACQU_01")
        if _SEQUENCE not in _text(block, 0x9C).casefold():
            return None
    except KeyError:
        return None
    try:
        return int(float(_text(block, 0xB3)))
    except (KeyError, ValueError, OverflowError):
        return -1


def _text(block: Any, element: int) -> str:
    """The value of a private element, by its own VR or by none."""
    value = block[element].value
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
