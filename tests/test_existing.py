"""`-w skip` believes a record only: what it proves is passed over, what it proves stale is made anew, the rest is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import verimask
from pydicom import Dataset

import pipeline.conversion.existing_output
from pipeline.conversion.convert import Request, convert, convert_all
from pipeline.conversion.record import Outcome
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from tests.helpers.phantom import Spec, Truth, write
from tests.test_cli import Said
from tests.test_commands import bundle

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
SKIP: dict[str, Any] = {"crosscheck": "off", "write": "skip"}


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return write(tmp_path / "in", SMALL)


def run(truth: Truth, target: Path, request: Request | None = None, **choices: Any) -> Outcome:
    return convert(truth.folder, target, policy=Policy(**(SKIP | choices)), request=request)


def stale(outcome: Outcome) -> str:
    """Why an output was made anew."""
    (finding,) = [f for f in outcome.findings if f.code is Code.STALE]
    assert outcome.verdict != "SKIPPED"
    assert "STALE" in finding.message
    assert run_again_is_skipped(outcome)
    return finding.message.partition("anew: ")[2]


def run_again_is_skipped(outcome: Outcome) -> bool:
    assert outcome.output is not None
    record = json.loads(outcome.output.with_name("out.json").read_text("utf-8"))
    return bool(record == json.loads(json.dumps(outcome.record)))


def test_what_its_record_proves_is_passed_over(tmp_path: Path, truth: Truth) -> None:
    first = run(truth, tmp_path / "out.nii.gz")
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.glob("out*")}
    again = run(truth, tmp_path / "out.nii.gz")
    assert (first.verdict, again.verdict, again.record["Recorded"]) == ("UNCONFIRMED", "SKIPPED", "UNCONFIRMED")
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.glob("out*")} == before


def in_one_frame(_: int, dataset: Dataset) -> None:
    dataset.FrameOfReferenceUID = "1.2.3"


def burned_in(k: int, dataset: Dataset) -> None:
    in_one_frame(k, dataset)
    pixels = np.frombuffer(dataset.PixelData, np.uint16).copy()
    pixels[20:25] = 4000
    dataset.PixelData = pixels.tobytes()


def other_pixels(truth: Truth) -> None:
    raw = bytearray(truth.paths[2].read_bytes())
    raw[-5] ^= 1
    truth.paths[2].write_bytes(raw)


def last_plane_gone(truth: Truth) -> None:
    truth.paths[-1].unlink()


def another_series(truth: Truth) -> None:
    shutil.rmtree(truth.folder)
    write(truth.folder, SMALL, seed="another")


@pytest.mark.parametrize("change", [other_pixels, last_plane_gone, another_series])
def test_other_inputs_are_made_anew(tmp_path: Path, truth: Truth, change: Callable[[Truth], None]) -> None:
    target = tmp_path / "out.nii.gz"
    run(truth, target)
    change(truth)
    assert stale(run(truth, target)).startswith("inputs changed")
    assert run(truth, target).verdict == "SKIPPED"


@pytest.mark.parametrize(
    ("choices", "request_"),
    [
        ({"orient": "RAS"}, None),
        ({"crosscheck": "affine"}, None),
        ({"allow_empty": True}, None),
        ({"corner_limit_mm": 0.05}, None),
        ({}, Request(wanted="phantom")),
        ({}, Request(part="1")),
        ({}, Request(merge=True)),
    ],
)
def test_other_options_are_made_anew(
    tmp_path: Path, truth: Truth, choices: dict[str, Any], request_: Request | None
) -> None:
    target = tmp_path / "out.nii.gz"
    run(truth, target)
    assert stale(run(truth, target, request_, **choices)).startswith("options changed")
    assert run(truth, target, request_, **choices).verdict == "SKIPPED"


def test_another_version_is_made_anew(tmp_path: Path, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    run(truth, tmp_path / "out.nii.gz")
    monkeypatch.setattr(pipeline.conversion.existing_output, "__version__", "9.9")
    assert "version changed" in run(truth, tmp_path / "out.nii.gz").findings[-1].message


def test_source_like_and_clean_are_inputs(tmp_path: Path) -> None:
    source = write(tmp_path / "source", SMALL, content="index", bits_allocated=16, seed="source", edit=in_one_frame)
    mask = write(tmp_path / "in", SMALL, edit=in_one_frame)
    convert(source.folder, tmp_path / "like.nii", policy=Policy(as_="image", crosscheck="off"))
    for request in (Request(source=source.folder), Request(like=tmp_path / "like.nii")):
        target = tmp_path / "out.nii.gz"
        run(mask, target, request)
        assert run(mask, target, request).verdict == "SKIPPED"
        other_pixels(source)
        raw = bytearray((tmp_path / "like.nii").read_bytes())
        raw[-1] ^= 1
        (tmp_path / "like.nii").write_bytes(raw)
        assert "inputs changed (1 new or different, 1 gone" in stale(run(mask, target, request))
        target.unlink()
        target.with_name("out.json").unlink()
    inputs = run(mask, target, Request(source=source.folder)).record["Provenance"]["Inputs"]
    assert [entry.get("Role") for entry in inputs] == [None] * 5 + ["source"] * 5


def test_the_clean_export_is_an_input(tmp_path: Path) -> None:
    grey: dict[str, Any] = {"content": "index", "bits_allocated": 16}
    burned = write(tmp_path / "in", SMALL, seed="burned", edit=burned_in, **grey)
    clean = write(tmp_path / "clean", SMALL, seed="clean", edit=in_one_frame, **grey)
    request, target = Request(clean=clean.folder), tmp_path / "out.nii.gz"
    run(burned, target, request)
    assert run(burned, target, request).verdict == "SKIPPED"
    raw = clean.paths[0].read_bytes()
    clean.paths[0].write_bytes(raw.replace(b"phantom", b"PHANTOM"))
    assert raw != clean.paths[0].read_bytes()
    assert "inputs changed (1 new or different, 1 gone" in stale(run(burned, target, request))


def test_an_image_that_is_gone_is_made_again(tmp_path: Path, truth: Truth) -> None:
    run(truth, tmp_path / "out.nii.gz")
    (tmp_path / "out.nii.gz").unlink()
    assert "out.nii.gz is gone" in stale(run(truth, tmp_path / "out.nii.gz"))


def changed_by_one_bit(target: Path) -> None:
    raw = bytearray(target.read_bytes())
    raw[-1] ^= 1
    target.write_bytes(raw)


def without_record(target: Path) -> None:
    target.with_name("out.json").unlink()


def record_of_something_else(target: Path) -> None:
    target.with_name("out.json").write_text('{"Verdict": "VERIFIED"}')


def broken_record(target: Path) -> None:
    target.with_name("out.json").write_text("{")


def record_of_another_name(target: Path) -> None:
    path = target.with_name("out.json")
    path.write_text(path.read_text("utf-8").replace('"Output": "out.nii.gz"', '"Output": "out.nii"'), "utf-8")


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (changed_by_one_bit, "file changed"),
        (without_record, "no record"),
        (record_of_something_else, "no record"),
        (broken_record, "no record"),
        (record_of_another_name, "no record"),
    ],
)
def test_what_no_record_proves_is_left_alone(
    tmp_path: Path, truth: Truth, harm: Callable[[Path], None], why: str
) -> None:
    target = tmp_path / "out.nii.gz"
    run(truth, target)
    harm(target)
    other_pixels(truth)
    before = {p: p.read_bytes() for p in tmp_path.glob("out*")}
    with pytest.raises(PipelineError) as refused:
        run(truth, target)
    assert (refused.value.finding.code, int(refused.value.exit)) == (Code.OUTPUT_EXISTS, 6)
    assert "STALE" in refused.value.finding.message
    assert why in refused.value.finding.message
    assert {p: p.read_bytes() for p in tmp_path.glob("out*")} == before


def test_the_labels_file_is_part_of_the_output(tmp_path: Path, truth: Truth) -> None:
    target, labels = tmp_path / "out.nii.gz", tmp_path / "out_labels.txt"
    run(truth, target, labels_file="itksnap")
    assert run(truth, target, labels_file="itksnap").verdict == "SKIPPED"
    labels.unlink()
    assert "out_labels.txt is not there" in stale(run(truth, target, labels_file="itksnap"))
    labels.write_text("mine")
    with pytest.raises(PipelineError, match="file changed"):
        run(truth, target, labels_file="itksnap")
    assert labels.read_text() == "mine"


def test_a_suffix_passes_by_labels_files_and_pages(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, truth: Truth
) -> None:
    for name in ("out.nii.gz", "out_2_labels.txt", "out_3.html"):
        (tmp_path / name).write_text("mine")
    given = ("convert", truth.folder, "--crosscheck", "off", "-w", "suffix", "--labels-file", "itksnap", "--report")
    assert Said(capsys, *given, "-o", tmp_path / "out.nii.gz").exit == 0
    endings = (".nii.gz", ".json", "_labels.txt", ".html")
    assert {p.name for p in tmp_path.glob("out_4*")} == {f"out_4{ending}" for ending in endings}
    assert (tmp_path / "out_3.html").read_text() == (tmp_path / "out_2_labels.txt").read_text() == "mine"


def test_a_page_of_somebody_else_is_left_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, truth: Truth
) -> None:
    (tmp_path / "out.html").write_text("mine")
    for write_ in ("refuse", "skip"):
        given = (
            "convert",
            truth.folder,
            "--crosscheck",
            "off",
            "--report",
            "-w",
            write_,
            "-o",
            tmp_path / "out.nii.gz",
        )
        assert Said(capsys, *given).exit == 6
    assert [p.name for p in tmp_path.glob("out*")] == ["out.html"]
    assert (tmp_path / "out.html").read_text() == "mine"


def test_what_is_passed_over_keeps_its_exit_and_gets_its_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, truth: Truth
) -> None:
    given = ("convert", truth.folder, "--crosscheck", "off", "-w", "skip", "-o", tmp_path / "out.nii.gz")
    assert Said(capsys, *given, "--strict").exit == 13
    said = Said(capsys, *given, "--strict", "--report")
    assert (said.exit, said.out) == (13, "SKIPPED  out.nii.gz  is already there\n")
    assert (tmp_path / "out.html").is_file()


def test_in_a_folder_each_is_judged_by_itself(tmp_path: Path) -> None:
    for n, name in enumerate(("a", "b", "c"), 1):
        write(tmp_path / "in" / name, SMALL, series_number=n, seed=name, description=name)
    folder = tmp_path / "out"
    convert_all(tmp_path / "in", folder, policy=Policy(**SKIP))
    other_pixels(write(tmp_path / "in" / "b", SMALL, series_number=2, seed="b", description="b"))
    changed_by_one_bit(folder / "3_c.nii.gz")
    done, refused = convert_all(tmp_path / "in", folder, policy=Policy(**SKIP))
    assert [o.verdict for o in done] == ["SKIPPED", "UNCONFIRMED"]
    assert [e.finding.code for e in refused] == [Code.OUTPUT_EXISTS]


def test_a_record_that_nests_too_deep_proves_nothing(tmp_path: Path) -> None:
    """It ended in a crash; and a file that no record proves is somebody's."""
    truth = write(tmp_path / "in", SMALL)
    target = tmp_path / "out.nii.gz"
    target.write_bytes(b"mine")
    (tmp_path / "out.json").write_text("[" * 100_000)
    with pytest.raises(PipelineError) as caught:
        convert(truth.folder, target, policy=Policy(crosscheck="off", write="skip"))
    assert caught.value.finding.code is Code.OUTPUT_EXISTS
    assert target.read_bytes() == b"mine"


