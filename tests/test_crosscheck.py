"""The witnesses as they are installed: what each says of phantoms, how it is judged, and what a dispute does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline import Code, Grid, PipelineError, Policy, convert, convert_all
from pipeline.cli.main import main
from pipeline.cli.text import describe_outcome
from pipeline.conversion.looks import Looks
from pipeline.conversion.product import Product, product_of_part
from pipeline.conversion.request import RunDetails
from pipeline.conversion.write import finish
from pipeline.core.findings import Exit
from pipeline.crosscheck import dcm2niix, known_wrong, panel
from pipeline.crosscheck.agreement import Agreement, describe_order, judge
from pipeline.crosscheck.child import Child
from pipeline.crosscheck.dicom2nifti import _remember, _renumber
from pipeline.crosscheck.panel import Panel
from pipeline.crosscheck.testimony import Job
from pipeline.crosscheck.testimony import Testimony as Told  # a class called Test… would be collected
from pipeline.dicom.frame import Frame
from pipeline.dicom.scan import choose, scan
from pipeline.dicom.split_volumes import split
from pipeline.geometry.affine import LPS_TO_RAS
from tests.helpers.phantom import ORIENTATIONS, Spec, Truth, write

ROOT = Path(__file__).parents[1]
WITNESSES = ("dicom2nifti", "SimpleITK", "dcm2niix")
SPEC = Spec(shape=(9, 7, 6), row_spacing=1.3, column_spacing=0.8, step=2.1, content="index")
IMAGE = Policy(as_="image", crosscheck="voxels")


@pytest.fixture(scope="module")
def witnesses() -> Iterator[Panel]:
    """All of them, started once. Skipped by name where one is not installed."""
    for name in WITNESSES:
        pytest.importorskip(name)
    with Panel(IMAGE) as shared:
        yield shared


@pytest.fixture(scope="module")
def affine_only() -> Iterator[Panel]:
    with Panel(replace(IMAGE, crosscheck="affine")) as shared:
        yield shared


def product_of(truth: Truth, policy: Policy = IMAGE) -> Product:
    """The one volume of a series, laid and decoded."""
    series = choose(scan([truth.folder]), None)
    (part,) = split(series.frames)
    return product_of_part(series, part, policy)


def frames_of(product: Product) -> tuple[Frame, ...]:
    assert product.witnessed is not None
    return product.witnessed.frames


def job_of(product: Product) -> Job:
    frames = frames_of(product)
    return Job(tuple(str(f.path) for f in frames), tuple(f.number for f in frames), True)


def verdicts(product: Product, asked: Panel) -> dict[str, Agreement]:
    frames, voxels = frames_of(product), product.volume.voxels
    asked.begin(frames, voxels=True)
    assert product.witnessed is not None
    stack, physical = product.witnessed.stack, product.witnessed.physical
    told = asked.verdicts(product.grid, stack, frames, physical, lambda: iter(voxels))
    return {agreement.witness: agreement for agreement in told}


def edited(**values: object) -> Callable[[int, Dataset], None]:
    def edit(_: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return edit


# What the witnesses say


@pytest.mark.parametrize("orientation", ["HFS", "rows upward", "sagittal", "coronal", "steep oblique", "HFDL"])
def test_all_confirm_a_regular_series_voxel_for_voxel(tmp_path: Path, witnesses: Panel, orientation: str) -> None:
    truth = write(tmp_path, SPEC, iop=ORIENTATIONS[orientation], stored="shuffled", instance_numbers="against")
    told = verdicts(product_of(truth), witnesses)
    assert set(told) == set(WITNESSES)
    for agreement in told.values():
        assert agreement.confirms, agreement
        assert agreement.voxels_differing == 0
        assert agreement.max_corner_mm is not None
        assert agreement.max_corner_mm < (5e-3 if agreement.witness == "dcm2niix" else 1e-3)
        assert agreement.version


@pytest.mark.parametrize("as_", ["mask", "image"])
def test_values_agree_after_the_rescale_the_witnesses_apply(tmp_path: Path, witnesses: Panel, as_: str) -> None:
    """0/255 written as 0/1, stored signed, rescaled by 2 and -10: three readers, three types, one meaning."""
    truth = write(tmp_path, SPEC, content="mask", labels=(255,), rescale=((2.0, -10.0),), radius_mm=4, signed=True)
    policy = replace(IMAGE, as_=as_)
    for agreement in verdicts(product_of(truth, policy), witnesses).values():
        assert agreement.confirms, agreement
        assert agreement.voxels_differing == 0


def test_the_affine_alone_gives_the_same_verdict(tmp_path: Path, witnesses: Panel, affine_only: Panel) -> None:
    product = product_of(write(tmp_path, SPEC, iop=ORIENTATIONS["oblique sagittal"]))
    deep, shallow = verdicts(product, witnesses)["dicom2nifti"], verdicts(product, affine_only)["dicom2nifti"]
    assert (shallow.status, shallow.max_corner_mm, shallow.index_map) == (
        deep.status,
        deep.max_corner_mm,
        deep.index_map,
    )
    assert (deep.voxels_differing, shallow.voxels_differing) == (0, None)


def _with_empty_tr(_: int, dataset: Dataset) -> None:
    dataset.RepetitionTime = dataset.EchoTime = None


LENIENT = {
    "constant instance number": {"instance_numbers": "constant"},
    "shuffled instance numbers": {"instance_numbers": "shuffled"},
    "no instance number": {"instance_numbers": "missing"},
    "no modality": {"edit": edited(Modality="")},
    "empty repetition time": {"edit": _with_empty_tr, "kind": "mr", "instance_numbers": "constant"},
    "three planes": {"shape": (9, 7, 3)},
    "two planes": {"shape": (9, 7, 2)},
    "one plane": {"shape": (9, 7, 1)},
}


@pytest.mark.parametrize("why", LENIENT)
def test_dicom2nifti_is_asked_again_where_it_refuses_what_it_need_not(
    tmp_path: Path, witnesses: Panel, why: str
) -> None:
    truth = write(tmp_path, SPEC, iop=ORIENTATIONS["double oblique"], **LENIENT[why])
    before = [path.read_bytes() for path in truth.paths]
    told = verdicts(product_of(truth), witnesses)["dicom2nifti"]
    assert told.confirms, told
    assert told.voxels_differing == 0
    if why not in ("no modality", "constant instance number"):  # these it takes, in the order it is given
        assert "asked again" in told.words
        assert "after it refused with" in told.words
    assert [path.read_bytes() for path in truth.paths] == before


def test_nothing_that_places_a_plane_is_rewritten(tmp_path: Path) -> None:
    truth = write(tmp_path, SPEC, kind="mr", iop=ORIENTATIONS["double oblique"], edit=_with_empty_tr)
    datasets = [dcmread(path) for path in truth.paths]
    originals = [dcmread(path) for path in truth.paths]
    for dataset in datasets:
        del dataset.Modality
    _renumber(datasets)
    touched = {"InstanceNumber", "Modality", "RepetitionTime", "EchoTime"}
    for k, (dataset, original) in enumerate(zip(datasets, originals, strict=True)):
        assert (dataset.InstanceNumber, dataset.Modality) == (k + 1, "OT")
        assert "RepetitionTime" not in dataset
        kept = {e.keyword: e for e in dataset if e.keyword not in touched}
        assert kept == {e.keyword: e for e in original if e.keyword not in touched}
        assert {"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"} <= set(kept)


def test_a_refusal_is_quoted(tmp_path: Path, witnesses: Panel) -> None:
    truth = write(tmp_path, SPEC, edit=edited(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    told = verdicts(product_of(truth), witnesses)
    assert told["dicom2nifti"].status == "REFUSED"
    assert told["dicom2nifti"].words.startswith("refuses: ")
    assert "Error" in told["dicom2nifti"].words
    assert told["dicom2nifti"].max_corner_mm is None
    assert told["SimpleITK"].confirms


def test_some_frames_of_a_file_are_not_shown_to_anyone(tmp_path: Path, witnesses: Panel) -> None:
    product = product_of(write(tmp_path, SPEC, kind="enhanced ct"))
    frames, voxels, seen = frames_of(product), product.volume.voxels, product.witnessed
    assert seen is not None
    for shown, status in ((frames, "REORDERED"), (frames[:4], "REFUSED")):
        witnesses.begin(shown, voxels=True)
        for told in witnesses.verdicts(product.grid, seen.stack, shown, seen.physical, lambda: iter(voxels)):
            assert told.status in (status, "AGREES" if status == "REORDERED" else status)
            assert ("only some frames" in told.words) == (status == "REFUSED")
            assert not told.leaves_doubt


# Where they are known to be wrong


@pytest.mark.parametrize("stored", ["against", "shuffled"])
def test_dicom2nifti_and_frames_in_another_order_than_their_stack(
    tmp_path: Path, witnesses: Panel, stored: str
) -> None:
    """As installed, it is wrong or refuses; if a later version is right, the rule can go."""
    product = product_of(write(tmp_path, SPEC, kind="enhanced ct", stored=stored))
    told = verdicts(product, witnesses)["dicom2nifti"]
    if stored == "against":
        assert told.status == "KNOWN_WRONG", told
        assert told.voxels_differing is not None
        assert told.voxels_differing > 0
        assert "In-Stack Position Number" in told.words
    assert not told.confirms
    in_order = verdicts(product_of(write(tmp_path / "in order", SPEC, kind="enhanced ct")), witnesses)["dicom2nifti"]
    assert in_order.confirms
    assert in_order.voxels_differing == 0


def test_simpleitk_inverts_monochrome1(tmp_path: Path, witnesses: Panel) -> None:
    told = verdicts(product_of(write(tmp_path, SPEC, photometric="MONOCHROME1")), witnesses)
    assert told["SimpleITK"].status == "KNOWN_WRONG", told["SimpleITK"]
    assert told["SimpleITK"].voxels_differing == 9 * 7 * 6
    assert told["SimpleITK"].max_corner_mm is not None
    assert told["SimpleITK"].max_corner_mm < 1e-3
    assert told["dicom2nifti"].confirms
    assert told["dcm2niix"].confirms


def test_dcm2niix_takes_its_step_from_the_first_gap(tmp_path: Path, witnesses: Panel) -> None:
    def shift_first(k: int, dataset: Dataset) -> None:
        if k == 0:
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x, y, float(z) + 0.03]

    told = verdicts(product_of(write(tmp_path, SPEC, edit=shift_first)), witnesses)
    assert told["dcm2niix"].status == "KNOWN_WRONG", told["dcm2niix"]
    assert told["dcm2niix"].max_corner_mm is not None
    assert told["dcm2niix"].max_corner_mm > 0.1
    assert told["dicom2nifti"].confirms
    assert told["SimpleITK"].confirms


# How they are judged


def grid_of(shape: tuple[int, int, int] = (5, 4, 3)) -> Grid:
    lps = np.eye(4)
    lps[:3, :3] = np.diag((0.8, 1.3, 2.1))
    lps[:3, 3] = (-31.5, 12.25, 7)
    return Grid(shape, lps)


def told_of(grid: Grid, array: np.ndarray | None = None, shift: tuple[float, float, float] = (0, 0, 0)) -> Told:
    lps = grid.lps.copy()
    lps[:3, 3] += shift
    return Told("witness", "1", LPS_TO_RAS @ lps, grid.shape, array)


def judged(told: Told, array: np.ndarray) -> Agreement:
    planes = [array[:, :, k].T for k in range(array.shape[2])]
    return judge(told, grid_of(), 1e-3, lambda k, plane: plane, lambda: planes)


VALUES = np.arange(60).reshape(3, 4, 5).T


@pytest.mark.parametrize("count", [0, 1, 2, 7, 60])
def test_differing_voxels_are_counted_exactly(tmp_path: Path, witnesses: Panel, count: int) -> None:
    product = product_of(write(tmp_path, SPEC, shape=(5, 4, 3), iop=ORIENTATIONS["rows upward"]))
    planes = [plane.astype(np.int64) for plane in product.volume.voxels]
    changed = np.random.default_rng(3).choice(60, count, replace=False)
    for k, j, i in zip(*np.unravel_index(changed, (3, 4, 5)), strict=True):
        planes[k][j, i] += 1
    for witness in ("dicom2nifti", "SimpleITK"):
        told = witnesses._children[witness].ask(job_of(product))
        assert product.witnessed is not None
        agreement = judge(told, product.grid, 1e-3, product.witnessed.physical, partial(iter, planes))
        assert agreement.voxels_differing == count
        assert agreement.status == ("DIFFERS" if count else agreement.status)
        assert agreement.confirms == (count == 0)
        assert count == 0 or f"{count} voxels differ" in agreement.words


def test_two_planes_swapped_differ(tmp_path: Path) -> None:
    assert judged(told_of(grid_of(), VALUES), VALUES[:, :, [1, 0, 2]]).voxels_differing == 40


def test_a_grid_a_hundredth_of_a_millimetre_away_differs() -> None:
    agreement = judged(told_of(grid_of(), VALUES, (0.006, 0, -0.008)), VALUES)
    assert agreement.status == "DIFFERS"
    assert agreement.max_corner_mm == pytest.approx(0.01)
    assert "lies 0.0100 mm away" in agreement.words
    assert judged(told_of(grid_of(), VALUES, (0, 0, 0.0009)), VALUES).status == "AGREES"


@pytest.mark.parametrize("shift", [(0.8, 0, 0), (0, 0, -2.1), (0, 0.7, 0)])
def test_a_grid_a_voxel_away_is_another_place(shift: tuple[float, float, float]) -> None:
    agreement = judged(told_of(grid_of(), VALUES, shift), VALUES)
    assert (agreement.status, agreement.max_corner_mm) == ("DIFFERS", None)
    assert "another place" in agreement.words


@pytest.mark.parametrize("shape", [(5, 4, 2), (4, 5, 3), (5, 4, 3, 2)])
def test_another_shape_is_another_place(shape: tuple[int, ...]) -> None:
    told = replace(told_of(grid_of()), shape=shape)
    assert judged(told, VALUES).status == "DIFFERS"


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_every_order_of_one_grid_agrees(axes: tuple[int, int, int]) -> None:
    grid = grid_of()
    for signs in product((1, -1), repeat=3):
        array = VALUES.transpose(axes)[tuple(slice(None, None, s) for s in signs)]
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for theirs, (ours, sign) in enumerate(zip(axes, signs, strict=True)):
            turn[ours, theirs] = sign
            turn[ours, 3] = 0 if sign > 0 else grid.shape[ours] - 1
        told = Told("witness", "1", LPS_TO_RAS @ grid.lps @ turn, array.shape, array)
        agreement = judged(told, VALUES)
        same = axes == (0, 1, 2) and signs == (1, 1, 1)
        assert agreement.status == ("AGREES" if same else "REORDERED")
        assert agreement.voxels_differing == 0
        assert ("same order" in agreement.words) == same
        assert ("bottom-up" in agreement.words) == (signs[axes.index(1)] < 0)


def test_orders_in_words() -> None:
    assert describe_order(np.eye(4, dtype=np.int64)) == "same order"
    assert describe_order(np.diag([1, -1, 1, 1])) == "rows stored bottom-up"
    assert describe_order(np.diag([-1, 1, -1, 1])) == "columns stored right to left, planes in reverse"
    swapped = np.eye(4, dtype=np.int64)[[2, 0, 1, 3]]
    assert describe_order(swapped).startswith("axes in the order row, plane, column")


# What becomes of a conversion


def kill(child: Child) -> None:
    assert child._process is not None
    child._process.kill()
    child._process.wait()


def test_a_witness_that_dies_has_failed_with_its_last_words(tmp_path: Path) -> None:
    product = product_of(write(tmp_path, SPEC))
    with Child("verimask.crosscheck.dicom2nifti", "dicom2nifti") as child:
        kill(child)
        for _ in range(2):
            assert child.ask(job_of(product)).failure == "killed by SIGKILL"
    with Child("verimask.crosscheck.nobody", "nobody") as child:
        failure = child.ask(job_of(product)).failure
        assert failure.startswith("ended with exit status 1; its last words: ")
        assert "No module named verimask.crosscheck.nobody" in failure


@pytest.mark.parametrize("crosscheck", ["affine", "voxels"])
def test_a_witness_that_dies_confirms_nothing_and_is_asked_again_about_the_next_series(
    tmp_path: Path, crosscheck: Literal["affine", "voxels"]
) -> None:
    truth = write(tmp_path / "in", SPEC, content="mask", radius_mm=4)
    policy, details = Policy(crosscheck=crosscheck), RunDetails(Looks())
    with Panel(policy) as asked:
        kill(asked._children["dicom2nifti"])
        outcome = finish(product_of(truth, policy), tmp_path / "out.nii", policy, asked, details)
        after = finish(product_of(truth, policy), tmp_path / "next.nii", policy, asked, details)
    assert (outcome.verdict, outcome.exit) == ("UNCONFIRMED" if crosscheck == "affine" else "VERIFIED", Exit.VERIFIED)
    assert (outcome.agreements[0].status, outcome.agreements[0].words) == ("FAILED", "killed by SIGKILL")
    assert any("dicom2nifti FAILED: killed by SIGKILL" in line for line in describe_outcome(outcome))
    assert (after.verdict, after.agreements[0].confirms) == ("VERIFIED", True)


# Modules in place of a witness's own: what they do, and what a person is told.
STAND_INS = {
    "hangs": ("import time\ntime.sleep(1000)", "gave no answer within 2 s"),
    "prints garbage": ("import time\nprint('no \\x1b[31m JSON', flush=True)\ntime.sleep(1000)", "cannot be read: no  [31m"),
    "answers nothing of use": ("print('{}', flush=True)", "gave an answer that cannot be read: {}"),
    "leaves": ("import sys\nsys.stderr.write('Traceback\\n/home/me/secret/a.py is odd\\n')\nsys.exit(3)",
               "ended with exit status 3; its last words: a.py is odd"),
    "was robbed": (
        "import json, time\nprint(json.dumps(dict(version='1', affine_ras=[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]],"
        " shape=[2,2,2], array='/nowhere/0.npy', box=[0,0,0], refusal='', note='')), flush=True)\ntime.sleep(1000)",
        "its array file is gone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STAND_INS)
def test_a_conversion_outlives_its_witness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    code, words = STAND_INS[what]
    (tmp_path / "stand_ins").mkdir()
    (tmp_path / "stand_ins" / "stand_in_of_tests.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "stand_ins"))
    monkeypatch.setitem(panel._PROCESSES, "dicom2nifti", "stand_in_of_tests")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    truth = write(tmp_path / "in", SPEC, content="mask", radius_mm=4)
    limit = "2" if what == "hangs" else "60"  # who speaks has the time that a loaded machine takes
    with pytest.raises(SystemExit) as left:
        main(["convert", str(truth.folder), "-o", str(tmp_path / "out.nii"), "--witness-limit", limit])
    said = capsys.readouterr()
    assert (left.value.code or 0, said.err, said.out.split()[0]) == (0, "", "UNCONFIRMED")
    assert "dicom2nifti FAILED: " in said.out
    assert words in " ".join(said.out.split()) or words in said.out
    assert "\033" not in said.out
    record = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert [w["Status"] for w in record["CrossCheck"]] == ["FAILED"]
    assert "secret" not in json.dumps(record)
    outcome = convert([truth.folder], tmp_path / "deep.nii", policy=Policy(crosscheck="voxels", witness_limit_s=20))
    assert outcome.verdict == "VERIFIED"  # by the others
    assert outcome.agreements[0].status == "FAILED"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_witness_without_its_folder_has_failed(tmp_path: Path) -> None:
    product = product_of(write(tmp_path, SPEC))
    with Child("verimask.crosscheck.dicom2nifti", "dicom2nifti") as child:
        shutil.rmtree(child.folder)
        assert "its last words: FileNotFoundError" in child.ask(job_of(product)).failure


def test_what_lies_in_the_current_folder_is_never_run(tmp_path: Path) -> None:
    """Names of the standard library, of packages and of our own, in the current folder and on PYTHONPATH."""
    truth = write(tmp_path / "in", SPEC, content="mask", radius_mm=4)
    here = tmp_path / "here"
    for name in ("random", "json", "numpy", "pydicom", "dicom2nifti", "pipeline/crosscheck", "sitecustomize"):
        folder = here / name
        folder.mkdir(parents=True)
        for package in (folder, *folder.relative_to(here).parents[:-1]):
            (here / package / "__init__.py").write_text("import os; os.abort()", "utf-8")
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pipeline.cli.main import main; main(sys.argv[1:])"
    given = ("convert", truth.folder, "-o", tmp_path / "out.nii", "--crosscheck", "voxels")
    before = sorted(here.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", start, *map(str, given)], cwd=here, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(here), "PYTHONSTARTUP": str(here / "random" / "__init__.py")},
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout.split()[0]) == (0, "", "VERIFIED")
    assert done.stdout.count(" agrees (") == 4
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("understood", [True, False])
def test_only_an_understood_refusal_of_voxels_leaves_no_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, understood: bool
) -> None:
    words = (
        "ConversionValidationError: TOO_FEW_SLICES/LOCALIZER"
        if understood
        else "ValueError: the pixel data is too short"
    )
    answer = Child.receive

    def refuse(child: Child, limit_s: float) -> Told:
        return Told(child.witness, "1", refusal=words) if child.witness == "dicom2nifti" else answer(child, limit_s)

    monkeypatch.setattr(Child, "receive", refuse)
    truth = write(tmp_path / "in", SPEC, content="mask", radius_mm=4)
    monkeypatch.delitem(panel._PROCESSES, "SimpleITK")
    outcome = convert([truth.folder], tmp_path / "out.nii", policy=Policy(crosscheck="voxels"))
    assert {a.witness: a.status for a in outcome.agreements}["dicom2nifti"] == "REFUSED"
    assert outcome.verdict == ("VERIFIED" if understood else "UNCONFIRMED")
    assert (Code.WITNESS_REFUSED in {f.code for f in outcome.findings}) != understood


@pytest.mark.parametrize("keep", [False, True])
def test_a_dispute_leaves_no_file_unless_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool) -> None:
    """A real difference: dicom2nifti on reversed frames, with the rule that explains it taken away."""
    monkeypatch.setattr(known_wrong, "predict", lambda *_: ())
    truth = write(tmp_path / "in", SPEC, kind="enhanced ct", stored="against")
    policy = Policy(as_="image", crosscheck="voxels", keep_disputed=keep)
    if keep:
        outcome = convert([truth.folder], tmp_path / "out.nii.gz", policy=policy)
        assert (outcome.verdict, outcome.exit) == ("DISPUTED", Exit.DISPUTED)
        assert {p.name for p in tmp_path.iterdir()} == {"in", "out.nii.gz", "out.json"}
        return
    with pytest.raises(PipelineError) as caught:
        convert([truth.folder], tmp_path / "out.nii.gz", policy=policy)
    assert (caught.value.finding.code, caught.value.exit) == (Code.WITNESS_DIFFERS, Exit.DISPUTED)
    assert "dicom2nifti" in caught.value.finding.message
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_witnesses_that_are_not_installed_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "find_spec", lambda name: name == "dicom2nifti")
    truth = write(tmp_path / "in", SPEC)
    outcome = convert([truth.folder], tmp_path / "out.nii.gz", policy=IMAGE)
    told = {a.witness: a for a in outcome.agreements}
    assert {name: a.status for name, a in told.items() if name != "dicom2nifti"} == {
        "SimpleITK": "ABSENT",
        "dcm2niix": "ABSENT",
    }
    assert "verimask[witnesses]" in told["SimpleITK"].words
    assert (outcome.verdict, told["dicom2nifti"].voxels_differing) == ("VERIFIED", 0)


def test_without_dicom2nifti_a_result_stays_unconfirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "find_spec", lambda name: None)
    outcome = convert([write(tmp_path / "in", SPEC).folder], tmp_path / "out.nii.gz", policy=Policy(as_="image"))
    (told,) = outcome.agreements
    assert (outcome.verdict, told.witness, told.status) == ("UNCONFIRMED", "dicom2nifti", "ABSENT")
    assert "install verimask again" in told.words


def test_dcm2niix_that_splits_a_series_refuses(tmp_path: Path) -> None:
    pytest.importorskip("dcm2niix")
    one = write(tmp_path / "1", SPEC, seed="one")
    two = write(tmp_path / "2", SPEC, seed="two", series_number=8)
    files = tuple(map(str, (*one.paths, *two.paths)))
    told = dcm2niix.ask(Job(files, (1,) * len(files), False), philips=False)
    assert told.refusal.startswith("wrote 2 files for one series")


# A stand-in that is the installed witness until it is asked about the second series, and then does as told.
SECOND = """
import os, sys, time
from pathlib import Path
from pipeline.crosscheck import dicom2nifti

