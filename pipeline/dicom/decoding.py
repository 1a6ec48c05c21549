"""Decode the frames of a file in this very process; `frame_decoder` decides in which process that is.

Rules:
- pydicom's plugins decode, one after the other until one can (JPEG Extended of one sample: `jpeg_extended`). RLE, and what
  is not compressed, is decoded by pydicom itself, in Python.
- `stream_check` sees a frame before any of them.
- Every way to fail has one name here, so that it is told in the same words from whichever process it comes.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..core.findings import Code, PipelineError, refuse
from .encoding import DEFLATED, NATIVE, load
from .jpeg_extended import JPEG_EXTENDED, decode_extended
from .source_file import FileState, state_of
from .stream_check import RLE, DescribedFrame, StreamFault, find_fault

if TYPE_CHECKING:
    from ..volume.mask import Array

VARIABLE = "VERIMASK_DECODER_SECONDS"
_SECONDS = 120.0  # for one decoder and one frame: the slowest take a second for ten million pixels
_FAST = "pyjpegls"  # where pydicom has the choice it takes GDCM, which needs twice the time
_OF_PYDICOM = "pydicom"  # the name of its own decoders, which are Python
_IN_PYTHON = {RLE, DEFLATED, *NATIVE}
_NO_MEMORY = (
    "bad_alloc",
    "not enough memory",
    "out of memory",
    "not allocate",
    "unable to allocate",
    "failed to allocate",
)  # what compiled code says of it

# damaged: it cannot be decoded. contradiction: of `stream_check`. unsupported: nothing decodes its kind.
# memory: there is not enough. ended, silent: the process that decodes it died, or gave no answer.
FailureKind = Literal["damaged", "contradiction", "unsupported", "memory", "ended", "silent"]


def seconds_limit() -> float:
    """How long a decoder may take for a frame, in seconds. Raises BAD_OPTION for a variable of the environment that is none."""
    given = os.environ.get(VARIABLE, "")
    if not given:
        return _SECONDS
    if not re.fullmatch(r"[1-9][0-9]{0,5}", given):
        words = f"{VARIABLE} is a whole number of seconds from 1 to 999999, not {given!r}"
        raise refuse(
            Code.BAD_OPTION, words, f"Set it to a number such as {_SECONDS:g}, or not at all.", where=(VARIABLE,)
        )
    return float(given)


class FrameFailure(Exception):
    """Why a frame was not decoded. numbers: measured, limit and unit, where there are any. decoder: what was tried."""

    def __init__(
        self, kind: FailureKind, words: str, numbers: tuple[float, float, str] | None = None, decoder: str = ""
    ) -> None:
        super().__init__(words)
        self.kind, self.words, self.numbers, self.decoder = kind, words, numbers, decoder


class Question(NamedTuple):
    """Which frame is wanted, and how.

    path: of the file. syntax: its transfer syntax, as its bytes have it. number: of the frame, from 1. raw: whether colours
    stay as they are stored, else they become RGB. options: of pydicom's decoders, in place of what the header says.
    """

    path: Path
    syntax: str
    number: int
    raw: bool = True
    options: tuple[tuple[str, Any], ...] = ()


# What a process does around a decoder, which it is told by name, and how many bytes a frame is; it may raise FrameFailure.
Around = Callable[[str, int], AbstractContextManager[None]]


def has_native_code(syntax: str) -> bool:
    """Whether what decodes a transfer syntax is compiled code, which can end the process that it runs in."""
    return syntax not in _IN_PYTHON


def dataset(path: Path) -> Any:
    """Read a file whole, with its pixel data; once for the frames of one instance, which follow each other."""
    return _dataset_as_it_is(path, state_of(path))


@lru_cache(maxsize=1)
def _dataset_as_it_is(path: Path, _: FileState) -> Any:
    return load(path)


def read_code_stream(path: Path, number: int) -> bytes:
    """The compressed bytes of one frame; empty where they cannot be told from those of others. number: from 1."""
    from pydicom.encaps import get_frame

    try:
        data = dataset(path)
        tables = (data.get("ExtendedOffsetTable"), data.get("ExtendedOffsetTableLengths"))
        options: dict[str, Any] = {"extended_offsets": tables} if all(tables) else {}
        return get_frame(data.PixelData, number - 1, number_of_frames=int(data.get("NumberOfFrames") or 1), **options)
    except Exception:  # a stream that cannot be found is refused where it is decoded
        return b""


def decode_here(asked: Question, around: Around = lambda decoder, size: nullcontext()) -> Array:
    """Decode one frame in this process.

    Returns:
        (rows, columns), or (rows, columns, samples) for colours.

    Raises:
        FrameFailure: it cannot be decoded.
        PipelineError: its file is refused as a whole.
        OSError: its file cannot be read.
    """
    try:
        return _decode(asked, around)
    except (FrameFailure, PipelineError):
        raise
    except OSError as error:
        if error.errno is None:  # pydicom says so of bytes that break off
            raise FrameFailure("damaged", _first_line(error)) from error
        raise
    except NotImplementedError as error:
        raise FrameFailure("unsupported", _first_line(error)) from error
    except MemoryError as error:
        raise FrameFailure("memory", _first_line(error)) from error
    except Exception as error:  # plugins raise what they like; every failure to decode is the same news to a user
        raise FrameFailure("damaged", _first_line(error)) from error


def _decode(asked: Question, around: Around) -> Array:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    data = dataset(asked.path)
    decoder = get_decoder(UID(asked.syntax))
    described = _describe(data)
    size = described.rows * described.columns * max(described.samples, 1) * -(-described.allocated // 8)
    stream = b"" if asked.syntax in (DEFLATED, *NATIVE) else read_code_stream(asked.path, asked.number)
    if stream:
        _refuse_fault(find_fault(stream, asked.syntax, described))
    if asked.syntax == JPEG_EXTENDED and described.samples == 1:
        with around("gdcm", size):
            return decode_extended(stream, data)
    failure: Exception | None = None
    for plugin in _plugins(decoder, asked.syntax):
        try:
            with around(plugin, size), _lack_of_memory(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the bytes contradict is judged by `pixel_layout`
                options: dict[str, Any] = {"raw": asked.raw, "decoding_plugin": plugin, **dict(asked.options)}
                return np.ascontiguousarray(decoder.as_array(data, index=asked.number - 1, **options)[0])
        except FrameFailure:
            raise
        except Exception as error:  # then the others are asked too
            failure = failure or error
    raise failure or NotImplementedError(asked.syntax)


class _MemoryErrors(logging.Handler):
    """Notes whether a MemoryError is logged."""

    found = False

    def emit(self, record: logging.LogRecord) -> None:
        self.found = self.found or bool(record.exc_info and isinstance(record.exc_info[1], MemoryError))


@contextmanager
def _lack_of_memory() -> Iterator[None]:
    """Raise MemoryError where a plugin lacked memory: pydicom hands on its words alone, and its exception to the log."""
    from pydicom.config import logger

    seen = _MemoryErrors()
    logger.addHandler(seen)
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if seen.found or any(words in str(error).lower() for words in _NO_MEMORY):
            raise MemoryError(_first_line(error)) from error
        raise
    finally:
        logger.removeHandler(seen)


def _plugins(decoder: Any, syntax: str) -> list[str]:
    """The plugins to ask, in order; "" for pydicom's own choice, also where it has none and is to say so."""
    if syntax == RLE:
        return [_OF_PYDICOM]
    if not has_native_code(syntax):
        return [""]
    return sorted(decoder.available_plugins, key=lambda name: name != _FAST) or [""]


def _describe(data: Any) -> DescribedFrame:
    """What a data set says of its frames; 0 for what it does not say in a number."""
    keywords = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored")
    rows, columns, samples, allocated, stored = (_whole(data.get(keyword)) for keyword in keywords)
    return DescribedFrame(rows, columns, samples, allocated, stored, data.get("PixelRepresentation") == 1)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _refuse_fault(fault: StreamFault | None) -> None:
    if fault is None:
        return
    numbers = (fault.measured, fault.limit, fault.unit)
    if fault.is_damage:
        raise FrameFailure("damaged", f"its code stream {fault.words}", numbers)
    raise FrameFailure("contradiction", fault.words, numbers)


def _first_line(error: BaseException) -> str:
    """What an exception says, in a line: the reason of the plugin, where pydicom lists it below a line of its own."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return (lines[1] if len(lines) > 1 and lines[0].endswith(":") else lines[0]) if lines else repr(error)
