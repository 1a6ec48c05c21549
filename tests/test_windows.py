"""What Windows does otherwise: quotation marks, patterns, consoles, redirected scripts, files that are held open, names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.cli.typed_words import mend_words
from pipeline.conversion.file_names import safe, why_no_windows_name
from tests.helpers.phantom import Spec, write
from tests.helpers.rtphantom import PhantomRoi, grid, on, rectangle, write_struct

ROOT = Path(__file__).parents[1]
SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
SCRIPTS = {"export_masks.py": (), "import_masks.py": ("--import",)}

# Run with a file for what is found, then the words of a command line. Before a file of ours is renamed, linked or removed,
# no process of this run may hold it open or mapped: Windows would refuse.
WATCH = """
import os, sys

report, words = sys.argv[1], sys.argv[2:]
HELD = ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree")

def family():
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                parents[int(pid)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, above in parents.items() if above in found} - found:
        found |= more
    return found

def held_paths():
    for pid in family():
        try:
            for number in os.listdir(f"/proc/{pid}/fd"):
                try:
                    yield pid, os.readlink(f"/proc/{pid}/fd/{number}")
                except OSError:
                    continue
            with open(f"/proc/{pid}/maps") as file:
                for line in file:
                    fields = line.rstrip("\\n").split(None, 5)
                    if len(fields) == 6:
                        yield pid, fields[5]
        except OSError:
            continue

busy = False

def watch(event, arguments):
    global busy
    if event not in HELD or busy or (event in ("os.remove", "os.rmdir") and arguments[1] != -1):
        return  # what is named within an open folder is part of a rmtree
    busy = True
    try:
        paths = [os.path.realpath(p) for p in arguments[:2 if event == "os.rename" else 1] if isinstance(p, (str, os.PathLike))]
        with open(report, "a") as file:
            print("event", event, *paths, file=file)
            for pid, held in held_paths():
                if any(held == path or held.startswith(path + os.sep) for path in paths):
                    print("HELD", event, held, "by this process" if pid == os.getpid() else "by a child", file=file)
    finally:
        busy = False

sys.addaudithook(watch)
from verimask.cli.main import main
main(words)
"""

# A process in which what only POSIX has is absent, and which takes itself for one of Windows.
AS_WINDOWS = """
import os, pkgutil, signal, subprocess, sys
import multiprocessing.pool, asyncio, ctypes, tempfile, shutil, socket, sqlite3  # those of the library know their system
import verimask
names = [m.name for m in pkgutil.walk_packages(verimask.__path__, "verimask.") if ".scripts." not in m.name]
names = [n for n in names if not n.endswith("__main__")]
for name in names:
    __import__(name)
for name in [n for n in sys.modules if n.split(".")[0] == "verimask"]:
    del sys.modules[name]
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"):
    sys.modules[name] = None
for name in ("fork", "killpg", "getpgid", "setsid", "sched_getaffinity", "getuid", "geteuid", "getgid", "uname", "mkfifo",
             "statvfs", "sysconf", "chown", "nice", "getloadavg", "O_NOFOLLOW", "O_DIRECTORY", "posix_fadvise"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGUSR1", "SIGALRM", "SIGCHLD", "pthread_kill", "pthread_sigmask", "alarm", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
sys.platform = "win32"
subprocess.CREATE_NEW_PROCESS_GROUP = 0
for name in names:
    __import__(name)
from verimask.cli.main import main
main(sys.argv[1:])
"""


def run(arguments: Sequence[object], **environment: str) -> subprocess.CompletedProcess[bytes]:
    given = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(given, cwd=ROOT, capture_output=True, check=False, env={**os.environ, **environment})


def run_code(code: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(given, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mask series in a folder with a space, and a structure set with a name beyond every code page."""
    folder = tmp_path_factory.mktemp("windows")
    write(folder / "my export", SMALL, content="mask", radius_mm=4, description="Kopf × 骨")
    (folder / "rt").mkdir()
    write_struct(folder / "rt" / "rt.dcm", [PhantomRoi("Leber→", [on(grid(), rectangle(3, 9, 3, 9), 2)])])
    return folder


def test_a_path_in_quotes_that_ends_in_a_backslash(made: Path, tmp_path: Path) -> None:
    # What Windows makes of: verimask convert "…\my export\" -o a.nii.gz --crosscheck off
    output = tmp_path / "a.nii.gz"
    done = run(["convert", f'{made / "my export"}" -o {output} --crosscheck off'])
    assert done.returncode == 0, done.stderr
    assert output.is_file()
    assert b"note: Windows reads a backslash before a quotation mark" in done.stderr


def mended(words: list[str]) -> list[str] | str:
    from argparse import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str):  # type: ignore[no-untyped-def]
            raise ValueError(message)

    try:
        return mend_words(words, Parser())
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["convert", 'C:\\my export" -o D:\\out'], ["convert", "C:\\my export/", "-o", "D:\\out"]),
        (["series", "C:\\a", '.\\b c"'], ["series", "C:\\a", ".\\b c/"]),
        (["convert", "x", '--source=\\\\server\\my share" -o out'], ["convert", "x", "--source=\\\\server\\my share/", "-o", "out"]),
        (["convert", "x", "-o", 'C:\\out dir"', "--json"], ["convert", "x", "-o", "C:\\out dir/", "--json"]),
        (["convert", "x", "--series", 'T1 "sharp"'], ["convert", "x", "--series", 'T1 "sharp"']),
        (["convert", "x", "--series", '5"'], ["convert", "x", "--series", '5"']),
    ],
)  # fmt: skip
def test_words_are_taken_apart(words: list[str], meant: list[str]) -> None:
    assert mended(words) == meant


