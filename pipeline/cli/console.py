"""Find what a terminal understands, and switch a console of Windows to it.

Rules:
- Colour and the line that rewrites itself are for terminals that obey escape codes; a console of Windows does so once it
  is asked to (virtual terminal processing), and an old one that does not gets the same words without them.
"""

from __future__ import annotations

import sys
from typing import TextIO

_VIRTUAL_TERMINAL = 0x0004  # ENABLE_VIRTUAL_TERMINAL_PROCESSING of SetConsoleMode


def obeys_escapes(stream: TextIO) -> bool:
    """Whether a stream is a terminal that obeys escape codes; a console of Windows is switched to it."""
    if not stream.isatty():
        return False
    if sys.platform != "win32":
        return True
    import ctypes
    import msvcrt

    try:
        console = ctypes.c_void_p(msvcrt.get_osfhandle(stream.fileno()))
    except OSError:
        return False
    mode = ctypes.c_ulong()
    kernel = ctypes.windll.kernel32
    return bool(
        kernel.GetConsoleMode(console, ctypes.byref(mode))
        and kernel.SetConsoleMode(console, mode.value | _VIRTUAL_TERMINAL)
    )


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that wants colour (NO_COLOR is honoured)."""
    import os

    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and obeys_escapes(stream)
