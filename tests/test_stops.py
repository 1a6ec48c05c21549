"""A signal stops every command in order: its exit code, one line, no process and nothing half; and never waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.leases import hold
from tests.helpers.phantom import Spec, write
from tests.helpers.watching import ROOT, wait_for

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
LONGEST_S = 40.0
# Runs a command line after some code of a test.
_START = "import sys; sys.path.insert(0, {root!r})\n{code}\nsys.argv[1:] = {words!r}\nfrom pipeline.cli.main import main\nmain()"


def start(at: Path, *words: str, code: str = "", ignoring: bool = False) -> subprocess.Popen[str]:
    def before() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignoring else signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-c", _START.format(root=str(ROOT), code=code, words=words)],
        cwd=at,
        env={**os.environ, "TMPDIR": str(at)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=LONGEST_S)
    return process.returncode, errors


def said(sent: signal.Signals) -> str:
    return "stopped\n" if sent is signal.SIGINT else f"stopped by {sent.name}\n"


@pytest.fixture
def hanging(tmp_path: Path) -> tuple[str, ...]:
    """A conversion that has its temporary files when it comes to a file that cannot be read for now."""
    write(tmp_path / "dicom", SMALL)
    return "convert", "dicom", "-o", "m.nii.gz", "--crosscheck", "voxels"


def hang(at: Path, words: tuple[str, ...], code: str = "") -> subprocess.Popen[str]:
    """Start it, and let a plane be one that has to be waited for once its header is read."""
    slow = (
        "import pipeline.conversion.write as w, os, time\n"
        "plain = w._write_proven\n"
        "def wait(*given):\n"
        "    open('begun', 'w').close()\n"
        "    while not os.path.exists('held'): time.sleep(0.01)\n"
        "    return plain(*given)\n"
        "w._write_proven = wait\n"
    )
    process = start(at, *words, code=slow + code)
    wait_for((at / "begun").exists)
    hold([max((at / "dicom").iterdir())])
    (at / "held").touch()
    time.sleep(0.3)
    return process


def left(at: Path) -> list[str]:
    return sorted(p.name for p in at.iterdir() if p.name not in ("dicom", "begun", "held"))


@pytest.mark.parametrize("sent", STOPS, ids=lambda s: s.name)
def test_a_command_that_waits_for_a_disk_is_stopped_in_order(
    tmp_path: Path, hanging: tuple[str, ...], sent: signal.Signals
) -> None:
    process = hang(tmp_path, hanging)
    assert any(name.startswith(".verimask-") for name in left(tmp_path))
    process.send_signal(sent)
    process.send_signal(sent)  # twice in a row, which must not break off what the first one lets end
    assert ended(process) == (128 + sent, said(sent))
    assert left(tmp_path) == []


def test_what_cannot_be_interrupted_is_ended_by_the_second_signal(tmp_path: Path, hanging: tuple[str, ...]) -> None:
    """As in a call to a network disk that hangs, the main thread takes no signal; the files go all the same."""
    deaf = (
        "import ctypes\n"
        "def wait(*given):\n"
        "    from pipeline.core.workers import python_process\n"
        "    open('begun', 'w').close()\n"
        "    end = time.monotonic() + 30\n"
        "    while time.monotonic() < end: ctypes.CDLL(None).sleep(30)\n"
        "w._write_proven = wait\n"
    )
    process = hang(tmp_path, hanging, deaf)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "stopped by SIGTERM\n")
    assert time.monotonic() - begin < 12
    assert left(tmp_path) == []


@pytest.mark.parametrize("sent", STOPS, ids=lambda s: s.name)
def test_a_command_is_stopped_while_it_imports(tmp_path: Path, sent: signal.Signals) -> None:
    code = (
        "import signal\n"
        "class Look:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'argparse': signal.raise_signal({int(sent)})\n"
        "sys.meta_path.insert(0, Look())\n"
        "sys.modules.pop('argparse', None)"
    )
    assert ended(start(tmp_path, "--help", code=code)) == (128 + sent, said(sent))


@pytest.mark.parametrize("sent", STOPS, ids=lambda s: s.name)
@pytest.mark.parametrize("ignoring", [False, True])
@pytest.mark.parametrize("module", ["verimask.cli.main", "verimask.core.stop_signals", "contextlib"])
def test_a_command_is_stopped_before_signals_are_taken_over(
    tmp_path: Path, sent: signal.Signals, module: str, ignoring: bool
) -> None:
    (tmp_path / "verimask").symlink_to(ROOT / "pipeline")
    code = (
        "import runpy, signal, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: signal.raise_signal({int(sent)})\n"
        "sys.meta_path.insert(0, Look())\n"
        "for name in ('contextlib', 'typing', 'enum'): sys.modules.pop(name, None)\n"
        "sys.path.insert(0, '.')\n"
        "sys.argv[1:] = ['--version']\n"
        "from verimask.cli.start import main; main()"
    )
    code_, errors = ended(start(tmp_path, "--version", code=code, ignoring=ignoring))
    ignored = ignoring and sent is signal.SIGHUP
    assert (code_, errors) == ((0, "") if ignored else (128 + sent, said(sent)))


def test_both_ways_to_start_a_command_begin_with_signals() -> None:
    scripts = (ROOT / "pyproject.toml").read_text("utf-8").partition("[project.scripts]\n")[2].split("\n\n")[0]
    assert scripts == 'verimask = "verimask.cli.start:main"'
    first = (ROOT / "pipeline" / "__main__.py").read_text("utf-8").splitlines()[:2]
    assert first == ['if __name__ == "__main__":', "    from .cli.start import main"]


@pytest.mark.parametrize("sent", STOPS, ids=lambda s: s.name)
def test_a_command_is_stopped_at_its_very_end(tmp_path: Path, sent: signal.Signals) -> None:
    code = (
        "import atexit, signal, time\n"
        "import pipeline.cli.run_command as r\n"
        f"last = lambda: (signal.raise_signal({int(sent)}), time.sleep(30))\n"
        "r.run_command = lambda given: atexit.register(last) and 0"
    )
    assert ended(start(tmp_path, "--version", code=code)) == (128 + sent, said(sent))


def test_a_stop_that_a_finaliser_drops_comes_again(tmp_path: Path) -> None:
    code = (
        "import pipeline.cli.run_command as r, signal, time\n"
        "class Dropped:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "def run(given):\n"
        "    Dropped()\n"
        "    time.sleep(30)\n"
        "r.run_command = run"
    )
    assert ended(start(tmp_path, "--version", code=code)) == (130, "stopped\n")


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    code = (
        "import signal, os\n"
        "import pipeline.cli.run_command as r\n"
        "plain = r.run_command\n"
        "r.run_command = lambda given: (os.kill(os.getpid(), signal.SIGHUP), plain(given))[1]"
    )
    assert ended(start(tmp_path, "--version", code=code, ignoring=True)) == (0, "")


def test_a_command_run_from_python_leaves_signals_and_files_as_they_were() -> None:
    code = (
        f"import sys, signal, os, time; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pipeline.cli.main import main\n"
        "def state(): return [signal.getsignal(n) for n in (2, 15, 1)], sys.unraisablehook, os.listdir('/proc/self/fd')\n"
        "before = state()\n"
        "for _ in range(3):\n"
        "    try: main(['--version'])\n"
        "    except SystemExit: pass\n"
        "time.sleep(0.3)\n"
        "assert state() == before, (state(), before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_library_installs_no_handlers(tmp_path: Path) -> None:
    write(tmp_path / "dicom", SMALL)
    code = (
        f"import sys, signal; sys.path.insert(0, {str(ROOT)!r})\n"
        "before = [signal.getsignal(n) for n in (2, 15, 1)], sys.unraisablehook\n"
        "import pipeline, pipeline.cli.main\n"
        "from pipeline.core.policy import Policy\n"
        "from pipeline.conversion.convert import convert\n"
        f"convert({str(tmp_path / 'dicom')!r}, {str(tmp_path / 'm.nii.gz')!r}, policy=Policy(crosscheck='voxels'))\n"
        "assert ([signal.getsignal(n) for n in (2, 15, 1)], sys.unraisablehook) == before\n"
        "assert signal.set_wakeup_fd(-1) == -1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_that_comes_as_signals_are_taken_over_stops_it_in_order() -> None:
    code = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pipeline.core import stop_signals\n"
        "start = stop_signals._start_watching\n"
        "stop_signals._start_watching = lambda: (start(), os.kill(os.getpid(), 15))\n"
        "from pipeline.cli.main import main\n"
        "sys.argv = ['verimask', '--version']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "stopped by SIGTERM\n")
