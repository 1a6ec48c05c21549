"""Take one DICOM file out of a WADO-RS response while it comes, without holding it.

Rules:
- A response is a multipart message of one part (PS3.18 8.6.1.2, RFC 2387), or the file itself. A part counts as whole when the
  boundary that ends the message was seen: a connection that breaks off may look like an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.message import Message

_LONGEST_HEADER = 1 << 16  # bytes of what stands before a file: real ones take a few hundred


def iter_single_part(content_type: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of the one file in a response.

    Args:
        content_type: of the response.
        blocks: its body, as it comes.

    Raises: ValueError where the response is something else; EOFError where it breaks off.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind = header.get_content_type()
    if kind == "application/dicom":
        yield from blocks
        return
    boundary = header.get_param("boundary")
    if kind != "multipart/related" or not isinstance(boundary, str) or not boundary:
        raise ValueError("is neither a multipart message nor a DICOM file")
    coming = iter(blocks)
    begin = b"--" + boundary.encode("ascii", "replace")
    yield from _until(b"\r\n" + begin, _after_header(begin, coming), coming)


def _after_header(begin: bytes, coming: Iterator[bytes]) -> bytes:
    """What has come of the part itself when its header is over."""
    came = b""
    for block in coming:
        came += block
        start = came.find(begin)
        end = came.find(b"\r\n\r\n", start) if start >= 0 else -1
        if end >= 0:
            return came[end + 4 :]
        if len(came) > _LONGEST_HEADER:
            raise ValueError("has no part with a header")
    raise EOFError("breaks off before its part begins")


def _until(mark: bytes, came: bytes, coming: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what stands before the mark. Raises EOFError where it never comes, ValueError where another part follows."""
    while (end := came.find(mark)) < 0:
        sure = max(0, len(came) - len(mark) + 1)  # the mark may have begun
        yield came[:sure]
        block = next(coming, None)
        if block is None:
            raise EOFError("breaks off before its end")
        came = came[sure:] + block
    yield came[:end]
    rest = came[end + len(mark) :]
    for block in coming:
        rest = rest[:2] + block if len(rest) >= 2 else rest + block
    if rest[:2] != b"--":
        raise ValueError("has more than one part")
