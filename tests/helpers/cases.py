"""The cases of data/cases.toml: which series there are, where from, and what a conversion of each is to give.

Rules:
- A case is a folder whose files have the digest that is written down; a changed sample is not the same case.
- Real samples are not part of the project. Where their folder is absent a test is skipped, by name, and never in CI.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it where Python does not
    import tomli as tomllib

DATA = Path(__file__).parents[2] / "data"
NO_SAMPLES = "no real samples"
needs_samples = pytest.mark.usefixtures("samples")  # skipped by name where they are absent


@dataclass(frozen=True)
class Case:
    """One folder with one image series. expected: "verified" or the name of a Code, `or_else` of others as true."""

    id: str
    root: str
    path: str
    series_uid: str
    source: str
    licence: str
    sha256: str
    as_: str
    expected: str
    why: str
    or_else: tuple[str, ...] = ()

    def folder(self) -> Path:
        """Where the files are; skips the test where a real sample is absent."""
        return (DATA if self.root == "sample" else real_samples()) / self.path

    @property
    def outcomes(self) -> tuple[str, ...]:
        return (self.expected, *self.or_else)


def cases(root: str | None = None) -> list[Case]:
    """All cases, or those of one root ("sample" or "real")."""
    listed = tomllib.loads((DATA / "cases.toml").read_text("utf-8"))["case"]
    made = [Case(as_=c.pop("as"), or_else=tuple(c.pop("or_else", ())), **c) for c in listed]
    return [c for c in made if root in (None, c.root)]


def samples_folder() -> Path:
    """Where the real samples are or would be: VERIMASK_SAMPLES, or beside the project where it is unset or empty."""
    return Path(os.environ.get("VERIMASK_SAMPLES") or Path(__file__).parents[3] / "shared" / "samples").absolute()


def has_samples() -> bool:
    """Whether the real samples are here."""
    return (samples_folder() / "samples.json").is_file()


def real_samples() -> Path:
    """The folder of real samples. Skips the test that asks where it is absent."""
    if not has_samples():
        pytest.skip(f"{NO_SAMPLES} at {samples_folder()} (set VERIMASK_SAMPLES)")
    return samples_folder()


def digest(folder: Path) -> str:
    """SHA-256 over the sorted SHA-256 digests (hex, joined) of the files of a folder, not of those below it."""
    files = [hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()]
    return hashlib.sha256("".join(sorted(files)).encode()).hexdigest()
