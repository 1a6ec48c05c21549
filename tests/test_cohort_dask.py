"""Cases that are made on a real Dask cluster on this machine: a scheduler and workers, some of which die."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Thread

import pytest

from pipeline.cohort.case import CaseResult
from pipeline.cohort.running import dask_run
from pipeline.cohort.running.dask_run import DaskCluster, require_cluster
from pipeline.core.findings import Code, PipelineError
from tests.helpers.made_cases import make
from tests.test_cohort_machines import made_by, places_of, planned, work_left
from tests.test_jobs import LONGEST_S, ROOT, children_of, is_gone, wait_for

pytest.importorskip("distributed")
Start = Callable[..., subprocess.Popen[bytes]]
PRELOADED = {
    "version": "import verimask.core.version as v\nv.__version__ = '0.0.9'\n",
    "package": "import sys\nsys.modules['verimask.cohort.running.dask_worker'] = None\n",
}


@pytest.fixture
def programs() -> Iterator[list[subprocess.Popen[bytes]]]:
    """The programs of Dask that run, in the order of their start; all of them end with the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in reversed(started):
        process.kill()
        process.wait()


@pytest.fixture
def start(tmp_path: Path, programs: list[subprocess.Popen[bytes]]) -> Start:
    """Starts a program of Dask."""

    def start_one(program: str, *arguments: str) -> subprocess.Popen[bytes]:
        given = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *arguments]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "DASK_LOGGING__DISTRIBUTED": "critical",
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",  # workers that a case may end, before it is given up
        }
        log = tmp_path / f"{program}-{len(programs)}.log"
        with log.open("wb") as file:
            programs.append(subprocess.Popen(given, cwd=tmp_path, env=environment, stdout=file, stderr=file))
        return programs[-1]

    return start_one


@pytest.fixture
def scheduler(start: Start, tmp_path: Path) -> str:
    """The address of a scheduler."""
    file = tmp_path / "scheduler.json"
    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    wait_for(lambda: file.exists() and file.read_text("utf-8").endswith("}"))
    return str(json.loads(file.read_text("utf-8"))["address"])


def start_worker(start: Start, scheduler: str, *options: str) -> subprocess.Popen[bytes]:
    return start("worker", scheduler, "--nthreads", "1", "--no-nanny", *options)


def on_cluster(out: Path, scheduler: str, count: int, does: Mapping[int, str], workers: int = 1) -> dict[int, object]:
    places = places_of(count)
    plan = planned(out, places, does)
    with DaskCluster(scheduler) as cluster:
        if workers:
            cluster._client.wait_for_workers(workers, timeout=LONGEST_S)
        ends = list(cluster.make_cases(plan, range(count), out, places=places, make=make, sample=plan))
    assert len({number for number, _ in ends}) == len(ends)
    return dict(ends)


def test_two_workers_of_which_one_is_killed_make_every_case(start: Start, scheduler: str, tmp_path: Path) -> None:
    """Both hang in a case; one is killed, and the other one makes what it had, a case that ends its process among it."""
    first, second = (start_worker(start, scheduler) for _ in range(2))
    pids: list[int] = []

    def kill_first() -> None:
        try:
            wait_for(lambda: all((tmp_path / f"tried-{n}").exists() for n in (0, 1)))
            pids.extend(children_of(first.pid, "running.worker"))
        finally:  # or the test would wait for ever
            first.send_signal(signal.SIGKILL)
            (tmp_path / "go").touch()

    killing = Thread(target=kill_first, daemon=True)
    killing.start()
    ends = on_cluster(tmp_path, scheduler, 9, {0: "wait", 1: "wait", 4: "die once", 6: "refuse", 7: "die"}, workers=2)
    killing.join()
    assert sorted(ends) == list(range(9))
    refused, poisoned = ends.pop(6), ends.pop(7)
    assert {type(end) for end in ends.values()} == {CaseResult}, ends
    assert isinstance(refused, PipelineError)
    assert refused.finding.code is Code.CANNOT_WRITE
    assert isinstance(poisoned, PipelineError)
    assert poisoned.finding.code is Code.PROCESS_ENDED
    assert poisoned.finding.where == ("sub-02 case-007",)
    counts = {number: len(processes) for number, processes in made_by(tmp_path).items()}
    assert {n: counts[n] for n in (2, 3, 4, 5, 6, 7, 8)} == {2: 1, 3: 1, 4: 2, 5: 1, 6: 1, 7: 2, 8: 1}
    assert sorted((counts[0], counts[1])) == [1, 2]
    assert len(pids) == 1
    wait_for(lambda: all(map(is_gone, pids)))
    assert children_of(second.pid, "running.worker") == []
    assert work_left(tmp_path) == []


