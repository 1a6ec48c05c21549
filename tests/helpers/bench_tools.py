"""Start one program as a user would, and measure it: seconds, processor seconds, memory of all its processes, bytes.

Rules:
- This process stays small and without numpy: a program begins with the memory peak of the one that starts it.
- Memory is that of all processes of a command together, looked at every 30 to 100 ms: what each has for itself (anonymous pages),
  and the mapped files of the one that maps most, since they share those. The largest single process is the least it can be.
- A program that is missing, fails or takes longer than its limit is a result too, and ends nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

import dcm2niix

_LOOK_EVERY, _LATER = 0.03, 0.1  # seconds between looks, and after the first three: a look costs 0.3 to 0.7 ms
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
_TICK = os.sysconf("SC_CLK_TCK")
# Compiled modules are kept, as in every installation.
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
_VERIMASK = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]


@dataclass(frozen=True)
class Run:
    """One command: seconds by the clock and of the processors, MiB of all its processes, bytes and NIfTI files written."""

    wall: float
    cpu: float
    peak_mib: float
    written: int
    files: int
    problem: str = ""  # not installed, failed, or stopped: then it is no figure to compare with


@dataclass(frozen=True)
class Tool:
    """A program on one data set.

    command(input, output): what to run. output: the name of its file, or of its folder where it ends in "/".
    files: how many NIfTI files it writes. program: what must be there to run it.
    """

    name: str
    command: Callable[[Path, Path], list[str]]
    output: str = "out/"
    files: int = 1
    program: str = sys.executable
    limit: float = 900.0  # seconds

    def run(self, source: Path, folder: Path, longest: float = 900.0) -> Run:
        """Run it once in an empty folder, for no longer than its limit and `longest` seconds."""
        if not shutil.which(self.program):
            return Run(0, 0, 0, 0, 0, "not installed")
        shutil.rmtree(folder, ignore_errors=True)
        target = folder / self.output
        (target if self.output.endswith("/") else folder).mkdir(parents=True)
        limit = max(1.0, min(self.limit, longest))
        with (folder / "words").open("wb") as words:
            wall, cpu, peak, status = _measure(self.command(source, target), words.fileno(), limit)
        written = [f.stat().st_size for f in target.parent.rglob("*.nii*") if f.name.endswith((".nii", ".nii.gz"))]
        problem = ""
        if status == _STOPPED:
            problem = f"stopped after {limit:.0f} s with {len(written)} of {self.files} files"
        elif status or len(written) != self.files:
            lines = (folder / "words").read_text(errors="replace").strip().splitlines() or [""]
            problem = f"failed: status {status}, {len(written)} of {self.files} files: {lines[-1][:120]}"
        return Run(wall, cpu, peak, sum(written), len(written), problem)


_STOPPED = -1000


def _measure(command: list[str], words: int, limit: float) -> tuple[float, float, float, int]:
    """Wall and processor seconds, MiB, and the exit status of a command; _STOPPED where it ran into its limit."""
    start = perf_counter()
    process = subprocess.Popen(command, stdout=words, stderr=words, env=_ENVIRONMENT, start_new_session=True)
    tree = ProcessTree(process.pid)
    watch = _Watch(tree, limit)
    watch.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        tree.kill()
        raise
    finally:
        wall = perf_counter() - start
        watch.ended.set()
        watch.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = max(used.ru_utime + used.ru_stime, watch.cpu)
    peak = watch.peak_mib or used.ru_maxrss / 1024  # the latter begins with that of the process that starts it
    return wall, cpu, peak, _STOPPED if watch.stopped else process.returncode


class ProcessTree:
    """A process, whatever it starts, and whatever stays in its session. Without /proc it is empty."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._members = {root}
        self._others: set[int] = set()

    def look(self) -> list[tuple[int, list[str]]]:
        """The living processes, with the fields of /proc/PID/stat that follow the name."""
        found = []
        for pid in sorted(int(name) for name in _listed() if name.isdigit()):
            if pid in self._others:
                continue
            fields = _fields(pid)
            if not fields:
                continue
            if pid in self._members or int(fields[1]) in self._members or int(fields[3]) == self._root:
                self._members.add(pid)
                found.append((pid, fields))
            else:
                self._others.add(pid)
        return found

    def mib(self) -> float:
        """Their own pages together, and the mapped files of the one that maps most."""
        own, mapped = 0, 0
        for pid, _ in self.look():
            try:
                _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
            except (OSError, ValueError):
                continue
            own, mapped = own + int(resident) - int(shared), max(mapped, int(shared))
        return (own + mapped) * _PAGE_MIB

    def cpu_seconds(self) -> float:
        """Processor seconds of the living ones and of those they waited for."""
        return sum(sum(map(int, fields[11:15])) for _, fields in self.look()) / _TICK

    def kill(self) -> None:
        """End them, and nothing else."""
        for pid in [pid for pid, _ in self.look()] or [self._root]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _listed() -> list[str]:
    return os.listdir("/proc") if os.path.isdir("/proc/self") else []