true, asked = dicom2nifti._answer, Path({notes!r})

def answer(job):
    if "second" in job.files[0] and not asked.exists():
        asked.touch()
        {fault}
    return true(job)

dicom2nifti._answer = answer
dicom2nifti.main()
"""
FAULTS = {
    "killed": ("os.kill(os.getpid(), 9)", "killed by SIGKILL"),
    "hung": ("time.sleep(1000)", "gave no answer within 10 s"),
    "robbed": ("import shutil; shutil.rmtree(sys.argv[2])", "its last words: FileNotFoundError"),
}


@pytest.mark.parametrize("crosscheck", ["affine", "voxels"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_batch_outlives_a_witness_that_fails_in_its_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, crosscheck: Literal["affine", "voxels"]
) -> None:
    if (fault, crosscheck) == ("robbed", "affine"):
        return  # it puts nothing down for headers alone
    does, words = FAULTS[fault]
    (tmp_path / "stand_ins").mkdir()
    code = SECOND.format(notes=str(tmp_path / "asked"), fault=does)
    (tmp_path / "stand_ins" / "stand_in_of_batches.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "stand_ins"))
    monkeypatch.setitem(panel._PROCESSES, "dicom2nifti", "stand_in_of_batches")
    for number, name in enumerate(("first", "second", "third"), 1):
        write(tmp_path / "in" / name, SPEC, content="mask", radius_mm=4, series_number=number, seed=name)
    policy = Policy(crosscheck=crosscheck, witness_limit_s=10 if fault == "hung" else 60)
    done, refused = convert_all([tmp_path / "in"], tmp_path / "out", policy=policy)
    assert not refused
    told = [o.agreements[0] for o in done]
    assert [a.confirms for a in told] == [True, False, True]
    assert told[1].status == "FAILED"
    assert words in told[1].words
    assert [o.verdict for o in done] == [
        "VERIFIED",
        "UNCONFIRMED" if crosscheck == "affine" else "VERIFIED",
        "VERIFIED",
    ]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("kill -9 $$", "killed by SIGKILL"),
        ("sleep 1000", "gave no answer within 10 s"),
        (None, "FileNotFoundError"),
        ("rm -r in out", "FileNotFoundError|wrote 0 files"),
    ],
)
def test_a_program_that_fails_confirms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, words: str
) -> None:
    script = tmp_path / "dcm2niix"
    if program is not None:
        script.write_text(f"#!/bin/sh\n{program}\n")
        script.chmod(0o755)
    monkeypatch.setattr("dcm2niix.bin", str(script))
    write(tmp_path / "in", SPEC, content="mask", radius_mm=4)
    outcome = convert([tmp_path / "in"], tmp_path / "o.nii", policy=Policy(crosscheck="voxels", witness_limit_s=10))
    told = {a.witness: a for a in outcome.agreements}["dcm2niix"]
    assert re.search(words, told.words)
    assert not told.confirms
    assert outcome.verdict == ("VERIFIED" if told.status == "FAILED" else "UNCONFIRMED")


def test_the_same_directions_are_compared_once() -> None:
    compared: list[tuple[Any, Any]] = []

    def allclose(one: Any, other: Any, **limits: float) -> bool:
        compared.append((one, other))
        return bool(np.allclose(one, other, **limits))

    remembered = _remember(allclose)
    first, near, far = [1.0, 0.0, 0.0], np.array([1.0, 1e-4, 0.0]), np.array([1.0, 0.5, 0.0])
    for _ in range(3):
        assert remembered(first, near, rtol=0.001, atol=0.001)
        assert not remembered(first, far, rtol=0.001, atol=0.001)
        assert remembered(first, far, rtol=0.001, atol=0.6)  # another question
    assert len(compared) == 3
    block = np.zeros(1000)  # no direction: its bytes are not kept
    assert remembered(block, block)
    assert remembered(block, block)
    assert len(compared) == 5


def test_what_broke_off_the_answers_is_no_failure_of_the_witnesses(
    tmp_path: Path, witnesses: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next result on the same frames asks anew."""
    product = product_of(write(tmp_path, SPEC))

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(dcm2niix, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            verdicts(product, witnesses)
    assert all(agreement.confirms for agreement in verdicts(product, witnesses).values())
