"""Every case gives its golden record, but for what the witnesses say: `make regress` asks them too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.cli.case_options import read_words
from pipeline.conversion.convert import convert
from pipeline.conversion.request import Request
from pipeline.core.findings import PipelineError
from pipeline.core.policy import Policy
from pipeline.regression.case_inputs import CACHE
from pipeline.regression.difference import find_differences
from pipeline.regression.golden import words_of
from pipeline.regression.run_case import CaseFolders, run_case
from tests.helpers.cases import DATA, REAL, ProjectCase, cases, digest, samples_folder
from tests.helpers.sample_truth import LIMIT_MM, truth_mm

_OF_WITNESSES = {"witness", "Verdict"}  # a refusal instead of a file is a difference of its own


def _without_witnesses(words: Sequence[str], folders: CaseFolders) -> tuple[Request, Policy]:
    return read_words([*words, "--crosscheck", "off"], folders)


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.id)
def test_a_case_gives_its_golden_record(tmp_path: Path, case: ProjectCase) -> None:
    if case.case.root:
        case.folder()
    golden = case.golden()
    run = run_case(case.cases, case.case, _without_witnesses, tmp_path)
    assert run.refusal is None
    assert run.golden
    assert [d.words for d in find_differences(golden, run.golden) if d.kind not in _OF_WITNESSES] == []
    assert words_of(golden)
    assert set(words_of(golden)) <= set(case.case.expected)
    assert not case.case.sha256 or case.case.sha256 == run.sha256
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", cases(real=True), ids=lambda c: c.id)
def test_a_real_case_lies_where_its_headers_say(case: ProjectCase) -> None:
    """Its golden record is held against the truth of samples.json, which other code read off the headers."""
    folder = case.folder()
    for result in case.golden()["Results"]:
        if "Affine" in result and (off := truth_mm(folder, result)) is not None:
            assert off <= LIMIT_MM + result["CornerResidualMm"]


def test_most_real_cases_have_a_truth(samples: Path) -> None:
    """The test above would pass empty if none were found."""
    found = [
        truth_mm(case.folder(), result)
        for case in cases(real=True)
        for result in case.golden()["Results"]
        if "Affine" in result
    ]
    assert sum(off is not None for off in found) > 20


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("d2n-two-orientations", {"MIXED_ORIENTATION", "SEVERAL_VOLUMES", "MIXED_SPACING"}),
        ("d2n-4d", {"SEVERAL_VOLUMES", "DUPLICATE_POSITION"}),
        ("qa-mosaic", {"SEVERAL_VOLUMES"}),
    ],
)
def test_several_volumes_are_no_single_file(tmp_path: Path, samples: Path, name: str, codes: set[str]) -> None:
    """Cases write to a folder, where each volume has its file; into one file they are refused."""
    case = next(one for one in cases(real=True) if one.id == name)
    with pytest.raises(PipelineError) as refused:
        convert([case.folder()], tmp_path / "out.nii.gz", policy=Policy(as_="image", crosscheck="off"))
    assert refused.value.finding.code.name in codes
    assert list(tmp_path.iterdir()) == []


def test_every_golden_record_has_its_case() -> None:
    for folder, real in ((DATA, False), (REAL, True)):
        assert {path.stem for path in (folder / "golden").iterdir()} == {case.id for case in cases(real=real)}


def test_the_cases_of_the_project_use_nothing_that_users_do_not_have() -> None:
    for one in cases(real=False):
        assert (one.case.root, one.case.fetch) == ("", ()), one.id
        for path in (*one.case.path, *filter(None, [one.case.archive])):
            assert (DATA / path).resolve().is_relative_to(DATA.resolve()), one.id
        assert "" not in (one.case.licence, one.case.source, one.case.why), one.id
    assert not (DATA / CACHE).exists()


def test_the_digest_of_a_case_is_the_documented_one() -> None:
    """Over the sorted digests of the files: computed by the tests alone."""
    with_files = [one for one in cases(real=False) if one.case.path]
    assert with_files
    for one in with_files:
        assert digest(one.folder()) == one.case.sha256


def test_an_empty_variable_is_no_folder_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERIMASK_SAMPLES", raising=False)
    beside = samples_folder()
    case = cases(real=True)[0]
    monkeypatch.setenv("VERIMASK_SAMPLES", "")
    assert samples_folder() == beside == DATA.parents[1] / "shared" / "samples"
    assert case.cases.base_of(case.case).resolve() == beside.resolve()


def test_the_last_line_says_what_was_skipped_for_want_of_samples(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "CI"} | {"VERIMASK_SAMPLES": str(tmp_path / "none")}
    real = f"{Path(__file__).name}::{test_a_case_gives_its_golden_record.__name__}"
    given = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"tests/{real}", "-k", cases(real=True)[0].id]
    done = subprocess.run(given, cwd=DATA.parent, env=environment, capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1]
    assert last == (
        f"1 test was skipped for want of the real samples, which would be at {tmp_path / 'none'} (VERIMASK_SAMPLES)."
    )
