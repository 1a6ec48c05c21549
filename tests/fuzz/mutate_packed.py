"""Spoil what is packed: the inside of gzip and ZIP, and what a ZIP says of its members."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from random import Random

from tests.fuzz.mutate_nifti import packed, unpacked
from tests.fuzz.spoilt_files import Files, spoil_bytes

_NAMES = (
    "../../up.dcm",
    "/root.dcm",
    "a\0b",
    "CT/IM0001.dcm",
    "x" * 300,
    "..",
    "CT/",
    "C:\\x.dcm",
    "\x1b[31m.dcm",
    "CT/IM0001.dcm/inner",
)


def _pick(files: Files, rng: Random, *endings: str) -> tuple[str, bytes]:
    names = sorted(name for name, content in files.items() if name.endswith(endings) and isinstance(content, bytes))
    name = rng.choice(names) if names else ""
    content = files.get(name, b"")
    return name, content if isinstance(content, bytes) else b""


def _inside_gzip(files: Files, rng: Random) -> str:
    name, content = _pick(files, rng, ".gz")
    plain = unpacked(content)
    if not plain or content[:2] != b"\x1f\x8b":
        return ""
    new, words = spoil_bytes(plain, rng)
    files[name] = packed(new, content)
    return f"{name}, unpacked: {words}"


def _gzip(files: Files, rng: Random) -> str:
    """Members that follow each other, wrong sums, bytes after the end, much out of little."""
    name, content = _pick(files, rng, ".gz")
    if not content:
        return ""
    kind = rng.choice(("two members", "sum", "size", "tail", "bomb", "no members", "plain"))
    files[name] = {
        "two members": content + content,
        "sum": content[:-8] + rng.randbytes(4) + content[-4:],
        "size": content[:-4] + rng.randbytes(4),
        "tail": content + rng.randbytes(20),
        "bomb": packed((unpacked(content) or b"") + bytes(8 << 20), content),
        "no members": b"",
        "plain": unpacked(content) or b"",
    }[kind]
    return f"{name}: {kind}"


def _member(files: Files, rng: Random) -> str:
    """One member has other bytes, another name, or is there again."""
    name, content = _pick(files, rng, ".zip")
    members = _members(content)
    if not members:
        return ""
    at = rng.randrange(len(members))
    kind = rng.choice(("bytes", "bytes", "name", "again", "gone", "bomb", "zip in it", "link"))
    inner, data = members[at]
    if kind == "bytes":
        members[at] = (inner, spoil_bytes(data, rng)[0])
    elif kind == "gone":
        del members[at]
    else:
        other = (
            rng.choice(_NAMES)
            if kind in ("name", "again")
            else {"bomb": "zeros.dcm", "zip in it": "in.zip"}.get(kind, inner)
        )
        members.append((other, {"bomb": bytes(8 << 20), "zip in it": content}.get(kind, data)))
    files[name] = _zip(members, rng, is_link=kind == "link")
    return f"{name}: {inner}: {kind}"


def _members(content: bytes) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist() if info.file_size < 1 << 22]
    except Exception:  # a spoilt archive is wrong in more ways than can be listed
        return []


def _zip(members: list[tuple[str, bytes]], rng: Random, *, is_link: bool = False) -> bytes:
    made = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        with zipfile.ZipFile(made, "w") as archive:
            for name, data in members:
                info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
                if is_link and name == members[-1][0]:
                    info.external_attr, data = 0o120777 << 16, b"/etc/hostname"
                kinds = (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
                archive.writestr(info, data, kinds[0] if rng.random() < 0.8 else rng.choice(kinds))
    return made.getvalue()


def _directory(files: Files, rng: Random) -> str:
    """What the central directory says of a member: flags, method, sums, sizes, offsets."""
    name, content = _pick(files, rng, ".zip")
    starts = [n for n in range(len(content) - 46) if content[n : n + 4] == b"PK\1\2"]
    if not starts:
        return ""
    at, (field, size) = (
        rng.choice(starts),
        rng.choice(((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (38, 4), (42, 4))),
    )
    number = rng.choice((0, 1, 8, 9, 12, 99, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)) & (1 << 8 * size) - 1
    files[name] = content[: at + field] + number.to_bytes(size, "little") + content[at + field + size :]
    return f"{name}: {number} at {field} of a member in its directory"


OPERATIONS: dict[str, Callable[[Files, Random], str]] = {
    "gzip inside": _inside_gzip,
    "gzip": _gzip,
    "zip member": _member,
    "zip another member": _member,
    "zip directory": _directory,
}
