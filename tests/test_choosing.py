"""`--rois` and `--combine separate` on series of planes: labels chosen by name or value, and nothing else is written."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import Dataset

from pipeline.conversion.convert import Request, convert, convert_all
from pipeline.conversion.request import ExportDescription
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.decode.chosen_labels import chosen
from pipeline.decode.embedded.labelled import Named
from pipeline.decode.image import decode_mask
from pipeline.dicom.scan import scan
from pipeline.regression.recipes import make_inputs
from tests.helpers import rtphantom
from tests.helpers.phantom import Spec, Truth, write
from tests.test_cli import Said

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
OFF = Policy(crosscheck="off")


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    """A series of the labels 2, 3 and 7."""
    return write(tmp_path / "in", SMALL, edit=three_labels)


def three_labels(k: int, dataset: Dataset) -> None:
    pixels = np.zeros((7, 9), np.uint8)
    pixels[1:3, 1:4], pixels[3:5, 2:8], pixels[5, 1:8] = 2, 3, 7
    pixels[0, k] = 7
    dataset.PixelData = pixels.tobytes() + b"\0"
    dataset.SeriesDescription = "organs"


def array(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize(
    ("wanted", "values"), [("3", [3]), ("label 7", [7]), ("7,2", [2, 7]), ("label 2, 3", [2, 3]), ("2,3,7", [2, 3, 7])]
)
def test_labels_are_chosen_by_name_or_value(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, truth: Truth, wanted: str, values: list[int]
) -> None:
    convert(truth.folder, tmp_path / "all.nii", policy=OFF)
    said = Said(capsys, "convert", truth.folder, "--rois", wanted, "--crosscheck", "voxels", "-o", tmp_path / "a.nii")
    assert (said.exit, said.err) == (0, "")
    assert said.out.startswith("VERIFIED")
    whole = array(tmp_path / "all.nii")
    assert np.array_equal(array(tmp_path / "a.nii"), np.where(np.isin(whole, values), whole, 0))
    record = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert [row["Value"] for row in record["Labels"]] == values
    assert all(a["VoxelsDiffering"] == 0 for a in record["CrossCheck"] if a["Status"] in ("AGREES", "REORDERED"))


@pytest.mark.parametrize("wanted", ["liver", "3,liver", "4", "0"])
def test_an_unknown_label_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, truth: Truth, wanted: str
) -> None:
    said = Said(capsys, "convert", truth.folder, "--rois", wanted, "-o", tmp_path / "a.nii")
    assert (said.exit, said.out) == (2, "")
    for words in ("NO_SUCH_SEGMENT", "--rois", "2 “label 2”", "3 “label 3”", "7 “label 7”"):
        assert words in " ".join(said.err.split())
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_mask_stored_as_255_goes_by_its_name_and_both_values(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, labels=(255,), description="liver")
    for n, wanted in enumerate(("liver", "1", "255")):
        made = convert(truth.folder, tmp_path / f"{n}.nii", request=Request(wanted=wanted), policy=OFF)
        assert made.labels is not None
        assert [row.name for row in made.labels] == ["liver"]
        assert np.array_equal(array(tmp_path / f"{n}.nii"), array(tmp_path / "0.nii"))


def test_a_witness_still_judges_every_chosen_voxel(truth: Truth) -> None:
    """What it must see is what is stored; with a voxel too few or too many it is something else."""
    frames = sorted(scan(truth.folder).series[0].frames, key=lambda f: f.path)
    ((_, only),) = chosen([("", decode_mask(frames, Policy()))], ["3"])
    assert only.physical is not None
    stored = decode_mask(frames, Policy()).voxels.plane(0)
    plane = only.voxels.plane(0).copy()
    assert set(np.unique(plane)) == {0, 3}
    assert np.array_equal(only.physical(0, plane), stored)
    inside, outside = np.argwhere(plane == 3)[0], np.argwhere(stored == 0)[0]
    for place, value in ((inside, 0), (outside, 3)):
        wrong = plane.copy()
        wrong[tuple(place)] = value
        assert np.count_nonzero(only.physical(0, wrong) != stored) == 1


def test_every_label_by_itself(tmp_path: Path, truth: Truth) -> None:
    convert(truth.folder, tmp_path / "all.nii", policy=OFF)
    whole = array(tmp_path / "all.nii")
    separate = Policy(crosscheck="off", combine="separate")
    done, refused = convert_all(truth.folder, tmp_path / "out", policy=separate)
    assert refused == []
    assert len(done) == 3
    for outcome, value in zip(done, (2, 3, 7), strict=True):
        assert outcome.output is not None
        assert f"label-{value}" in outcome.output.name
        assert np.array_equal(array(outcome.output), np.where(whole == value, whole, 0))
    with pytest.raises(PipelineError) as several:
        convert(truth.folder, tmp_path / "a.nii", policy=separate)
    assert several.value.finding.code is Code.SEVERAL_MASKS
    one = convert(truth.folder, tmp_path / "a.nii", policy=separate, request=Request(wanted="3"))
    assert [row.value for row in one.labels or ()] == [3]


def test_labels_of_an_export_are_chosen_too(tmp_path: Path, truth: Truth) -> None:
    told = ExportDescription(inside=[Named("liver", 7), Named("spleen", 2)])  # type: ignore[arg-type]
    for wanted, name, value in (("spleen", "spleen", 2), ("1", "liver", 7), ("7", "liver", 7)):
        target = tmp_path / f"{wanted}.nii"
        made = convert(truth.folder, target, request=Request(export=told, wanted=wanted), policy=OFF)
        assert [row.name for row in made.labels or ()] == [name]
        convert(truth.folder, tmp_path / "all.nii", policy=Policy(crosscheck="off", write="overwrite"))
        assert np.array_equal(array(target) > 0, array(tmp_path / "all.nii") == value)


def test_in_a_folder_an_option_acts_on_one_at_least(tmp_path: Path, truth: Truth) -> None:
    """And one that acts on none leaves no file and no folder."""
    write(tmp_path / "more", SMALL, labels=(255,), seed="more", series_number=9)
    both = [truth.folder, tmp_path / "more"]
    done, refused = convert_all(both, tmp_path / "kept", policy=Policy(crosscheck="off", keep_values=True))
    assert (len(done), refused) == (2, [])
    assert {row.value for o in done for row in o.labels or ()} == {2, 3, 7, 255}
    for request, policy in (
        (Request(), Policy(crosscheck="off", fractional=0.7)),
        (Request(), Policy(crosscheck="off", interpolate=True)),
        (Request(export=ExportDescription(undecided="inside")), OFF),
        (Request(order="label 2"), OFF),
    ):
        with pytest.raises(PipelineError) as idle:
            convert_all(both, tmp_path / "out", request=request, policy=policy)
        assert idle.value.finding.code is Code.IDLE_OPTION
        assert not (tmp_path / "out").exists()


def test_a_structure_set_alone_has_no_planes_to_look_at(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    grid = rtphantom.grid()
    contour = rtphantom.on(grid, rtphantom.rectangle(2, 8, 1, 6), 1)
    path = rtphantom.write_struct(tmp_path / "rs.dcm", [rtphantom.PhantomRoi("one", [contour])])
    for given in (("convert", path, "--list-values"), ("explain", path)):
        said = Said(capsys, *given)
        assert (said.exit, "NOT_CONVERTIBLE" in said.err) == (2, True)


def test_a_bundle_with_anything_else_is_not_one_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, truth: Truth
) -> None:
    from tests.test_commands import bundle

    made = bundle(tmp_path / "bundle", "bone")
    said = Said(capsys, "convert", made, truth.folder, "-o", tmp_path / "a.nii")
    assert (said.exit, "SEVERAL_SERIES" in said.err) == (2, True)
    said = Said(capsys, "convert", made, truth.folder, "--crosscheck", "off", "-o", f"{tmp_path / 'all'}/")
    assert (said.exit, said.err) == (0, "")
    assert len(list((tmp_path / "all").glob("*.nii.gz"))) == 2


@pytest.mark.parametrize("option", [("--clean",), ("--inside", "3000", "--source")])
@pytest.mark.parametrize("output", ["one.nii.gz", "all/"])
def test_an_image_that_an_option_names_is_not_what_is_to_be_converted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: tuple[str, ...], output: str
) -> None:
    (tmp_path / "in").mkdir()
    make_inputs({"kind": "burned-in"}, tmp_path / "in")  # both series, in two folders
    said = Said(capsys, "convert", tmp_path / "in", *option, tmp_path / "in" / "clean", "-o", f"{tmp_path}/{output}")
    assert (said.exit, said.err, said.out.split()[0]) == (0, "", "VERIFIED")
    alone = Said(capsys, "convert", tmp_path / "in" / "clean", "--as", "image", "-o", tmp_path / "image.nii.gz")
    assert alone.exit == 0
    wrong = Said(
        capsys, "convert", tmp_path / "in" / "clean", "--clean", tmp_path / "in" / "clean", "-o", f"{tmp_path}/x/"
    )
    assert "EMPTY" in wrong.err
