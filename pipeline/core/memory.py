"""Hold what is to be allocated against a limit before it is, so that a few bytes that claim a terabyte are refused in words.

Rules:
- The limit is of one allocation: a volume, a frame, an inflated file. What a conversion holds otherwise is a few planes.
- By default it is three quarters of the memory that this process may have, by the machine or its control group: a single
  array beyond that leaves no room for what is made of it. Where neither can be asked, it is 8 GiB.
- It is told to the processes that are started through the environment, so that all of a run hold to one.
- What was claimed and is not there (bytes of a file) is refused where it is read, whatever the limit.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from .findings import Code, refuse

VARIABLE = "VERIMASK_MAX_MEMORY"
LEAST = 1 << 26  # bytes: with less nothing could be converted
_UNKNOWN = 1 << 33  # bytes, where the machine does not say what it has
_PART = 3 / 4
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)(?:iB|B)?"  # compiled where a size is given
_NO_LIMIT = 1 << 60  # bytes: control groups of version 1 write a number near 2**63


def set_limit(size: str) -> None:
    """Set the limit of this process and of those it starts. size: as of --max-memory. Raises BAD_OPTION."""
    os.environ[VARIABLE] = str(parse_size(size))


def limit() -> int:
    """The largest single allocation, in bytes. Raises BAD_OPTION for a variable of the environment that is no size."""
    given = os.environ.get(VARIABLE, "")
    return parse_size(given, VARIABLE) if given else _default()


@lru_cache(maxsize=16)
def parse_size(text: str, field: str = "--max-memory") -> int:
    """Parse a size such as 4GiB, 512M or a number of bytes. field: is named where it is none. Raises BAD_OPTION."""
    found = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if not LEAST <= size < _NO_LIMIT:
        words = f"{field} is a size from {show_size(LEAST)} up, not {text!r}"
        raise refuse(Code.BAD_OPTION, words, f"Give {field} a size such as 4GiB.", where=(field,))
    return size


def require(need: int | float, what: str, where: tuple[str, ...] = ()) -> None:
    """Refuse an allocation above the limit.

    Args:
        need: bytes.
        what: they are for, such as "a volume of 512 × 512 × 300 voxels".
        where: names of files.

    Raises: PipelineError MEMORY_LIMIT.
    """
    most = limit()
    if need <= most:
        return
    raise refuse(
        Code.MEMORY_LIMIT,
        f"{what} needs {show_size(need)} of memory at once, and at most {show_size(most)} are taken",
        f"Where the size is right and there is memory for it, set {VARIABLE}, such as 64GiB. Or give --max-memory. A file that "
        "is far smaller than what it needs is damaged.",
        where=where,
        measured=float(need),
        limit=float(most),
        unit="bytes",
    )


def show_size(size: int | float) -> str:
    """Write bytes in the largest unit that leaves a number above 1."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1 << 10:
            return f"{size:.4g} {unit}"
        size /= 1 << 10
    return f"{size:,.1f} TiB"


@lru_cache(maxsize=1)
def _default() -> int:
    sizes = [*_of_machine(), *_of_group()]
    return max(LEAST, int(min(sizes) * _PART)) if sizes else _UNKNOWN


def _of_machine() -> list[int]:
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    return []


def _of_group() -> list[int]:
    """The limits of the control groups of this process (cgroup v2 and v1)."""
    root, own = Path("/sys/fs/cgroup"), ""
    with suppress(OSError):
        own = Path("/proc/self/cgroup").read_text("utf-8").rpartition("::")[2].strip().lstrip("/")
    found = []
    for file in {root / own / "memory.max", root / "memory.max", root / "memory" / "memory.limit_in_bytes"}:
        with suppress(OSError, ValueError):  # without a limit it holds the word "max"
            found.append(int(file.read_text("utf-8")))
    return [size for size in found if 0 < size < _NO_LIMIT]
