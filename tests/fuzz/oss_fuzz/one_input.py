"""What every entry point does: lay the bytes into a file of the right name among valid files, read it, and let a refusal be."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.mutate import laid
from tests.fuzz.parsers import read_laid
from tests.fuzz.seeds import Seed, seeds
from tests.fuzz.spoilt_files import Files

# Name of the entry point: the seed, and which of its files the fuzzer makes.
FILES = {
    "fuzz_series": ("mask", "IM0001.dcm"),
    "fuzz_frames": ("j2k", "IM0001.dcm"),
    "fuzz_seg": ("seg", "mask/seg.dcm"),
    "fuzz_rtstruct": ("rtstruct", "mask/rs.dcm"),
    "fuzz_bundle": ("bundle", "bundle.json"),
    "fuzz_nifti": ("results", "m.nii"),
    "fuzz_archive": ("zip", "export.zip"),
}


@cache
def _seed(name: str) -> Seed:
    (seed,) = seeds({name})
    return seed


def test_one_input(entry: str, data: bytes) -> None:
    """Read one input of the fuzzer. Raises RuntimeError where a reader fails in another way than by refusing."""
    name, target = FILES[entry]
    seed = _seed(name)
    files: Files = {**seed.files, target: data}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        laid(files, Path(folder))
        for choice in range(3 if seed.read == "results" else 1):
            outcome = read_laid(seed, Path(folder), Random(choice))
            if outcome.is_failure:
                raise RuntimeError(f"{outcome.group}\n{outcome.words}")


test_one_input.__test__ = False  # type: ignore[attr-defined]  # no test of pytest, whatever its name says
