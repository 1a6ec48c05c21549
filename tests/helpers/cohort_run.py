"""Run `verimask cohort` as a process, stop it in every way, and say what it read and what it left.

Rules:
- A run has a process group of its own and a temporary folder of its own, by which every process that it started is known;
  what is ended is ended by its number.
- `tree_of` is the data set: everything in the output folder but the private folder of the run.
"""

from __future__ import annotations

import csv
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.helpers.marks import unpacked

PRIVATE = ".verimask"
_ROOT = Path(__file__).parents[2]
_HOOK = """
import os, sys
_log = os.open(os.environ["OPENED_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_tree = os.environ["OPENED_TREE"].rstrip("/") + "/"
def _hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
        path = os.path.abspath(os.fsdecode(args[0]))
        if path.startswith(_tree):
            os.write(_log, (path + "\\n").encode())
sys.addaudithook(_hook)
"""


@dataclass(frozen=True)
class Ended:
    """How a run ended. code: of its exit, negative for a signal. opened: the files of the inputs that it opened."""

    code: int
    text: str
    seconds: float
    opened: frozenset[str] = frozenset()


class CohortRunner:
    """Runs the command with a scratch folder, which holds nothing that the command needs again."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.scratch.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str | Path, watch: Path | None = None) -> Ended:
        """Run `verimask cohort ARGUMENTS` to its end. watch: a tree whose opened files are listed; in one process then."""
        jobs = () if watch is None else ("--jobs", "1")
        process, begun = self.start(*arguments, *jobs, watch=watch), time.monotonic()
        text, _ = process.communicate(timeout=1800)
        return Ended(process.returncode, text, time.monotonic() - begun, self._opened(watch))

    def stop(self, *arguments: str | Path, when: Callable[[], object], by: signal.Signals = signal.SIGKILL) -> Ended:
        """Run it, and send the whole process group a signal when something holds, unless it has ended by then."""
        process, begun = self.start(*arguments), time.monotonic()
        while True:
            try:
                text, _ = process.communicate(timeout=0.01)
                break
            except subprocess.TimeoutExpired:
                if when():
                    os.killpg(process.pid, by)
                    text, _ = process.communicate(timeout=120)
                    break
        self.end_leftovers()
        return Ended(process.returncode, text, time.monotonic() - begun)

    def start(self, *arguments: str | Path, watch: Path | None = None) -> subprocess.Popen[str]:
        """Start it in a process group of its own."""
        path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "TMPDIR": str(self.scratch), "PYTHONDONTWRITEBYTECODE": "1"}
        if watch is not None:
            hook = self.scratch / "hook"
            hook.mkdir(exist_ok=True)
            (hook / "sitecustomize.py").write_text(_HOOK, "utf-8")
            (self.scratch / "opened.log").unlink(missing_ok=True)
            path.insert(0, str(hook))
            environment |= {"OPENED_LOG": str(self.scratch / "opened.log"), "OPENED_TREE": str(watch)}
        environment["PYTHONPATH"] = os.pathsep.join(path)
        command = [sys.executable, "-W", "ignore", "-m", "pipeline", "cohort", *map(str, arguments)]
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def end_leftovers(self) -> list[int]:
        """End what a killed run has left running, each by its number; the numbers."""
        wanted, found = f"TMPDIR={self.scratch}".encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid() and wanted in _environment(entry):
                found.append(int(entry.name))
                os.kill(int(entry.name), signal.SIGKILL)
        return found

    def _opened(self, watch: Path | None) -> frozenset[str]:
        log = self.scratch / "opened.log"
        return frozenset(log.read_text("utf-8").splitlines()) if watch is not None and log.exists() else frozenset()


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:  # it ended meanwhile, or is another user's
        return []


def tree_of(out: Path) -> dict[str, str]:
    """SHA-256 of every file of a data set, by its path."""
    return {path.relative_to(out).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files_of(out)}


def stamps_of(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file of a data set, by its path: they differ where a file was written again."""
    return {path.relative_to(out).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files_of(out)}


def files_of(out: Path) -> list[Path]:
    """Every file that may be given to others."""
    return sorted(p for p in out.rglob("*") if p.is_file() and p.relative_to(out).parts[0] != PRIVATE)


def difference_of(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """The paths that only one tree has, or that differ."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def rows_of(out: Path, *, private: bool = False) -> list[dict[str, str]]:
    """The rows of cohort.tsv; private: of the table with the same lines that has the names of folders and files too."""
    with ((out / PRIVATE if private else out) / "cohort.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def found_in(out: Path, identifiers: Iterable[str]) -> list[str]:
    """Every place of an identifier in a data set: in a path, or in a file, of which compressed ones are unpacked."""
    wanted = [text for text in identifiers if text]
    places = []
    for path in files_of(out):
        name = path.relative_to(out).as_posix()
        lower = b"\n".join(unpacked(path.read_bytes())).lower()
        for text in wanted:
            if text.casefold() in name.casefold():
                places.append(f"the path {name}: {text}")
            for encoding in ("utf-8", "utf-16-le"):
                if text.lower().encode(encoding) in lower:
                    places.append(f"{name}: {text}")
    return places


def geometry_bytes(path: Path) -> bytes:
    """The bytes of a NIfTI-1 header that say where its voxels lie: dim, pixdim, units, qform and sform."""
    header = gzip.decompress(path.read_bytes())[:348]
    return header[40:56] + header[76:108] + header[123:124] + header[252:328]


def count_logged(out: Path) -> int:
    """How many cases have ended, in all runs so far."""
    log = out / PRIVATE / "log.txt"
    return len(log.read_bytes().splitlines()) if log.exists() else 0


def left_in_work(out: Path) -> list[Path]:
    """What an ended run should have removed: the files of unfinished and of uncollected cases."""
    return [path for name in ("work", "done") for path in (out / PRIVATE / name).rglob("*") if path.is_file()]
