"""Every case gives its golden file, but for what the witnesses say: `make regress` asks them too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cases import Case, cases
from tests.regress import GOLDEN, run, same

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
