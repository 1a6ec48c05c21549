"""Hold what a compressed frame says of itself against what its file says of it, before a decoder sees it.

Rules:
- Read are the headers alone: the frame header of JPEG and JPEG-LS, SIZ of JPEG 2000, the 64 bytes of RLE and its counts. A
  stream without one, or one that leaves a number open, is left to its decoder.
- Another size or number of samples is refused, also where the count of pixels is the same: decoders hand out what the stream
  has, and its rows would be cut in other places. So is a sample of more bits than are allocated to it.
- Fewer bits than are stored are refused of signed samples in JPEG alone, which knows no sign: where it lies nobody can tell.
- A claim is held against the bytes there are, wherever the format knows a bound. JPEG-LS and JPEG 2000 know none: a plane of
  one value takes some bytes, however large it is.
- A segment of RLE has no size of its own, and its counts add up to one: more pixels than rows times columns are refused,
  because decoders cut them off. Zeros behind the pixels are padding: one is allowed, some writers add more. Fewer pixels are
  left to the decoder, which says so. Counts may cross the end of a row, which some writers do.
- What ends early and was filled up with zeros is refused, because a decoder makes pixels of them. Where JPEG lacks but its
  end marker, decoders say themselves whether pixels are missing.
"""

from __future__ import annotations

from typing import NamedTuple

from .code_stream import find_jpeg_2000, read_jpeg_frame, segments

RLE = "1.2.840.10008.1.2.5"
_JPEG_LS, _LOSSLESS = 0xF7, 0xC3
_DCT = {0xC0, 0xC1, 0xC2}
_SIZ, _TILE, _END = 0x51, b"\xff\x90", b"\xff\xd9"
_NO_PAD = 8  # bytes of zeros behind a stream of JPEG: a writer pads with one, and what has no more than that is decoded
_RLE_HEADER, _MOST_SEGMENTS = 64, 15
_RLE_RUN = 128  # pixels that two bytes of RLE can become (PS3.5 G.3.1)
_RLE_PAD = b"\x00\x80"  # zeros, and the count that stands for no pixels
# By the count that it begins with: the pixels that a part of a segment becomes, and the bytes that it takes.
_RLE_PIXELS = [count + 1 if count < 128 else 257 - count if count > 128 else 0 for count in range(256)]
_RLE_BYTES = [count + 2 if count < 128 else 2 if count > 128 else 1 for count in range(256)]
# Pixels that one byte can become: lossless JPEG has a bit of code for each sample, the others one for each 8 x 8 samples.
_MOST_PIXELS = {_LOSSLESS: 8, **dict.fromkeys(_DCT, 8 * 64)}
_NAMES = ("Rows (0028,0010)", "Columns (0028,0011)", "Samples per Pixel (0028,0002)")