@pytest.mark.parametrize("words", [['C:\\a b" -o D:\\out', "x"], ['C:\\a b" -o D:\\c" --json']])
def test_words_of_which_two_readings_are_possible_are_refused(words: list[str]) -> None:
    assert "leave out the backslash" in mended(words)


def test_a_file_whose_name_has_a_quotation_mark_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = '\\a" -o b'
    Path(name).touch()
    assert mended([name]) == [name]


def test_patterns_are_expanded_in_natural_order(made: Path, tmp_path: Path) -> None:
    from argparse import Namespace

    from pipeline.cli.run_command import _parser
    from pipeline.cli.typed_words import expand_patterns

    for name in ("P2", "P10", "P1", "b[1]"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "x.dcm").touch()
    options, _ = _parser().parse_known_args(["series", f"{tmp_path}/P*", "plain"])
    expand_patterns(options)
    assert options.inputs == [*(f"{tmp_path}/{name}" for name in ("P1", "P2", "P10")), "plain"]
    options, _ = _parser().parse_known_args(["series", f"{tmp_path}/b[1]/**/*.dcm"])
    expand_patterns(options)
    assert options.inputs == [f"{tmp_path}/b[1]/deep/x.dcm"]
    assert isinstance(options, Namespace)


def test_a_literal_file_with_a_star_is_that_file(made: Path, tmp_path: Path) -> None:
    (tmp_path / "a*").mkdir()
    write(tmp_path / "a*", SMALL, content="mask", radius_mm=4)
    (tmp_path / "ab").mkdir()
    assert run(["series", tmp_path / "a*", "--json"]).returncode == 0
    (tmp_path / "a*").rename(tmp_path / "other")
    assert (
        run(["convert", tmp_path / "other" / "*.dcm", "-o", tmp_path / "m.nii.gz", "--crosscheck", "off"]).returncode
        == 0
    )


def test_a_pattern_that_matches_nothing_or_too_much_is_refused(made: Path, tmp_path: Path) -> None:
    done = run(["convert", tmp_path / "*.dcm", "-o", tmp_path / "m.nii.gz", "--json"])
    assert done.returncode == 5
    finding = json.loads(done.stdout)["Findings"][0]
    assert finding["Code"] == "NO_SUCH_INPUT"
    assert finding["Message"].lower().startswith("nothing matches")
    done = run(["report", made / "my export" / "*", "-o", tmp_path / "p.html"])
    assert done.returncode == 5, done.stderr
    assert b"and one is needed" in done.stderr.replace(b"\n        ", b"")


@pytest.mark.parametrize("encoding", ["cp1252", "cp850", "cp437", "ascii", "utf-16"])
def test_json_is_json_in_every_encoding(made: Path, encoding: str) -> None:
    done = run(["series", made / "my export", made / "rt", "--json"], PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.decode(encoding))["Series"]
    assert {"Kopf × 骨"} <= {one["Description"] for one in found}