def _fields(pid: int) -> list[str]:
    """State, parent, group, session, … of a process; none where it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return [] if fields[:1] in ([], ["Z"], ["X"]) else fields


class _Watch(Thread):
    """Looks at a tree until it has ended, and ends it at its limit."""

    def __init__(self, tree: ProcessTree, limit: float) -> None:
        super().__init__(daemon=True)
        self._tree, self._start, self._limit = tree, perf_counter(), limit
        self.ended, self.stopped = Event(), False
        self.peak_mib = self.cpu = 0.0

    def run(self) -> None:
        spent = 0.0
        while not self.ended.wait(_LOOK_EVERY if spent < 3 else _LATER):
            self.peak_mib = max(self.peak_mib, self._tree.mib())
            spent = perf_counter() - self._start
            if spent > self._limit:
                self.cpu, self.stopped = self._tree.cpu_seconds(), True
                self._tree.kill()
                return


def verimask(name: str, *options: str, output: str = "out/", files: int = 1, limit: float = 900.0) -> Tool:
    """Our own conversion, with these options."""

    def command(source: Path, target: Path) -> list[str]:
        where = f"{target}/" if output.endswith("/") else str(target)
        return [*_VERIMASK, "convert", str(source), "-o", where, "-q", *options]

    return Tool(name, command, output, files, limit=limit)


def verimask_series() -> Tool:
    """Our own list of series, which reads every file of a folder and writes none."""
    return Tool("verimask series", lambda source, _: [*_VERIMASK, "series", str(source)], files=0)


def reference(name: str, output: str, *options: str) -> Tool:
    """dcm2niix into one file."""

    def command(source: Path, target: Path) -> list[str]:
        return [dcm2niix.bin, *options, "-b", "n", "-f", "out", "-o", str(target.parent), str(source)]

    return Tool(name, command, output)


def reference_batch(files: int) -> Tool:
    """dcm2niix on every folder of a folder, two at a time."""
    shell = 'ls "$0" | xargs -P 2 -I{} "$1" -z y -b n -f {} -o "$2" "$0"/{}'
    return Tool(
        "dcm2niix -z y, two at a time",
        lambda source, target: ["sh", "-c", shell, str(source), dcm2niix.bin, str(target)],
        files=files,
    )


def scripted(name: str, script: str, output: str, *options: str) -> Tool:
    """A few lines of Python, as the users of a library write them."""
    return Tool(name, lambda s, t: [sys.executable, "-c", script, str(s), str(t), *options], output)


def plastimatch(files: int, images: Path, *options: str) -> Tool:
    """Masks of a structure set by Debian's plastimatch, one file a structure."""

    def command(source: Path, target: Path) -> list[str]:
        struct = str(next(source.iterdir()))
        masks = ["--output-prefix", str(target), "--prefix-format", "nii.gz"]
        return ["plastimatch", "convert", "--input", struct, "--referenced-ct", str(images), *masks, *options]

    return Tool(" ".join(("plastimatch", *options)), command, files=files, program="plastimatch", limit=600)


def med_imagetools(files: int, patient: Path, limit: float) -> Tool:
    """autopipeline of med-imagetools on a folder of images and structure set, its crawl of them included.

    Its environment is named by MED_IMAGETOOLS, the path of that environment's python.
    """
    program = Path(os.environ.get("MED_IMAGETOOLS", "med-imagetools/bin/python")).with_name("imgtools")

    def command(_: Path, target: Path) -> list[str]:
        wanted = ["-m", "CT,RTSTRUCT", "-j", "2", "--crawl-directory", str(target / "crawl")]
        return [str(program), "-q", "autopipeline", str(patient), str(target / "masks"), *wanted]

    # The image itself is a file too.
    return Tool("med-imagetools", command, files=files + 1, program=str(program), limit=limit)


def dcmqi(files: int) -> Tool:
    """Masks of a SEG by dcmqi's own program."""
    program = str(Path(sys.executable).with_name("segimage2itkimage"))

    def command(source: Path, target: Path) -> list[str]:
        struct = str(next(source.iterdir()))
        return [program, "--inputDICOM", struct, "--outputDirectory", str(target), "-t", "nifti"]

    return Tool("dcmqi", command, files=files, program=program)
