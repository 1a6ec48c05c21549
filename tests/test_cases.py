"""Every case gives its golden file, but for what the witnesses say: `make regress` asks them too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cases import DATA, Case, cases, samples_folder
from tests.helpers.regress import GOLDEN, run, same

_OF_WITNESSES = {"Verdict", "Witnesses"}


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.id)
def test_a_case_gives_its_golden_file(tmp_path: Path, case: Case) -> None:
    golden = json.loads((GOLDEN / f"{case.id}.json").read_text("utf-8"))
    result = run(case, tmp_path, crosscheck="off")
    assert (golden["Verdict"] == "REFUSED") == (result["Verdict"] == "REFUSED")
    said = "verified" if golden["Verdict"] == "VERIFIED" else golden.get("Code")
    assert said in case.outcomes
    for key in (golden.keys() | result.keys()) - _OF_WITNESSES:
        assert same(golden.get(key), result.get(key)), (key, golden.get(key), result.get(key))


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {case.id for case in cases()}


def test_an_empty_variable_is_no_folder_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERIMASK_SAMPLES", raising=False)
    beside = samples_folder()
    monkeypatch.setenv("VERIMASK_SAMPLES", "")
    assert samples_folder() == beside == DATA.parents[1] / "shared" / "samples"


def test_the_last_line_says_what_was_skipped_for_want_of_samples(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "CI"} | {"VERIMASK_SAMPLES": str(tmp_path / "none")}
    real = f"{Path(__file__).name}::{test_a_case_gives_its_golden_file.__name__}"
    given = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"tests/{real}", "-k", cases("real")[0].id]
    done = subprocess.run(given, cwd=DATA.parent, env=environment, capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1]
    assert last == (
        f"1 test was skipped for want of the real samples, which would be at {tmp_path / 'none'} (VERIMASK_SAMPLES)."
    )