class DescribedFrame(NamedTuple):
    """What a file says of a frame; 0 where it says nothing."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    is_signed: bool


class StreamFault(NamedTuple):
    """What is wrong with a code stream. words: follow its name. measured, limit: in the unit. is_damage: it lacks bytes."""

    words: str
    measured: float
    limit: float
    unit: str
    is_damage: bool = False


class _StreamFrame(NamedTuple):
    """What a code stream says of its samples; 0 where it says nothing. most: pixels that a byte can become, 0 for no bound."""

    bits: int
    rows: int
    columns: int
    samples: int
    knows_sign: bool
    most: int = 0


def find_fault(stream: bytes, syntax: str, described: DescribedFrame) -> StreamFault | None:
    """Find what contradicts the description of a frame.

    Args:
        stream: the compressed bytes of the frame.
        syntax: its transfer syntax.
        described: what its file says of it.

    Returns:
        The first contradiction, None where there is none.
    """
    if syntax == RLE:
        return _fault_of_rle(stream, described)
    found = _read_jpeg_2000(stream) or _read_jpeg(stream)
    if found is None:
        return None
    return (
        _other_size(found, described)
        or _other_bits(found, described)
        or _too_short(found, described, len(stream))
        or _cut(stream)
    )


def _read_jpeg(stream: bytes) -> _StreamFrame | None:
    frame = read_jpeg_frame(stream)
    if frame is None:
        return None
    return _StreamFrame(*frame[1:], frame.marker == _JPEG_LS, _MOST_PIXELS.get(frame.marker, 0))


def _read_jpeg_2000(stream: bytes) -> _StreamFrame | None:
    """Read SIZ of JPEG 2000 (ITU-T T.800 A.5.1)."""
    start = find_jpeg_2000(stream)
    marker, body = next(segments(stream, start + 2), (0, b"")) if start >= 0 else (0, b"")
    if marker != _SIZ or len(body) < 39:
        return None
    right, bottom, left, top = (int.from_bytes(body[n : n + 4], "big") for n in (2, 6, 10, 14))
    bits = max(size & 0x7F for size in body[36::3]) + 1  # the highest bit says whether samples are signed
    return _StreamFrame(bits, bottom - top, right - left, int.from_bytes(body[34:36], "big"), True)


def _other_size(found: _StreamFrame, described: DescribedFrame) -> StreamFault | None:
    ours = (described.rows, described.columns, described.samples)
    theirs = (found.rows, found.columns, found.samples)
    differing = [n for n in range(3) if ours[n] and theirs[n] and ours[n] != theirs[n]]
    if not differing:
        return None
    words = ", ".join(f"{_NAMES[n]} of {ours[n]}, where it has {theirs[n]} itself" for n in differing)
    first = differing[0]
    return StreamFault(f"is described by {words}", theirs[first], ours[first], ("rows", "columns", "samples")[first])


def _other_bits(found: _StreamFrame, described: DescribedFrame) -> StreamFault | None:
    if described.allocated > 1 and found.bits > described.allocated:
        words = f"has {found.bits} bits a sample, and Bits Allocated (0028,0100) says {described.allocated}"
        return StreamFault(words, found.bits, described.allocated, "bits")
    if described.is_signed and not found.knows_sign and found.bits < described.stored:
        words = (
            f"has {found.bits} bits a sample, and Bits Stored (0028,0101) says {described.stored} of signed samples: JPEG "
            "keeps no sign, so which bit it is cannot be told"
        )
        return StreamFault(words, found.bits, described.stored, "bits")
    return None


def _too_short(found: _StreamFrame, described: DescribedFrame, length: int) -> StreamFault | None:
    pixels = (found.rows or described.rows) * (found.columns or described.columns)
    if not found.most or pixels <= length * found.most:
        return None
    needed = -(-pixels // found.most)
    return StreamFault(
        f"has {length} bytes, and its {pixels} pixels take {needed} at least", length, needed, "bytes", True
    )


def _cut(stream: bytes) -> StreamFault | None:
    """Tell that a stream ends before its end marker, and its decoder would not: what is missing was filled up with zeros."""
    there = len(stream.rstrip(b"\0"))
    if find_jpeg_2000(stream) < 0:
        is_cut = _END not in stream and len(stream) - there >= _NO_PAD
    else:
        is_cut = not stream[:there].endswith(_END) and not _ends_behind_its_tiles(stream)
    if not is_cut:
        return None
    return StreamFault(
        f"ends early: behind {there} bytes there is no end marker", there, there + len(_END), "bytes", True
    )


def _ends_behind_its_tiles(stream: bytes) -> bool:
    """Whether the end marker of JPEG 2000 follows the last of its tile-parts, each of which says how long it is."""
    position = stream.find(_TILE)
    while position >= 0 and stream[position : position + 2] == _TILE:
        length = int.from_bytes(stream[position + 6 : position + 10], "big")
        if not length:
            return False
        position += length
    return position >= 0 and stream[position : position + 2] == _END


def _fault_of_rle(stream: bytes, described: DescribedFrame) -> StreamFault | None:
    """Hold the segments of RLE, one for each byte of a pixel, against what a pixel has and their bytes can become (PS3.5 G)."""
    if len(stream) < _RLE_HEADER:
        return StreamFault(
            f"has {len(stream)} bytes, and its header alone takes 64", len(stream), _RLE_HEADER, "bytes", True
        )
    count, *offsets = (int.from_bytes(stream[n : n + 4], "little") for n in range(0, _RLE_HEADER, 4))
    wanted = described.samples * -(-described.allocated // 8)
    if wanted and count != wanted:
        words = f"has {count} segments, and its pixels have {wanted} bytes each"
        return StreamFault(words, count, wanted, "segments", not 0 < count <= _MOST_SEGMENTS)
    pixels = described.rows * described.columns
    needed = 2 * -(-pixels // _RLE_RUN)
    ends = [*offsets[1 : min(count, _MOST_SEGMENTS)], len(stream)]
    for start, end in zip(offsets, ends, strict=False):
        there = min(end, len(stream)) - start
        if there < needed or start < _RLE_HEADER:
            words = f"has a segment of {max(there, 0)} bytes from byte {start}, and {needed} are what its pixels take at least"
            return StreamFault(words, max(there, 0), needed, "bytes", True)
        held = _pixels_of_segment(stream[start:end], pixels)
        if held > pixels > 0:
            size = f"Rows (0028,0010) of {described.rows} times Columns (0028,0011) of {described.columns}"
            return StreamFault(f"has {held} pixels, and {size} are {pixels}", held, pixels, "pixels")
    return None


def _pixels_of_segment(segment: bytes, wanted: int) -> int:
    """The pixels that a segment of RLE unpacks to by its counts (PS3.5 G.3.2); `wanted` where only padding follows that many."""
    pixels = position = 0
    try:
        while True:  # of every frame: with tables it takes half the time of comparisons
            count = segment[position]
            pixels += _RLE_PIXELS[count]
            position += _RLE_BYTES[count]
    except IndexError:
        pixels -= position - len(segment)  # what the last count lacks; that of a pad byte lacks all
    return wanted if pixels > wanted and _is_padded(segment, wanted) else pixels


def _is_padded(segment: bytes, wanted: int) -> bool:
    """Whether the counts of a segment reach just the pixels that are wanted, and no others follow."""
    pixels = position = 0
    while pixels < wanted:
        pixels += _RLE_PIXELS[segment[position]]
        position += _RLE_BYTES[segment[position]]
    return pixels == wanted and not segment[position:].strip(_RLE_PAD)
