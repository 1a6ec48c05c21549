"""Hard geometry is right in every voxel, or refused by name; and every such name has a case or a test."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from pipeline.conversion.convert import Request, convert
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import ExportDescription
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from tests.helpers.hard_case import HardCase
from tests.helpers.hard_cases import CASES
from tests.helpers.hard_truth import blended, compared, compared_by_place, voxels_of
from tests.test_mask_cases import CASES as MASK_CASES


def converted(case: HardCase, folder: Path) -> Outcome:
    request = Request(
        series=case.series, part=case.part, export=ExportDescription(kind="labels" if case.as_ == "mask" else None)
    )
    policy = Policy(as_=case.as_, crosscheck="off", **case.options)  # type: ignore[arg-type]
    return convert([folder / "in"], folder / "out.nii", request=request, policy=policy)


@pytest.mark.parametrize("case", [c for c in CASES if c.expected == "right"], ids=lambda c: c.name)
def test_right_in_every_voxel(tmp_path: Path, case: HardCase) -> None:
    case.write(tmp_path / "in")
    outcome = converted(case, tmp_path)
    image = nibabel.load(outcome.output)
    acquired = case.acquired(tmp_path / "in")
    array = voxels_of(image)
    if case.exact:
        compare = compared_by_place if case.repeats else compared
        found = compare(acquired, array, image.affine, stored=case.as_ == "mask")
        assert found.lost == found.foreign == 0
        assert found.worst_mm <= (case.travel_mm or case.within_mm)
        if case.travel_mm:
            said = [f.message for f in outcome.findings if "at most" in f.message]
            assert f"at most {found.worst_mm:.3f} mm away" in said[0]
    else:
        filled = case.options.get("on_gap") == "fill"
        assert blended(acquired, array, image.affine, 1.5 * case.spec.step if filled else np.inf) <= 1.0
    assert set(case.findings) <= {f.code.name for f in outcome.findings}


@pytest.mark.parametrize("case", [c for c in CASES if c.expected != "right"], ids=lambda c: c.name)
def test_refused_by_name(tmp_path: Path, case: HardCase) -> None:
    case.write(tmp_path / "in")
    with pytest.raises(PipelineError) as refused:
        converted(case, tmp_path)
    assert refused.value.finding.code.name == case.expected
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_every_code_has_a_case_or_a_test() -> None:
    cases = [*CASES, *MASK_CASES]
    given = {c.expected for c in cases} | {code for c in cases for code in c.findings}
    here = Path(__file__)
    texts = [p.read_text("utf-8") for p in here.parent.glob("test_*.py") if p.name != here.name]
    wanted = {c.name for c in Code}
    shown = {code for code in wanted if code in given or any(re.search(rf"\b{code}\b", text) for text in texts)}
    assert wanted - shown == set()
