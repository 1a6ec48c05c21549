"""Decode the frames of a series, compressed or not, and say of one that cannot be decoded why, as a refusal.

Rules:
- Imported where a frame is decoded, and not before: most series have none such, and what decodes is slow to import.
- What becomes of each way to fail stands here once, whichever process it happened in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..core.findings import Code, PipelineError, refuse
from ..core.memory import limit, show_size
from .decoding import FrameFailure, Question
from .frame import Frame
from .frame_decoder import decode, decode_ahead

if TYPE_CHECKING:
    from ..volume.mask import Array

_COMPRESSED = "PS3.5 8.2"


def decode_series(frames: Sequence[Frame]) -> Callable[[int], Array] | None:
    """What decodes the frames of a series before they are asked for: from the number of a frame, from 0, to its pixels.

    None where they are better decoded one by one. It raises as `decode_frame` does.
    """
    ahead = decode_ahead([Question(f.path, f.header.transfer_syntax, f.number) for f in frames])
    if ahead is None:
        return None

    def frame(n: int) -> Array:
        with _refuse_undecoded(frames[n]):
            return ahead.frame(n)

    return frame


def decode_frame(frame: Frame, *, raw: bool = True, **options: Any) -> Array:
    """Read through pydicom's decoders: compressed, deflated native, and colour (not raw: as RGB). options: of theirs.

    Raises CODE_STREAM, CORRUPT_FILE, DECODER_FAILED, MEMORY_LIMIT, UNSUPPORTED_PIXELS.
    """
    with _refuse_undecoded(frame):
        return decode(Question(frame.path, frame.header.transfer_syntax, frame.number, raw, tuple(options.items())))


@contextmanager
def _refuse_undecoded(frame: Frame) -> Iterator[None]:
    """Turn why a frame was not decoded into a refusal."""
    try:
        yield
    except FrameFailure as failure:
        raise _undecoded(frame, failure) from failure


def _undecoded(frame: Frame, failure: FrameFailure) -> PipelineError:
    numbers = dict(zip(("measured", "limit", "unit"), failure.numbers or (), strict=False))
    if failure.kind == "unsupported":
        return refuse(
            Code.UNSUPPORTED_PIXELS,
            f"{frame.name} has transfer syntax {frame.header.transfer_syntax}, which no decoder here reads",
            "Re-export it uncompressed (Explicit VR Little Endian).",
            where=(frame.name,),
        )
    if failure.kind == "contradiction":
        return refuse(
            Code.CODE_STREAM,
            f"the code stream of {frame.name} {failure.words}",
            "The header was changed after the frame was compressed, or the frame is damaged; export it again.",
            where=(frame.name,),
            clause=_COMPRESSED,
            **numbers,
        )
    if failure.kind == "damaged":
        return refuse(
            Code.CORRUPT_FILE,
            f"the pixels of {frame.name} cannot be decoded: {failure.words}",
            "The file is damaged, or its compression is not what its header says; re-export it uncompressed.",
            where=(frame.name,),
            **numbers,
        )
    decoder = failure.decoder or "its decoder"
    if failure.kind == "memory":
        return _no_memory(frame, decoder)
    return refuse(
        Code.DECODER_FAILED,
        f"the pixels of {frame.name} cannot be decoded by {decoder}, which runs in a process of its own: it {failure.words}",
        "The frame is damaged in a way that its decoder does not notice, or larger than it copes with; re-export it uncompressed.",
        where=(frame.name,),
    )


def _no_memory(frame: Frame, decoder: str) -> PipelineError:
    rows, columns, bits = frame.whole("Rows", 0), frame.whole("Columns", 0), frame.whole("BitsAllocated", 8)
    size, most = rows * columns * frame.whole("SamplesPerPixel", 1) * -(-bits // 8), limit()
    return refuse(
        Code.MEMORY_LIMIT,
        f"there is not enough memory for {decoder} to decode {frame.name}: its frame of {columns} × {rows} pixels takes "
        f"{show_size(size)}, of at most {show_size(most)} that are taken at once, and what a decoder works with comes on top",
        "Convert it alone, or where this process may have more memory; --max-memory refuses such a frame before it is decoded. "
        "A file that is far smaller than what it needs is damaged.",
        where=(frame.name,),
        measured=float(size),
        limit=float(most),
        unit="bytes",
    )
