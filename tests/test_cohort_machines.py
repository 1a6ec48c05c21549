"""Cases that are made in several processes, in parts and on a cluster: each once, whatever becomes of who makes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.cohort.case import CaseResult, Place
from pipeline.cohort.running.processes import make_cases_in_processes
from pipeline.core.findings import Code, PipelineError
from tests.helpers.made_cases import make
from tests.test_jobs import LONGEST_S, ROOT, children_of, is_gone, wait_for


def places_of(count: int, a_subject: int = 3) -> list[Place]:
    return [Place(f"sub-{n // a_subject:02}", "", f"case-{n:03}", alone=False) for n in range(count)]


def planned(out: Path, places: Sequence[Place], does: Mapping[int, str] | None = None) -> Path:
    """A plan of cases that do what is asked of them by number, and else write a file."""
    lines = []
    for number, place in enumerate(places):
        row = {"Place": list(place), "Does": (does or {}).get(number, "")}
        lines.append(json.dumps({"Key": sha256(json.dumps(row).encode()).hexdigest(), **row}))
    text = "".join(f"{line}\n" for line in lines)
    plan = out / ".verimask" / "plans" / f"{sha256(text.encode()).hexdigest()}.jsonl"
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_text(text, "utf-8")
    return plan


def in_processes(
    out: Path, places: Sequence[Place], jobs: int, does: Mapping[int, str] | None = None
) -> dict[int, object]:
    plan = planned(out, places, does)
    ends = list(make_cases_in_processes(plan, range(len(places)), out, jobs, places=places, make=make))
    assert len({number for number, _ in ends}) == len(ends)
    return dict(ends)


def made_by(out: Path) -> dict[int, list[int]]:
    """The processes that began a case, by its number."""
    by: dict[int, list[int]] = {}
    for line in (out / "made.log").read_text("utf-8").splitlines():
        number, process = map(int, line.split())
        by.setdefault(number, []).append(process)
    return by


def work_left(out: Path) -> list[Path]:
    return list((out / ".verimask" / "work" / "run").iterdir())


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


def test_cases_of_one_subject_are_made_by_one_process(tmp_path: Path) -> None:
    in_processes(tmp_path, places_of(12, 6), 2, dict.fromkeys(range(12), "sleep"))
    by = made_by(tmp_path)
    assert len({by[n][0] for n in range(6)}) == len({by[n][0] for n in range(6, 12)}) == 1
    assert by[0] != by[6]


def test_a_subject_of_many_cases_keeps_nobody_idle(tmp_path: Path) -> None:
    in_processes(tmp_path, places_of(6, 6), 2, dict.fromkeys(range(6), "sleep"))
    assert len({processes[0] for processes in made_by(tmp_path).values()}) == 2


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
from tests.test_cohort_machines import in_processes, places_of
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
