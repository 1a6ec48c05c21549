"""Masks of SEG and RTSTRUCT that go wrong in the field are right in every voxel, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import cases_rtstruct, cases_seg, cases_vectors
from tests.helpers.mask_case import MaskCase, PlacedMask, convert_case, difference, masks_of

CASES = (*cases_seg.CASES, *cases_rtstruct.CASES, *cases_vectors.MASKS)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_right_in_every_voxel_or_refused_by_name(tmp_path: Path, case: MaskCase) -> None:
    truth = case.make(tmp_path)
    outcomes, refusals = convert_case(case, tmp_path)
    codes = {e.finding.code.name for e in refusals}
    assert codes == (set() if case.expected == "right" else {case.expected})
    assert difference(truth, masks_of(outcomes)) == ""
    assert set(case.findings) <= {f.code.name for o in outcomes for f in o.findings}
    assert case.verdict is None or {o.verdict for o in outcomes} == {case.verdict}


def test_a_difference_is_seen() -> None:
    voxels = np.zeros((4, 3, 2), bool)
    voxels[1, 2, 0] = True
    truth = PlacedMask("a", voxels, np.diag([2.0, 3.0, 4.0, 1.0]))
    moved, off = np.roll(voxels, 1, 0), truth.lps + np.array([[0, 0, 0, 0.05]] + 3 * [[0] * 4])
    assert difference([truth], [truth]) == ""
    assert difference([truth], [PlacedMask("a", moved, truth.lps)]) == "a: 1 voxels too many, 1 missing, of 1"
    assert difference([truth], [PlacedMask("a", voxels, off)]) == "a: 0.05 mm off the grid"
    assert difference([truth], []) == "masks [], not ['a']"
