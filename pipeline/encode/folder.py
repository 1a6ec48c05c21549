"""Where exports go: a folder or file that appears complete or not at all, and UIDs that follow from content.

Rules:
- Everything is written beside its place under another name, and moved there at the end.
- The same masks of the same source give the same UIDs, so that an export made twice is recognised as one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.findings import Code, PipelineError, refuse
from pipeline.mask import Mask

_NAMESPACE = uuid.UUID("5e1d7a52-8f0c-5b0e-9b57-0d6a3b1f2c44")


@contextmanager
def appearing(place: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `place` when all went well. Raises OUTPUT_EXISTS, CANNOT_WRITE."""
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{place} is there already and not empty",
            "Nothing was written. Give a new name, or move the old one away.",
            where=(str(place),),
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent))
    except OSError as error:
        raise _cannot_write(place, error) from error
    try:
        yield working
        if place.is_dir():
            place.rmdir()
        working.chmod(0o777 & ~_umask())
        os.replace(working, place)
    except OSError as error:
        raise _cannot_write(place, error) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)


@contextmanager
def appearing_file(place: Path) -> Iterator[Path]:
    """A file to write, which becomes `place` when all went well. Raises OUTPUT_EXISTS, CANNOT_WRITE."""
    if place.exists():
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{place} is there already",
            "Nothing was written. Give a new name, or move the old one away.",
            where=(str(place),),
        )
    working = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield working
        os.replace(working, place)
    except OSError as error:
        raise _cannot_write(place, error) from error
    finally:
        working.unlink(missing_ok=True)


def content_uid(*parts: str | bytes) -> str:
    """A UID under 2.25 (PS3.5 B.2) that these parts alone decide."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode("utf-8")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return f"2.25.{uuid.uuid5(_NAMESPACE, digest.hexdigest()).int}"


def content_digest(masks: Iterable[Mask], references: Iterable[str]) -> str:
    """What decides the UIDs of an export: every voxel, the grids, the segments and the instances referred to."""
    digest = hashlib.sha256()
    for mask in masks:
        digest.update(repr((mask.grid.shape, mask.segments)).encode() + mask.grid.lps.tobytes())
        for plane in mask.voxels:
            digest.update(np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).tobytes())
    for reference in references:
        digest.update(reference.encode() + b"\0")
    return digest.hexdigest()


def _cannot_write(place: Path, error: OSError) -> PipelineError:
    return refuse(Code.CANNOT_WRITE, f"{place} cannot be written: {error.strerror or error}", where=(str(place),))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
