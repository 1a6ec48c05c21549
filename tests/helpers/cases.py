"""The cases of data/cases.toml and tests/real/cases.toml, and where the real samples are.

Rules:
- Real samples are not part of the project. Where their folder is absent a test is skipped, by name, and never in CI.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.regression.case_list import CaseList, RegressionCase, read_case_list

DATA = Path(__file__).parents[2] / "data"
REAL = Path(__file__).parents[1] / "real"
NO_SAMPLES = "no real samples"
needs_samples = pytest.mark.usefixtures("samples")  # skipped by name where they are absent


class ProjectCase(NamedTuple):
    """A case of the project, with the list that holds it."""

    cases: CaseList
    case: RegressionCase

    @property
    def id(self) -> str:
        return self.case.id

    def folder(self) -> Path:
        """Where the files are; skips the test where a real sample is absent."""
        if self.case.root:
            real_samples()
        return self.cases.base_of(self.case) / self.case.path[0]

    def golden(self) -> dict[str, Any]:
        """The golden record."""
        return dict(json.loads(self.cases.golden_path(self.id).read_text("utf-8")))


def cases(*, real: bool | None = None) -> list[ProjectCase]:
    """All cases, or only those that are on real samples, or on none."""
    lists = [read_case_list(folder / "cases.toml") for folder in (DATA, REAL)]
    return [ProjectCase(found, case) for found in lists for case in found.cases if real in (None, bool(case.root))]


def series_cases() -> list[ProjectCase]:
    """The cases that are one folder with one image series."""
    return [one for one in cases() if one.case.root or (one.case.path[:1] and one.case.path[0].startswith("samples/"))]


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
    """SHA-256 of the one file of a folder, or over the sorted SHA-256 digests (hex, joined) of all files in it."""
    files = [hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()]
    return files[0] if len(files) == 1 else hashlib.sha256("".join(sorted(files)).encode()).hexdigest()
