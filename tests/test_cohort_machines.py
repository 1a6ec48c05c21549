"""Cases that are made in several processes, in parts and on a cluster: each once, whatever becomes of who makes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.cohort.case import CaseResult, Place
from pipeline.cohort.running.processes import _CaseTasks, make_cases_in_processes
from pipeline.core.findings import Code, PipelineError
from tests.helpers.made_cases import made_by, make, places_of, planned, work_left
from tests.helpers.watching import LONGEST_S, ROOT, children_of, is_gone, wait_for


def in_processes(
    out: Path, places: Sequence[Place], jobs: int, does: Mapping[int, str] | None = None
) -> dict[int, object]:
    plan = planned(out, places, does)
    ends = list(make_cases_in_processes(plan, range(len(places)), out, jobs, places=places, make=make))
    assert len({number for number, _ in ends}) == len(ends)
    return dict(ends)


@pytest.mark.parametrize("jobs", [1, 2, 3, 9])
def test_every_case_is_made_once_by_any_number_of_processes(tmp_path: Path, jobs: int) -> None:
    ends = in_processes(tmp_path, places_of(7), jobs, {5: "refuse", 6: "bug"})
    assert sorted(ends) == list(range(7))
    assert {number for number, end in ends.items() if isinstance(end, CaseResult)} == set(range(5))
    refused, bug = ends[5], ends[6]
    assert isinstance(refused, PipelineError)
    assert refused.finding.code is Code.CANNOT_WRITE
    assert isinstance(bug, PipelineError)
    assert bug.finding.code is Code.UNEXPECTED
    assert {number: len(by) for number, by in made_by(tmp_path).items()} == dict.fromkeys(range(7), 1)
    assert len(list((tmp_path / ".verimask" / "done").iterdir())) == 5


def taken(places: Sequence[Place], turns: str) -> dict[str, list[int]]:
    """The cases that each process takes. turns: whose turn it is, one letter each, till nothing is left."""
    tasks = _CaseTasks((make, Path(), Path()), places, range(len(places)), len(set(turns)))
    by: dict[str, list[int]] = {}
    for process in turns:
        number = tasks.take(by[process][-1] if process in by else None)
        assert number is not None
        by.setdefault(process, []).append(number)
    assert tasks.take(by[turns[-1]][-1]) is None
    return by


@pytest.mark.parametrize("turns", ["abababab", "abbbbaaa", "aabbbbaa"])
def test_cases_of_one_subject_are_made_by_one_process(turns: str) -> None:
    """Whoever is the faster one."""
    assert taken(places_of(8, 4), turns) == {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]}


def test_who_has_made_a_subject_goes_on_with_the_next() -> None:
    assert taken(places_of(9, 3), "abaabbaaa") == {"a": [0, 1, 2, 6, 7, 8], "b": [3, 4, 5]}


def test_a_subject_of_many_cases_keeps_nobody_idle() -> None:
    """The one who has nothing takes the last of what is left."""
    by = taken(places_of(6, 6), "ababab")
    assert by["a"] == [0, 1, 2]
    assert sorted(by["b"]) == [3, 4, 5]


def test_a_process_that_dies_costs_its_case_a_retry(tmp_path: Path) -> None:
    ends = in_processes(tmp_path, places_of(6), 2, {1: "die once", 4: "die"})
    poisoned = ends.pop(4)
    assert all(isinstance(end, CaseResult) for end in ends.values())
    assert sorted(ends) == [0, 1, 2, 3, 5]
    assert isinstance(poisoned, PipelineError)
    assert poisoned.finding.code is Code.PROCESS_ENDED
    assert poisoned.finding.where == ("sub-01 case-004",)
    assert poisoned.finding.message.startswith("sub-01 case-004: the process that made it was killed by SIGKILL, and")
    by = made_by(tmp_path)
    assert {number: len(processes) for number, processes in by.items()} == {0: 1, 1: 2, 2: 1, 3: 1, 4: 2, 5: 1}
    last = by.pop(4)[1]
    assert all(last not in processes for processes in by.values())  # a fresh one, that made nothing else
    assert work_left(tmp_path) == []
    assert children_of(os.getpid(), "running.worker") == []


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.helpers.made_cases import places_of
from tests.test_cohort_machines import in_processes
in_processes(Path(sys.argv[2]), places_of(6), 2, {2: "wait", 3: "wait"})
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_work_that_is_broken_off_leaves_no_process(tmp_path: Path, sent: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, "utf-8")
    process = subprocess.Popen([sys.executable, str(script), str(ROOT), str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: all((tmp_path / f"tried-{n}").exists() for n in (2, 3)))
        pids = children_of(process.pid, "running.worker")
        assert len(pids) == 2
        process.send_signal(sent)
        assert process.wait(LONGEST_S) == -sent
        wait_for(lambda: all(map(is_gone, pids)))
        if sent is signal.SIGINT:
            assert work_left(tmp_path) == []
    finally:
        process.kill()
        process.wait()
