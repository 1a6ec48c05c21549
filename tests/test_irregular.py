"""What a refusal says of irregular planes: which files, how much, and both where there are two defects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.conversion.convert import Request, convert
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy, choices
from pipeline.dicom.modality import refuse_lossy
from pipeline.dicom.scan import scan
from pipeline.dicom.split_volumes import split
from pipeline.stacking.repairs import _REPAIRS, GAPS
from tests.helpers.hard_case import SMALL
from tests.helpers.hard_cases import CASES
from tests.helpers.hard_edits import both, moved, tags, without
from tests.helpers.phantom import write

LONG = replace(SMALL, shape=(11, 9, 8))


def refusal(folder: Path, name: str) -> PipelineError:
    case = next(c for c in CASES if c.name == name)
    case.write(folder / "in")
    policy = Policy(as_=case.as_, crosscheck="off", **case.options)  # type: ignore[arg-type]
    with pytest.raises(PipelineError) as refused:
        convert([folder / "in"], folder / "out.nii", request=Request(series=case.series, part=case.part), policy=policy)
    return refused.value


TOLD: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "1 plane missing": (("IM0003.dcm", "IM0005.dcm"), ("1 plane is missing", "4 mm where 2 mm")),
    "steps of 2, then 5 mm": (("IM0003.dcm", "IM0004.dcm", "IM0005.dcm"), ("from 2 mm to 5 mm at IM0004.dcm",)),
    "step drifts 2.00 to 2.22 mm": (("IM0001.dcm", "IM0008.dcm"), ("from 2.016 mm to 2.208 mm",)),
    "1 plane shifted 0.5 mm in plane": (("IM0004.dcm",), ("0.500 mm in its plane, 0.000 mm along",)),
    "first plane shifted": (("IM0001.dcm",), ("IM0001.dcm (plane 0)",)),
    "last plane shifted": (("IM0007.dcm",), ("IM0007.dcm (plane 6)",)),
    "1 plane 0.7 mm along the normal": (("IM0005.dcm",), ("0.000 mm in its plane, 0.700 mm along",)),
    "plane twice, refuse": (("IM0004.dcm", "IM0004-1.dcm"), ("1 of 8 planes",)),
    "tilt 15°": ((), ("15.00°", "left-right axis", "3.22 mm")),
    "1 plane with 0.9% other spacing": (("IM0005.dcm",), ("IM0005.dcm has pixels of 0.807", "0.8 \\ 1.3")),
    "cosines x 0.99": ((), ("lengths 0.9900 and 0.9900",)),
    "1 plane with cosines x 0.99": (("IM0003.dcm",), ("IM0003.dcm",)),
    "1 plane without Image Position": (
        ("IM0007.dcm",),
        ("1 of 7 planes", "Image Position (Patient) (0020,0032) is missing"),
    ),
    "planes fan out by 0.3° each": ((), ("IM0007.dcm is turned", "IM0001.dcm")),
    "mosaic without its CSA header": ((), ("CSA header (0029,1010)",)),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_refusal_names_files_and_numbers(tmp_path: Path, name: str) -> None:
    where, words = TOLD[name]
    finding = refusal(tmp_path, name).finding
    assert set(where) <= set(finding.where)
    assert not where or len(finding.where) <= len(where) + 1
    for word in words:
        assert word in finding.message


PAIRS: dict[str, tuple[Code, Code]] = {
    "1 plane missing and 1 shifted": (Code.DISPLACED_PLANE, Code.MISSING_PLANES),
    "plane twice and 1 missing, refuse": (Code.DUPLICATE_POSITION, Code.MISSING_PLANES),
    "tilt and 1 plane missing": (Code.MISSING_PLANES, Code.GANTRY_TILT),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_defects_are_both_told(tmp_path: Path, name: str) -> None:
    error = refusal(tmp_path, name)
    assert (error.finding.code, error.others[0].code) == PAIRS[name]


@pytest.mark.parametrize("options", [{"on_gap": "fill"}, {"on_gap": "resample"}, {"on_gap": "nearest"}])
def test_a_displaced_plane_is_not_filled_or_smoothed_over(tmp_path: Path, options: dict[str, Any]) -> None:
    write(tmp_path, LONG, edit=both(without(2), moved(lambda k: (0.6, 0, 0) if k == 5 else (0, 0, 0))))
    with pytest.raises(PipelineError) as refused:
        convert([tmp_path], tmp_path / "out.nii", policy=Policy(as_="image", crosscheck="off", **options))
    assert refused.value.finding.code is Code.DISPLACED_PLANE
    assert refused.value.finding.where == ("IM0006.dcm",)


def test_every_choice_about_gaps_and_tilt_has_a_repair() -> None:
    gaps = {(code, choice) for code in GAPS for choice in choices("on_gap")}
    assert set(_REPAIRS) == gaps | {(Code.GANTRY_TILT, choice) for choice in choices("on_tilt")}


def test_a_lossy_file_is_named_in_full(tmp_path: Path) -> None:
    write(tmp_path, SMALL, edit=tags(LossyImageCompression=lambda k: "01"))
    for path in tmp_path.iterdir():
        path.rename(path.with_name(path.name.replace("IM", "axial IM")))
    frames = scan([tmp_path]).series[0].frames
    with pytest.raises(PipelineError) as refused:
        refuse_lossy(frames, "its colours")
    assert refused.value.finding.where == (frames[0].name,)
    assert "axial IM" in frames[0].name


def test_parts_are_named_and_localizers_called_so(tmp_path: Path) -> None:
    case = next(c for c in CASES if c.name == "localizer in the series")
    case.write(tmp_path)
    parts = split(scan([tmp_path]).series[0].frames)
    assert [(p.name, len(p.frames)) for p in parts] == [
        ("orientation 1 of 2", 7),
        ("orientation 2 of 2 (localizer)", 2),
    ]


def test_echo_and_image_type_together_tell_volumes_apart(tmp_path: Path) -> None:
    case = next(c for c in CASES if c.name == "echoes of magnitude and phase")
    case.write(tmp_path)
    parts = split(scan([tmp_path]).series[0].frames)
    assert [p.name for p in parts] == [
        f"echo time {t}, image type ORIGINAL\\PRIMARY\\{w}" for t in ("4.6", "9.2") for w in ("M", "P")
    ]


def test_a_time_for_every_plane_does_not_make_volumes_of_single_planes(tmp_path: Path) -> None:
    edit = tags(AcquisitionTime=lambda k: f"1015{k:02d}", AcquisitionNumber=lambda k: k + 1)
    write(tmp_path, SMALL, edit=both(edit, lambda k, d: setattr(d, "InstanceNumber", 1)))
    write(tmp_path, replace(SMALL, seed="x", shape=(11, 9, 1)), edit=lambda k, d: _into(tmp_path, d))
    assert len(split(scan([tmp_path]).series[0].frames)) == 1


def _into(folder: Path, dataset: Any) -> None:
    """One more plane of the same series, where plane 0 lies."""
    first = scan([folder]).series[0]
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = first.uid, first.frame_of_reference_uid
    dataset.StudyInstanceUID = first.get("StudyInstanceUID")
    dataset.AcquisitionTime, dataset.AcquisitionNumber, dataset.InstanceNumber = "120000", 99, 99
