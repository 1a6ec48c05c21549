"""The data sets to measure on, by name, each built once in a cache: `python -m tests.helpers.benchsets CACHE NAME`.

| name | what |
|---|---|
| ct60, mask60 | CT or masks of so many planes of 512 x 512 |
| rle60, jpegls60, j2k60 | that CT, compressed |
| batch, batch6 | 24 series, or so many, of 60 planes |
| rtstruct, seg, nested | drawn on ct300: 40 ROIs; 5 segments; the body minus the lungs on 200 planes |
| patient | ct300 and rtstruct in one folder |
| pair100000 | drawn on ct60: two nested contours of so many points each |
| volumes97 | MR over time: so many volumes of 64 x 64 x 24 |
| files20000, spread20000, same20000 | so many small files: in one series, ten a series, with one SOP Instance UID |

A folder that is complete is kept.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.helpers.bench_rows import BATCH
from tests.helpers.benchdata import COMPRESSED, write_compressed, write_series
from tests.helpers.benchdata_many import write_batch, write_files, write_volumes
from tests.helpers.benchdata_masks import write_nested, write_pair, write_rtstruct, write_seg

FILES_OF_A_SERIES = 10


def folder_of(cache: Path, name: str) -> Path:
    """The folder of a data set, built if it is not there."""
    target = cache / name
    if not target.exists():
        partial = cache / f"{name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _builder(cache, name)(partial)
        partial.rename(target)
    return target


def _builder(cache: Path, name: str) -> Callable[[Path], None]:
    kind = name.rstrip("0123456789")
    count = int(name.removeprefix(kind) or 0)
    builders: dict[str, Callable[[Path], None]] = {
        "ct": lambda folder: write_series(folder, count),
        "mask": lambda folder: write_series(folder, count, mask=True),
        "batch": lambda folder: write_batch(folder, count or BATCH),
        "rtstruct": lambda folder: write_rtstruct(folder, folder_of(cache, "ct300")),
        "seg": lambda folder: write_seg(folder, folder_of(cache, "ct300")),
        "nested": lambda folder: write_nested(folder, folder_of(cache, "ct300")),
        "patient": lambda folder: _gather(folder, [folder_of(cache, part) for part in ("ct300", "rtstruct")]),
        "pair": lambda folder: write_pair(folder, folder_of(cache, "ct60"), count),
        "volumes": lambda folder: write_volumes(folder, count),
        "files": lambda folder: write_files(folder, count),
        "spread": lambda folder: write_files(folder, count, count // FILES_OF_A_SERIES),
        "same": lambda folder: write_files(folder, count, same_uid=True),
    }
    if kind in COMPRESSED:
        return lambda folder: write_compressed(folder, folder_of(cache, f"ct{count}"), kind)
    return builders[kind]


def _gather(folder: Path, parts: list[Path]) -> None:
    """The files of several data sets in folders of one; they are links, and cost nothing."""
    for part in parts:
        home = folder / part.name
        home.mkdir()
        for path in part.iterdir():
            os.link(path, home / path.name)


if __name__ == "__main__":
    folder_of(Path(sys.argv[1]), sys.argv[2])
