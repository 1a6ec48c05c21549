"""Each ROI of a structure set lies on the series it refers to, or is refused in words that fit; truth is the polygons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.cli.main import main
from pipeline.conversion.convert import convert_all
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import Request
from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.core.policy import Policy
from pipeline.decode.rtstruct import decode as rtstruct
from tests.helpers.cases_rtstruct import (
    BOTH,
    ELLIPSE,
    ON_BOTH_TRUTH,
    ON_CT,
    ON_MR,
    OTHER_FRAME,
    OTHER_GRID,
    OTHER_SERIES,
    PLANES,
    ellipses,
    inside,
)
from tests.helpers.mask_case import difference, masks_of
from tests.helpers.rtphantom import (
    FRAME_UID,
    IMAGE_SERIES_UID,
    ROOT,
    PhantomRoi,
    grid,
    image_uid,
    on,
    rectangle,
    structs,
    write_images,
    write_struct,
)

G = grid()


def study(folder: Path, *rois: PhantomRoi, references: tuple[tuple[str, str], ...] = BOTH) -> Path:
    write_images(folder / "ct", G, description="CT")
    write_images(folder / "mr", OTHER_GRID, OTHER_SERIES, OTHER_FRAME, "MR")
    write_struct(folder / "rs.dcm", rois, references=references)
    return folder


def converted(struct: Path, source: Path | None, out: Path) -> tuple[list[Outcome], list[PipelineError]]:
    request = Request(source=source or ())
    return convert_all([struct], out, request=request, policy=Policy(crosscheck="off"))


def test_files_and_records_name_the_series_they_lie_on(tmp_path: Path) -> None:
    folder = study(tmp_path / "in", ON_CT, ON_MR)
    outcomes, refused = converted(folder / "rs.dcm", folder, tmp_path / "out")
    assert refused == []
    assert sorted(o.output.name for o in outcomes) == [
        "rtstruct_seg-on-CT_on-CT.nii.gz",
        "rtstruct_seg-on-MR_on-MR.nii.gz",
    ]
    assert [o.record["SourceSeriesInstanceUID"] for o in outcomes] == [IMAGE_SERIES_UID, OTHER_SERIES]
    assert difference(ON_BOTH_TRUTH, masks_of(outcomes)) == ""


def test_what_contours_name_counts_before_what_the_set_lists(tmp_path: Path) -> None:
    """Both series lie in one frame and both are listed; the contours name images of the second."""
    write_images(tmp_path / "a", G)
    write_images(tmp_path / "b", G, OTHER_SERIES)
    images = [image_uid(k, OTHER_SERIES) for k in PLANES]
    references = ((FRAME_UID, IMAGE_SERIES_UID), (FRAME_UID, OTHER_SERIES))
    struct = write_struct(tmp_path / "rs.dcm", [PhantomRoi("a", ellipses(), images=images)], references=references)
    (outcome,), refused = converted(struct, tmp_path, tmp_path / "out")
    assert (refused, outcome.record["SourceSeriesInstanceUID"]) == ([], OTHER_SERIES)


@pytest.mark.parametrize("given", [True, False])
def test_the_only_series_in_its_frame_is_taken_with_a_warning(tmp_path: Path, given: bool) -> None:
    strange = ((FRAME_UID, f"{ROOT}.90"),)
    folder = study(tmp_path / "in", ON_CT, references=strange)
    outcomes, refused = converted(folder / "rs.dcm" if given else folder, folder if given else None, tmp_path / "out")
    ours = [o for o in outcomes if o.record.get("MaskSource") == "RTSTRUCT"]
    assert difference(ON_BOTH_TRUTH[:1], masks_of(ours)) == ""
    (finding,) = [f for f in ours[0].findings if f.code is Code.ROI_SOURCE]
    assert "“on CT”" in finding.message
    assert refused == []


def test_series_without_uids_are_told_apart(tmp_path: Path) -> None:
    folder = study(tmp_path / "in", ON_CT, ON_MR)
    for number, name in enumerate(("ct", "mr"), 1):
        for path in (folder / name).iterdir():
            dataset = dcmread(path)
            del dataset.SeriesInstanceUID
            dataset.SeriesNumber = number
            dataset.save_as(path)
    outcomes, refused = converted(folder / "rs.dcm", folder, tmp_path / "out")
    assert refused == []
    assert difference(ON_BOTH_TRUTH, masks_of(outcomes)) == ""


def test_series_that_nothing_decides_between_are_named(tmp_path: Path) -> None:
    write_images(tmp_path / "a", G)
    write_images(tmp_path / "b", G, OTHER_SERIES)
    rois = [PhantomRoi(name, ellipses(), number=n) for n, name in enumerate(("one", "two"), 1)]
    struct = write_struct(tmp_path / "rs.dcm", rois, references=((FRAME_UID, f"{ROOT}.90"),))
    outcomes, (error,) = converted(struct, tmp_path, tmp_path / "out")
    assert (outcomes, error.finding.code, error.finding.where) == (
        [],
        Code.SEVERAL_SERIES,
        (IMAGE_SERIES_UID, OTHER_SERIES),
    )
    assert "“one”, “two”" in error.finding.message


def test_an_roi_whose_series_is_no_grid_is_refused_and_the_others_are_written(tmp_path: Path) -> None:
    folder = study(tmp_path / "in", ON_CT, ON_MR)
    lost = next(p for p in (folder / "mr").iterdir() if dcmread(p).InstanceNumber == 4)
    lost.unlink()
    outcomes, (error,) = converted(folder / "rs.dcm", folder, tmp_path / "out")
    assert difference(ON_BOTH_TRUTH[:1], masks_of(outcomes)) == ""
    assert error.finding.code is Code.MISSING_PLANES
    assert "the source of “on MR”" in error.finding.message


# --- frames that only a registration connects -------------------------------------------------------------------


def registration(path: Path, *frames: str) -> None:
    dataset = dcmread(path.parent / "rs.dcm")
    for keyword in ("ReferencedFrameOfReferenceSequence", "StructureSetROISequence", "ROIContourSequence"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.95"
    dataset.SeriesInstanceUID, dataset.Modality = f"{ROOT}.96", "REG"
    dataset.RegistrationSequence = []
    for frame in frames:
        item = Dataset()
        item.FrameOfReferenceUID = frame
        dataset.RegistrationSequence.append(item)
    dataset.save_as(path)


def relate(path: Path) -> None:
    relation = Dataset()
    relation.RelatedFrameOfReferenceUID = f"{ROOT}.97"
    dataset = dcmread(path)
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceRelationshipSequence = [relation]
    dataset.save_as(path)


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("how", ["registration", "relationship", "nothing"])
def test_a_registration_is_named_and_not_applied(tmp_path: Path, how: str, several: bool) -> None:
    far = PhantomRoi("far", ellipses(), number=3, frame_uid=f"{ROOT}.97")
    folder = study(tmp_path / "in", ON_CT, far)
    if how == "registration":
        registration(folder / "reg.dcm", f"{ROOT}.97", FRAME_UID)
    if how == "relationship":
        relate(folder / "rs.dcm")
    source = [folder] if several else [folder / "ct", *folder.glob("reg.dcm")]
    outcomes, (error,) = convert_all(
        [folder / "rs.dcm"], tmp_path / "out", request=Request(source=source), policy=Policy(crosscheck="off")
    )
    assert difference(ON_BOTH_TRUTH[:1], masks_of(outcomes)) == ""
    assert (error.finding.code, error.exit) == (Code.ROI_FRAME_OF_REFERENCE, Exit.MISMATCH)
    assert "“far”" in error.finding.message
    by = {
        "registration": "the registration reg.dcm",
        "relationship": "Frame of Reference Relationship Sequence (3006,00C0)",
    }
    assert ("not applied" in error.finding.hint) == (how != "nothing")
    assert how == "nothing" or by[how] in error.finding.hint


# --- units, and doubts of one ROI -------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [(-31.7, 12.3, 105.9), (-15.0, -20.0, -9.0)], ids=["beside", "around the origin"])
@pytest.mark.parametrize(("unit", "factor"), [("metres", 1000), ("micrometres", 0.001)])
def test_another_unit_is_asked_for_and_never_scaled(tmp_path: Path, origin, unit: str, factor: float) -> None:
    g = grid(origin=origin)
    with pytest.raises(PipelineError) as refused:
        rtstruct.decode(structs(tmp_path, PhantomRoi("a", [c / factor for c in ellipses(g)])), g)
    assert (refused.value.finding.code, refused.value.exit) == (Code.CONTOUR_UNITS, Exit.MISMATCH)
    assert f"are they in {unit}?" in refused.value.finding.message


def test_what_is_small_or_lies_elsewhere_is_not_taken_for_another_unit(tmp_path: Path) -> None:
    g = grid(origin=(-15.0, -20.0, -9.0))
    small = on(g, rectangle(18.6, 19.4, 18.6, 19.4), 4)  # one voxel, a few mm from the origin
    decoded = rtstruct.decode(structs(tmp_path, PhantomRoi("a", [small])), g)
    assert decoded.reports[0].voxels == 1
    with pytest.raises(PipelineError) as refused:
        rtstruct.decode(structs(tmp_path, PhantomRoi("a", [c + 900 for c in ellipses(g)])), g)
    assert refused.value.finding.code is Code.EMPTY_ROI


def test_the_doubt_of_one_roi_leaves_none_about_another(tmp_path: Path) -> None:
    write_images(tmp_path / "ct", G)
    rois = [PhantomRoi("odd", ellipses(), kinds="INTERPOLATED_PLANAR"), PhantomRoi("plain", ellipses(), number=2)]
    outcomes, _ = converted(write_struct(tmp_path / "rs.dcm", rois), tmp_path / "ct", tmp_path / "out")
    found = {o.record["Labels"][0]["Name"]: {f.code for f in o.findings if f.leaves_doubt} for o in outcomes}
    assert found == {"odd": {Code.CONTOUR_TYPE}, "plain": set()}


# --- explain ----------------------------------------------------------------------------------------------------


def test_explain_says_on_which_grid_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(tmp_path / "in", ON_CT, ON_MR)
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(folder), "--json"])
    record = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert [row["SourceSeriesInstanceUID"] for row in record["Rois"]] == [IMAGE_SERIES_UID, OTHER_SERIES]
    for row, source, g in zip(record["Rois"], record["Sources"], (G, OTHER_GRID), strict=True):
        assert np.allclose(source["AffineLPS"], g.lps, atol=1e-6)
        assert np.allclose((g.lps @ [*row["FirstPointIndex"], 1])[:3], row["FirstPointLpsMm"], atol=1e-4)
    u, v = ELLIPSE[0]
    assert np.allclose(record["Rois"][0]["FirstPointIndex"], (u, v, 2), atol=1e-4)
    assert inside(ELLIPSE, G.shape[:2])[int(u) - 1, int(v)]
    assert "“on CT”: 3 contours on series without number “CT”" in record["Text"]


def test_explain_takes_the_one_series_that_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its UIDs were rewritten, so that no ROI names it: it is the source of a conversion too."""
    struct = write_struct(tmp_path / "rs.dcm", [ON_CT])
    write_images(tmp_path / "ct", G, f"{ROOT}.80", f"{ROOT}.81")
    for path in (tmp_path / "ct").iterdir():
        dataset = dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    outcomes, refused = converted(struct, tmp_path / "ct", tmp_path / "out")
    assert (len(outcomes), refused) == (1, [])
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(struct), "--source", str(tmp_path / "ct"), "--json"])
    assert ended.value.code == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["SourceSeriesInstanceUID"] for row in record["Rois"]] == [f"{ROOT}.80"]


