"""Take one DICOM file out of a WADO-RS response while it comes, without holding it.

Rules:
- A response is a multipart message of one part (PS3.18 8.6.1.2, RFC 2387), or the file itself. A part counts as whole when the
  boundary that ends the message was seen: a connection that breaks off may look like an end.
- A file itself whose answer tells no length counts as whole when it ends after its pixel data, where its own lengths lead to. So
  it is held in a temporary file first. One without pixel data may be cut between two elements, and nothing tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.message import Message
from tempfile import TemporaryFile

from ..dicom.whole_data_set import end_of_file

_BLOCK = 1 << 20  # bytes that are read at once
_LONGEST_HEADER = 1 << 16  # bytes of what stands before a file: real ones take a few hundred


def iter_single_part(content_type: str, blocks: Iterable[bytes], *, tells_end: bool) -> Iterator[bytes]:
    """Yield the bytes of the one file in a response.

    Args:
        content_type: of the response.
        blocks: its body, as it comes.
        tells_end: whether it is known that the body is over when no more comes: by its length, or by chunks.

    Yields: blocks of bytes.

    Raises: ValueError where the response is something else, or nothing tells its end; EOFError where it breaks off.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind = header.get_content_type()
    if kind == "application/dicom":
        yield from blocks if tells_end else _whole_by_itself(blocks)
        return
    boundary = header.get_param("boundary")
    if kind != "multipart/related" or not isinstance(boundary, str) or not boundary:
        raise ValueError("is neither a multipart message nor a DICOM file")
    coming = iter(blocks)
    begin = b"--" + boundary.encode("ascii", "replace")
    yield from _until(b"\r\n" + begin, _after_header(begin, coming), coming)


def _whole_by_itself(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a file once all of it has come, and its data set tells that it has."""
    with TemporaryFile() as file:
        for block in blocks:
            file.write(block)
        end = end_of_file(file, "an answer")
        if not end.is_whole:
            raise EOFError("breaks off before its end")
        if not end.has_pixels:
            raise ValueError("does not tell where it ends: it has no length, no chunks and no boundary")
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


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
