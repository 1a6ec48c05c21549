"""What cannot be shown or stored as it is: streams of few signs, closed streams, and names whose bytes are no text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.core.plain_text import escape_bytes
from tests.helpers.phantom import Spec, write
from tests.helpers.rtphantom import PhantomRoi, grid, on, rectangle, write_struct

ROOT = Path(__file__).parents[1]
SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
BAD_NAME = os.fsdecode(b"IM\xe9.dcm")
ENCODINGS = {name: {"PYTHONIOENCODING": name} for name in ("cp1251", "cp1253", "cp437", "ascii")} | {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
}


def run(arguments: Sequence[object], **environment: str) -> subprocess.CompletedProcess[bytes]:
    given = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(given, cwd=ROOT, capture_output=True, check=False, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mask series, its conversion, and a structure set."""
    folder = tmp_path_factory.mktemp("plain")
    write(folder / "in", SMALL, content="mask", radius_mm=4, description="Kopf 9 x")
    (folder / "rt").mkdir()
    write_struct(folder / "rt" / "rt.dcm", [PhantomRoi("Leber…", [on(grid(), rectangle(3, 9, 3, 9), 2)])])
    assert run(["convert", folder / "in", "-o", folder / "a.nii.gz", "--crosscheck", "off"]).returncode == 0
    return folder


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_command_speaks_in_every_encoding(made: Path, tmp_path: Path, name: str) -> None:
    named = tmp_path / os.fsdecode("× é 骨".encode())
    commands: tuple[Sequence[object], ...] = (
        ("convert", made / "in", "-o", f"{named}/", "--crosscheck", "off", "--report"),
        ("report", named, "-o", named / "all.html"),
        ("check", named / "7_Kopf-9-x.nii.gz", made / "in"),
        ("export", named / "7_Kopf-9-x.nii.gz", "--source", made / "in", "-o", named / "back"),
        ("convert", made / "in", "-o", tmp_path / "b.nii.gz", "--crosscheck", "off"),
        ("convert", made / "in", "-o", tmp_path / "c.nii.gz", "--crosscheck", "off", "--json"),
        ("series", made / "in", made / "rt"),
        ("explain", made / "in"),
        ("diagnose", made / "a.nii.gz", "--source", made / "in"),
        ("check", made / "a.nii.gz", made / "in"),
        ("report", made / "a.json", "-o", tmp_path / "p.html"),
        ("selftest", "--help"),
    )
    for command in commands:
        done = run(command, **ENCODINGS[name])
        assert (done.returncode, done.stderr) == (0, b""), command
    refused = run(("convert", made / "rt", "-o", tmp_path / "d.nii.gz"), **ENCODINGS[name])
    assert refused.returncode == 2, refused.stderr


def test_our_own_signs_have_a_plain_form(made: Path, tmp_path: Path) -> None:
    out = run(
        ("convert", made / "in", "-o", tmp_path / "b.nii.gz", "--crosscheck", "off"), PYTHONIOENCODING="ascii"
    ).stdout
    assert b"9 x 7 x 5" in out
    assert b"\\xd7" not in out


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-", "<&-"])
def test_closed_streams_change_nothing(made: Path, tmp_path: Path, closed: str) -> None:
    output = tmp_path / "b.nii.gz"
    shell = f'"$0" -m pipeline convert "$1" -o "$2" {closed}'
    done = subprocess.run(["sh", "-c", shell, sys.executable, made / "in", output], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads((tmp_path / "b.json").read_text("utf-8"))["Verdict"] == "VERIFIED"


def test_an_output_that_cannot_be_printed_is_no_bug_of_ours(made: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        given = [sys.executable, "-m", "pipeline", "series", str(made / "in")]
        done = subprocess.run(given, cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 7
    assert b"Standard output cannot be written" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("words", "streams", "code"),
    [
        *((words, ">/dev/full 2>&1", 7) for words in ("--version", "--help", "series in", "series in --json")),
        *(
            (words, ">/dev/full", 7)
            for words in ("--version", "--help", "", "convert -h", "mimics-script", "completion bash")
        ),
        *((words, ">/dev/full", 7) for words in ("mimics-script -o new.py", "series nothing --json")),
        ("convert in -o there.nii.gz --crosscheck off", "2>/dev/full", 6),
        ("series nothing", "2>/dev/full", 5),
        ("series nothing --json", "2>/dev/full", 5),
        ("series", "2>/dev/full", 64),
        ("series in", "2>/dev/full", 0),
        ("series in --json", "| true", 0),
        ("series nothing --json", "| true", 5),
    ],
)
def test_a_stream_that_is_lost_hides_no_code(made: Path, tmp_path: Path, words: str, streams: str, code: int) -> None:
    (tmp_path / "in").symlink_to(made / "in")
    (tmp_path / "there.nii.gz").touch()
    shell = f'("$0" -m pipeline {words}; echo $? >code) {streams}'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ((tmp_path / "code").read_text().strip(), b"Traceback" in done.stderr) == (str(code), False), done.stderr
    if streams == ">/dev/full":
        assert b"Standard output cannot be written: No space left on device" in done.stderr
        assert b"Exception" not in done.stderr


def test_a_name_that_is_no_text_is_escaped_everywhere(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"d\xe9")
    write(folder, SMALL, content="mask", radius_mm=4, description="")
    next(folder.iterdir()).rename(folder / BAD_NAME)
    output = tmp_path / os.fsdecode(b"o\xe9.nii.gz")
    given = ["convert", folder, "-o", output, "--labels-file", "bids", "--report", "--keep-names"]
    done = run(given)
    assert done.returncode == 0, done.stderr
    assert b"o\\xe9.nii.gz" in done.stdout
    record = json.loads((tmp_path / os.fsdecode(b"o\xe9.json")).read_bytes().decode("utf-8"))
    assert record["Verdict"] == "VERIFIED"
    assert record["Output"] == "o\\xe9.nii.gz"
    assert "IM\\xe9.dcm" in {slice_["File"] for slice_ in record["Slices"]}
    assert record["Labels"][0]["Name"] == "d\\xe9"
    assert "d\\xe9" in (tmp_path / os.fsdecode(b"o\xe9_dseg.tsv")).read_text("utf-8")
    assert "IM\\xe9.dcm" in (tmp_path / os.fsdecode(b"o\xe9.html")).read_text("utf-8")
    again = run([*given, "-w", "skip"])
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith(b"SKIPPED")
    assert run(["report", tmp_path, "-o", tmp_path / os.fsdecode(b"all\xe9.html")]).returncode == 0
    assert 'href="o%E9.html"' in (tmp_path / os.fsdecode(b"all\xe9.html")).read_text("utf-8")
    many = run(["convert", folder, "-o", f"{tmp_path / 'out'}/", "--json", "--crosscheck", "off"])
    assert many.returncode == 0, many.stderr
    json.loads(many.stdout.decode("utf-8"))


def test_escape_bytes() -> None:
    assert escape_bytes("plain é ×") == "plain é ×"
    assert escape_bytes(BAD_NAME) == "IM\\xe9.dcm"
    assert escape_bytes("\ud800") == "\\ud800"
