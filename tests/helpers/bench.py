"""Measures this package against the tools people use, and writes docs/benchmarks.md. Run as `make bench`.

Rules:
- Whole processes, as a user starts them, one after the other in alternation: what the machine does meanwhile happens to
  all. A ratio is the median of the ratios of pairs that ran side by side, never the ratio of two medians.
- A time counts only when both files hold the same voxels at the same places; that is checked first.
- What needs numpy runs in processes of its own: a program begins with the memory peak of the one that starts it.
- Our lines are the default, proofs and cross-check on, and `--crosscheck off`.

`python -m tests.helpers.bench --only ct60,mask60 --runs 3` prints some rows and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import dcm2niix

CACHE = Path(os.environ.get("VERIMASK_BENCH", Path.home() / ".cache" / "verimask-bench"))
DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
SINGLE = [f"{kind}{n}" for kind in ("ct", "mask") for n in (60, 300, 1000)] + ["rle60", "jpegls60", "j2k60"]
OWN = ["seg", "rtstruct"]
BATCH = 200
# Compiled modules are kept, as in every installation.
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
_OURS = [sys.executable, "-c", "from pipeline.cli.main import main; main()", "convert"]
_SITK = """import sys, SimpleITK as s
r = s.ImageSeriesReader(); r.SetFileNames(r.GetGDCMSeriesFileNames(sys.argv[1]))
s.WriteImage(r.Execute(), sys.argv[2], sys.argv[2].endswith("gz"))"""
_D2N = "import sys, dicom2nifti; dicom2nifti.dicom_series_to_nifti(sys.argv[1], sys.argv[2])"


@dataclass(frozen=True)
class Run:
    """One process: seconds by the clock and of the processors, MiB of the largest process in it, bytes written."""

    wall: float
    cpu: float
    peak_mib: float
    written: int


@dataclass(frozen=True)
class Tool:
    """command(input, output): what to run. output: the name of its file."""

    name: str
    command: Callable[[Path, Path], list[str]]
    output: str

    def run(self, source: Path, folder: Path) -> Run:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        target = folder / self.output
        start = perf_counter()
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(self.command(source, target), stdout=said, stderr=said, env=_ENVIRONMENT)
            _, status, used = os.wait4(process.pid, 0)
        wall = perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or not target.exists():
            raise SystemExit(f"{self.name} failed on {source}:\n{(folder / 'said').read_text()[-2000:]}")
        size = sum(f.stat().st_size for f in ([target] if target.is_file() else target.rglob("*.nii*")))
        return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, size)


def ours(name: str, suffix: str, *options: str) -> Tool:
    return Tool(name, lambda s, t: [*_OURS, str(s), "-o", str(t), "-q", *options], f"out{suffix}")


def reference(name: str, suffix: str, *options: str) -> Tool:
    def command(source: Path, target: Path) -> list[str]:
        return [dcm2niix.bin, *options, "-b", "n", "-f", "out", "-o", str(target.parent), str(source)]

    return Tool(name, command, f"out{suffix}")


def scripted(name: str, script: str, suffix: str) -> Tool:
    return Tool(name, lambda s, t: [sys.executable, "-c", script, str(s), str(t)], f"out{suffix}")


def tools_for(name: str, suffix: str) -> list[Tool]:
    """Ours by default and with the cross-check off, then the others; the first of the others is the reference."""
    image = [] if name.startswith("mask") else ["--as", "image"]
    mine = [
        ours("verimask", suffix, *image),
        ours("verimask --crosscheck off", suffix, *image, "--crosscheck", "off"),
    ]
    if suffix == ".nii":
        theirs = [reference("dcm2niix -z n", suffix, "-z", "n")]
    else:
        theirs = [
            reference("dcm2niix -z y", suffix, "-z", "y"),
            reference("dcm2niix -z y -1", suffix, "-z", "y", "-1"),
            reference("dcm2niix -z i", suffix, "-z", "i"),
            reference("dcm2niix -z i -1", suffix, "-z", "i", "-1"),
        ]
    return [*mine, *theirs, scripted("SimpleITK", _SITK, suffix), scripted("dicom2nifti", _D2N, suffix)]


def folder_of(name: str) -> Path:
    """The folder of a data set, built if it is not there."""
    _apart("benchdata", str(CACHE), name)
    return CACHE / name


def check_same(ours_: Path, theirs: Path) -> None:
    """Both files hold the same values at the same places, or the measuring ends."""
    _apart("benchcheck", str(ours_), str(theirs))


def _apart(module: str, *arguments: str) -> None:
    if subprocess.run([sys.executable, "-m", f"tests.{module}", *arguments], check=False).returncode:
        raise SystemExit(1)


def measure(name: str, suffix: str, runs: int, work: Path, slow: bool) -> list[str]:
    """The lines of one cell of the table."""
    source = folder_of(name)
    tools = tools_for(name, suffix)[: None if slow else -2]
    first = {tool.name: tool.run(source, work / str(n)) for n, tool in enumerate(tools)}
    for n in range(2, len(tools)):
        check_same(work / "0" / tools[0].output, work / str(n) / tools[n].output)
    results: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    spent = sum(r.wall for r in first.values())
    rounds = min(runs, 2 if spent > 120 else 3 if spent > 30 else runs)
    for _ in range(rounds):
        for n, tool in enumerate(tools):
            results[tool.name].append(tool.run(source, work / str(n)))
    return [_line(f"{name} {suffix}", tool.name, results, tools[2].name) for tool in tools]


def measure_own(name: str, suffix: str, runs: int, work: Path) -> list[str]:
    """A SEG or a structure set with its source: others need a script of their own for these."""
    source, images = folder_of(name), folder_of("ct300")
    tool = Tool(
        "verimask --source",
        lambda s, t: [*_OURS, str(s), "--source", str(images), "-o", f"{t}/", "-q"],
        "out",
    )
    results = {tool.name: [tool.run(source, work / "0") for _ in range(runs)]}
    return [_line(f"{name} {suffix}", tool.name, results, tool.name)]


def measure_batch(runs: int, work: Path) -> list[str]:
    """Every series of a folder tree in one command, against dcm2niix twice at a time."""
    source = folder_of("batch")
    shell = 'ls "$0" | xargs -P 2 -I{} "$1" -z y -b n -f {} -o "$2" "$0"/{}'
    tools = [
        Tool("verimask", lambda s, t: [*_OURS, str(s), "-o", f"{t}/", "-q", "--as", "image"], "out"),
        Tool(
            "verimask --crosscheck off",
            lambda s, t: [*_OURS, str(s), "-o", f"{t}/", "-q", "--as", "image", "--crosscheck", "off"],
            "out",
        ),
        Tool(
            "dcm2niix -z y, two at a time",
            lambda s, t: ["sh", "-c", f'mkdir -p "$2"; {shell}', str(s), dcm2niix.bin, str(t)],
            "out",
        ),
    ]
    results: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    for _ in range(runs):
        for n, tool in enumerate(tools):
            results[tool.name].append(tool.run(source, work / str(n)))
            count = len(list((work / str(n) / "out").glob("*.nii.gz")))
            if count != BATCH:
                raise SystemExit(f"{tool.name} wrote {count} of {BATCH} series")
            shutil.rmtree(work / str(n))
    return [_line(f"batch {BATCH} × 60 .nii.gz", tool.name, results, tools[2].name) for tool in tools]


def _line(cell: str, name: str, results: dict[str, list[Run]], base: str) -> str:
    runs, others = results[name], results[base]
    ratio = median(a.wall / b.wall for a, b in zip(runs, others, strict=True))
    cpu = median(a.cpu / b.cpu for a, b in zip(runs, others, strict=True))
    wall, peak, size = median(r.wall for r in runs), max(r.peak_mib for r in runs), runs[-1].written / 1e6
    spent = median(r.cpu for r in runs)
    return f"| {cell} | {name} | {wall:.3f} | {ratio:.2f} | {spent:.2f} | {cpu:.2f} | {peak:.0f} | {size:.2f} |"


HEAD = """| series | program | s | ratio | CPU s | CPU ratio | peak MiB | MB |
|---|---|--:|--:|--:|--:|--:|--:|"""


def machine() -> str:
    """What the numbers were measured on and with."""
    info = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine())
    packages = ("numpy", "isal", "zlib-ng", "pydicom", "dicom2nifti", "SimpleITK", "dcm2niix")
    named = ", ".join(f"{p} {version(p)}" for p in packages)
    pigz = "with" if shutil.which("pigz") else "without"
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}; {named}, {pigz} pigz."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="rows to measure, such as ct60,mask60,batch; the document is left as it is")
    parser.add_argument("--suffix", choices=(".nii", ".nii.gz"), help="only these files")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--fast", action="store_true", help="leave out SimpleITK and dicom2nifti")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [*SINGLE, *OWN, "batch"]
    lines = list(_measured(wanted, [options.suffix] if options.suffix else [".nii.gz", ".nii"], options))
    if not options.only:
        _write(lines)


def _measured(wanted: list[str], suffixes: list[str], options: argparse.Namespace) -> Iterable[str]:
    work = CACHE / "work"
    print(HEAD)
    for name in wanted:
        if name == "batch":
            cells = [measure_batch(min(options.runs, 2), work)]
        elif name in OWN:
            cells = [measure_own(name, ".nii.gz", options.runs, work)]
        else:
            cells = [measure(name, suffix, options.runs, work, not options.fast) for suffix in suffixes]
        for lines in cells:
            print("\n".join(lines), flush=True)
            yield from lines
    shutil.rmtree(work, ignore_errors=True)


def _write(lines: list[str]) -> None:
    """Replace the measured part of the document; what people wrote around it stays."""
    start, end = "<!-- measured -->", "<!-- end of what was measured -->"
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.split(start)[0], text.split(end)[1]
    measured = "\n\n".join([start, machine(), "\n".join([HEAD, *lines]), end])
    DOCUMENT.write_text(before + measured + after, encoding="utf-8")


if __name__ == "__main__":
    main()
