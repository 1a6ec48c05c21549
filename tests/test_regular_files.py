"""Nothing waits for ever: pipes, sockets and devices are refused wherever a file is read or written."""

from __future__ import annotations

import ast
import io
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.core.regular_file import SpecialFileError, descriptor_of, open_regular, read_bytes, read_text
from tests.helpers.phantom import Spec, write
from tests.helpers.watching import ROOT

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
PACKAGE = ROOT / "pipeline"
LONGEST_S = 60  # a command that waits for a pipe would never end


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series, a mask of it with its record, and a pipe under many names."""
    folder = tmp_path_factory.mktemp("special")
    write(folder / "dicom", SMALL)
    run("convert", "dicom", "-o", "m.nii.gz", "--crosscheck", "off", at=folder)
    for name in ("p.nii.gz", "p.json", "p.toml", "p.tsv", "p.zip", "p.dcm", "p.html", "p.salt"):
        os.mkfifo(folder / name)
    return folder


def run(*words: str, at: Path) -> tuple[int, str]:
    """Run a command here: its exit code, and all it printed. One that waits is broken off after `LONGEST_S`."""

    def give_up(*_: object) -> None:
        raise AssertionError("it waits")

    printed = io.StringIO()
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST_S)
    try:
        with chdir(at), redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as ended:
            main(words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return int(ended.value.code or 0), " ".join(printed.getvalue().split())


@contextmanager
def chdir(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    yield
    os.chdir(before)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket has at most 108 bytes
    path = Path("it")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind("it")
    else:
        path.symlink_to("/dev/zero")
    for read in (open_regular, descriptor_of, read_bytes, read_text):
        with pytest.raises(SpecialFileError, match=f"it is a {kind}, which is never opened"):
            read(path)


def test_a_pipe_put_there_after_the_look_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "it")
    regular = os.stat(__file__)
    monkeypatch.setattr(os, "stat", lambda path: regular)
    for read in (open_regular, descriptor_of):
        with pytest.raises(SpecialFileError):
            read(tmp_path / "it")


def test_text_is_read_as_python_reads_it(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"a\r\nb\rc\n")
    assert read_text(tmp_path / "it") == (tmp_path / "it").read_text("utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ("check", "p.nii.gz", "m.nii.gz"),
        ("check", "m.nii.gz", "p.nii.gz"),
        ("explain", "p.nii.gz"),
        ("series", "p.zip"),
        ("convert", "p.dcm", "-o", "o.nii.gz"),
        ("convert", "dicom", "-o", "o.nii.gz", "--like", "p.nii.gz", "--crosscheck", "off"),
        ("report", "p.json", "-o", "o.html"),
        ("report", "m.json", "-o", "p.html"),
        ("report", "m.json", "-o", "o.html", "--ratings", "p.tsv"),
        ("verify", "p.json"),
        ("describe", "p.json", "--rebuild", "o"),
        ("diagnose", "p.nii.gz", "--source", "dicom"),
        ("export", "m.nii.gz", "--source", "dicom", "--to", "seg", "--segments", "p.toml", "-o", "o"),
        ("regress", "p.toml"),
        ("cohort", "dicom", "-o", "o", "--labels", "p.toml"),
        ("cohort", "dicom", "-o", "o", "--table", "p.tsv"),
        ("cohort", "dicom", "-o", "o", "--subject", "hash", "--salt", "p.salt"),
        ("convert", "dicom", "-o", "p.nii.gz", "--crosscheck", "off", "-w", "overwrite"),
        ("describe", "dicom", "-o", "p.json", "--json"),
        ("mimics-script", "-o", "p.json", "-w", "overwrite"),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_command_refuses_a_pipe(place: Path, words: tuple[str, ...]) -> None:
    before = sorted(p.name for p in place.iterdir())
    code, printed = run(*words, at=place)
    assert code not in (0, 1), printed
    assert "Traceback" not in printed
    assert any(word in printed for word in ("pipe", "not a regular file", "no page", "already there")), printed
    shutil.rmtree(place / "o", ignore_errors=True)
    assert sorted(p.name for p in place.iterdir()) == before


def test_a_pipe_next_to_a_series_is_said_and_not_read(tmp_path: Path) -> None:
    """It may stand where a plane was: refused, unless it is left out by name."""
    write(tmp_path / "dicom", SMALL)
    os.mkfifo(tmp_path / "dicom" / "plane.dcm")
    words = ("convert", "dicom", "-o", "o.nii.gz", "--crosscheck", "off")
    code, printed = run(*words, at=tmp_path)
    assert code == 4
    assert "it is a pipe, which is never opened" in printed
    code, printed = run(*words, "--on-unread", "leave-out", at=tmp_path)
    assert code == 0, printed


# What reads or makes files of its own, or of the system, that nobody else can exchange.
_OWN = {
    "core/regular_file.py", "core/leftovers.py", "core/memory.py", "core/workers.py", "core/plain_text.py",
    "core/temporary_folder.py", "dicom/decoder_worker.py", "cli/mimics.py", "report/render.py", "report/viewer.py",
    "diagnosis/verify_schema.py",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_every_file_is_opened_in_one_place(path: Path) -> None:
    """Reading goes through `regular_file`, and temporary folders through `temporary_folder`."""
    name = path.relative_to(PACKAGE).as_posix()
    if name in _OWN or name.startswith("mimics/scripts/"):
        return
    for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
        words = ast.unparse(call.func)
        last = words.rpartition(".")[2]
        own = words in (last, f"regular_file.{last}")
        assert own or last not in ("read_bytes", "read_text"), f"{name}:{call.lineno}"
        assert last not in ("mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile"), f"{name}:{call.lineno}"
        modes = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
        reads = last == "open" and not any(isinstance(m, str) and set(m) & set("wax") and len(m) < 4 for m in modes)
        plain = words == "open" or (reads and "rb" in modes)
        assert not (reads and plain), f"{name}:{call.lineno}: {ast.unparse(call)}"
