"""Measures this package against the tools people use. `make bench` writes docs/benchmarks.md, `make bench FAST=1` prints.

Rules:
- Whole processes, as a user starts them, one after the other in alternation: what the machine does meanwhile happens to
  all. The first run of each warms the cache, and its files are checked; it counts only where no other follows.
- A time counts only when the files hold the same voxels at the same places; of masks that programs rasterise differently
  the Dice is in the table. A program that is not installed, fails or takes too long has a line that says so.
- What needs numpy runs in processes of its own: a program begins with the memory peak of the one that starts it.
- No row asserts a time. Only a failure of our own command, or voxels that differ, end with status 1.

`python -m tests.helpers.bench --only ct60,mask60 --runs 3` prints some rows and writes nothing; with `--write` the lines of
these rows are put into the document, and the others stay.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from tests.helpers.bench_rows import Row, rows_of
from tests.helpers.bench_table import HEAD, Runs, lines_of, replaced, summary
from tests.helpers.bench_tools import Run, Tool

CACHE = Path(os.environ.get("VERIMASK_BENCH", Path.home() / ".cache" / "verimask-bench"))
DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
START, END = "<!-- measured -->", "<!-- end of what was measured -->"
# What people wait for comes first; a run that is cut short has it.
WAITED = ["rtstruct", "nested", "pair100000", "volumes97", "volumes300", "seg", "batch"]
SCANNED = ["files20000", "spread20000", "same20000"]
SINGLE = ["ct300", "mask300", "ct60", "mask60", "ct1000", "mask1000", "rle60", "jpegls60", "j2k60"]
FAST = ["rtstruct", "nested", "pair100000", "volumes97", "seg", "ct300", "mask300", "mask60", "batch6"]
FAST += ["files2000", "spread2000", "same2000"]
FAST_SECONDS, FAST_RUNS = 570.0, 2


def folder_of(name: str) -> Path:
    """The folder of a data set, built if it is not there."""
    _apart("benchsets", str(CACHE), name)
    return CACHE / name


def _apart(module: str, *arguments: str) -> str:
    """What a module of the helpers prints, run in a process of its own."""
    command = [sys.executable, "-m", f"tests.helpers.{module}", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Measuring:
    """The rows so far, how long it may go on, and what went wrong."""

    def __init__(self, runs: int, work: Path, seconds: float = float("inf")) -> None:
        self.rows: dict[str, Runs] = {}
        self.wrong: list[str] = []
        self._runs, self._work, self._deadline = runs, work, perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._deadline - perf_counter()

    def lines(self, row: Row, source: Path) -> list[str]:
        """Measure a row: its lines of the table."""
        first = {tool.name: self._run(row, n, source) for n, tool in enumerate(row.programs)}
        notes = self._notes(row, first)
        results = {name: [run] for name, run in first.items()}
        rounds = self._rounds(row, first)
        if rounds:
            results.update({name: [] for name, run in first.items() if not run.problem})
        for _ in range(rounds):
            for n, tool in enumerate(row.programs):
                if not first[tool.name].problem:
                    results[tool.name].append(self._run(row, n, source))
        self.rows[row.name] = results
        for name, runs in results.items():
            failed = [run.problem for run in runs if run.problem.startswith("failed")]
            if name.startswith("verimask") and failed:
                self.wrong.append(f"{row.name}, {name}: {failed[0]}")
        return lines_of(row.name, self.rows, row.base, row.aims, notes)

    def _notes(self, row: Row, first: dict[str, Run]) -> dict[str, str]:
        """What the checks say, by the name of the program."""
        compared = [name for name in row.checks if not first[name].problem]
        if first[row.programs[0].name].problem:
            return dict.fromkeys(compared, "not checked: there are no files of ours")
        return {name: self._check(row, name, row.checks[name]) for name in compared}

    def _rounds(self, row: Row, first: dict[str, Run]) -> int:
        """Fewer where a round takes minutes, or as many as there is time for."""
        spent = sum(run.wall for run in first.values() if not run.problem)
        most = min(self._runs, row.rounds, 2 if spent > 120 else 3 if spent > 30 else self._runs)
        return most if spent * most < self.left else int(max(0.0, self.left) // max(spent, 1e-9))

    def _run(self, row: Row, n: int, source: Path) -> Run:
        return row.programs[n].run(source, self._folder(n), self.left)

    def _folder(self, n: int) -> Path:
        return self._work / str(n)

    def _check(self, row: Row, name: str, how: str) -> str:
        """What a check says for the notes; what must not be is remembered too."""
        n = next(n for n, tool in enumerate(row.programs) if tool.name == name)
        first = self._files(0, row.programs[0])
        answer = _apart("benchcheck", how, str(first), str(self._files(n, row.programs[n])))
        if answer and how in ("values", "same"):
            self.wrong.append(f"{row.name}, {name}: {answer}")
        return answer

    def _files(self, n: int, tool: Tool) -> Path:
        return self._folder(n) / tool.output


def machine() -> str:
    """What the numbers were measured on and with."""
    info = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine())
    packages = ("numpy", "isal", "zlib-ng", "pydicom", "dicom2nifti", "SimpleITK", "dcm2niix", "dcmqi", "highdicom")
    named = ", ".join([*(f"{p} {version(p)}" for p in packages), *_programs()])
    pigz = "with" if shutil.which("pigz") else "without"
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}; {named}, {pigz} pigz."


def _programs() -> Iterator[str]:
    """Name and version of the programs that may be missing."""
    environment = os.environ.get("MED_IMAGETOOLS", "")
    asked = "from importlib.metadata import version; print('med-imagetools', version('med-imagetools'))"
    for command in (["plastimatch", "--version"], [environment, "-c", asked]):
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            yield done.stdout.strip().replace("version ", "")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="the data sets to measure, such as ct60,mask60,batch")
    parser.add_argument("--suffix", choices=(".nii", ".nii.gz"), help="only these files of single series")
    parser.add_argument("--runs", type=int, help="rounds after the first run, at most (7); 0: the first run counts")
    parser.add_argument("--fast", action="store_true", help="a choice of rows and rounds, within ten minutes")
    parser.add_argument("--write", action="store_true", help="put the lines into docs/benchmarks.md, row by row")
    return parser.parse_args()


def main() -> int:
    options = _options()
    names = FAST if options.fast else [*WAITED, *SCANNED, *SINGLE]
    if options.only:
        names = options.only.split(",")
    runs = options.runs if options.runs is not None else FAST_RUNS if options.fast else 7
    measuring = Measuring(runs, CACHE / "work", FAST_SECONDS if options.fast else float("inf"))
    lines = []
    print(HEAD, flush=True)
    for name in names:
        for suffix in _suffixes(name, options):
            if measuring.left < 20:
                print(f"{name} {suffix} is left out: the time is up.")
                continue
            row = rows_of(name, suffix, folder_of, fast=options.fast)
            found = measuring.lines(row, folder_of(row.data))
            print("\n".join(found), flush=True)
            lines += found
            if options.write:
                write(DOCUMENT, found)
    shutil.rmtree(CACHE / "work", ignore_errors=True)
    print("\n".join(["", summary(lines), *(f"WRONG: {words}" for words in measuring.wrong)]))
    return bool(measuring.wrong)


def _suffixes(name: str, options: argparse.Namespace) -> list[str]:
    if name not in SINGLE:
        return [""]
    both = [".nii.gz", ".nii"]
    return [options.suffix] if options.suffix else both


def write(document: Path, lines: list[str]) -> None:
    """Put lines into the measured part of the document; what people wrote around it, and other rows, stay."""
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(START)
    measured, after = rest.split(END)
    head = HEAD.splitlines()
    table = [line for line in measured.splitlines() if line.startswith("|") and line not in head]
    table = replaced(table, lines)
    parts = [START, machine(), summary(table), "\n".join([*head, *table]), END]
    document.write_text(before + "\n\n".join(parts) + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
