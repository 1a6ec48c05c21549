"""Paths that cannot be looked at: every command refuses them with the reason that the system gives, and so does Python."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pipeline
from pipeline.cli import series
from pipeline.core.findings import PipelineError
from tests.helpers.command_tree import CommandTree, make_tree
from tests.helpers.every_command import LINES, run_line

_OFF = ("--crosscheck", "off")
# Words in braces: {odd} is the path, {mask} and so on are of the tree. What a command reads, and what it writes.
_READ: dict[str, tuple[str, ...]] = {
    "": ("{odd}",),
    "convert": (
        "{odd} -o x.nii.gz", "{odd} -o x/",
        "{mask} --source {odd} -o x.nii.gz", "{mask} --like {odd} -o x.nii.gz", "{mask} --clean {odd} -o x.nii.gz",
    ),
    "cohort": (
        "{odd} -o x", "{patients} -o x --labels {odd}", "{patients} -o x --table {odd}", "{patients} -o x --subject hash --salt {odd}",
        "plan {odd} -o x", "merge {odd}", "run {odd} --part 1/1",
    ),
    "series": ("{odd}",),
    "report": ("{odd} -o x.html", "m.json -o x.html --source {odd}", "m.json -o x.html --ratings {odd}"),
    "verify": ("{odd}", "{odd}.nii.gz", "{odd}.json", "m.nii.gz --dicom {odd}"),
    "explain": ("{odd}", "{odd}.nii.gz", "{seg} --source {odd}"),
    "describe": ("{odd}", "{odd}.json --rebuild x"),
    "diagnose": ("{odd} --source {image}", "m.nii.gz --source {odd}", "m.nii.gz --source {image} --mask-series {odd}"),
    "check": ("{odd} {odd}", "m.nii.gz {odd}", "{odd}.nii.gz {image}", "{odd}"),
    "regress": ("{odd}", "{odd}.toml"),
    "export": ("{odd} --source {image} -o x", "m.nii.gz --source {odd} -o x", "m.nii.gz --source {image} --to seg --segments {odd} -o x"),
    "send": ("{odd} --to http://127.0.0.1:9/x",),
    "to-mimics": ("m.nii.gz {odd} -o x", "{odd} {bundle} -o x"),
}  # fmt: skip
_WRITE: dict[str, tuple[str, ...]] = {
    "convert": ("{mask} -o {odd}.nii.gz", "{mask} -o {odd}/", "{mask} -o {odd}"),
    "cohort": ("{patients} -o {odd}", "{patients} -o x --labels-draft {odd}", "plan {patients} -o {odd}"),
    "report": ("m.json -o {odd}.html", "m.json -o {odd}"),
    "describe": ("{mask} -o {odd}",),
    "diagnose": ("m.nii.gz --source {image} --mask-series {mask} --fix {odd}.nii.gz",),
    "regress": ("{odd}.toml --add {mask}",),
    "export": ("m.nii.gz --source {image} -o {odd}", "m.nii.gz --source {image} --to seg -o {odd}"),
    "fetch": ("http://127.0.0.1:9/x --study 1.2.3 -o {odd}",),
    "listen": ("--port 0 --stop-after 1 -o {odd}",),
    "mimics-script": ("-o {odd}",),
    "to-mimics": ("m.nii.gz {bundle} -o {odd}",),
}  # fmt: skip
_NO_PATHS = {"selftest", "doctor", "completion", "FOLDER"}


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[CommandTree, Path]]:
    """The tree, and a folder with a result, which everybody may use: not where pytest has its own, which are private."""
    root = Path(tempfile.mkdtemp())
    tree = make_tree(
        root / "tree", lambda what: what.replace(" ", "_") if what.startswith(("folder", "file")) else what[:16]
    )
    run_line(["convert", str(tree.mask), "-o", "m.nii.gz", *_OFF], root)
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o777 if path.is_dir() else 0o666))
    yield tree, root
    shutil.rmtree(root)


def test_every_command_has_a_line() -> None:
    assert {*_READ, *_WRITE} - {""} | _NO_PATHS == {*LINES}


@pytest.mark.parametrize("command", [*_READ])
@pytest.mark.parametrize("kind", ["long", "circle", "locked", "below locked"])
def test_what_is_read(place: tuple[CommandTree, Path], kind: str, command: str) -> None:
    _refuses(place, kind, [(command, line) for line in _READ[command]], {*range(2, 65)} - {8})


@pytest.mark.parametrize("command", [*_WRITE])
@pytest.mark.parametrize("kind", ["long", "circle", "below locked"])
def test_what_is_written(place: tuple[CommandTree, Path], kind: str, command: str) -> None:
    _refuses(place, kind, [(command, line) for line in _WRITE[command]], {5, 6, 7} if command == "fetch" else {6, 7})


def _refuses(place: tuple[CommandTree, Path], kind: str, lines: list[tuple[str, str]], codes: set[int]) -> None:
    tree, root = place
    words = {**{name: str(path) for name, path in vars(tree).items()}}
    wrong = []
    with _odd_path(root, kind) as odd:
        before = {path.name for path in root.iterdir()}
        for command, line in lines:
            typed = [word.format(**words, odd=odd) for word in f"{command} {line}".split()]
            code, _, errors = run_line(typed, root)
            if code not in codes or b"Traceback" in errors or b"bug of verimask" in errors or b"UNEXPECTED" in errors:
                wrong.append((command, line, code, errors.decode()[-900:]))
        left = {path.name for path in root.iterdir()} - before
    assert wrong == []
    assert left <= {"x"}
    shutil.rmtree(root / "x", ignore_errors=True)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP])
def test_what_nobody_looked_at_is_no_bug_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def run(*_: object) -> int:
        raise OSError(number, os.strerror(number), "given")

    monkeypatch.setattr(series, "run", run)
    code, _, errors = run_line(["series", "given"], tmp_path)
    assert (code, b"Traceback" in errors) == (4, False)
    assert f"given cannot be reached: {os.strerror(number)}".encode() in errors


@contextmanager
def _odd_path(root: Path, kind: str) -> Iterator[str]:
    """A path whose name is too long, or that goes in a circle; a folder that only another user may look into, or a path below it."""
    if kind == "long":
        yield "n" * 300
        return
    if kind == "circle":
        os.symlink("circle", root / "circle")
        yield "circle/file"
        (root / "circle").unlink()
        return
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can have a folder of another user")
    locked = root / "locked"
    locked.mkdir(0o700)
    os.chown(locked, 65534, -1)
    try:
        with _without_privilege():
            with pytest.raises(PermissionError):
                os.listdir(locked)
            yield "locked" if kind == "locked" else "locked/file"
    finally:
        locked.rmdir()


@contextmanager
def _without_privilege() -> Iterator[None]:
    """Let root look only where anybody may who owns what root owns: Python itself may lie where another user may not look."""
    libc, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice (capabilities(7))
    assert libc.capget(header, sets) == 0
    before = sets[0]
    sets[0] = before & ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0


_LOOKS: dict[str, Callable[[str], object]] = {
    "read": pipeline.read,
    "read_all": lambda path: list(pipeline.read_all(path)),
    "scan": lambda path: pipeline.scan([path]),
    "convert": lambda path: pipeline.convert([path], "x.nii.gz"),
    "convert to": lambda path: pipeline.convert(["."], path + ".nii.gz"),
    "convert_all": lambda path: pipeline.convert_all([path], "x"),
    "show": pipeline.show,
    "source": lambda path: pipeline.read(".", request=pipeline.Request(source=(Path(path),))),
}


@pytest.mark.parametrize("name", [*_LOOKS])
@pytest.mark.parametrize("kind", ["long", "zero", "circle", "below locked"])
def test_python_refuses_them_too(
    place: tuple[CommandTree, Path], name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place[1])
    if kind == "zero":
        with pytest.raises(PipelineError):
            pipeline.read(str(place[0].mask)).save("a\0.nii.gz")
    with _odd_path(place[1], "long" if kind == "zero" else kind) as odd, pytest.raises(PipelineError):
        _LOOKS[name]("a\0b" if kind == "zero" else odd)
