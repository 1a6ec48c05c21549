"""Files whose File Meta Information names another transfer syntax than their data set has; bytes are changed by hand."""

from __future__ import annotations

import struct
from pathlib import Path

from pydicom import dcmread

PIXEL_DATA = b"\xe0\x7f\x10\x00"


def declare(path: Path, syntax: str) -> None:
    """Write another Transfer Syntax UID into the file meta, and leave the data set as it is."""
    content = path.read_bytes()
    old = str(dcmread(path, stop_before_pixels=True, force=True).file_meta.TransferSyntaxUID).encode()
    old += b"\0" * (len(old) % 2)
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    at = content.index(b"\x02\x00\x10\x00UI")
    assert content[at + 8 :].startswith(old)
    content = content[: at + 6] + struct.pack("<H", len(new)) + new + content[at + 8 + len(old) :]
    group = struct.unpack("<I", content[140:144])[0] + len(new) - len(old)
    path.write_bytes(content[:140] + struct.pack("<I", group) + content[144:])


def replace_pixels(path: Path, value: bytes, *, length: int | None = None, vr: bytes = b"OB") -> None:
    """Put other bytes into the pixel data element of an explicit little-endian file. length: what it says, or the truth;
    -1 for an undefined one, with a delimiter behind."""
    content = path.read_bytes()
    at = content.rindex(PIXEL_DATA)
    said = 0xFFFFFFFF if length == -1 else len(value) if length is None else length
    end = b"\xfe\xff\xdd\xe0\0\0\0\0" if length == -1 else b""
    path.write_bytes(content[: at + 4] + vr + b"\0\0" + struct.pack("<I", said) + value + end)


def pixels(path: Path) -> bytes:
    """The bytes of native pixel data."""
    value = dcmread(path).PixelData
    assert isinstance(value, bytes)
    return value


def as_items(parts: list[bytes], table: bytes | None = b"") -> bytes:
    """Fragments with their tags and lengths. table: the offset table before them, None for none at all."""
    everything = parts if table is None else [table, *parts]
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(p)) + p for p in everything)
