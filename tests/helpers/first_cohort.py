"""A made tree and the undisturbed run of it, which every other run must equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.core.findings import Exit
from tests.helpers.cohort_run import CohortRunner, Ended, tree_of
from tests.helpers.made_cohort import MadeCohort, make_cohort

QUICK = ("--crosscheck", "off", "--session", "folder:2")  # the witnesses have tests of their own


class First(NamedTuple):
    """A tree, and the undisturbed run of it."""

    made: MadeCohort
    out: Path
    ended: Ended
    tree: dict[str, str]


@contextmanager
def open_runner(scratch: Path) -> Iterator[CohortRunner]:
    """A runner whose runs must leave no process behind."""
    made = CohortRunner(scratch)
    yield made
    assert made.end_leftovers() == [], "a run left processes behind"


def run_first(folder: Path, runner: CohortRunner) -> First:
    """Make a tree and run the command on it; the files it opened are listed."""
    made, out = make_cohort(folder / "in"), folder / "out"
    ended = runner.run(made.root, "-o", out, *QUICK, watch=made.root)
    assert ended.code == Exit.PARTLY_DONE, ended.text
    return First(made, out, ended, tree_of(out))