def linked(path: Path) -> Path:
    link = path.with_name("link.nii.gz")
    os.link(path, link)
    return link


def pointed_at(path: Path) -> Path:
    link = path.with_name("link.nii.gz")
    link.symlink_to(path.name)
    return link


def as_it_is(path: Path) -> Path:
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("write_how", ["refuse", "overwrite", "skip"])
@pytest.mark.parametrize("by", [as_it_is, linked, pointed_at])
def test_an_input_is_never_replaced(tmp_path: Path, truth: Truth, by: Callable[[Path], Path], write_how: str) -> None:
    """A DICOM file may have any name, and one output may be given as --like of the next."""
    one = truth.folder / "one.nii.gz"
    next(truth.folder.glob("*.dcm")).rename(one)
    like = run(truth, tmp_path / "like.nii.gz").output
    assert like is not None
    for target, request in ((by(one), None), (like, Request(like=like))):
        before = contents(tmp_path)
        with pytest.raises(PipelineError) as refused:
            run(truth, target, request, write=write_how)
        assert refused.value.finding.code is Code.OUTPUT_EXISTS
        assert f"{target.name} is one of the inputs" in str(refused.value)
        assert contents(tmp_path) == before


def test_what_another_result_is_made_of_is_not_replaced(tmp_path: Path, truth: Truth) -> None:
    """In a folder the name of one result may be that of a file of another one."""
    other = write(tmp_path / "other", SMALL, seed="another")
    inputs = [truth.folder, other.folder]
    done, _ = convert_all(inputs, tmp_path / "out", policy=Policy(crosscheck="off"))
    first = done[0].output
    assert first is not None
    next(other.folder.glob("*.dcm")).rename(other.folder / first.name)
    before = contents(other.folder)
    made, refused = convert_all(inputs, other.folder, policy=Policy(crosscheck="off", write="overwrite"))
    assert [error.finding.code for error in refused] == [Code.OUTPUT_EXISTS]
    assert len(made) == 1
    after = contents(other.folder)
    assert {name: after[name] for name in before} == before


