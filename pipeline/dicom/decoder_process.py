"""A process that decodes the frames it is asked for, in order, and is started anew where one ends it.

Rules:
- Questions have numbers, because several series may ask in turns, or be given up with questions open.
- A process that dies is started again for the frame it died of, once: it may have been ended from outside. One that is silent
  is ended. Either way the next frame has a process, and that frame is given to none again, whoever asks.
- The processes end with this one, because they read until their input closes.
"""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from functools import lru_cache
from threading import RLock, Thread
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np

from ..core.findings import Code, PipelineError, refuse
from ..core.workers import describe_end, kill, python_process
from .decoding import VARIABLE, FrameFailure, Question, seconds_limit

if TYPE_CHECKING:
    from queue import SimpleQueue
    from subprocess import Popen

    from ..volume.mask import Array

_TURN_S = 1.0  # between two looks; an interrupt from the keyboard is noticed as often
_MOST_STARTS = 2  # of a process, for one frame
_WORKER = f"{__package__}.decoder_worker"

_Answer = tuple[dict[str, Any], "Array | None"]
_Found = Union["Array", FrameFailure, PipelineError, OSError]


_Asked = tuple[bytes, int, int]


def _asked(line: bytes) -> _Asked:
    """What tells a question from one about the same file with other content: its line, time and size."""
    import os

    try:
        state = os.stat(json.loads(line)[0])
    except (OSError, ValueError):
        return line, 0, 0
    return line, state.st_mtime_ns, state.st_size


class _Open(NamedTuple):
    """A question without an answer. starts: how many processes it was the first for."""

    number: int
    line: bytes
    starts: int


