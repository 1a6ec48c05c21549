"""Convert 1 000 made series, kill the run 20 times, change things, and print a table of what held and what it took.

Rules:
- Every kill is a SIGKILL of the whole process group at a moment that is drawn; the seed is fixed and the machine is not, so no
  two trials are killed at the same place.
- A line that says "no" ends the trial with exit code 1.

`python -m tests.helpers.cohort_trial [SERIES] [KILLS] [--jobs N]`
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.helpers.cohort_run import CohortRunner, difference_of, found_in, left_in_work, stamps_of, tree_of
from tests.helpers.cohort_truth import files_not_once, other_headers, wrong_in
from tests.helpers.made_cohort import MadeCohort, make_cohort

_OPTIONS = ("--crosscheck", "off", "--session", "folder:2")
_LARGEST_SHARE = 0.02  # of the first run, for a second one over an unchanged tree


class Trial:
    """One tree, and the lines of the table."""

    def __init__(self, folder: Path, series: int, jobs: int) -> None:
        self.folder, self.jobs, self.failed = folder, str(jobs), False
        self.runner = CohortRunner(folder / "scratch")
        self.made = make_cohort(folder / "in", series)
        self.out = folder / "out"

    def say(self, what: str, wrong: Sequence[object] = (), note: str = "") -> None:
        """Print a line of the table. wrong: what does not hold, nothing where all does."""
        self.failed |= bool(wrong)
        print(f"| {what} | {'no' if wrong else 'yes'} | {note} |", flush=True)
        for line in wrong[:20]:
            print(f"    {line}", flush=True)

    def undisturbed(self) -> float:
        """The first run, and a second one over the same tree."""
        first = self.runner.run(self.made.root, "-o", self.out, "--jobs", self.jobs, *_OPTIONS)
        self.tree = tree_of(self.out)
        made: MadeCohort = self.made
        self.say(f"{len(made.series)} series, {len(made.files)} files", () if first.code == 8 else [first.text[-2000:]],
                 f"{first.seconds:.1f} s, exit {first.code}")  # fmt: skip
        self.say("status, code, link and voxels of every series as its maker expects", wrong_in(made, self.out))
        self.say("every input file in one row of the index", files_not_once(made.files, self.out))
        self.say("headers of image and mask equal bit for bit", other_headers(self.out))
        self.say("no Patient ID and no name anywhere", found_in(self.out, made.identifiers))
        before = stamps_of(self.out)
        second = self.runner.run(made.root, "-o", self.out, "--jobs", self.jobs, *_OPTIONS)
        rewritten = [p for p in difference_of(before, stamps_of(self.out)) if p.endswith(".nii.gz")]
        self.say("a second run makes nothing", rewritten + difference_of(self.tree, tree_of(self.out)))
        share = second.seconds / first.seconds
        self.say("a second run takes under 2 % of the first", [f"{share:.1%}"] if share >= _LARGEST_SHARE else (),
                 f"{second.seconds:.2f} s, {share:.1%}")  # fmt: skip
        return first.seconds

    def killed(self, kills: int, seconds: float) -> None:
        """Kill runs until it was done so often, each time over what the one before left."""
        wrong: list[object] = []
        draw, killed, ended = random.Random(15), 0, 0
        out = self.folder / "killed" / "out"
        while killed < kills:
            end = time.monotonic() + draw.uniform(0.5, seconds / 3)
            stopped = self.runner.stop(
                self.made.root, "-o", out, "--jobs", self.jobs, *_OPTIONS, when=partial(_is_past, end)
            )
            if stopped.code == -signal.SIGKILL:
                killed += 1
                continue
            wrong += difference_of(tree_of(out), self.tree) + left_in_work(out)
            ended += 1
            shutil.rmtree(out)
        self.runner.run(self.made.root, "-o", out, "--jobs", self.jobs, *_OPTIONS)
        wrong += difference_of(tree_of(out), self.tree) + left_in_work(out)
        note = f"{ended + 1} runs to the end"
        self.say(f"killed {killed} times and resumed: byte for byte the undisturbed tree", wrong, note)
        shutil.rmtree(out)

    def shared_out(self, parts: int) -> None:
        """Plan, run every part, merge."""
        out = self.folder / f"parts-{parts}" / "out"  # called as the first is: its name may be in the data set
        text = self.runner.run("plan", self.made.root, "-o", out, *_OPTIONS).text
        plan = next(Path(word) for line in text.splitlines()[::-1] for word in line.split() if Path(word).is_file())
        for number in range(parts, 0, -1):
            self.runner.run("run", plan, "--part", f"{number}/{parts}")
        self.runner.run("merge", plan)
        self.say(f"{parts} parts give the same tree", difference_of(tree_of(out), self.tree))
        shutil.rmtree(out)


def _is_past(end: float) -> bool:
    return time.monotonic() >= end


def main() -> int:
    """Run the trial; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("series", nargs="?", type=int, default=1000)
    parser.add_argument("kills", nargs="?", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--parts", type=int, nargs="*", default=[7])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), asked.series, asked.jobs)
        print("| what | holds | |\n|---|---|---|", flush=True)
        seconds = trial.undisturbed()
        trial.killed(asked.kills, seconds)
        for parts in asked.parts:
            trial.shared_out(parts)
    return int(trial.failed)


if __name__ == "__main__":
    sys.exit(main())