def test_a_case_that_ends_every_worker_is_named(start: Start, scheduler: str, tmp_path: Path) -> None:
    for _ in range(2):  # each ends with its worker, and the nanny starts another one
        start("worker", scheduler, "--nthreads", "1")
    ends = on_cluster(tmp_path, scheduler, 4, {2: "end the worker"}, workers=2)
    poisoned = ends.pop(2)
    assert {type(end) for end in ends.values()} == {CaseResult}, ends
    assert sorted(ends) == [0, 1, 3]
    assert isinstance(poisoned, PipelineError)
    assert "sub-00 case-002" in poisoned.finding.message
    assert "KilledWorker" in poisoned.finding.message


@pytest.mark.parametrize("what", ["version", "input", "folder", "package"])
def test_a_worker_that_cannot_make_cases_is_refused_by_name(
    start: Start, scheduler: str, tmp_path: Path, what: str
) -> None:
    options: tuple[str, ...] = ()
    if what in PRELOADED:
        (tmp_path / "other.py").write_text(PRELOADED[what], "utf-8")
        options = ("--preload", str(tmp_path / "other.py"))
    start_worker(start, scheduler)
    start_worker(start, scheduler, *options)
    out = tmp_path / "out"
    plan = planned(out, places_of(2))
    sample = tmp_path / "missing.dcm" if what == "input" else plan
    if what == "folder":
        plan.rename(plan.with_suffix(".moved"))
    with DaskCluster(scheduler) as cluster:
        cluster._client.wait_for_workers(2, timeout=LONGEST_S)
        with pytest.raises(PipelineError) as refused:
            list(cluster.make_cases(plan, range(2), out, places=places_of(2), make=make, sample=sample))
    finding = refused.value.finding
    assert finding.code is Code.UNFIT_WORKER
    words = {
        "version": "verimask is 0.0.9 there and",
        "input": "missing.dcm",
        "folder": "output folder",
        "package": "running.dask_worker",
    }
    assert words[what] in finding.message
    assert finding.where[0].startswith("tcp://127.0.0.1:")
    assert not (out / "made.log").exists()


def test_a_scheduler_that_is_not_there_is_refused_within_seconds() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    before = time.monotonic()
    with pytest.raises(PipelineError) as refused, DaskCluster(address):
        pass
    assert time.monotonic() - before < 2 * dask_run._CONNECT_S
    assert refused.value.finding.code is Code.NO_CLUSTER
    assert refused.value.finding.where == (address,)


def test_no_worker_is_refused(scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_run, "_WORKERS_S", 1.0)
    with pytest.raises(PipelineError) as refused:
        on_cluster(tmp_path, scheduler, 1, {}, workers=0)
    assert refused.value.finding.code is Code.NO_CLUSTER
    assert "no worker" in refused.value.finding.message


def test_work_that_is_broken_off_is_ended_on_the_cluster(start: Start, scheduler: str, tmp_path: Path) -> None:
    worker = start_worker(start, scheduler)
    places = places_of(4)
    plan = planned(tmp_path, places, {1: "wait"})
    with DaskCluster(scheduler) as cluster:
        ends = cluster.make_cases(plan, range(4), tmp_path, places=places, make=make, sample=plan)
        assert next(ends)[0] == 0
        wait_for((tmp_path / "tried-1").exists)
        pids = children_of(worker.pid, "running.worker")
        ends.close()  # type: ignore[attr-defined]  # what Ctrl-C does to a generator
    wait_for(lambda: all(map(is_gone, pids)))
    assert len(pids) == 1
    assert work_left(tmp_path) == []
    assert sorted(made_by(tmp_path)) == [0, 1]


def test_a_scheduler_that_ends_is_refused_and_loses_nothing(
    start: Start, scheduler: str, tmp_path: Path, programs: list[subprocess.Popen[bytes]]
) -> None:
    start_worker(start, scheduler)
    places = places_of(4)
    plan = planned(tmp_path, places, {1: "wait"})
    with DaskCluster(scheduler) as cluster:
        ends = cluster.make_cases(plan, range(4), tmp_path, places=places, make=make, sample=plan)
        assert next(ends)[0] == 0
        wait_for((tmp_path / "tried-1").exists)
        programs[0].kill()
        before = time.monotonic()
        with pytest.raises(PipelineError) as refused:
            list(ends)
    assert time.monotonic() - before < LONGEST_S
    assert refused.value.finding.code is Code.NO_CLUSTER
    assert len(list((tmp_path / ".verimask" / "done").iterdir())) == 1


def test_a_missing_package_is_said_before_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PipelineError) as refused:
        require_cluster("tcp://127.0.0.1:9")
    assert refused.value.finding.code is Code.NO_CLUSTER_PACKAGE
    assert "verimask[cluster]" in refused.value.finding.hint
