"""Spoil NIfTI files by what they mean: the fields of the header, alone and together, and the voxels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from random import Random

from tests.fuzz.spoilt_files import Files, spoil_bytes

# Offset and kind of the fields that are read (nifti1.h), as often as they are to be drawn.
_FIELDS = (
    *(
        (0, "i"),
        (39, "B"),
        *((40 + 2 * n, "h") for n in range(8)),
        (68, "h"),
        (70, "h"),
        (70, "h"),
        (72, "h"),
        (74, "h"),
    ),
    *(*((76 + 4 * n, "f") for n in range(8)), (108, "f"), (112, "f"), (116, "f"), (123, "B"), (124, "f"), (128, "f")),
    *(
        (252, "h"),
        (254, "h"),
        *((256 + 4 * n, "f") for n in range(6)),
        *((280 + 4 * n, "f") for n in range(12)),
        (348, "B"),
        (352, "i"),
    ),
    *((344, "i"), (345, "B"), (346, "B")),
)
_WHOLE = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    32,
    64,
    128,
    256,
    512,
    768,
    1024,
    1280,
    1536,
    1792,
    2048,
    2304,
    -1,
    -5,
    348,
    540,
    32767,
    -32768,
    1 << 30,
)
_REAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-38,
    1e38,
    3e38,
    -3e38,
    352.0,
    353.0,
    1e9,
    float("nan"),
    float("inf"),
    float("-inf"),
)


def unpacked(content: bytes) -> bytes | None:
    """The bytes of a NIfTI file, gzipped or not; None where they cannot be had."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return zlib.decompressobj(31).decompress(content, 1 << 22)
    except zlib.error:
        return None


def packed(content: bytes, like: bytes) -> bytes:
    if like[:2] != b"\x1f\x8b":
        return content
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(content) + packer.flush()


def _on_nifti(change: Callable[[bytes, Random], tuple[bytes, str]]) -> Callable[[Files, Random], str]:
    def operate(files: Files, rng: Random) -> str:
        names = sorted(name for name in files if name.endswith((".nii", ".nii.gz")))
        name = rng.choice(names) if names else ""
        content = files.get(name)
        plain = unpacked(content) if isinstance(content, bytes) else None
        if plain is None or len(plain) < 352 or not isinstance(content, bytes):
            return ""
        new, words = change(plain, rng)
        files[name] = packed(new, content)
        return f"{name}: {words}"

    return operate


def _field(plain: bytes, rng: Random) -> tuple[bytes, str]:
    at, kind = rng.choice(_FIELDS)
    size = struct.calcsize(kind)
    if kind == "f":
        old = struct.unpack_from("<f", plain, at)[0]
        number = rng.choice((*_REAL, -old, old * 2, old + 1e-3, old * 1.001))
        put = struct.pack("<f", max(min(number, 3.4e38), -3.4e38) if abs(number) < float("inf") else number)
    else:
        number = rng.choice(_WHOLE)
        put = (number & (1 << 8 * size) - 1).to_bytes(size, "little")
    return plain[:at] + put + plain[at + size :], f"field at {at} is {number}"


def _form(plain: bytes, rng: Random) -> tuple[bytes, str]:
    """All of the sform, of the quaternion or of the spacings."""
    at, count = rng.choice(((280, 12), (256, 6), (76, 4), (280, 4), (296, 4), (312, 4)))
    numbers = [rng.choice((0.0, 1.0, -1.0, rng.uniform(-300, 300), rng.choice(_REAL))) for _ in range(count)]
    kind = rng.choice(("zero", "one number", "random"))
    numbers = {"zero": [0.0] * count, "one number": [numbers[0]] * count, "random": numbers}[kind]
    return plain[:at] + struct.pack(f"<{count}f", *numbers) + plain[
        at + 4 * count :
    ], f"{count} numbers at {at}: {kind}"


def _swap_order(plain: bytes, rng: Random) -> tuple[bytes, str]:
    """The header in big-endian order, the voxels as they are."""
    order = "i10s18sihcB8hfffhhhh8ffffhcBffffii80s24shh6f4f4f4f16s4s"
    return struct.pack(">" + order, *struct.unpack("<" + order, plain[:348])) + plain[
        348:
    ], "header in the other byte order"


def _voxels(plain: bytes, rng: Random) -> tuple[bytes, str]:
    return spoil_bytes(plain, rng, 352)


def _extension(plain: bytes, rng: Random) -> tuple[bytes, str]:
    size = rng.choice((0, 8, 16, 17, -1, 1 << 30, 32))
    put = b"\1\0\0\0" + struct.pack("<ii", size, rng.choice((0, 2, 4, 6))) + bytes(max(0, min(size, 32) - 8))
    offset = struct.pack("<f", 352.0 + max(0, min(size, 32)))
    return plain[:108] + offset + plain[112:348] + put + plain[352:], f"an extension of {size} bytes"


OPERATIONS: dict[str, Callable[[Files, Random], str]] = {
    "nifti field": _on_nifti(_field),
    "nifti another field": _on_nifti(_field),
    "nifti form": _on_nifti(_form),
    "nifti order": _on_nifti(_swap_order),
    "nifti voxels": _on_nifti(_voxels),
    "nifti extension": _on_nifti(_extension),
}