@pytest.mark.parametrize("encoding", ["cp1252", "cp850", "cp437", "ascii"])
def test_nothing_crashes_or_becomes_a_question_mark(made: Path, tmp_path: Path, encoding: str) -> None:
    a = tmp_path / "a.nii.gz"
    commands: tuple[Sequence[object], ...] = (
        ("convert", made / "my export", "-o", a, "--crosscheck", "off"),
        ("series", made / "my export", made / "rt"),
        ("explain", made / "my export"),
        ("diagnose", a, "--source", made / "my export"),
        ("check", a, made / "my export"),
        ("verify", a),
        ("describe", made),
        ("report", tmp_path / "a.json", "-o", tmp_path / "p.html"),
        ("export", a, "--source", made / "my export", "-o", tmp_path / "back"),
        ("cohort", made / "my export", "-o", tmp_path / "cohort", "--dry-run"),
        ("regress", tmp_path / "cases.toml", "--add", made / "my export", "--id", "one"),
        ("mimics-script", "-o", tmp_path / "s.py"),
        ("--help",), ("convert", "--help"), ("cohort", "--help"), ("regress", "--help"), ("selftest", "--help"),
    )  # fmt: skip
    for command in commands:
        done = run(command, PYTHONIOENCODING=encoding)
        # The mask has no image of its own, which is no case of a cohort.
        assert done.returncode == (2 if command[0] == "cohort" and command[-1] == "--dry-run" else 0), (
            command,
            done.stderr,
        )
        said = done.stdout.decode(encoding)
        assert "??" not in said
        assert "\\xd7" not in said, command  # × of our own, and of the name, has a plain form


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_the_script_for_mimics_is_written_as_it_is(tmp_path: Path, name: str, encoding: str) -> None:
    target = tmp_path / name
    done = run(["mimics-script", *SCRIPTS[name], "-o", target], PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    script = (ROOT / "pipeline" / "mimics" / "scripts" / name).read_bytes()
    assert target.read_bytes() == script
    assert script.isascii()  # what every Python reads, whatever encoding it takes for a script's
    compile(target.read_bytes(), name, "exec")
    assert run(["mimics-script", "-o", target]).returncode == 6
    assert target.read_bytes() == script
    assert run(["mimics-script", *SCRIPTS[name], "-o", target, "-w", "overwrite"]).returncode == 0
    idle = run(["mimics-script", "-w", "overwrite"])
    assert idle.returncode == 64
    assert b"IDLE_OPTION" in idle.stderr


def test_the_script_goes_into_a_folder_by_its_own_name(tmp_path: Path) -> None:
    assert run(["mimics-script", "-o", tmp_path]).returncode == 0
    assert (tmp_path / "export_masks.py").is_file()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the kernel does not list what a process holds")
def test_nothing_is_renamed_or_removed_while_it_is_open(made: Path, tmp_path: Path) -> None:
    series = made / "my export"
    commands: tuple[Sequence[object], ...] = (
        ("convert", series, "-o", "a.nii.gz", "--report"),
        ("convert", series, "-o", "a.nii.gz", "-w", "overwrite", "--report"),
        ("convert", series, "-o", "plain.nii"),
        ("convert", series, made / "rt", "-o", "many/", "--crosscheck", "voxels"),
        ("convert", series, "-o", "many/", "-w", "skip"),
        ("export", "a.nii.gz", "--source", series, "-o", "back"),
        ("diagnose", "a.nii.gz", "--source", series, "--mask-series", series, "--fix", "fixed.nii.gz"),
        ("verify", "a.nii.gz", "--dicom", series, "--crosscheck", "voxels"),
        ("cohort", series, "-o", "cohort", "--jobs", "1"),
        ("cohort", series, "-o", "cohort", "--jobs", "2"),
        ("regress", "cases.toml", "--add", series, "--id", "one"),
        ("regress", "cases.toml"),
    )
    report = tmp_path / "held.txt"
    for command in commands:
        done = run_code(WATCH, report, *command, folder=tmp_path)
        assert done.returncode in (0, 8, 10), (command, done.stdout, done.stderr)
    lines = report.read_text("utf-8").splitlines()
    assert any(line.startswith("event os.rename") for line in lines)
    assert any("rmtree" in line for line in lines)
    assert not [line for line in lines if line.startswith("HELD")]


def test_the_watch_sees_a_file_that_is_held(tmp_path: Path) -> None:
    hold = "import os, sys\nf = open('x', 'w')\n" + WATCH.replace("main(words)", "os.rename('x', 'y')")
    run_code(hold, tmp_path / "held.txt", folder=tmp_path)
    assert "HELD os.rename" in (tmp_path / "held.txt").read_text("utf-8")


def test_without_what_only_posix_has(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.nii.gz"
    done = run_code(AS_WINDOWS, "convert", made / "my export", "-o", output, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["Verdict"] == "VERIFIED"
    done = run_code(AS_WINDOWS, "convert", made / "my export", "-o", tmp_path / "a:b.nii.gz", folder=tmp_path)
    assert done.returncode == 6
    assert "a file name of Windows has no :" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("liver.nii.gz", ""),
        ("nul.nii.gz", "NUL"),
        ("Com1.nii", "COM1"),
        ("aux .nii", "AUX"),
        ("a:b.nii.gz", "no :"),
        ("a.nii ", "takes off"),
        ("a.", "takes off"),
        ("console.nii", ""),
    ],
)
def test_names_that_windows_keeps_no_file_of(name: str, why: str) -> None:
    said = why_no_windows_name(name)
    assert (why.casefold() in said.casefold()) if why else said == ""
    assert why_no_windows_name(safe(name)) == ""


def test_an_old_console_and_a_redirected_one_get_no_escapes(made: Path) -> None:
    assert b"\033" not in run(["series", made / "my export"]).stdout