class DecoderProcess:
    """The process, which is started with this object; `ask` and `answer` may be called from several threads."""

    def __init__(self) -> None:
        import atexit

        self._lock = RLock()
        self._number = 0
        self._open: deque[_Open] = deque()
        self._kept: dict[int, _Found] = {}
        self._unwanted: set[int] = set()
        self._fatal: dict[_Asked, FrameFailure] = {}
        self._decoder = ""
        self._process: Popen[bytes] | None = None
        atexit.register(self.close)
        with suppress(OSError):  # the first question tries again, and says why it cannot be started
            self._start()

    def ask(self, frame: Question) -> int:
        """Ask for a frame; the number of the question."""
        line = json.dumps([str(frame.path), *frame[1:]]).encode() + b"\n"
        with self._lock:
            self._number += 1
            known = self._fatal.get(_asked(line)) if self._fatal else None
            if known is not None:
                self._kept[self._number] = FrameFailure(known.kind, known.words, decoder=known.decoder)
                return self._number
            self._open.append(_Open(self._number, line, 1))
            self._send(line)
            return self._number

    def answer(self, number: int) -> Array:
        """Wait for the answer to one question; answers before it that others wait for are kept for them.

        Raises FrameFailure, PipelineError where the file is refused as a whole, and OSError where it cannot be read.
        """
        with self._lock:
            while number not in self._kept:
                self._receive()
            found = self._kept.pop(number)
        if isinstance(found, np.ndarray):
            return found
        raise found

    def forget(self, number: int) -> None:
        """Give up a question whose answer is not wanted any more."""
        with self._lock:
            if self._kept.pop(number, None) is None:
                self._unwanted.add(number)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        kill(process)
        if process.stdin is not None:
            with suppress(OSError):  # it may have died with a question unread
                process.stdin.close()
        self._reader.join(_TURN_S)

    def _start(self) -> None:
        from queue import SimpleQueue

        self._process = python_process(_WORKER)
        if self._process.stdout is None:
            raise OSError("it has no pipes")
        self._answers: SimpleQueue[_Answer | None] = SimpleQueue()
        # In a thread, since a process that hangs writes nothing, and nothing here may wait for it for ever.
        self._reader = Thread(target=_read_answers, args=(self._process.stdout, self._answers), daemon=True)
        self._reader.start()

    def _send(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # the process is dead, which its answer will show
                self._process.stdin.write(line)
                self._process.stdin.flush()

    def _receive(self) -> None:
        """Wait until the first open question has its answer, or its process has ended."""
        try:
            if self._process is None:
                self._start_again()
            answer = self._next()
        except FrameFailure as failure:
            self._settle(failure, is_fatal=failure.kind == "silent")
            return
        if answer is None:
            self._ended()
            return
        what, array = answer
        if "decoder" in what:
            self._decoder = what["decoder"]
        elif array is not None:
            self._settle(array)
        elif "refusal" in what:
            self._settle(_refusal(what["refusal"]))
        elif "errno" in what:
            self._settle(OSError(what["errno"], what["words"]))
        else:
            numbers = what["numbers"] and tuple(what["numbers"])
            self._settle(FrameFailure(what["kind"], what["words"], numbers, self._decoder))

    def _next(self) -> _Answer | None:
        """What the process says next, None where it has ended. Raises FrameFailure where it says nothing for too long."""
        from queue import Empty
        from time import monotonic

        limit = seconds_limit()
        deadline = monotonic() + limit
        while True:
            try:
                return self._answers.get(timeout=max(0.0, min(_TURN_S, deadline - monotonic())))
            except Empty:
                if monotonic() >= deadline:
                    self.close()
                    words = f"gave no answer within {limit:g} s ({VARIABLE})"
                    raise FrameFailure("silent", words, decoder=self._decoder) from None

    def _start_again(self) -> None:
        """Start a process, and hand it every open question. Raises FrameFailure."""
        self._decoder = ""
        try:
            self._start()
        except OSError as error:
            raise FrameFailure("ended", f"cannot be started: {error.strerror or error}") from error
        for question in self._open:
            self._send(question.line)

    def _ended(self) -> None:
        """The process died of the first open question: it is asked once more, or was asked often enough."""
        how = "ended" if self._process is None else describe_end(self._process, _TURN_S)
        how = how.replace("killed", "was killed")
        self.close()
        first = self._open[0]
        if first.starts < _MOST_STARTS and first.number not in self._unwanted:
            self._open[0] = first._replace(starts=first.starts + 1)
        else:
            self._settle(FrameFailure("ended", how, decoder=self._decoder), is_fatal=True)

    def _settle(self, found: _Found, *, is_fatal: bool = False) -> None:
        """Give the first open question its answer. is_fatal: it ended a process, or silenced it."""
        number, line, _ = self._open.popleft()
        if is_fatal and isinstance(found, FrameFailure):
            self._fatal[_asked(line)] = found
        self._decoder = ""
        if number in self._unwanted:
            self._unwanted.remove(number)
        else:
            self._kept[number] = found


def _refusal(record: dict[str, Any]) -> PipelineError:
    """The refusal of a process, from what it says of its finding."""
    details = {
        key: record[key.capitalize()]
        for key in ("hint", "clause", "measured", "limit", "unit")
        if key.capitalize() in record
    }
    return refuse(Code[record["Code"]], record["Message"], where=tuple(record.get("Where", ())), **details)


def _read_answers(stdout: IO[bytes], answers: SimpleQueue[_Answer | None]) -> None:
    """Pass on what a process says, and None at its end."""
    with (
        stdout,
        suppress(ValueError, KeyError, TypeError, MemoryError),
    ):  # bytes that are no answer: it is of no more use
        for line in stdout:
            what = json.loads(line)
            array = None
            if "dtype" in what:
                try:
                    array = np.empty(what["shape"], what["dtype"])
                except MemoryError as error:  # then its bytes cannot be taken either, and the process is of no more use
                    answers.put(({"kind": "memory", "words": str(error), "numbers": None}, None))
                    break
                if stdout.readinto(array.data.cast("B")) != array.nbytes:  # type: ignore[attr-defined]
                    break
            answers.put((what, array))
    answers.put(None)


@lru_cache(maxsize=1)
def _pool(_: int) -> list[DecoderProcess]:
    return []


def processes(count: int) -> list[DecoderProcess]:
    """So many processes, started when first needed and kept for the next series. One that was forked has its own."""
    import os

    pool = _pool(os.getpid())
    while len(pool) < count:
        pool.append(DecoderProcess())
    return pool[:count]


def end_processes() -> None:
    """End all processes; who asks again has new ones."""
    import os

    for process in _pool(os.getpid()):
        process.close()
    _pool.cache_clear()
