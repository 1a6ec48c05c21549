"""Serve as a process that decodes frames: compiled decoders can end the process they run in, or never return.

Rules:
- A question is a line of JSON. An answer is a line of JSON too, and the bytes of an array follow it. Before a decoder is
  entered, a line names it, so that it is known what the process died of.
- What decoders print is no answer. But libjpeg prints, and goes on, where data are damaged: what it made up is no pixel.
- A decoder is given memory for a frame, and some more; it leaves no core dump, and cannot outlive who asked for ever.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..core.findings import PipelineError
from .decoding import FrameFailure, Question, decode_here, seconds_limit

if TYPE_CHECKING:
    from ..volume.mask import Array

_SPARE_BYTES = 2 << 30  # that a decoder may take besides its frame
_FRAMES = 4  # copies of a frame that decoder and pydicom hold at the same time
_LIVES = 5  # times as long as a decoder may take: who asked has given up long before, or is gone
# What libjpeg prints where it makes up pixels. "extraneous bytes before marker 0xd9", the end, are none of them.
_DAMAGE = ("premature end", "bad huffman code", "bad arithmetic code", "found marker", "inconsistent progression")
_LONGEST_PRINT = 1 << 16


class _Printed:
    """What compiled code prints on standard error, kept in a file without a name."""

    def __init__(self) -> None:
        from tempfile import TemporaryFile

        self._file: IO[bytes] | None = None
        with suppress(OSError):  # no place to write: then damage that is only printed goes unseen
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the process
            os.dup2(self._file.fileno(), 2)

    def take(self) -> bytes:
        """What was printed since it was last asked for."""
        if self._file is None or not os.fstat(self._file.fileno()).st_size:
            return b""
        self._file.seek(0)
        printed = self._file.read(_LONGEST_PRINT)
        self._file.seek(0)
        self._file.truncate()
        return printed


class _Server:
    """Answers questions, one after the other. answers: where to."""

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers = answers
        self._printed = _Printed()

    def answer(self, asked: Question) -> None:
        try:
            array = decode_here(asked, self._around)
        except FrameFailure as failure:
            self._say({"kind": failure.kind, "words": failure.words, "numbers": failure.numbers})
        except PipelineError as refusal:
            self._say({"refusal": refusal.finding.as_json()})
        except OSError as error:
            self._say({"errno": error.errno, "words": error.strerror or str(error)})
        else:
            self._say({"dtype": array.dtype.str, "shape": array.shape}, array)

    @contextmanager
    def _around(self, decoder: str, size: int) -> Iterator[None]:
        self._say({"decoder": decoder})
        self._printed.take()
        _limit_memory(size)
        _limit_life(int(_LIVES * seconds_limit()))
        try:
            yield
        finally:
            _limit_life(0)
            _limit_memory(None)
            if damage := _find_damage(self._printed.take()):
                raise FrameFailure("damaged", f"{decoder}: {damage}")

    def _say(self, what: dict[str, Any], array: Array | None = None) -> None:
        self._answers.write(json.dumps(what).encode() + b"\n")
        if array is not None:
            self._answers.write(array.data.cast("B"))
        self._answers.flush()


def _find_damage(printed: bytes) -> str:
    """The line that says that data are damaged; "" where none does."""
    lines = printed.decode("ascii", "replace").splitlines()
    return next((line.strip() for line in lines if any(words in line.lower() for words in _DAMAGE)), "")


def _limit_memory(size: int | None) -> None:
    """Let this process have memory for a frame of so many bytes, beyond what it has; None: for anything.

    Nothing where the system has no such limit, or does not say what a process has.
    """
    with suppress(ImportError, OSError, ValueError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = hard
        if size is not None:
            has = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
            most = has + _SPARE_BYTES + _FRAMES * size
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _limit_life(seconds: int) -> None:
    """End this process after so many seconds, whatever it is in; 0: not any more. Nothing where the system has no alarms."""
    if sys.platform != "win32":
        import signal

        signal.alarm(seconds)


def _leave_no_core() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def main() -> None:
    """Answer what is asked on standard input until it closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _leave_no_core()
    server = _Server(answers)
    for line in sys.stdin.buffer:
        path, syntax, number, raw, options = json.loads(line)
        server.answer(Question(Path(path), syntax, number, raw, tuple(map(tuple, options))))


if __name__ == "__main__":
    main()
