"""Open NIfTI files as streams of what they hold, plain or gzip.

Rules:
- Whether a file is gzip is seen in its first bytes, not in its name.
- What is no regular file is refused before it is opened: a pipe would be waited for, and a device never ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from ..core.findings import Code, refuse
from ..core.regular_file import open_regular
from .gzip_writer import GzipWriter
from .header import COPY_AGAIN


@contextmanager
def open_stream(path: Path, mode: Literal["rb", "wb"], *, gzipped: bool, level: int | None = 2) -> Iterator[IO[bytes]]:
    """Open a plain or gzip stream.

    Args:
        path: of the file.
        mode: "rb" to read, "wb" to write.
        gzipped: whether the file is deflated, or is to be.
        level: of the compression, see `GzipWriter`. What is written must not change until the stream is closed.

    Yields:
        The stream; it is closed when the block ends.

    Raises:
        CORRUPT_FILE: gzip that is read in the block is cut off or damaged.
    """
    if not gzipped:
        with open_regular(path) if mode == "rb" else path.open(mode) as plain:
            yield plain
        return
    if mode == "wb":
        with path.open(mode) as plain, GzipWriter(plain, level) as stream:
            yield stream  # type: ignore[misc]
        return
    from gzip import BadGzipFile

    from isal import igzip_threaded, isal_zlib

    try:
        with open_regular(path) as plain, igzip_threaded.open(plain, mode) as stream:
            yield stream
    except (EOFError, BadGzipFile, isal_zlib.error) as error:  # type: ignore[misc]
        words = f"{path.name} is damaged gzip: {error}"
        raise refuse(Code.CORRUPT_FILE, words, COPY_AGAIN, where=(path.name,)) from error


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip, by its first two bytes."""
    with open_regular(path) as file:
        return file.read(2) == b"\x1f\x8b"


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a stream of what a file holds, unpacked.

    Raises NO_SUCH_INPUT where the file cannot be read, UNSUPPORTED_NIFTI for half of a pair, and as `open_stream`.
    """
    try:
        if not path.is_file():
            words = "is not a regular file" if path.exists() else "is not there"
            raise refuse(Code.NO_SUCH_INPUT, f"{path.name} {words}", "Check the path.", where=(path.name,))
        if is_half_of_pair(path):
            words = f"{path.name} is half of a .hdr/.img pair, and one file with header and voxels is read here"
            raise refuse(Code.UNSUPPORTED_NIFTI, words, "Convert the pair to one .nii file.", where=(path.name,))
        with open_stream(path, "rb", gzipped=is_gzip(path)) as file:
            yield file
    except OSError as error:
        words = f"{path.name} cannot be read: {error.strerror or error}"
        raise refuse(Code.NO_SUCH_INPUT, words, "Check the path and its permissions.", where=(path.name,)) from error


def is_half_of_pair(path: Path) -> bool:
    """Whether a file is a .hdr or .img that has its other half next to it."""
    other = {".hdr": ".img", ".img": ".hdr"}.get(path.suffix.lower())
    return other is not None and path.with_suffix(other).is_file()
