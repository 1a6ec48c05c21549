"""Decode frames in processes of their own: compiled decoders can end the process they run in, and only processes decode at
the same time.

Rules:
- Frames that compiled code decodes never are decoded here, not even one. What pydicom decodes in Python is, unless there is
  so much of it that processes are worth their start.
- Frames of a series are asked for a few ahead, in the order they are wanted; a caller that asks in another order is served
  too, only slower.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.workers import count_cores
from .decoder_process import DecoderProcess, processes
from .decoding import Question, decode_here, has_native_code

if TYPE_CHECKING:
    from ..volume.mask import Array

WORTH_IT = 100  # frames: below, starting more than one process takes longer than it saves
_AHEAD = 3  # frames asked of each process at a time: it never waits, and little memory is held
_MOST = 8  # processes: more would wait for the disk


def decode(asked: Question) -> Array:
    """Decode one frame: (rows, columns), or (rows, columns, samples) for colours.

    Raises FrameFailure where it cannot be decoded, OSError where its file cannot be read.
    """
    if not has_native_code(asked.syntax):
        return decode_here(asked)
    process = processes(1)[0]
    return process.answer(process.ask(asked))


def decode_ahead(frames: Sequence[Question]) -> Ahead | None:
    """What decodes the frames of a series before they are asked for; None where they are better decoded one by one, here."""
    is_large = len(frames) >= WORTH_IT
    if not is_large and not any(has_native_code(frame.syntax) for frame in frames):
        return None
    return Ahead(frames, min(_MOST, count_cores()) if is_large else 1)


class Ahead:
    """Decodes frames before they are asked for. count: of processes, which are started at once."""

    def __init__(self, frames: Sequence[Question], count: int) -> None:
        self._frames = frames
        self._asked: deque[tuple[int, DecoderProcess, int]] = deque()  # frame, who was asked, and the question's number
        self._processes = processes(count)

    def __del__(self) -> None:
        self._forget()

    def frame(self, n: int) -> Array:
        """The array of frame n (from 0). Raises as `decode` does."""
        if not self._asked or self._asked[0][0] != n:
            self._forget()  # another order than was expected
            self._ask(n)
        _, process, question = self._asked.popleft()
        try:
            return process.answer(question)
        finally:
            self._ask(self._asked[-1][0] + 1 if self._asked else n + 1)

    def _ask(self, start: int) -> None:
        most = min(len(self._frames), start + _AHEAD * len(self._processes) - len(self._asked))
        for n in range(start, most):
            process = self._processes[n % len(self._processes)]
            self._asked.append((n, process, process.ask(self._frames[n])))

    def _forget(self) -> None:
        while self._asked:
            _, process, question = self._asked.popleft()
            process.forget(question)
