"""Take signals over before anything else is imported, for the short time until `main` does: the entry point of the command line.

Rules:
- Only what starts a command imports this module: a library leaves signals as they are.
- Nothing is imported before that Python has not loaded by itself. Nothing is written and nothing started yet, so that a signal
  ends the process at once, as it would later: one line, and 128 and the signal.
- A signal that the process was started to ignore (nohup) stays ignored.
"""

# Built in: `signal` itself imports others, which takes milliseconds.
import _signal  # type: ignore[import-not-found]
import os

_NAMES = {getattr(_signal, name): name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(_signal, name)}


def _end(signum: int, _: object) -> None:
    line = "stopped\n" if signum == _signal.SIGINT else f"stopped by {_NAMES[signum]}\n"
    try:  # noqa: SIM105 - contextlib is not imported yet
        os.write(2, line.encode())
    except OSError:  # there may be nobody to read it
        pass
    os._exit(128 + signum)


try:
    for _number in _NAMES:
        if _signal.getsignal(_number) not in (_signal.SIG_IGN, None):
            _signal.signal(_number, _end)
except ValueError:  # not the main thread
    pass

from .main import main  # noqa: E402

__all__ = ["main"]
