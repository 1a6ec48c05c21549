"""Find where the pixel bytes of every frame lie, and refuse bytes that contradict the header.

Rules:
- frames x rows x columns x samples x bits allocated, in whole bytes, is what must be there (PS3.5 8.1.1, 8.2); one pad
  byte may follow. Every decoder asks here, for native and deflated pixels and for the frames of compressed ones.
- Number of Frames, functional groups and bytes must agree. Where two of the three do, they are followed, with a warning.
  Functional groups count before Number of Frames, because they alone give a frame its place.
- More bytes than needed are never ignored. Samples of twice the width, samples of 9 to 15 bits in 16 each, and one-bit
  frames padded each to a byte, are read where nothing else fits the length; further frames, rows or columns are refused;
  anything else is padding, with a warning.
- Fragments under a native transfer syntax are joined where they give exactly the bytes needed, and refused otherwise.
- Too few bytes are refused when the frame that lacks them is read, so that those before it can be.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..core.findings import Code, Finding, Severity, refuse
from .encoding import EXPLICIT_BIG, inflated
from .frame_count import PAD, declared_frames, frame_bits, has_fixed_size, whole_bytes, whole_number
from .pixel_items import frame_counts, items
from .source_file import open_source, written_ns

if TYPE_CHECKING:
    from ..core.findings import PipelineError
    from .header import Header

_CLAUSE = "PS3.5 8.1.1"
_EXPORT_AGAIN = "The file was written or changed wrongly; export it again."

ByteRuns = tuple[tuple[int, int], ...]


class PixelLayout(NamedTuple):
    """Where the frames of one instance are.

    pieces: offset in the file and length of each run of their bytes, in order; none where a decoder has to find them.
    frame_bits: from the start of a frame to that of the next. widened: whether a sample takes twice the bytes that are
    allocated to it. in_words: whether a sample of 9 to 15 bits takes 16.
    """

    pieces: ByteRuns
    frame_bits: int
    widened: bool = False
    in_words: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def length(self) -> int:
        return sum(length for _, length in self.pieces)

    def read_into(self, file: BinaryIO, start: int, target: memoryview) -> int:
        """Fill a buffer with bytes of the pixels.

        Args:
            file: the instance, open for reading.
            start: the first byte, counted without the gaps between pieces.
            target: the buffer, which is overwritten.

        Returns:
            How many bytes there were; fewer than the buffer holds where the file ends early.
        """
        done = 0
        for offset, length in self.pieces:
            if start < length and done < target.nbytes:
                count = min(length - start, target.nbytes - done)
                file.seek(offset + start)
                read: int = file.readinto(target[done : done + count])  # type: ignore[attr-defined]
                done += read
                if read < count:
                    return done
                start = 0
            else:
                start = max(start - length, 0)
        return done


@lru_cache(maxsize=2048)  # asked before, while and after the frames of a series are read
def layout_of(header: Header) -> PixelLayout:
    """Find where the pixels of an instance are. Raises FRAME_COUNT, PIXEL_LENGTH."""
    count = header.number_of_frames
    findings = _check_frame_count(header, count)
    if not has_fixed_size(header):
        _check_compressed_count(header, count)
        return PixelLayout((), frame_bits(header), findings=findings)
    layout = _lay_out_native(header, count)
    return layout._replace(findings=(*findings, *layout.findings))


def _check_frame_count(header: Header, count: int) -> tuple[Finding, ...]:
    """A warning where Number of Frames alone contradicts the others. Raises FRAME_COUNT where more is contradictory."""
    declared, groups = declared_frames(header), len(header.frames)
    if "NumberOfFrames" in header.unreadable and not groups:
        raise _frame_count(
            header, f"its Number of Frames (0028,0008) cannot be read: {header.unreadable['NumberOfFrames']}"
        )
    if groups and groups != count:
        raise _frame_count(header, f"it has functional groups for {groups} frames, and pixel data for {count}")
    if not groups and (declared or 1) > count:
        raise _frame_count(header, f"it claims {declared} frames, and has {header.size} bytes in all")
    if not groups or declared == groups or (groups == 1 and not declared):
        return ()
    value = f"says {header.get('NumberOfFrames')}" if "NumberOfFrames" in header.values else "is missing"
    value = "cannot be read" if "NumberOfFrames" in header.unreadable else value
    message = f"Number of Frames (0028,0008) {value}; its functional groups and its bytes are those of {groups}, which were read"
    return (_found(header, Code.FRAME_COUNT, message),)


def _lay_out_native(header: Header, count: int) -> PixelLayout:
    bits = frame_bits(header)
    pieces, length, findings = _find_pieces(header, count)
    extra = length - whole_bytes(count * bits)
    if extra <= max(PAD):
        _refuse_bits_behind(header, pieces, count * bits)
        return PixelLayout(pieces, bits, findings=findings)
    there = header.size - (header.pixel_offset or 0)
    if pieces and length > there:
        raise _cut(header, length, there)
    stride, is_widened, is_in_words = bits, False, False
    if pieces and _are_padded_frames(header, count, length):
        what = f"each of its {count} frames begins on a byte of its own, which the standard does not have"
        stride = whole_bytes(bits) * 8
    elif pieces and _are_wider_samples(header, pieces, count, length):
        allocated = whole_number(header, "BitsAllocated", 0)
        what = f"its values take {allocated * 2} bits each, and Bits Allocated (0028,0100) says {allocated}"
        stride, is_widened = 2 * bits, True
    elif pieces and (in_words := _bits_in_words(header)) and length - whole_bytes(count * in_words) in PAD:
        allocated = whole_number(header, "BitsAllocated", 0)
        what = f"its values take 16 bits each, and Bits Allocated (0028,0100) says {allocated}"
        stride, is_in_words = in_words, True
    else:
        _refuse_more_pixels(header, count, length, extra)
        what = f"{extra} bytes follow the {length - extra} bytes of its pixels, within their element"
    found = _found(header, Code.PIXEL_LENGTH, what, extra)
    return PixelLayout(pieces, stride, is_widened, is_in_words, (*findings, found))


def _are_padded_frames(header: Header, count: int, length: int) -> bool:
    """Whether one-bit frames are padded each to a byte, as a known writer did, and the length can mean nothing else."""
    one_bit = whole_number(header, "BitsAllocated", 0) == whole_number(header, "SamplesPerPixel", 1) == 1
    bits = frame_bits(header)
    return one_bit and length - count * whole_bytes(bits) in PAD and not _further(bits, count, length)


def _are_wider_samples(header: Header, pieces: ByteRuns, count: int, length: int) -> bool:
    """Whether every sample takes twice the bytes allocated to it, the upper half of them zero."""
    allocated = whole_number(header, "BitsAllocated", 0)
    if allocated not in (8, 16) or whole_number(header, "SamplesPerPixel", 1) != 1:
        return False
    if length - whole_bytes(2 * count * frame_bits(header)) not in PAD:
        return False
    size = allocated // 8
    upper = 0 if header.transfer_syntax == EXPLICIT_BIG else size
    layout = PixelLayout(pieces, 0)
    data = bytearray(layout.length)
    with open_source(header.path) as file:
        layout.read_into(file, 0, memoryview(data))
    return not any(any(data[upper + n :: 2 * size]) for n in range(size))


def _bits_in_words(header: Header) -> int:
    """The bits of a frame whose samples of 9 to 15 bits take 16 each; 0 for samples of other bits."""
    allocated = whole_number(header, "BitsAllocated", 0)
    return frame_bits(header) // allocated * 16 if 8 < allocated < 16 else 0


def _refuse_bits_behind(header: Header, pieces: ByteRuns, bits: int) -> None:
    """Bits behind the last one-bit frame are zero; where not, frames or segments begin elsewhere than they should."""
    if bits % 8 == 0 or whole_number(header, "BitsAllocated", 0) != 1 or not pieces:
        return
    layout, last = PixelLayout(pieces, bits), bits // 8
    if layout.length <= last:
        return
    tail = bytearray(layout.length - last)
    with open_source(header.path) as file:
        layout.read_into(file, last, memoryview(tail))
    if tail[0] >> bits % 8 or any(byte not in b"\x000" for byte in tail[1:]):  # a known writer pads with a digit 0
        raise _wrong_length(
            header,
            f"{header.path.name} has bits set behind its last frame, so that its frames do not begin where they should",
            "Frames or segments were probably padded each to whole bytes; export it with another program.",
        )


def _refuse_more_pixels(header: Header, count: int, length: int, extra: int) -> None:
    """What follows the pixels is no padding where it could be frames, rows or columns, or shifts the bits of a SEG."""
    bits = frame_bits(header)
    of_three = _of_three_samples(header, count, length)
    further = 0 if of_three else _further(bits, count, length)
    if further:
        raise _frame_count(header, f"its pixel data hold {count + further} frames, and it describes {count}")
    per_pixel = bits / max(whole_number(header, "Rows", 1) * whole_number(header, "Columns", 1), 1)
    is_padded = per_pixel == 1 and _may_be_padded_rows(header, count, length)
    why = of_three or ("" if is_padded else _further_lines(header, count, length))
    if not why and per_pixel == 1 and (extra <= count + 1 or is_padded):
        why = "its rows, frames or segments may begin on bytes of their own, which shifts all bits behind"
    if why:
        raise _wrong_length(
            header,
            f"{header.path.name} has {length} bytes of pixel data, and {length - extra} are needed: {why}",
            _EXPORT_AGAIN,
            (length, length - extra),
        )


def _may_be_padded_rows(header: Header, count: int, length: int) -> bool:
    """Whether the bytes are as many as one-bit rows take that begin on a byte each."""
    rows, columns = whole_number(header, "Rows", 1), whole_number(header, "Columns", 1)
    return length - count * rows * whole_bytes(columns) in PAD


def _of_three_samples(header: Header, count: int, length: int) -> str:
    """Why pixels of YBR_FULL_422 are not of that, in words, where there are three bytes for each and not two."""
    if header.get("PhotometricInterpretation") != "YBR_FULL_422":
        return ""
    if length - whole_bytes(count * frame_bits(header) * 3 // 2) not in PAD:
        return ""
    return "these are three bytes a pixel, as RGB or YBR_FULL has, and YBR_FULL_422 has two; which of them it is, it does not say"


def _further_lines(header: Header, count: int, length: int) -> str:
    """Which of rows or columns the further bytes could be, in words; "" where they are neither."""
    rows, columns = whole_number(header, "Rows", 1), whole_number(header, "Columns", 1)
    all_bits = frame_bits(header) * count
    for name, tag, size in (("Rows", "0010", rows), ("Columns", "0011", columns)):
        line = all_bits // max(size, 1)  # bits of a row, or a column, of all frames; of one-bit pixels no whole bytes
        further = _further(line, size, length) if line >= 8 else 0
        if further:
            return f"{name} (0028,{tag}) says {size}, and its pixel data hold {size + further}"
    return ""


def _further(bits: int, count: int, length: int) -> int:
    """How many more whole frames, or lines, of so many bits the bytes hold, where they hold nothing else; 0 where they do not."""
    more = length * 8 // bits - count if bits else 0
    return more if more > 0 and length - whole_bytes((count + more) * bits) in PAD else 0


def _find_pieces(header: Header, count: int) -> tuple[ByteRuns, int, tuple[Finding, ...]]:
    """The runs of native bytes, how many bytes they claim to be, and what was found. No runs for a deflated file."""
    if header.pixel_offset is None:
        return (), len(inflated(header.path, written_ns(header.path))), ()
    needed = whole_bytes(count * frame_bits(header))
    offset, length = header.pixel_offset, header.pixel_length
    if length is not None and length - needed in PAD:
        return ((offset, max(min(length, header.size - offset), 0)),), length, ()
    with open_source(header.path) as file:
        fragments = items(file, header)
        if fragments is not None:
            with_table = (fragments[1:], fragments) if fragments[0][1] else (fragments[1:],)
            ways = [f for f in with_table if sum(n for _, n in f) - needed in PAD]
            if len(ways) == 1:
                how = (
                    f"came as {len(ways[0])} fragments under a native transfer syntax; joined they are the bytes needed"
                )
                return tuple(ways[0]), sum(n for _, n in ways[0]), (_found(header, Code.PIXEL_FRAGMENTS, how),)
            raise _unjoined(header, fragments, needed)
        if length is None:
            return _until_delimiter(file, header, needed)
    return ((offset, max(min(length, header.size - offset), 0)),), length, ()


def _until_delimiter(file: BinaryIO, header: Header, needed: int) -> tuple[ByteRuns, int, tuple[Finding, ...]]:
    """Native bytes of undefined length: as many as are needed, where the sequence delimiter follows them."""
    offset = header.pixel_offset or 0
    order = ">" if header.transfer_syntax == EXPLICIT_BIG else "<"
    end = struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0)
    for length in (needed, needed + 1):
        file.seek(offset + length)
        if file.read(8) == end:
            return ((offset, length),), length, ()
    raise _wrong_length(
        header,
        f"the pixel data of {header.path.name} have no length, and do not end after the {needed} bytes that are needed",
        _EXPORT_AGAIN,
    )


def _check_compressed_count(header: Header, count: int) -> None:
    """Raises FRAME_COUNT unless compressed pixels are as many frames as are described, by any way to count them."""
    held = set(frame_counts(header))
    if held and count not in held:
        raise _frame_count(header, f"its pixel data hold {min(held)} compressed frames, and it describes {count}")


def _cut(header: Header, length: int, there: int) -> PipelineError:
    return _wrong_length(
        header,
        f"the pixel data of {header.path.name} are said to be {length} bytes, and {there} follow in the file",
        "The file was cut off, or its length is not written as its data set is encoded; export or copy it again.",
        (there, length),
    )


def _unjoined(header: Header, fragments: list[tuple[int, int]], needed: int) -> PipelineError:
    held = sum(n for _, n in fragments)
    return _wrong_length(
        header,
        f"the pixel data of {header.path.name} are {len(fragments)} fragments of {held} bytes in all under a native transfer "
        f"syntax, and {needed} bytes are needed: they are compressed, or not whole",
        "The Transfer Syntax UID (0002,0010) is wrong, or fragments were lost; export the file again.",
        (held, needed),
    )


def _wrong_length(header: Header, what: str, hint: str, sizes: tuple[int, int] | None = None) -> PipelineError:
    """The refusal of bytes that are not those of the pixels. sizes: how many there are, and how many there should be."""
    numbers = {} if sizes is None else {"measured": sizes[0], "limit": sizes[1], "unit": "bytes"}
    return refuse(Code.PIXEL_LENGTH, what, hint, where=(header.path.name,), clause=_CLAUSE, **numbers)


def _frame_count(header: Header, what: str) -> PipelineError:
    return refuse(
        Code.FRAME_COUNT,
        f"{header.path.name} contradicts itself: {what}",
        "Which frames are meant, and where they lie, nobody can tell; export it again.",
        where=(header.path.name,),
        clause="PS3.3 C.7.6.6",
    )


def _found(header: Header, code: Code, what: str, extra: int | None = None) -> Finding:
    numbers = {} if extra is None else {"measured": float(extra), "limit": 1.0, "unit": "bytes"}
    text = f"the pixel data of {header.path.name} {what}" if what.startswith("came") else f"{header.path.name}: {what}"
    return Finding(code, text, "", Severity.WARNING, _CLAUSE, (header.path.name,), **numbers)  # type: ignore[arg-type]
