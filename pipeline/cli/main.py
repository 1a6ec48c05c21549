"""Start the command line: let signals stop it in order, from here to its last moment; run the command; exit with its code.

Rules:
- Signals are taken over before a command is imported; `start` has them until then.
- A command that is stopped exits with 128 and the signal (130 for Ctrl-C), with one line on standard error.
- At the end no process of ours is left, and nothing that is not finished.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from ..core import stop_signals

# New objects: modules and headers are kept, and looking through them at every 700 finds nothing.
_GARBAGE_AFTER = 50_000


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line: what `verimask` and `python -m verimask` call, by way of `start`.

    Args:
        arguments: instead of those this process was started with; then it goes on afterwards, with the signals it had.
    """
    if arguments is None:
        stop_signals.install(_end_all)
        atexit.register(stop_signals.ignore)  # the first one here is the last one called
        sys.exit(_run(sys.argv[1:], _begin_to_end))
    with stop_signals.handled(_end_all):
        sys.exit(_run(list(arguments), lambda: None))


def _run(given: list[str], begin_to_end: Callable[[], None]) -> int:
    gc.set_threshold(_GARBAGE_AFTER)
    try:
        stop_signals.begin()
        from .run_command import run_command

        try:
            return run_command(given)
        finally:
            begin_to_end()
    except (KeyboardInterrupt, Exception) as stop:
        if not isinstance(stop, KeyboardInterrupt) and not stop_signals.has_come():
            raise
        _end_all()
        with suppress(OSError, ValueError):  # there may be nobody to read it
            print(
                stop_signals.describe_stop(stop if isinstance(stop, KeyboardInterrupt) else None),
                file=sys.stderr,
                flush=True,
            )
        return stop_signals.exit_code()


def _begin_to_end() -> None:
    stop_signals.begin_to_end()
    gc.freeze()  # Python looks through all objects at its end, for as long as numpy takes to import; the system has them back anyway


def _end_all() -> None:
    """What is loaded already: where nothing was started or written, there is nothing to end."""
    core = f"{__package__.rpartition('.')[0]}.core"
    if ours := sys.modules.get(f"{core}.temporary_folder"):
        ours.end_all()
    elif ours := sys.modules.get(f"{core}.leftovers"):  # of a command that writes files, and made no temporary folder
        ours.remove_own()