def test_explain_leaves_out_the_roi_whose_series_is_no_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(tmp_path / "in", ON_CT, ON_MR)
    next(p for p in (folder / "mr").iterdir() if dcmread(p).InstanceNumber == 4).unlink()
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(folder), "--json"])
    assert ended.value.code == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["Name"] for row in record["Rois"]] == ["on CT"]
    assert "left out: the source of “on MR”" in record["Text"]


def test_where_no_series_is_a_grid_that_is_what_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(tmp_path / "in", ON_CT, ON_MR)
    for name in ("ct", "mr"):
        next(p for p in (folder / name).iterdir() if dcmread(p).InstanceNumber == 4).unlink()
    for source in (folder, None):
        given = folder / "rs.dcm" if source else folder
        refused = converted(given, source, tmp_path / "out")[1]
        assert Code.MISSING_PLANES in {error.finding.code for error in refused if "the source of" in str(error)}
    with pytest.raises(SystemExit):
        main(["explain", str(folder)])
    assert capsys.readouterr().err.startswith("REFUSED  MISSING_PLANES\n")


def test_explain_of_a_structure_set_alone_asks_for_its_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study(tmp_path / "in", ON_CT) / "rs.dcm"
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(path)])
    err = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2
    assert "contours in mm, without rows, columns or an affine" in err
    assert "Give the images" in err
    with pytest.raises(SystemExit) as ended:
        main(["explain", str(path.parent), "--part", "2"])
    assert ended.value.code == 64