def test_an_output_of_before_among_the_inputs_is_replaced(tmp_path: Path, truth: Truth) -> None:
    """It is met in the folder, and is none of them."""
    for _ in range(2):
        outcome = run(truth, truth.folder / "out.nii.gz", write="overwrite")
        assert outcome.verdict == "UNCONFIRMED"


def test_a_record_does_not_replace_the_bundle(tmp_path: Path) -> None:
    """The record of bundle.nii.gz is bundle.json, which is what a bundle calls its own list."""
    folder, over = bundle(tmp_path / "b"), Policy(crosscheck="off", write="overwrite")
    before = contents(folder)
    with pytest.raises(PipelineError, match=r"bundle\.json is one of the inputs"):
        convert(folder, folder / "bundle.nii.gz", request=Request(wanted="bone"), policy=over)
    assert contents(folder) == before


def test_what_was_read_is_not_saved_over(tmp_path: Path, truth: Truth) -> None:
    one = truth.folder / "one.nii.gz"
    next(truth.folder.glob("*.dcm")).rename(one)
    before = contents(tmp_path)
    mask = verimask.read(truth.folder, policy=Policy(crosscheck="off"))
    with pytest.raises(PipelineError, match=r"one\.nii\.gz is one of the inputs"):
        mask.save(one, overwrite=True)
    with pytest.raises(PipelineError, match=r"one\.nii\.gz is one of the inputs"):
        verimask.write(mask, truth.folder, one, axes="ijk", policy=Policy(crosscheck="off", write="overwrite"))
    assert contents(tmp_path) == before
