"""Hard geometry is right in every voxel, or refused by name; and every such name has a case or a test."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from pipeline.conversion import Request, convert
from pipeline.findings import PipelineError
from pipeline.outcome import Outcome
from pipeline.policy import Policy
from tests.hard_cases import CASES, HardCase
from tests.hard_truth import blended, compared, truth


def converted(case: HardCase, folder: Path) -> Outcome:
    request = Request(series=case.series, part=case.part)
    policy = Policy(as_=case.as_, crosscheck="off", **case.options)  # type: ignore[arg-type]
    return convert([folder / "in"], folder / "out.nii", request=request, policy=policy)


@pytest.mark.parametrize("case", [c for c in CASES if c.expected == "right"], ids=lambda c: c.name)
def test_right_in_every_voxel(tmp_path: Path, case: HardCase) -> None:
    case.write(tmp_path / "in")
    outcome = converted(case, tmp_path)
    image = nibabel.load(outcome.output)
    acquired = truth(tmp_path / "in", case.chosen)
    array = image.get_fdata()
    if case.exact:
        found = compared(acquired, array, image.affine, stored=case.as_ == "mask")
        assert found.lost == found.foreign == 0
        assert found.worst_mm <= (case.travel_mm or case.within_mm)
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
