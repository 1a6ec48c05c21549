"""The command line end to end: what it prints where, and what it exits with."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from pipeline import __version__
from pipeline.cli.main import main
from pipeline.crosscheck import known_wrong
from tests.helpers.phantom import Spec, Truth, write

ROOT = Path(__file__).parents[1]
SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)


@pytest.fixture
def mask(tmp_path: Path) -> Truth:
    return write(tmp_path / "in", SMALL)


class Said:
    """What one call of main printed and exited with."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        with pytest.raises(SystemExit) as caught:
            main([str(a) for a in arguments])
        self.exit = caught.value.code or 0
        self.out, self.err = capsys.readouterr()


def convert(capsys: pytest.CaptureFixture[str], *arguments: object) -> Said:
    """`convert`, without asking a witness."""
    return Said(capsys, "convert", *arguments, "--crosscheck", "off")


def command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False, **options)


# As a program


def test_one_conversion_as_a_program(tmp_path: Path, mask: Truth) -> None:
    done = command("convert", mask.folder, "-o", tmp_path / "out.nii.gz")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first == "VERIFIED  out.nii.gz  9 × 7 × 5  uint8  labels 0, 1"
    assert all(line.startswith(" " * len("VERIFIED  ")) for line in rest)
    assert "every plane within 0.0000 mm" in done.stdout
    assert "dicom2nifti" in done.stdout
    assert "agrees" in done.stdout
    assert "\033" not in done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out.nii.gz", "out.json"}


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file size stands for it: writing fails midway, in whichever thread writes."""
    resource = pytest.importorskip("resource")
    truth = write(tmp_path / "in", SMALL, shape=(120, 110, 20), content="index", bits_allocated=32)
    for name in ("out.nii", "out.nii.gz"):
        done = command(
            *("convert", truth.folder, "--as", "image", "--crosscheck", "off", "-o", tmp_path / name),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        )
        assert done.returncode == 7, done.stderr
        assert "CANNOT_WRITE" in done.stderr
        assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["convert", "--help"], ["series", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    """The import log goes to standard error, one module a line."""
    given = [sys.executable, "-X", "importtime", "-m", "pipeline", *arguments]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "pipeline" in loaded
    assert not loaded & {"numpy", "pydicom", "nibabel", "dicom2nifti", "SimpleITK", "isal"}


def in_terminal(*arguments: object, **environment: str) -> str:
    """What the command prints where standard output is a terminal."""
    ours, theirs = pty.openpty()
    base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    given = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    with subprocess.Popen(given, cwd=ROOT, stdout=theirs, stderr=theirs, env=base | environment):
        os.close(theirs)
        text = b""
        while True:
            try:
                read = os.read(ours, 4096)
            except OSError:  # Linux says so where the other side is closed
                break
            if not read:
                break
            text += read
    os.close(ours)
    return text.decode()


def test_colour_is_for_terminals_that_want_it(tmp_path: Path, mask: Truth) -> None:
    ask = ("convert", mask.folder, "--crosscheck", "off", "-w", "overwrite", "-o", tmp_path / "out.nii")
    assert "\033[1;33mUNCONFIRMED\033[0m" in in_terminal(*ask, TERM="xterm")
    for environment in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}):
        text = in_terminal(*ask, **environment)
        assert "UNCONFIRMED  out.nii" in text
        assert "\033" not in text


# Help


def test_help_names_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "--help")
    assert said.exit == 0
    for word in ("convert", "series", "exit codes", "verimask convert EXPORT_DIR -o liver.nii.gz"):
        assert word in said.out
    for number in (0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 64):
        assert f"{number} " in said.out.split("exit codes")[1]


@pytest.mark.parametrize("name", ["convert", "series"])
def test_every_option_has_a_word_of_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    from pipeline.cli.run_command import _parser

    said = Said(capsys, name, "--help")
    (commands,) = [a for a in _parser()._actions if a.choices and name in a.choices]
    assert isinstance(commands.choices, dict)
    commands.choices[name].build()
    for action in commands.choices[name]._actions:
        assert action.help, action
        assert not action.option_strings or action.option_strings[-1] in said.out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "--version")
    assert (said.exit, said.out) == (0, f"verimask {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["turn"],
        ["convert"],
        ["convert", "in"],
        ["convert", "in", "-o"],
        ["convert", "in", "-o", "a.nii", "--as", "cake"],
        ["convert", "in", "-o", "a.nii", "--crosscheck", "maybe"],
        ["convert", "in", "-o", "a.nii", "-w", "perhaps"],
        ["convert", "in", "-o", "a.nii", "--bogus"],
        ["series"],
    ],
)
def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    said = Said(capsys, *arguments)
    assert (said.exit, said.out) == (64, "")
    assert said.err.startswith("verimask")
    assert "see verimask" in said.err
    assert "exit 64 (USAGE)" in said.err


# convert


def test_json_is_the_record_and_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path, mask: Truth) -> None:
    said = convert(capsys, mask.folder, "-o", tmp_path / "out.nii.gz", "--json")
    assert (said.exit, said.err) == (0, "")
    printed = json.loads(said.out)
    assert printed.pop("Folder") == "."  # is shown, and not written
    assert printed == json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert json.loads(said.out)["Provenance"]["Command"][:2] == ["verimask", "convert"]


def test_json_of_a_refusal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, labels=(0,))
    said = convert(capsys, truth.folder, "-o", tmp_path / "out.nii.gz", "--json")
    record = json.loads(said.out)
    assert (said.exit, said.err) == (10, "")
    assert (record["Verdict"], record["Exit"], record["Findings"][0]["Code"]) == ("REFUSED", 10, "EMPTY")


def test_quiet_prints_refusals_only(capsys: pytest.CaptureFixture[str], tmp_path: Path, mask: Truth) -> None:
    said = convert(capsys, mask.folder, "-o", tmp_path / "out.nii.gz", "--quiet")
    assert (said.exit, said.out, said.err) == (0, "", "")
    said = convert(capsys, mask.folder, "-o", tmp_path / "out.nii.gz", "-q")
    assert (said.exit, said.out) == (6, "")
    assert said.err.startswith("REFUSED  OUTPUT_EXISTS\n")


def test_a_refusal_says_what_to_do_and_its_exit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, content="index", bits_allocated=16, shape=(16, 17, 3))
    said = convert(capsys, truth.folder, "-o", tmp_path / "out.nii.gz")
    assert (said.exit, said.out) == (10, "")
    lines = said.err.splitlines()
    assert lines[0] == "REFUSED  NOT_A_MASK"
    assert lines[-1].strip() == "exit 10 (REFUSED)"
    assert "measured 272 values, limit 255 values" in said.err
    assert "--as image" in said.err
    assert all(line.startswith(" " * len("REFUSED  ")) for line in lines[1:])


def test_exit_codes_of_inputs_and_outputs(capsys: pytest.CaptureFixture[str], tmp_path: Path, mask: Truth) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "readme.txt").write_text("nothing")
    cut = tmp_path / "cut"
    shutil.copytree(mask.folder, cut)
    path = cut / mask.paths[2].name
    path.write_bytes(path.read_bytes()[:-9])
    out = tmp_path / "out.nii.gz"
    expected = [
        (5, "NO_SUCH_INPUT", [tmp_path / "nowhere", "-o", out]),
        (2, "NO_DICOM", [empty, "-o", out]),
        (4, "CORRUPT_FILE", [cut, "-o", out]),
        (6, "OUTPUT_NAME", [mask.folder, "-o", tmp_path / "out.mha"]),
        (6, "OUTPUT_NAME", [mask.folder, "-o", tmp_path / "no folder" / "out.nii"]),
        (2, "NO_SUCH_SERIES", [mask.folder, "-o", out, "--series", "99"]),
    ]
    for code, name, arguments in expected:
        said = convert(capsys, *arguments)
        assert (said.exit, said.out) == (code, ""), said.err
        assert said.err.startswith(f"REFUSED  {name}\n")
        assert f"exit {code} (" in said.err
    assert not out.exists()


def test_ways_to_write(capsys: pytest.CaptureFixture[str], tmp_path: Path, mask: Truth) -> None:
    ask = (mask.folder, "-o", tmp_path / "out.nii")
    assert convert(capsys, *ask).exit == 0
    assert convert(capsys, *ask, "-w", "refuse").exit == 6
    said = convert(capsys, *ask, "-w", "skip")
    assert (said.exit, said.out) == (0, "SKIPPED  out.nii  is already there\n")
    assert "  out_2.nii  " in convert(capsys, *ask, "-w", "suffix").out
    assert "  out.nii  " in convert(capsys, *ask, "--write", "overwrite").out


def test_values_as_they_are_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    truth = write(tmp_path / "in", SMALL, labels=(255,))
    said = convert(capsys, truth.folder, "-o", tmp_path / "a.nii")
    assert "labels 0, 1\n" in said.out
    assert "--keep-values" in said.out
    assert "labels 0, 255\n" in convert(capsys, truth.folder, "-o", tmp_path / "b.nii", "--keep-values").out
    assert "labels" not in convert(capsys, truth.folder, "-o", tmp_path / "c.nii", "--as", "image").out
    empty = write(tmp_path / "empty", SMALL, labels=(0,))
    assert convert(capsys, empty.folder, "-o", tmp_path / "d.nii", "--allow-empty").exit == 0


def test_one_series_of_several(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for n, name in enumerate(("Liver", "Spleen"), 1):
        write(tmp_path / "in" / name, SMALL, series_number=n, seed=name, description=name)
    said = convert(capsys, tmp_path / "in", "-o", tmp_path / "out.nii")
    assert said.exit == 2
    assert "Liver" in said.err
    assert "Spleen" in said.err
    assert convert(capsys, tmp_path / "in", "-o", tmp_path / "out.nii", "--series", "spleen").exit == 0
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["SeriesDescription"] == "Spleen"


def test_all_series_to_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for n, name in enumerate(("Liver", "Spleen", "Nothing"), 1):
        labels = (0,) if name == "Nothing" else (1,)
        write(tmp_path / "in" / name, SMALL, series_number=n, seed=name, description=name, labels=labels)
    said = convert(capsys, tmp_path / "in", "-o", f"{tmp_path / 'out'}/")
    assert said.exit == 8
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        f"{name}.{e}" for name in ("1_Liver", "2_Spleen") for e in ("nii.gz", "json")
    }
    assert said.out.splitlines()[-1] == "2 UNCONFIRMED, 1 REFUSED"
    assert said.err.startswith("REFUSED  EMPTY  from Nothing\n")
    assert "Series 3 “Nothing”" in said.err
    said = convert(capsys, tmp_path / "in", "-o", f"{tmp_path / 'out'}/", "-w", "skip", "--json")
    verdicts = [record["Verdict"] for record in json.loads(said.out)]
    assert (said.exit, verdicts, said.err) == (8, ["SKIPPED", "SKIPPED", "REFUSED"], "")
    shutil.rmtree(tmp_path / "in" / "Nothing")
    assert convert(capsys, tmp_path / "in", "-o", tmp_path / "out", "-w", "overwrite", "-q").exit == 0
    assert convert(capsys, tmp_path / "in", "-o", f"{tmp_path / 'one'}/", "--series", "Liver").exit == 0
    assert {p.name for p in (tmp_path / "one").iterdir()} == {"1_Liver.nii.gz", "1_Liver.json"}


def test_a_folder_with_nothing_convertible(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def plan(_: int, dataset: Dataset) -> None:
        del dataset.PixelData, dataset.Rows, dataset.Columns
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN"

    write(tmp_path / "in", SMALL, shape=(9, 7, 1), edit=plan)
    for output in (f"{tmp_path / 'out'}/", tmp_path / "out.nii"):
        said = convert(capsys, tmp_path / "in", "-o", output)
        assert (said.exit, said.out) == (2, "")
        assert said.err.startswith("REFUSED  NOT_CONVERTIBLE\n")


def test_a_dispute_and_strictness(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: Truth
) -> None:
    said = convert(capsys, mask.folder, "-o", tmp_path / "a.nii", "--strict")
    assert said.exit == 13
    assert "no other reader was asked" in said.out
    monkeypatch.setattr(known_wrong, "predict", lambda *_: ())
    truth = write(tmp_path / "reversed", SMALL, kind="enhanced ct", stored="against")
    ask = ("convert", truth.folder, "-o", tmp_path / "b.nii", "--crosscheck", "voxels")
    said = Said(capsys, *ask)
    assert said.exit == 11
    assert said.err.startswith("REFUSED  WITNESS_DIFFERS\n")
    said = Said(capsys, *ask, "--keep-disputed")
    assert (said.exit, said.err) == (11, "")
    assert said.out.startswith("DISPUTED  b.nii")


def test_an_unexpected_error_is_ours(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: Truth
) -> None:
    from pipeline.conversion import products

    def fail(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(products, "choose", fail)
    said = convert(capsys, mask.folder, "-o", tmp_path / "out.nii")
    assert (said.exit, said.out) == (1, "")
    assert "Traceback" in said.err
    assert "ZeroDivisionError: by zero" in said.err
    assert "INTERNAL_ERROR" in said.err


# series


def test_series_is_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one = write(tmp_path / "in" / "1", SMALL, series_number=12, seed="one", description="Liver")
    write(tmp_path / "in" / "2", SMALL, series_number=3, seed="two", kind="enhanced mr", description="Spleen")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    said = Said(capsys, "series", tmp_path / "in")
    assert (said.exit, said.err) == (0, "")
    header, spleen, liver, left_out = said.out.splitlines()
    assert header.split() == ["number", "kind", "modality", "frames", "size", "description", "UID"]
    assert liver.split() == ["12", "image", "CT", "5", "9", "×", "7", "Liver", one.series_uid]
    assert spleen.split()[:4] == ["3", "image", "MR", "5"]
    assert left_out == "  1 file left out (--left-out lists it)"
    assert "notes.txt was left out: not DICOM" in Said(capsys, "series", tmp_path / "in", "--left-out").out
    assert Said(capsys, "series", tmp_path / "in", "-q").out == ""
    record = json.loads(Said(capsys, "series", tmp_path / "in", "--json").out)
    assert [(s["Number"], s["Description"], s["Frames"]) for s in record["Series"]] == [
        (3, "Spleen", 5),
        (12, "Liver", 5),
    ]
    assert record["LeftOut"][0]["Where"] == ["notes.txt"]


def test_series_of_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert Said(capsys, "series", tmp_path).exit == 2
    assert Said(capsys, "series", tmp_path / "nowhere").exit == 5
