"""Cases that are made on a real Dask cluster on this machine: a scheduler and workers, some of which die."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipeline.cohort.case import CaseResult
from pipeline.cohort.running import dask_run
from pipeline.cohort.running.dask_run import DaskCluster, require_cluster
from pipeline.core.findings import Code, PipelineError
from tests.helpers.dask_programs import DaskPrograms
from tests.helpers.made_cases import made_by, make, places_of, planned, work_left
from tests.helpers.watching import LONGEST_S, children_of, is_gone, wait_for

distributed = pytest.importorskip("distributed")
PRELOADED = {
    "version": "import verimask.core.version as v\nv.__version__ = '0.0.9'\n",
    "package": "import sys\nsys.modules['verimask.cohort.running.dask_worker'] = None\n",
}


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[DaskPrograms]:
    """A cluster without workers yet."""
    with DaskPrograms(tmp_path) as programs:
        yield programs


def on_cluster(out: Path, scheduler: str, count: int, does: Mapping[int, str], workers: int = 1) -> dict[int, object]:
    places = places_of(count)
    plan = planned(out, places, does)
    with DaskCluster(scheduler) as cluster:
        if workers:
            cluster._client.wait_for_workers(workers, timeout=LONGEST_S)
        ends = list(cluster.make_cases(plan, range(count), out, places=places, make=make, sample=plan))
    assert len({number for number, _ in ends}) == len(ends)
    return dict(ends)


def test_two_workers_of_which_one_is_killed_make_every_case(dask: DaskPrograms, tmp_path: Path) -> None:
    """Both hang in a case; one is killed, and the other one makes what it had, a case that ends its process among it."""
    first, second = (dask.start_worker() for _ in range(2))
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
    ends = on_cluster(
        tmp_path, dask.address, 9, {0: "wait", 1: "wait", 4: "die once", 6: "refuse", 7: "die"}, workers=2
    )
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


def test_a_case_that_ends_every_worker_is_named(dask: DaskPrograms, tmp_path: Path) -> None:
    for _ in range(2):  # each ends with its worker, and the nanny starts another one
        dask.start_worker(nanny=True)
    ends = on_cluster(tmp_path, dask.address, 4, {2: "end the worker"}, workers=2)
    poisoned = ends.pop(2)
    assert {type(end) for end in ends.values()} == {CaseResult}, ends
    assert sorted(ends) == [0, 1, 3]
    assert isinstance(poisoned, PipelineError)
    assert "sub-00 case-002" in poisoned.finding.message
    assert "KilledWorker" in poisoned.finding.message


@pytest.mark.parametrize("what", ["version", "input", "folder", "package"])
def test_a_worker_that_cannot_make_cases_is_refused_by_name(dask: DaskPrograms, tmp_path: Path, what: str) -> None:
    options: tuple[str, ...] = ()
    if what in PRELOADED:
        (tmp_path / "other.py").write_text(PRELOADED[what], "utf-8")
        options = ("--preload", str(tmp_path / "other.py"))
    dask.start_worker()
    dask.start_worker(*options)
    out = tmp_path / "out"
    plan = planned(out, places_of(2))
    sample = tmp_path / "missing.dcm" if what == "input" else plan
    if what == "folder":
        plan.rename(plan.with_suffix(".moved"))
    with DaskCluster(dask.address) as cluster:
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


def test_a_scheduler_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for as long as `_CONNECT_S` says, and no longer: the client is given that time."""
    given: list[Any] = []
    client = distributed.Client

    def connect(*arguments: Any, **options: Any) -> Any:
        given.append(options["timeout"])
        return client(*arguments, **options)

    monkeypatch.setattr(distributed, "Client", connect)
    monkeypatch.setattr(dask_run, "_CONNECT_S", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(PipelineError) as refused, DaskCluster(address):
        pass
    assert given == [0.5]
    assert refused.value.finding.code is Code.NO_CLUSTER
    assert refused.value.finding.where == (address,)


def test_no_worker_is_refused(dask: DaskPrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_run, "_WORKERS_S", 1.0)
    with pytest.raises(PipelineError) as refused:
        on_cluster(tmp_path, dask.address, 1, {}, workers=0)
    assert refused.value.finding.code is Code.NO_CLUSTER
    assert "no worker" in refused.value.finding.message


def test_work_that_is_broken_off_is_ended_on_the_cluster(dask: DaskPrograms, tmp_path: Path) -> None:
    worker = dask.start_worker()
    places = places_of(4)
    plan = planned(tmp_path, places, {1: "wait"})
    with DaskCluster(dask.address) as cluster:
        ends = cluster.make_cases(plan, range(4), tmp_path, places=places, make=make, sample=plan)
        assert next(ends)[0] == 0
        wait_for((tmp_path / "tried-1").exists)
        pids = children_of(worker.pid, "running.worker")
        ends.close()  # type: ignore[attr-defined]  # what Ctrl-C does to a generator
    wait_for(lambda: all(map(is_gone, pids)))
    assert len(pids) == 1
    assert work_left(tmp_path) == []
    assert sorted(made_by(tmp_path)) == [0, 1]


def test_a_scheduler_that_ends_is_refused_and_loses_nothing(dask: DaskPrograms, tmp_path: Path) -> None:
    dask.start_worker()
    places = places_of(4)
    plan = planned(tmp_path, places, {1: "wait"})
    with DaskCluster(dask.address) as cluster:
        ends = cluster.make_cases(plan, range(4), tmp_path, places=places, make=make, sample=plan)
        assert next(ends)[0] == 0
        wait_for((tmp_path / "tried-1").exists)
        dask.programs[0].kill()
        with pytest.raises(PipelineError) as refused:
            list(ends)
    assert refused.value.finding.code is Code.NO_CLUSTER
    assert len(list((tmp_path / ".verimask" / "done").iterdir())) == 1


def test_a_missing_package_is_said_before_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PipelineError) as refused:
        require_cluster("tcp://127.0.0.1:9")
    assert refused.value.finding.code is Code.NO_CLUSTER_PACKAGE
    assert "verimask[cluster]" in refused.value.finding.hint
