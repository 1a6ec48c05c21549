"""Nothing that people have ends a command as a bug: odd attributes, absent extras, a bug in one item among many."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.cli.main import main
from pipeline.cli.run_command import _parser
from pipeline.conversion import product
from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.request import Request
from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.core.hints import keep_known_options
from pipeline.core.policy import Policy
from pipeline.core.unexpected import as_refusal
from pipeline.core.write_refusals import cannot_write
from pipeline.decode.rtstruct import decode
from pipeline.dicom.header import KEYWORDS, read_header
from tests.helpers import made_series, rtphantom, segs
from tests.helpers.phantom import Spec, write
from tests.helpers.watching import ROOT

SMALL = Spec(shape=(9, 7, 4), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
OFF = Policy(crosscheck="off")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


# Attributes of several values

TEXTS = sorted(
    set(KEYWORDS)
    & set(
        """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality SeriesDescription
        ProtocolName Manufacturer ManufacturerModelName PatientPosition PhotometricInterpretation RescaleType
        LossyImageCompression BurnedInAnnotation DerivationDescription SegmentationType AcquisitionTime ContentTime
        SequenceName""".split()
    )
)


@pytest.mark.parametrize("keyword", TEXTS)
@pytest.mark.parametrize("everywhere", [True, False])
def test_several_values_where_one_belongs_are_no_bug(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, keyword: str, everywhere: bool
) -> None:
    def twice(k: int, dataset: Dataset) -> None:
        if everywhere or k == 2:
            setattr(dataset, keyword, ["1.2", "3.4"] if keyword.endswith("UID") else ["A", "B"])

    truth = write(tmp_path / "in", SMALL, edit=twice)
    header = read_header(truth.paths[2])
    if keyword.endswith("UID"):
        assert header.get(keyword) == "1.2\\3.4"
    for arguments in (("series", tmp_path / "in"), ("convert", tmp_path / "in", "-o", tmp_path / "out.nii")):
        code, _, err = run(capsys, *arguments)
        assert code != Exit.INTERNAL_ERROR, err
        assert "Traceback" not in err


# A bug in one of many


def broken_at(title: str) -> object:
    whole = product.lay_frames

    def lay(frames: object, policy: object, name: str, *more: object) -> object:
        if title in name:
            raise AttributeError("no such thing")
        return whole(frames, policy, name, *more)  # type: ignore[arg-type]

    return lay


def test_a_bug_in_one_series_does_not_take_the_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("good", "bad", "better"), 1):
        write(tmp_path / "in" / name, replace(SMALL, series_number=number, description=name, seed=name))
    monkeypatch.setattr(product, "lay_frames", broken_at("bad"))
    done, refused = convert_all([tmp_path / "in"], tmp_path / "api", policy=replace(OFF, as_="image"))
    assert len(done) == 2
    assert [e.finding.code for e in refused] == [Code.UNEXPECTED]
    for word in ("bad", "AttributeError: no such thing", ".py, line "):
        assert word in refused[0].finding.message
    code, out, err = run(
        capsys, "convert", tmp_path / "in", "-o", f"{tmp_path / 'out'}/", "--as", "image", "--crosscheck", "off"
    )
    assert code == Exit.INTERNAL_ERROR
    assert "2 UNCONFIRMED, 1 REFUSED" in out
    assert "please report" in err
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".gz", ".gz", ".json", ".json"]


def test_a_broken_bundle_does_not_take_the_series_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "series", SMALL)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text("{}")
    done, refused = convert_all([tmp_path / "bundle", tmp_path / "series"], tmp_path / "out", policy=OFF)
    assert len(done) == 1
    assert [e.finding.code for e in refused] == [Code.BUNDLE_INVALID]
    assert "bundle" in refused[0].finding.message


def test_lack_of_memory_is_no_bug() -> None:
    finding = as_refusal(MemoryError()).finding
    assert "memory" in finding.message
    assert finding.code is Code.MEMORY_LIMIT
    assert "bug" not in finding.hint


@pytest.mark.parametrize("given", [0, 1])
@pytest.mark.parametrize(
    "words",
    [
        "convert in --as image -o out/ --jobs 2",
        "convert in --as image -o out.nii.gz",
        "cohort in -o out --jobs 2 --no-page --images all",
    ],
)
def test_lack_of_threads_is_no_bug(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, given: int
) -> None:
    monkeypatch.chdir(tmp_path)
    study = made_series.Study(made_series.Person("1", "one"), "a")
    made_series.write_image(tmp_path / "in" / "p" / "image", study, made_series.MadeGrid((9, 7, 4)))
    left = [None] * given
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    code, _, errors = run(capsys, *words.split(), "--crosscheck", "off")
    assert "Traceback" not in errors
    assert "bug" not in errors
    if not given:
        assert (code, "ystem gives no more threads" in " ".join(errors.split())) == (10, True), errors


@pytest.mark.parametrize(
    "words", ["convert in -o out/ --as image --jobs 2", "cohort in -o out --jobs 2 --no-page --images all"]
)
def test_a_team_leaves_no_file_open(tmp_path: Path, words: str) -> None:
    for name in ("a", "b"):
        study = made_series.Study(made_series.Person(name * 5, name), name)
        made_series.write_image(tmp_path / "in" / name / "image", study, made_series.MadeGrid((9, 7, 4)))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words.replace("in", str(tmp_path / "in"), 1).replace(" out", f" {tmp_path}/out").split(),
         "--crosscheck", "off"],
        cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "error"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Exception ignored" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 8), done.stderr


def test_lack_of_processes_is_no_bug() -> None:
    for number in (errno.EAGAIN, errno.ENOMEM):
        finding = as_refusal(OSError(number, "Try again")).finding
        assert (finding.code, "bug" in finding.hint) == (Code.MEMORY_LIMIT, False)
    assert as_refusal(RuntimeError("else")).finding.code is Code.UNEXPECTED


# Extras that are not there


@pytest.mark.parametrize("package", ["jinja2", "PIL.Image"])
def test_a_report_without_its_extra_is_refused_before_work_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    write(tmp_path / "in", SMALL)
    monkeypatch.setitem(sys.modules, package, None)
    for target in (tmp_path / "out.nii", f"{tmp_path / 'out'}/"):
        code, _, err = run(capsys, "convert", tmp_path / "in", "-o", target, "--report")
        assert (code, "verimask[report]" in err) == (Exit.USAGE, True)
        assert err.startswith(f"REFUSED  {Code.NO_REPORT_PACKAGE.name}")
    code, _, err = run(capsys, "report", tmp_path / "none.json", "-o", tmp_path / "page.html")
    assert (code, "verimask[report]" in err) == (Exit.USAGE, True)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_seg_without_its_extra_is_refused_before_work_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    code, _, err = run(capsys, "export", tmp_path / "none.nii", "--to", "seg", "-o", tmp_path / "out")
    assert (code, "verimask[seg]" in err) == (Exit.USAGE, True)


# A SEG whose frames lean


def leaning(path: Path) -> Path:
    shape = (segs.COLUMNS, segs.ROWS, segs.PLANES)
    segs.write_seg(path, segs.frames_of(segs.blobs(1, overlap=False, shape=shape), sparse=False))
    dataset = dcmread(path)
    down = np.array(segs.OBLIQUE[3:])
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        at = np.array(place.ImagePositionPatient, float)
        k = (at - segs.PLACE.origin) @ np.cross(segs.OBLIQUE[:3], segs.OBLIQUE[3:]) / segs.STEP
        place.ImagePositionPatient = [round(float(v), 6) for v in at + 0.4 * round(k) * down]
    dataset.save_as(path)
    return path


def test_a_seg_that_leans_obeys_the_policy_on_tilt(tmp_path: Path) -> None:
    path = leaning(tmp_path / "seg.dcm")
    for tilt in ("refuse", "resample"):
        with pytest.raises(PipelineError) as caught:
            convert([path], tmp_path / "out.nii", policy=replace(OFF, on_tilt=tilt))  # type: ignore[arg-type]
        assert caught.value.finding.code is Code.GANTRY_TILT
        assert ("--source" in caught.value.finding.hint) == (tilt == "resample")
    outcome = convert([path], tmp_path / "out.nii", policy=replace(OFF, on_tilt="shear"))
    assert Code.SHEAR_KEPT in {f.code for f in outcome.findings}
    assert outcome.proofs is not None
    assert (outcome.proofs.sform_code, outcome.proofs.qform_code) == (1, 0)
    assert outcome.proofs.planes.worst_mm < 1e-3


# Words


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "full"), (errno.EACCES, "right"), (errno.EIO, "Look at the folder"), (errno.EROFS, "only be read")],
)
def test_the_disk_is_full_only_when_it_is(number: int, said: str) -> None:
    hint = cannot_write("a.nii", OSError(number, "words")).finding.hint
    assert said in hint
    assert ("full" in hint) == (number == errno.ENOSPC)


def test_hints_name_no_option_that_the_command_lacks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(tmp_path / "tilted", replace(SMALL, tilt_degrees=12, bits_allocated=16, content="index"))
    write(tmp_path / "gap", SMALL, edit=lambda k, d: setattr(d, "ImagePositionPatient", [0, 0, 50.0 + k * k * 3]))
    for command in (("explain", tmp_path / "gap"), ("convert", tmp_path / "gap", "-o", tmp_path / "out.nii")):
        code, _, err = run(capsys, *command)
        assert code == Exit.REFUSED
        assert ("--on-gap" in err) == (command[0] == "convert")


def test_a_hint_loses_only_sentences_on_options_it_lacks() -> None:
    known = _parser().parse_args(["explain", "x"]).parser._option_string_actions
    assert keep_known_options("Do it again. --on-tilt shear keeps it. Or not.", known) == "Do it again. Or not."
    assert keep_known_options("Choose with --series 3.", known) == "Choose with --series 3."
    whole = "Look with verimask diagnose --fix. pip install --upgrade verimask."
    assert keep_known_options(whole, known) == whole


@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
@pytest.mark.parametrize(("command", "has_series"), [("explain", True), ("check", False), ("diagnose", False)])
def test_of_several_series_every_command_says_how_to_choose(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, has_series: bool, as_json: bool
) -> None:
    write(tmp_path / "in" / "one", SMALL)
    write(tmp_path / "in" / "two", SMALL, seed="other")
    write(tmp_path / "mask", SMALL)
    assert convert(tmp_path / "mask", tmp_path / "m.nii", policy=OFF).output
    given = {"check": [tmp_path / "m.nii"], "diagnose": [tmp_path / "m.nii", "--source"]}.get(command, [])
    code, out, err = run(capsys, command, *given, tmp_path / "in", *(["--json"] if as_json else []))
    said = " ".join((out + err).split())
    assert code == Exit.NOTHING_TO_CONVERT
    assert ("--series" in said) == has_series
    assert "give the files of one alone" in said


def test_a_name_keeps_its_case(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name without a dot is told from a word by nothing but `where`."""
    monkeypatch.chdir(tmp_path)
    write(Path("planes"), SMALL)
    assert convert("planes", "m.nii", policy=OFF).output
    for command in (
        ("series", "absent"),
        ("convert", "absent", "-o", "o.nii"),
        ("convert", "planes", "-o", "absent"),
        ("convert", "planes", "-o", "o.nii", "--orient", "absent"),
        ("explain", "absent"),
        ("check", "m.nii", "absent"),
        ("check", "absent", "m.nii"),
        ("check", "planes"),
        ("check", "planes", "m.nii"),
        ("diagnose", "absent", "--source", "planes"),
        ("diagnose", "m.nii", "--source", "absent"),
        ("report", "absent", "-o", "p.html"),
        ("report", "m.json", "-o", "planes"),
        ("export", "absent", "-o", "out"),
        ("export", "m.nii", "--source", "planes", "--to", "seg", "--segments", "absent", "-o", "out"),
        ("to-mimics", "m.nii", "absent", "-o", "out"),
    ):
        code, _, err = run(capsys, *command)
        assert code not in (0, 1)
        assert not any(word.startswith(("Absent", "Planes")) for word in err.split()), err
        assert "absent" in err or "planes" in err, err


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_prose_wraps_everywhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    write(tmp_path / "in", SMALL)
    _, out, _ = run(capsys, "explain", tmp_path / "in")
    matrix = [line for line in out.splitlines() if line.lstrip().startswith("[")]
    assert len(matrix) == 4
    assert all(len(line) <= max(columns, 45) for line in out.splitlines() if line not in matrix)
    assert len([line for line in out.splitlines() if len(line) > columns - 30]) > 3


def test_a_bug_in_one_roi_does_not_take_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decode.place

    def place(number: int, *more: Any, **how: Any) -> Any:
        if number == 2:
            raise AttributeError("no such thing")
        return whole(number, *more, **how)

    grid = rtphantom.grid(shape=(12, 10, 4))
    rtphantom.write_images(tmp_path / "in" / "ct", grid)
    contours = [rtphantom.on(grid, rtphantom.rectangle(2.2, 8.1, 1.3, 6.2), k) for k in (1, 2)]
    rois = [rtphantom.PhantomRoi(name, contours, n) for n, name in enumerate(("one", "two", "three"), 1)]
    rtphantom.write_struct(tmp_path / "in" / "rs.dcm", rois)
    monkeypatch.setattr(decode, "place", place)
    request = Request(series=rtphantom.STRUCT_SERIES_UID)
    done, refused = convert_all([tmp_path / "in"], tmp_path / "out", policy=OFF, request=request)
    assert [o.output.name for o in done if o.output] == ["rtstruct_seg-one.nii.gz", "rtstruct_seg-three.nii.gz"]
    assert [e.exit for e in refused] == [Exit.INTERNAL_ERROR]
    assert "ROI “two”: AttributeError" in refused[0].finding.message
