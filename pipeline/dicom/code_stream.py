"""Find what a compressed frame itself says of its colours: RGB, or luminance and two chrominances.

Rules:
- JPEG says it by a JFIF or Adobe marker or by component identifiers "RGB" (ITU-T T.871, T.872), JPEG 2000 by the flag of
  its component transformation (ITU-T T.800 A.6.1), which every decoder undoes.
- A stream without such a sign says nothing; then Photometric Interpretation alone counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

ColourModel = Literal["RGB", "YBR", ""]

_JPEG_2000 = b"\xff\x4f\xff\x51"  # SOC and SIZ: also found inside of a JP2 box, which writers put around a stream
_LONGEST_BOXES = 1 << 12  # bytes of the boxes before the stream of a JP2 file
_SCAN, _TILE = 0xDA, 0x90  # the markers behind which no header follows, of JPEG and of JPEG 2000
_CODING_STYLE = 0x52
_HIERARCHICAL = 0xDE
_APP0, _APP14 = 0xE0, 0xEE
FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_RGB_IDENTIFIERS = (b"RGB", b"rgb")


class JpegFrame(NamedTuple):
    """What a stream of JPEG or JPEG-LS says of its samples. bits: of each. marker: which process it is."""

    marker: int
    bits: int
    rows: int
    columns: int
    samples: int


def find_colour_model(stream: bytes) -> ColourModel:
    """Find what the samples of a stream are once decoded, a component transformation of JPEG 2000 undone."""
    start = find_jpeg_2000(stream)
    if start >= 0:
        style = next((body for marker, body in segments(stream, start + 2) if marker == _CODING_STYLE), b"")
        return "RGB" if style[4:5] == b"\x01" else ""
    if stream[:2] != b"\xff\xd8":
        return ""
    found = list(segments(stream, 2))
    for marker, body in found:
        if marker in FRAME_HEADERS and body[6::3][:3] in _RGB_IDENTIFIERS:
            return "RGB"
    if any(marker == _APP0 and body.startswith(b"JFIF") for marker, body in found):
        return "YBR"
    adobe = next((body for marker, body in found if marker == _APP14 and body.startswith(b"Adobe")), b"")
    by_transform: dict[bytes, ColourModel] = {b"\0": "RGB", b"\1": "YBR"}
    return by_transform.get(adobe[11:12], "")


def read_jpeg_frame(stream: bytes) -> JpegFrame | None:
    """Read the frame header of JPEG (ITU-T T.81 B.2.2) and JPEG-LS (T.87 C.2.2), which are laid out alike.

    None where there is none, or many: the frames of the hierarchical process differ in size by design.
    """
    if stream[:2] != b"\xff\xd8":
        return None
    for marker, body in segments(stream, 2):
        if marker == _HIERARCHICAL:
            return None
        if marker in FRAME_HEADERS and len(body) >= 6:
            rows, columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            return JpegFrame(marker, body[0], rows, columns, body[5])
    return None


def find_jpeg_2000(stream: bytes) -> int:
    """Where the code stream of JPEG 2000 begins, alone or within a JP2 file; -1 where there is none."""
    return stream.find(_JPEG_2000, 0, _LONGEST_BOXES)


def segments(stream: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    """Yield the marker segments of a header: their markers, and their bodies without the length. position: of the first."""
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in (_SCAN, _TILE):
            return
        length = int.from_bytes(stream[position + 2 : position + 4], "big")
        yield marker, stream[position + 4 : position + 2 + length]
        position += 2 + length
