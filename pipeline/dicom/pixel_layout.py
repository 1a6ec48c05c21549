"""Say where the pixel bytes of every frame lie, and refuse bytes that contradict the header.

Rules:
- frames x rows x columns x samples x bits allocated, in whole bytes, is what must be there (PS3.5 8.1.1, 8.2); one pad
  byte may follow. Every decoder asks here, for native and deflated pixels and for the frames of compressed ones.
- Number of Frames, functional groups and bytes must agree. What two of the three say is read, and said; it stays
  unconfirmed. Functional groups count before Number of Frames, for they alone give a frame its place.
- More bytes than needed are never passed over. Samples of twice the width, and one-bit frames padded each to a byte, are
  read where nothing else fits the length; further frames, rows or columns are refused; anything else is padding, said.
- Fragments under a native transfer syntax are joined where they give exactly the bytes needed, and refused otherwise.
- Too few bytes are refused when the frame that lacks them is read, so that those before it can be.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..core.findings import Code, Finding, Severity, refuse
from .encoding import DEFLATED, EXPLICIT_BIG, inflated
from .pixel_items import frame_counts, items

if TYPE_CHECKING:
    from ..core.findings import PipelineError
    from .header import Header

_CLAUSE = "PS3.5 8.1.1"
_EXPORT_AGAIN = "The file was written or changed wrongly; export it again."


class PixelLayout(NamedTuple):
    """Where the frames of one instance are. pieces: offset in the file and length of each run of their bytes, in order;
    none where a decoder has to find them. frame_bits: from the start of a frame to that of the next. widened: whether a
    sample takes twice the bytes that are allocated to it."""

    pieces: tuple[tuple[int, int], ...]
    frame_bits: int
    widened: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def length(self) -> int:
        return sum(length for _, length in self.pieces)

    def read_into(self, file: BinaryIO, start: int, target: memoryview) -> int:
        """Fill `target` with the bytes from `start` on, counted without the gaps between pieces; how many there were."""
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


def count_frames(header: Header) -> int:
    """How many frames an instance has: by functional groups, else by Number of Frames, where bytes do not say otherwise.

    Never far more than its bytes can hold. Where the three cannot be brought together, `layout_of` refuses.
    """
    declared, groups = _declared(header), len(header.frames)
    count = groups or declared or 1
    if groups and declared and groups != declared and not _fits(header, groups) and _fits(header, declared):
        count = declared
    return min(count, _most_frames(header))


def _most_frames(header: Header) -> int:
    """A count beyond which no file of this size can go, so that a claim alone costs no memory."""
    size = header.size * 1032 if header.transfer_syntax == DEFLATED else header.size  # the most that deflate can do
    per_frame = frame_bits(header) if _bits_count(header) else 64  # an item's tag and length
    return int(1000 + 2 * size * 8 // per_frame)


def frame_bits(header: Header) -> int:
    """Bits of one frame. 0 where the header does not say."""
    numbers = [
        _whole(header, k, d) for k, d in (("Rows", 0), ("Columns", 0), ("SamplesPerPixel", 1), ("BitsAllocated", 0))
    ]
    rows, columns, samples, bits = numbers
    total = rows * columns * samples * bits
    return total * 2 // 3 if header.get("PhotometricInterpretation") == "YBR_FULL_422" else total


@lru_cache(maxsize=2048)  # asked before, while and after the frames of a series are read
def layout_of(header: Header) -> PixelLayout:
    """Where the pixels of an instance are. Raises FRAME_COUNT, PIXEL_LENGTH."""
    count, declared, groups = header.number_of_frames, _declared(header), len(header.frames)
    if "NumberOfFrames" in header.unreadable and not groups:
        raise _frame_count(
            header, f"its Number of Frames (0028,0008) cannot be read: {header.unreadable['NumberOfFrames']}"
        )
    if groups and groups != count:
        raise _frame_count(header, f"it has functional groups for {groups} frames, and pixel data for {count}")
    if not groups and (declared or 1) > count:
        raise _frame_count(header, f"it claims {declared} frames, and has {header.size} bytes in all")
    findings = []
    if groups and declared != groups and (groups > 1 or declared):
        raw = header.get("NumberOfFrames")
        said = (
            "cannot be read"
            if "NumberOfFrames" in header.unreadable
            else "is missing"
            if raw is None
            else f"says {raw}"
        )
        what = f"Number of Frames (0028,0008) {said}; its functional groups and its bytes are those of {groups}, which were read"
        findings.append(_found(header, Code.FRAME_COUNT, what))
    if not _bits_count(header):
        _refuse_other_count(header, count)
        return PixelLayout((), frame_bits(header), findings=tuple(findings))
    layout = _native(header, count)
    return PixelLayout(layout.pieces, layout.frame_bits, layout.widened, (*findings, *layout.findings))


def _native(header: Header, count: int) -> PixelLayout:
    bits = frame_bits(header)
    pieces, length, findings = _pieces(header, count)
    extra = length - _bytes(count * bits)
    if extra <= 1:
        _refuse_bits_behind(header, pieces, count * bits)
        return PixelLayout(pieces, bits, False, findings)
    there = header.size - (header.pixel_offset or 0)
    if pieces and length > there:
        raise _cut(header, length, there)
    if pieces and _are_padded_frames(header, count, length):
        said = f"each of its {count} frames begins on a byte of its own, which the standard does not have"
        return PixelLayout(pieces, _bytes(bits) * 8, False, (*findings, _found(header, Code.PIXEL_LENGTH, said, extra)))
    if pieces and _are_wider_samples(header, pieces, count, length):
        allocated = _whole(header, "BitsAllocated", 0)
        said = f"its values take {allocated * 2} bits each, and Bits Allocated (0028,0100) says {allocated}"
        return PixelLayout(pieces, 2 * bits, True, (*findings, _found(header, Code.PIXEL_LENGTH, said, extra)))
    _refuse_more_pixels(header, count, bits, length, extra)
    said = f"{extra} bytes follow the {length - extra} bytes of its pixels, within their element"
    return PixelLayout(pieces, bits, False, (*findings, _found(header, Code.PIXEL_LENGTH, said, extra)))


def _are_padded_frames(header: Header, count: int, length: int) -> bool:
    """Whether one-bit frames are padded each to a byte, as a known writer did, and the length can mean nothing else."""
    one_bit = _whole(header, "BitsAllocated", 0) == _whole(header, "SamplesPerPixel", 1) == 1
    bits = frame_bits(header)
    return one_bit and length - count * _bytes(bits) in (0, 1) and not _further(bits, count, length)


def _are_wider_samples(header: Header, pieces: tuple[tuple[int, int], ...], count: int, length: int) -> bool:
    """Whether every sample takes twice the bytes allocated to it, the upper half of them zero."""
    allocated = _whole(header, "BitsAllocated", 0)
    if allocated not in (8, 16) or _whole(header, "SamplesPerPixel", 1) != 1:
        return False
    if length - _bytes(2 * count * frame_bits(header)) not in (0, 1):
        return False
    size = allocated // 8
    upper = 0 if header.transfer_syntax == EXPLICIT_BIG else size
    layout = PixelLayout(pieces, 0)
    data = bytearray(layout.length)
    with header.path.open("rb") as file:
        layout.read_into(file, 0, memoryview(data))
    return not any(any(data[upper + n :: 2 * size]) for n in range(size))


def _refuse_bits_behind(header: Header, pieces: tuple[tuple[int, int], ...], bits: int) -> None:
    """Bits behind the last one-bit frame are zero; where not, frames or segments begin elsewhere than they should."""
    if bits % 8 == 0 or _whole(header, "BitsAllocated", 0) != 1 or not pieces:
        return
    layout, last = PixelLayout(pieces, bits), bits // 8
    if layout.length <= last:
        return
    tail = bytearray(layout.length - last)
    with header.path.open("rb") as file:
        layout.read_into(file, last, memoryview(tail))
    if tail[0] >> bits % 8 or any(byte not in b"\x000" for byte in tail[1:]):  # a known writer pads with a digit 0
        raise _wrong_length(
            header,
            f"{header.path.name} has bits set behind its last frame, so that its frames do not begin where they should",
            "Frames or segments were probably padded each to whole bytes; export it with another program.",
        )


def _refuse_more_pixels(header: Header, count: int, bits: int, length: int, extra: int) -> None:
    """What follows the pixels is no padding where it could be frames, rows or columns, or shifts the bits of a SEG."""
    rows, columns = _whole(header, "Rows", 1), _whole(header, "Columns", 1)
    per_pixel = bits / max(rows * columns, 1)
    further = _further(bits, count, length)
    if further:
        raise _frame_count(header, f"its pixel data hold {count + further} frames, and it describes {count}")
    lines = [
        f"{name} (0028,{tag}) says {size}, and its pixel data hold {size + int(lost // line)}"
        for name, tag, size, line in (
            ("Rows", "0010", rows, columns * per_pixel * count / 8),
            ("Columns", "0011", columns, rows * per_pixel * count / 8),
        )
        for lost in (extra, extra - 1)
        if line >= 1 and lost and lost % line == 0
    ]
    if lines or (per_pixel == 1 and extra <= count + 1):
        why = (
            lines[0]
            if lines
            else "its frames or segments may begin on bytes of their own, which shifts all bits behind"
        )
        raise _wrong_length(
            header,
            f"{header.path.name} has {length} bytes of pixel data, and {length - extra} are needed: {why}",
            _EXPORT_AGAIN,
            (length, length - extra),
        )


def _further(bits: int, count: int, length: int) -> int:
    """How many more whole frames the bytes hold, where they hold nothing else; 0 where they do not."""
    more = length * 8 // bits - count if bits else 0
    return more if more > 0 and length - _bytes((count + more) * bits) in (0, 1) else 0


def _pieces(header: Header, count: int) -> tuple[tuple[tuple[int, int], ...], int, tuple[Finding, ...]]:
    """The runs of native bytes, how many bytes they claim to be, and what was found. No runs for a deflated file."""
    if header.pixel_offset is None:
        return (), len(inflated(header.path, header.path.stat().st_mtime_ns)), ()
    needed = _bytes(count * frame_bits(header))
    offset, length = header.pixel_offset, header.pixel_length
    if length is not None and length - needed in (0, 1):
        return ((offset, max(min(length, header.size - offset), 0)),), length, ()
    with header.path.open("rb") as file:
        fragments = items(file, header)
        if fragments is not None:
            with_table = (fragments[1:], fragments) if fragments[0][1] else (fragments[1:],)
            ways = [f for f in with_table if sum(n for _, n in f) - needed in (0, 1)]
            if len(ways) == 1:
                said = (
                    f"came as {len(ways[0])} fragments under a native transfer syntax; joined they are the bytes needed"
                )
                return tuple(ways[0]), sum(n for _, n in ways[0]), (_found(header, Code.PIXEL_FRAGMENTS, said),)
            raise _unjoined(header, fragments, needed)
        if length is None:
            return _until_delimiter(file, header, needed)
    return ((offset, max(min(length, header.size - offset), 0)),), length, ()


def _until_delimiter(
    file: BinaryIO, header: Header, needed: int
) -> tuple[tuple[tuple[int, int], ...], int, tuple[Finding, ...]]:
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


def _refuse_other_count(header: Header, count: int) -> None:
    """Compressed pixels must be as many frames as are described, by any of the ways to count them."""
    held = set(frame_counts(header))
    if held and count not in held:
        raise _frame_count(header, f"its pixel data hold {min(held)} compressed frames, and it describes {count}")


def _fits(header: Header, count: int) -> bool:
    """Whether the bytes are those of so many frames, as far as that can be told without inflating the file."""
    if not _bits_count(header):
        return count in set(frame_counts(header))
    if header.pixel_offset is None:
        return True
    needed = _bytes(count * frame_bits(header))
    if header.pixel_length is not None and header.pixel_length - needed in (0, 1):
        return True
    with header.path.open("rb") as file:
        fragments = items(file, header) or []
    return any(sum(n for _, n in part) - needed in (0, 1) for part in (fragments, fragments[1:]) if part)


def _bits_count(header: Header) -> bool:
    """Whether the number of bytes follows from that of pixels: native, deflated or not."""
    return (header.native or header.transfer_syntax == DEFLATED) and frame_bits(header) > 0


def _declared(header: Header) -> int | None:
    """Number of Frames; None where it is missing, empty, 0 or no number."""
    value = header.get("NumberOfFrames")
    return int(value) if isinstance(value, int) and value > 0 else None


def _whole(header: Header, keyword: str, default: int) -> int:
    value = header.get(keyword, default)
    return value if isinstance(value, int) else 0


def _bytes(bits: int) -> int:
    return -(-bits // 8)


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
