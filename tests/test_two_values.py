"""Masks of two values, whatever they are: which is the background, and what becomes of the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import Dataset

from pipeline.conversion.convert import Request, convert
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import ExportDescription
from pipeline.core.findings import Code, Finding, PipelineError
from pipeline.core.policy import Policy
from pipeline.decode.embedded.labelled import Named
from tests.helpers.phantom import ORIENTATIONS, Spec, Truth, write
from tests.helpers.pixel_kinds import stored_as, two_values

MASK = Spec(shape=(23, 19, 15), row_spacing=0.8, column_spacing=1.3, step=1.1, iop=ORIENTATIONS["double oblique"])


def run(folder: Path, crosscheck: str = "off", export: ExportDescription | None = None, **options: Any) -> Outcome:
    request = Request(export=export or ExportDescription())
    policy = Policy(crosscheck=crosscheck, **options)  # type: ignore[arg-type]
    return convert([folder / "in"], folder / "out.nii", request=request, policy=policy)


def refused(folder: Path, **options: Any) -> Finding:
    with pytest.raises(PipelineError) as caught:
        run(folder, **options)
    return caught.value.finding


def voxels(outcome: Outcome) -> np.ndarray:
    return np.asarray(nibabel.load(outcome.output).dataobj)


def written(folder: Path, low: float, high: float, kind: str = "i2", *, inverted: bool = False) -> Truth:
    return write(folder / "in", MASK, edit=two_values(low, high, kind, inverted=inverted))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("high", "kind"),
    [
        *((2, "u1"), (3, "u1"), (100, "i2"), (128, "u1"), (255, "u1"), (1000, "i2"), (4095, "u2"), (65535, "u2")),
        *((4_000_000_000, "u4"), (10**18, "i8"), (7, "f4"), (2.0**60, "f8")),
    ],
)
def test_0_and_any_other_value_become_0_and_1(tmp_path: Path, high: float, kind: str) -> None:
    truth = written(tmp_path, 0, high, kind)
    outcome = run(tmp_path, "voxels")
    found = voxels(outcome)
    assert found.dtype == np.uint8
    assert (found == (truth.ijk > 0)).all()
    assert [f.code for f in outcome.findings] == [Code.LABELS_REMAPPED]
    assert outcome.record["Labels"][0]["Value"] == 1
    assert outcome.record["Labels"][0]["StoredValue"] == high
    assert "DIFFERS" not in {a.status for a in outcome.agreements}


@pytest.mark.parametrize(("high", "kind"), [(3, "u1"), (255, "u1"), (4095, "u2"), (4_000_000_000, "u4"), (7, "f4")])
def test_values_are_kept_where_that_is_asked_for(tmp_path: Path, high: int, kind: str) -> None:
    truth = written(tmp_path, 0, high, kind)
    outcome = run(tmp_path, keep_values=True)
    assert (voxels(outcome) == np.where(truth.ijk > 0, high, 0)).all()
    assert outcome.findings == ()


def test_0_is_the_background_wherever_it_lies(tmp_path: Path) -> None:
    truth = written(tmp_path, 0, 200, inverted=True)
    assert (voxels(run(tmp_path)) == (truth.ijk == 0)).all()


@pytest.mark.parametrize(
    ("low", "high", "kind"), [(-1024, 3071, "i2"), (-1, 1, "i2"), (5, 9, "u1"), (1, 2, "u1"), (-1000, 0, "f4")]
)
def test_the_lower_value_is_the_background_where_that_is_plain(tmp_path: Path, low: int, high: int, kind: str) -> None:
    truth = written(tmp_path, low, high, kind)
    outcome = run(tmp_path, "voxels")
    assert (voxels(outcome) == (truth.ijk > 0)).all()
    assert {f.code for f in outcome.findings} == {Code.LABELS_REMAPPED, Code.BACKGROUND_ASSUMED}
    assert outcome.record["Labels"][0].get("StoredValue", 1) == high
    assert outcome.verdict == "UNCONFIRMED"
    assert "DIFFERS" not in {a.status for a in outcome.agreements}


@pytest.mark.parametrize(("low", "high", "kind"), [(-1024, 3071, "i2"), (-1, 0, "i1"), (1, 2, "u1")])
def test_a_background_that_is_not_plain_is_not_guessed(tmp_path: Path, low: int, high: int, kind: str) -> None:
    truth = written(tmp_path, low, high, kind, inverted=True)
    finding = refused(tmp_path)
    assert (finding.code, finding.measured) == (Code.NOT_A_MASK, 0.0)
    assert f"--inside {high}, or --inside {low}" in finding.hint
    outcome = run(tmp_path, export=ExportDescription(inside=Named("it", low)))
    assert (voxels(outcome) == (truth.ijk > 0)).all()


def test_a_body_that_fills_the_planes_has_its_background_at_the_borders(tmp_path: Path) -> None:
    """More than half of the voxels are the mask, and none of the borders."""

    def body(_: int, dataset: Dataset) -> None:
        values = np.zeros((19, 23), np.uint16)
        values[1:-1, 1:-1] = 1
        dataset.PixelData = values.tobytes()

    def edit(k: int, dataset: Dataset) -> None:
        body(k, dataset)
        two_values(-1024, 3071)(k, dataset)

    write(tmp_path / "in", MASK, edit=edit)
    assert voxels(run(tmp_path)).mean() > 0.5


def test_halves_are_not_plain(tmp_path: Path) -> None:
    def halves(k: int, dataset: Dataset) -> None:
        dataset.PixelData = np.repeat(np.uint16([0, 1]), 19 * 23 // 2 + 1)[: 19 * 23].tobytes()
        two_values(10, 20)(k, dataset)

    write(tmp_path / "in", MASK, edit=halves)
    finding = refused(tmp_path)
    assert finding.code is Code.NOT_A_MASK
    assert finding.unit == "% of the borders"


@pytest.mark.parametrize(("low", "high", "kind"), [(-1024, 3071, "i2"), (0, 10**18, "i8")])
def test_values_that_cannot_be_labels_are_not_kept(tmp_path: Path, low: int, high: int, kind: str) -> None:
    written(tmp_path, low, high, kind)
    finding = refused(tmp_path, keep_values=True)
    assert finding.code is Code.NOT_A_MASK
    assert "--keep-values" in finding.hint


def test_labels_of_several_values_stay(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", replace(MASK, labels=(2, 5, 9)))
    outcome = run(tmp_path)
    assert (voxels(outcome) == truth.ijk).all()
    assert outcome.findings == ()


def test_a_negative_value_among_several_is_an_image(tmp_path: Path) -> None:
    spec = replace(MASK, labels=(2, 5, 9))
    write(tmp_path / "in", spec, edit=stored_as("i2", lambda values: values.astype(np.int64) - 3))
    assert refused(tmp_path).code is Code.NOT_A_MASK


def test_one_negative_value_throughout_is_empty(tmp_path: Path) -> None:
    write(tmp_path / "in", MASK, edit=stored_as("i2", lambda values: np.full(values.shape, -1024)))
    assert refused(tmp_path).code is Code.EMPTY
