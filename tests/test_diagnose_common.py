"""The commonest mistakes, made with nibabel from whole series and named by the command; and what `--fix` writes then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.diagnosis.diagnose import Diagnosis, diagnose, fix
from pipeline.geometry.axis_order import ORDERS
from pipeline.geometry.grid import Grid
from tests.helpers import phantom
from tests.helpers.cases import needs_samples
from tests.helpers.common_mistakes import COMMON, Series, copy_unpadded, read_series
from tests.helpers.diagnose_page import OBLIQUE, PAGE, diagnose_page, run, series_for

WAYS = {name: make for common in COMMON for name, make in common.make.items()}
Make = Callable[[Series], nibabel.Nifti1Image]


@pytest.fixture(scope="module")
def oblique(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """A double oblique series of unequal steps: 12 files, numbered from the other end, and 2 mm thick at 2.5 mm."""
    folder = tmp_path_factory.mktemp("oblique")
    spec = phantom.Spec(shape=(15, 11, 12), iop=phantom.ORIENTATIONS["double oblique"], content="index")
    phantom.write(folder / "made", spec)
    made = read_series(folder / "made")
    for k, name in enumerate(made.names):
        plane = dcmread(made.folder / name)
        plane.SliceThickness = 2.0
        plane.InstanceNumber = len(made.names) - k
        plane.save_as(made.folder / name)
    return read_series(copy_unpadded(made.folder, folder / "series"))


def diagnosed(image: nibabel.Nifti1Image, series: Series, folder: Path) -> dict:
    """What the command says of a file; and that what `--fix` writes is the series itself."""
    wrong, right = folder / "wrong.nii.gz", folder / "right.nii.gz"
    nibabel.save(image, wrong)
    right.unlink(missing_ok=True)
    code, out = run("diagnose", wrong, *series.arguments, "--json")
    found = json.loads(out)
    assert code == (0 if found["Status"] == "correct" else 12)
    assert run("diagnose", wrong, *series.arguments, "--fix", right, "--json")[0] == 0
    mended = nibabel.load(right)
    assert np.array_equal(np.asarray(mended.dataobj), series.array)
    for affine in (mended.get_sform(), mended.get_qform()):
        assert np.abs((affine - series.ras) @ [*series.array.shape, 1]).max() < 1e-3
    return dict(found)


def names(found: dict) -> list[str]:
    return [mistake["Name"] for mistake in found["Mistakes"]]


@pytest.mark.parametrize("name", WAYS)
def test_each_of_the_seven_is_named_and_mended(name: str, oblique: Series, tmp_path: Path) -> None:
    found = diagnosed(WAYS[name](oblique), oblique, tmp_path)
    assert names(found) == [name.strip()]
    assert found["Status"] == "mistakes"


@needs_samples
@pytest.mark.parametrize("name", WAYS)
def test_each_of_the_seven_on_a_real_series(name: str, tmp_path: Path) -> None:
    series = series_for(name.strip(), tmp_path)
    assert names(diagnosed(WAYS[name](series), series, tmp_path)) == [name.strip()]


@needs_samples
def test_the_page_says_what_the_command_says() -> None:
    assert PAGE.read_text("utf-8") == diagnose_page()


def _image(array: np.ndarray, affine: np.ndarray) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(np.ascontiguousarray(array), affine)


def _scaled(factor: float) -> Make:
    return lambda s: _image(s.array, np.diag([factor, factor, factor, 1]) @ s.ras)


def _placed(diagonal: tuple[float, ...], origin: str) -> Make:
    """An affine of the spacing with these signs, and the origin of RAS or LPS."""

    def make(s: Series) -> nibabel.Nifti1Image:
        affine = np.diag([*(s.spacing * diagonal), 1])
        affine[:3, 3] = (s.ras if origin == "ras" else s.lps)[:3, 3]
        return _image(s.array, affine)

    return make


def _unit(s: Series) -> nibabel.Nifti1Image:
    image = _image(s.array, s.ras)
    image.header.set_xyzt_units("meter")
    return image


def _from_the_last(s: Series) -> nibabel.Nifti1Image:
    affine = s.ras.copy()
    affine[:3, 3] = (s.ras @ (0, 0, s.array.shape[2] - 1, 1))[:3]
    return _image(s.array[:, :, ::-1], affine)


MORE: dict[str, tuple[Make, list[str]]] = {
    "centimetres": (_scaled(0.1), ["unit cm"]),
    "metres": (_scaled(0.001), ["unit m"]),
    "micrometres": (_scaled(1000), ["unit um"]),
    "LPS in centimetres": (lambda s: _image(s.array, np.diag([0.1, 0.1, 0.1, 1]) @ s.lps), ["unit cm", "world kept"]),
    "a unit in the header": (_unit, ["forms"]),
    "transposed 4 x 4": (lambda s: _image(s.array, s.ras.T), ["transposed"]),
    "identity of x and y negated": (lambda s: _image(s.array, np.diag([-1.0, -1, 1, 1])), ["identity"]),
    "identity on (k, j, i)": (lambda s: _image(s.array.T, np.eye(4)), ["identity"]),
    "spacing of (k, j, i)": (
        lambda s: _image(s.array.T, np.diag([*s.spacing[::-1], 1])),
        ["directions and origin left out"],
    ),
    "negated spacing and origin": (_placed((-1, -1, 1), "ras"), ["directions left out"]),
    "spacing and origin of LPS": (_placed((1, 1, 1), "lps"), ["directions left out", "world directions"]),
    "reversed, affine of the last": (_from_the_last, ["k negated"]),
    "shuffled": (lambda s: _image(s.array[:, :, [5, 0, 2, 4, 1, 3, 11, 10, 9, 8, 7, 6]], s.ras), ["planes reordered"]),
}


@pytest.mark.parametrize("name", MORE)
def test_other_mistakes_on_a_whole_series(name: str, oblique: Series, tmp_path: Path) -> None:
    make, wanted = MORE[name]
    assert names(diagnosed(make(oblique), oblique, tmp_path)) == wanted


@needs_samples
def test_an_oblique_anisotropic_real_series(tmp_path: Path) -> None:
    series = series_for("spacing 102", tmp_path)
    assert series.folder.as_posix().endswith(OBLIQUE)
    for name in set(MORE) - {"shuffled"}:
        make, wanted = MORE[name]
        assert names(diagnosed(make(series), series, tmp_path)) == wanted, name


def test_a_qform_that_itk_reads_is_as_simpleitk_sees_it(oblique: Series, tmp_path: Path) -> None:
    """The mistake is named where ITK reads the wrong place, by ITK itself."""
    sitk = pytest.importorskip("SimpleITK")
    for name, make in (("forms", WAYS["forms"]), ("unit", _unit)):
        nibabel.save(make(oblique), tmp_path / f"{name}.nii")
        seen = sitk.ReadImage(str(tmp_path / f"{name}.nii"))
        last = [n - 1 for n in oblique.array.shape]
        there = np.array(seen.TransformIndexToPhysicalPoint(last))
        assert np.linalg.norm(there - (oblique.lps @ (*last, 1))[:3]) > 10
        assert np.allclose(nibabel.load(tmp_path / f"{name}.nii").affine, oblique.ras, atol=1e-4)


def test_metres_that_the_header_names_are_right_for_itk(oblique: Series, tmp_path: Path) -> None:
    image = _scaled(0.001)(oblique)
    image.header.set_xyzt_units("meter")
    found = diagnosed(image, oblique, tmp_path)
    assert names(found) == ["unit m"]
    assert any("the place is right" in note for note in found["Notes"])


def test_what_stacks_by_instance_number_is_said_where_it_is_the_reverse(oblique: Series, tmp_path: Path) -> None:
    found = diagnosed(WAYS["planes reversed"](oblique), oblique, tmp_path)
    assert "Sorted by Instance Number, this series begins at its last plane (k = 11)." in found["Notes"]
    by_name = diagnosed(WAYS["planes reordered"](oblique), oblique, tmp_path)
    assert by_name["Mistakes"][0]["Words"].startswith(
        "the planes were stacked by file names, not by position: k = 11, 2"
    )


# Millimetres, alternatives, and what is not known ---------------------------------------------------------------------


def _grid(shape: tuple[int, int, int], steps: tuple[float, float, float] = (0.7, 0.8, 2.0)) -> Grid:
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    lps = np.eye(4)
    lps[:3, :3] = turn * np.sign(np.linalg.det(turn)) * steps
    lps[:3, 3] = (-61.5, 42.25, 118.125)
    return Grid(shape, lps)


def _judge(grid: Grid, affine: np.ndarray, array: np.ndarray, truth: np.ndarray) -> Diagnosis:
    return diagnose(affine.astype(np.float32).astype(float), array.shape, grid, array=array, truth=truth)


def test_numbers_that_do_not_add_up_are_explained_where_there_are_several() -> None:
    grid = _grid((6, 5, 4))
    truth = np.arange(120, dtype=np.uint16).reshape(grid.shape)
    several = _judge(grid, grid.lps * [1, 1, 1, 0] + np.diag([0, 0, 0, 1]), truth, truth)
    assert len(several.mistakes) == 2
    assert sum(mistake.mm for mistake in several.mistakes) != pytest.approx(several.total_mm, abs=1)
    assert any("do not add up" in line for line in several.lines())
    one = _judge(grid, grid.lps, truth, truth)
    assert not any("do not add up" in line for line in one.lines())
    alternatives = [line for line in several.lines() if line.startswith("Or")]
    assert alternatives == ["Or, instead of the first: only the origin was turned from LPS to RAS."]


@pytest.mark.parametrize("side", [4, 5])
def test_a_cube_in_every_order_under_an_affine_without_directions(side: int) -> None:
    """All 48 orders have one shape: the voxels decide, and the file is mended in each."""
    grid = _grid((side, side, side), (1.5, 1.5, 1.5))
    truth = np.random.default_rng(8).integers(0, 9, grid.shape).astype(np.uint8)
    for order in ORDERS:
        array = order.of(truth)
        for affine, name in ((np.eye(4), "identity"), (np.diag([1.5, 1.5, 1.5, 1]), "directions and origin left out")):
            found = _judge(grid, affine, array, truth)
            assert [mistake.name for mistake in found.mistakes] == [name]
            right, where = fix(found, array, grid)
            assert np.array_equal(right, truth)
            assert np.array_equal(where.lps, grid.lps)


def test_a_symmetrical_mask_is_mended_whichever_order_was_meant() -> None:
    grid = _grid((6, 6, 6), (1.0, 1.0, 1.0))
    truth = np.zeros(grid.shape, np.uint8)
    truth[1:5, 1:5, 2:4] = 1
    for order in ORDERS:
        found = _judge(grid, np.eye(4), order.of(truth), truth)
        assert found.status == "mistakes"
        assert any("symmetrical" in line for line in found.unknown)
        assert np.array_equal(fix(found, order.of(truth), grid)[0], truth)


def test_without_voxels_the_identity_is_named_and_nothing_is_mended() -> None:
    grid = _grid((6, 5, 4))
    for affine, name in (
        (np.eye(4), "identity"),
        (np.diag([0.7, 0.8, 2, 1]), "directions and origin left out"),
        (grid.lps * 0.001 + np.diag([0, 0, 0, 0.999]), "unit m"),
    ):
        found = diagnose(affine, grid.shape, grid)
        assert [mistake.name for mistake in found.mistakes][:1] == [name]
        assert "Only the affine was judged" in found.unknown[0]
        with pytest.raises(PipelineError, match="CANNOT_FIX"):
            fix(found, np.zeros(grid.shape, np.uint8), grid)


def test_a_part_that_lies_in_several_places_is_not_guessed() -> None:
    """A bar with the same section in all planes: which planes a part of it is, only its affine could tell."""
    grid = _grid((6, 5, 8))
    truth = np.zeros(grid.shape, np.uint8)
    truth[1:3, 1:4] = 1
    part = truth[:, :, 2:6]
    unknown = _judge(grid, np.eye(4), part, truth)
    with pytest.raises(PipelineError) as caught:
        fix(unknown, part, grid)
    assert caught.value.finding.code is Code.CANNOT_FIX
    assert caught.value.exit is Exit.REFUSED
    assert "k = 0 to 3; or k = 1 to 4" in str(caught.value.finding.hint)
    there = grid.ras.copy()
    there[:3, 3] = (grid.ras @ (0, 0, 2, 1))[:3]
    known = _judge(grid, there, part, truth)  # this affine is right for k = 2 to 5 alone
    assert known.places == ()
    assert np.allclose(fix(known, part, grid)[1].points((0, 0, 0)), grid.points((0, 0, 2)))
