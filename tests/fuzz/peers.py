"""Give the same spoilt inputs to other converters: `python -m tests.fuzz.peers [--count N | --seconds N] [--seed S] [--tally FILE.json]`.

Rules:
- Each has the limits that our own commands have, in a child; dcm2niix is a program of its own and is started by that child. What
  crashes within them is tried with eight times the memory: it crashed only where it does so again.
- What they write is judged by the same oracle, as an image: only inputs that are plain planes are given to them.
- An exception or an exit code other than 0 is a refusal. A message beside a file that was written is not looked at: who takes the
  file does not see it. So a plane that is lost counts as wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import dcm2niix
import dicom2nifti
import SimpleITK as sitk  # noqa: N813

from tests.fuzz.child import GIB, Limits, in_child, rearm
from tests.fuzz.mutate import drawn, laid, spoilt
from tests.fuzz.oracle import Judgement, judge_plain
from tests.fuzz.outcomes import (
    CRASH,
    JUDGED,
    MEMORY,
    OUTCOMES,
    REFUSED,
    UNJUDGED,
    WRITTEN,
    WRONG,
    Outcome,
    Tally,
    of_child,
)
from tests.fuzz.seeds import Seed, seeds
from tests.fuzz.spoilt_files import Files, Special

PLAIN = (
    "mask",
    "mask8",
    "labels",
    "implicit",
    "bigendian",
    "deflated",
    "rle",
    "jpegll",
    "jpegls",
    "image",
    "slopes",
    "j2k",
    "enhanced",
)


def _by_dcm2niix(folder: Path, out: Path) -> None:
    subprocess.run([dcm2niix.bin, "-z", "y", "-b", "n", "-o", str(out), str(folder)], check=True, capture_output=True)


def _by_simpleitk(folder: Path, out: Path) -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for number, uid in enumerate(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))):
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        image = sitk.ReadImage(names if len(names) > 1 else names[0])
        sitk.WriteImage(image, str(out / f"{number}.nii.gz"))


def _by_dicom2nifti(folder: Path, out: Path) -> None:
    dicom2nifti.dicom_series_to_nifti(str(folder), str(out / "0.nii.gz"), reorient_nifti=False)


PEERS: dict[str, Callable[[Path, Path], None]] = {
    "dcm2niix": _by_dcm2niix,
    "SimpleITK": _by_simpleitk,
    "dicom2nifti": _by_dicom2nifti,
}


def run_peer(peer: str, files: Files, work: Path, limits: Limits) -> Outcome:
    """Give files to one converter and judge what it wrote. work: an empty folder."""
    for name in ("in", "out"):
        (work / name).mkdir()
    try:
        laid(files, work / "in")
        told = work / "told"
        told.write_bytes(b"")
        ended = in_child(lambda: _convert(peer, work, told, limits), work, limits)
        lines = [json.loads(line) for line in told.read_text("utf-8").splitlines()]
        if not lines:
            return of_child(ended, limits) or Outcome(REFUSED, f"ended with {ended.code}")
        if lines[0] != "done":
            return Outcome(**lines[0])
        if not any((work / "out").iterdir()):
            return Outcome(REFUSED)
        if len(lines) == 1 and "MemoryError" not in ended.words and not ended.hung:
            raise RuntimeError(f"the judge failed: {ended.words[-2000:]}")
        return _of_judgements([Judgement(*one) for one in lines[1]] if len(lines) > 1 else [])
    finally:
        for name in ("in", "out"):
            shutil.rmtree(work / name, ignore_errors=True)


def _convert(peer: str, work: Path, told: Path, limits: Limits) -> int:
    """Convert, tell of it, judge, and tell what was found."""
    lines: list[object] = []
    try:
        PEERS[peer](work / "in", work / "out")
        lines.append("done")
    except MemoryError:
        lines.append({"name": "memory", "group": "MemoryError"})
    except subprocess.CalledProcessError as error:
        crashed = error.returncode < 0
        lines.append({"name": "crash" if crashed else REFUSED, "group": f"exit {error.returncode}"})
    except Exception as error:
        lines.append({"name": REFUSED, "group": type(error).__name__})
    told.write_text(json.dumps(lines[0]) + "\n", "utf-8")
    if lines[0] == "done":
        rearm(limits)
        found = [tuple(one) for one in judge_plain(work / "in", work / "out")]
        with told.open("a") as file:
            file.write(json.dumps(found) + "\n")
    return 0


def _of_judgements(found: Sequence[Judgement]) -> Outcome:
    wrong = [one for one in found if one.verdict == "wrong"]
    if wrong:
        return Outcome(WRONG, wrong[0].kind, wrong[0].words, JUDGED)
    whole = bool(found) and all(one.verdict == "right" for one in found)
    return Outcome(WRITTEN, judged=JUDGED if whole else UNJUDGED)


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.peers", description="spoilt files to other converters")
    parser.add_argument("--count", type=int, help="so many inputs")
    parser.add_argument("--seconds", type=float, default=60.0, help="for so long (60)")
    parser.add_argument("--seed", type=int, help="of the campaign; a random one is drawn and printed")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=[*PEERS], help="these converters")
    parser.add_argument("--tally", type=Path, metavar="FILE.json", help="counts are added to this file")
    options = parser.parse_args(given)
    warnings.simplefilter("ignore")
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    print(f"peers: seed {seed}")
    tally = Tally(seeds={peer: [seed] for peer in options.only})
    found, began, number = seeds(set(PLAIN)), time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while number < options.count if options.count else time.monotonic() - began < options.seconds:
            _give(found[number % len(found)], seed, number, options.only, Path(folder), tally)
            number += 1
    for peer in options.only:
        counts = ", ".join(f"{tally.total(peer, name)} {name}" for name in (*OUTCOMES, JUDGED, UNJUDGED))
        print(f"{peer}: {tally.total(peer)} inputs: {counts}")
    if options.tally:
        tally.add_to(options.tally)
    return 0


def _give(seed: Seed, campaign: int, number: int, peers: Sequence[str], work: Path, tally: Tally) -> None:
    """Give one input to each converter. What is no file is left out: a pipe in the folder stops most of them for ever."""
    files, _ = spoilt(dict(seed.files), drawn(seed.name, dict(seed.files), campaign, number))
    plain: Files = {name: content for name, content in files.items() if not isinstance(content, Special)}
    for peer in peers:
        outcome = run_peer(peer, plain, work, Limits())
        if outcome.name == CRASH and run_peer(peer, plain, work, Limits(memory=8 * GIB)).name != CRASH:
            outcome = Outcome(MEMORY, "ended for want of memory")  # a program that does not look may die of our limit
        tally.count(peer, seed.name, outcome)


if __name__ == "__main__":
    sys.exit(main())
