"""Decode compressed pixels with pydicom's plugins (JPEG Extended by `jpeg_extended`): here, or ahead of time in processes of their own.

Rules:
- Decoding holds the interpreter, so only processes decode at the same time. Frames are asked for a few ahead, in the order
  they are wanted; a caller that asks in another order is served too, only slower.
- A process that cannot decode a frame, or dies, gives no answer. The frame is then decoded here, so that what is wrong
  with it is reported in one place.
- The processes end with this one, because they read until their input closes.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.workers import count_cores, kill, python_process
from .encoding import load
from .jpeg_extended import JPEG_EXTENDED, decode_extended
from .source_file import FileState, state_of

if TYPE_CHECKING:
    from ..volume.mask import Array

WORTH_IT = 100  # frames: below, starting the processes takes longer than it saves
_AHEAD = 3  # frames asked of each process at a time: it never waits, and little memory is held
_MOST = 8  # processes: more would wait for the disk
_FAST = "pyjpegls"  # where pydicom has the choice it takes GDCM, which needs twice the time


def dataset(path: Path) -> Any:
    """Read a file whole, with its pixel data; once for the frames of one instance, which follow each other."""
    return _dataset_as_it_is(path, state_of(path))


@lru_cache(maxsize=1)
def _dataset_as_it_is(path: Path, _: FileState) -> Any:
    return load(path)


def read_code_stream(path: Path, number: int) -> bytes:
    """The compressed bytes of one frame; empty where they cannot be told from those of others. number: from 1."""
    from pydicom.encaps import get_frame

    data = dataset(path)
    try:
        return get_frame(data.PixelData, number - 1, number_of_frames=int(data.get("NumberOfFrames") or 1))
    except Exception:  # a stream that cannot be found is refused where it is decoded
        return b""


def decode(path: Path, syntax: str, number: int, *, raw: bool = True, **options: Any) -> Array:
    """Decode one frame of a file.

    Args:
        path: of the file.
        syntax: its transfer syntax, as its bytes have it.
        number: of the frame, from 1.
        raw: whether colours stay as they are stored; otherwise they become RGB.
        options: of pydicom's decoders, in place of what the header says.

    Returns:
        (rows, columns), or (rows, columns, samples) for colours.

    Raises:
        NotImplementedError: no plugin reads the transfer syntax.
        Exception: whatever else pydicom and its plugins raise.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    if syntax == JPEG_EXTENDED and dataset(path).get("SamplesPerPixel") == 1:
        return decode_extended(read_code_stream(path, number), dataset(path))
    decoder = get_decoder(UID(syntax))
    read = partial(decoder.as_array, dataset(path), index=number - 1, raw=raw, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the bytes contradict is judged by `pixel_layout`
        if _FAST in decoder.available_plugins:
            with suppress(Exception):  # then the others are asked too
                return np.ascontiguousarray(read(decoding_plugin=_FAST)[0])
        return np.ascontiguousarray(read()[0])


class Ahead:
    """Decodes frames in processes before they are asked for. frames: path, transfer syntax and number from 1 of each."""

    def __init__(self, frames: Sequence[tuple[Path, str, int]]) -> None:
        self._frames = frames
        self._asked: deque[tuple[int, _Process, int]] = deque()  # frame, who was asked, and the question's number

    def __del__(self) -> None:
        self._forget()

    def frame(self, n: int) -> Array | None:
        """The array of frame n (from 0), or None where no process could decode it."""
        if not self._asked or self._asked[0][0] != n:
            self._forget()  # another order than was expected
            self._ask(n)
        _, process, question = self._asked.popleft()
        array = process.answer(question)
        self._ask(self._asked[-1][0] + 1 if self._asked else n + 1)
        return array

    def _ask(self, start: int) -> None:
        processes = _processes()
        most = min(len(self._frames), start + _AHEAD * len(processes) - len(self._asked))
        for n in range(start, most):
            process = processes[n % len(processes)]
            self._asked.append((n, process, process.ask(self._frames[n])))

    def _forget(self) -> None:
        while self._asked:
            _, process, question = self._asked.popleft()
            process.forget(question)


class _Process:
    """A process that decodes what it is asked, in order.

    Questions have numbers, because several series may ask in turns, or be given up with questions open.
    """

    def __init__(self) -> None:
        self._process = python_process(__name__)
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a process that decodes was started without pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._questions = self._answers = 0
        self._kept: dict[int, Array | None] = {}
        self._unwanted: set[int] = set()

    def ask(self, frame: tuple[Path, str, int]) -> int:
        """Ask for a frame; the number of the question."""
        self._questions += 1
        try:
            self._stdin.write(json.dumps([str(frame[0]), *frame[1:]]).encode() + b"\n")
            self._stdin.flush()
        except OSError:
            pass  # the process is dead, so its answer will be None
        return self._questions

    def answer(self, question: int) -> Array | None:
        """Wait for the answer to one question; answers before it that others wait for are kept for them."""
        while self._answers < question:
            array = self._receive()
            self._answers += 1
            if self._answers in self._unwanted:
                self._unwanted.remove(self._answers)
            else:
                self._kept[self._answers] = array
        return self._kept.pop(question)

    def forget(self, question: int) -> None:
        """Give up a question whose answer is not wanted any more."""
        if question > self._answers:
            self._unwanted.add(question)
        else:
            self._kept.pop(question, None)

    def _receive(self) -> Array | None:
        line = self._stdout.readline()
        if not line.strip():
            return None
        dtype, shape = json.loads(line)
        array = np.empty(shape, dtype)
        is_whole = self._stdout.readinto(array.data.cast("B")) == array.nbytes  # type: ignore[attr-defined]
        return array if is_whole else None

    def close(self) -> None:
        kill(self._process)
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):  # it may have died with a question unread
                pipe.close()


@lru_cache(maxsize=1)
def _processes() -> list[_Process]:
    """Start one process for each core when first needed, and keep them for the next series."""
    import atexit

    made = [_Process() for _ in range(min(_MOST, count_cores()))]
    for process in made:
        atexit.register(process.close)
    return made


def _serve() -> None:
    """Serve as such a process: answer each frame with a line, empty or its type and shape with the bytes after it."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a plugin prints is no answer
    for line in sys.stdin.buffer:
        path, syntax, number = json.loads(line)
        try:
            array = decode(Path(path), syntax, number)
        except Exception:  # the process that asked decodes it again, and reports what is wrong
            answers.write(b"\n")
        else:
            answers.write(json.dumps([array.dtype.str, array.shape]).encode() + b"\n")
            answers.write(array.data.cast("B"))
        answers.flush()


if __name__ == "__main__":
    _serve()
