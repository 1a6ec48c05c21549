"""Places assumed on request: by Spacing Between Slices, and by pairing with a source; told in every line, never verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.conversion.convert import convert
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom.frame import Frame
from pipeline.dicom.scan import scan
from pipeline.stacking.laid_frames import LaidFrames
from pipeline.stacking.stack_frames import lay_frames
from tests.helpers.hard_case import SMALL
from tests.helpers.hard_edits import tags, top_level
from tests.helpers.phantom import ORIENTATIONS, Spec, write

OBLIQUE = replace(SMALL, iop=ORIENTATIONS["double oblique"])
PLAIN = replace(OBLIQUE, kind="sc plain", seed="mask")


def frames(folder: Path, spec: Spec, **how: Any) -> tuple[Frame, ...]:
    write(folder, spec, **how)
    return scan([folder]).series[0].frames


def source(folder: Path, spec: Spec = OBLIQUE) -> LaidFrames:
    return lay_frames(frames(folder / "source", spec), Policy(on_tilt="shear", on_gap="fill"))


def placed(folder: Path, plain: Spec, of: Spec = OBLIQUE, **how: Any) -> LaidFrames:
    return lay_frames(frames(folder / "mask", plain, **how), Policy(), "the mask", source(folder, of))


def refused(made: Callable[[], object]) -> str:
    with pytest.raises(PipelineError) as error:
        made()
    assert error.value.finding.code is Code.MISSING_PLANE_ATTRIBUTES
    return error.value.finding.message


@pytest.mark.parametrize("numbers", ["along", "against"])
@pytest.mark.parametrize("stored", ["along", "shuffled"])
def test_paired_by_instance_number(tmp_path: Path, numbers: Any, stored: Any) -> None:
    how = {"instance_numbers": numbers}
    laid = placed(tmp_path, replace(PLAIN, stored=stored, **how), replace(OBLIQUE, **how))
    assert np.allclose(laid.grid.lps, OBLIQUE.lps, atol=1e-9)
    assert [f.pairing.split(" (")[0] for f in laid.frames] == [
        f"assumed: paired by Instance Number with IM{k + 1:04d}.dcm" for k in range(7)
    ]
    assert [f.get("InstanceNumber") for f in laid.frames] == [
        7 - k if numbers == "against" else k + 1 for k in range(7)
    ]
    assert laid.assumed
    assert Code.ASSUMED_GEOMETRY in {f.code for f in laid.findings}
    assert laid.grid.frame_of_reference_uid != ""


def test_paired_by_the_number_in_the_name_where_there_is_no_instance_number(tmp_path: Path) -> None:
    laid = placed(tmp_path, replace(PLAIN, instance_numbers="missing"))
    assert [f.path.name for f in laid.frames] == [f"IM{k + 1:04d}.dcm" for k in range(7)]
    assert "the number in the file's name" in laid.frames[0].pairing


def test_paired_by_frame_number(tmp_path: Path) -> None:
    laid = placed(tmp_path, replace(PLAIN, kind="multi-frame sc plain"))
    assert [f.number for f in laid.frames] == [1, 2, 3, 4, 5, 6, 7]
    assert "paired by frame number" in laid.frames[0].pairing


def test_no_pairing_where_there_is_doubt(tmp_path: Path) -> None:
    def attempt(n: int, plain: Spec, of: Spec = OBLIQUE, **how: Any) -> str:
        return refused(lambda: placed(tmp_path / str(n), plain, of, **how))

    assert "6 planes here and 7" in attempt(1, replace(PLAIN, shape=(11, 9, 6)))
    assert "11 × 9, 9 × 11" in attempt(2, replace(PLAIN, shape=(9, 11, 7)))
    assert "does not run with position" in attempt(3, PLAIN, replace(OBLIQUE, instance_numbers="shuffled"))
    assert "have a place of their own" in attempt(
        5, replace(OBLIQUE, seed="mask"), edit=tags(lambda k: k == 1, ImagePositionPatient=None)
    )


def test_no_pairing_without_a_number_for_every_plane(tmp_path: Path) -> None:
    truth = write(tmp_path / "mask", replace(PLAIN, instance_numbers="constant"))
    for letter, path in zip("gbdface", truth.paths, strict=True):
        path.rename(path.with_name(letter))
    mask = scan([tmp_path / "mask"]).series[0].frames
    assert "no number each" in refused(lambda: lay_frames(mask, Policy(), "the mask", source(tmp_path)))


def test_a_gap_in_the_source_is_not_paired_over(tmp_path: Path) -> None:
    of = replace(OBLIQUE, shape=(11, 9, 8))
    write(tmp_path / "source", of, edit=lambda k, dataset: [] if k == 3 else None)
    laid = lay_frames(scan([tmp_path / "source"]).series[0].frames, Policy(on_gap="fill"))
    assert "have no place" in refused(lambda: lay_frames(frames(tmp_path / "mask", PLAIN), Policy(), "the mask", laid))


@pytest.mark.parametrize("spacing", ["0", "-2", None])
def test_a_spacing_that_says_nothing_is_not_used(tmp_path: Path, spacing: str | None) -> None:
    spec = replace(OBLIQUE, kind="multi-frame sc plain")

    def edit(k: int, dataset: Any) -> None:
        top_level(spec)(k, dataset)
        tags(SpacingBetweenSlices=spacing)(k, dataset)

    refused(lambda: lay_frames(frames(tmp_path, spec, edit=edit), Policy(assume_spacing=True)))


def test_the_record_tells_what_was_assumed_and_nothing_is_verified(tmp_path: Path) -> None:
    spec = replace(OBLIQUE, kind="multi-frame sc plain")
    write(tmp_path / "in", spec, edit=top_level(spec))
    policy = Policy(as_="image", assume_spacing=True)
    outcome = convert([tmp_path / "in"], tmp_path / "out.nii", policy=policy)
    assert outcome.verdict == "UNCONFIRMED"
    assert [s["Pairing"] for s in outcome.record["Slices"]] == [
        f"assumed: frame {n} of 7, 2 mm a frame along the normal" for n in range(1, 8)
    ]
    assert outcome.record["Geometry"]["Assumed"]
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ spec.lps, outcome.record["Geometry"]["Affine"], atol=1e-4)


def test_the_refusal_names_the_option_that_would_help(tmp_path: Path) -> None:
    spec = replace(OBLIQUE, kind="multi-frame sc plain")
    with pytest.raises(PipelineError) as error:
        lay_frames(frames(tmp_path / "a", spec, edit=top_level(spec)), Policy())
    assert "--assume-spacing" in error.value.finding.hint
    with pytest.raises(PipelineError) as error:
        lay_frames(frames(tmp_path / "b", spec), Policy())
    assert "--assume-spacing" not in error.value.finding.hint
