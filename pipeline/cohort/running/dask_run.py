"""Make the cases of a plan on a Dask cluster whose workers share the folders with us, and give the results as they end.

Rules:
- Before work starts, every worker shows that it has what the results depend on in the same version, and that it sees the plan,
  the output folder and the inputs. One that does not is refused by name.
- No more cases are submitted than a few for each thread of the workers: a plan of a million stays here.
- A worker that dies costs its cases a retry, which is Dask's, and results that it held are asked for again. A case whose process
  ends, or whose workers die again and again, is tried once more alone, and refused by name where that ends too.
- However the work ends, the cluster is given back: what was submitted is cancelled, what runs is ended.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import Any

from ...core.extras import imported
from ...core.findings import Code, PipelineError, refuse
from ...core.team import ProcessEnd
from ...core.workers import BackgroundCall
from ..case import CaseResult
from ..making.make_case import make_case
from ..plan import CohortPlan
from .dask_worker import ClusterRun, all_versions, end_processes, host_of, look_at_worker, make_on_worker
from .processes import Attempt, CasePlaces, MakeCase, NumberedResult, case_title, with_retry

_CONNECT_S = 5.0  # for the scheduler to answer
_WORKERS_S = 60.0  # for a first worker, or another one when the last has gone
_TURN_S = 1.0  # between two looks at the workers
_AHEAD = 2  # cases submitted for each thread of the workers: one that runs, and one that waits for it
_LOSSES = 5  # of one case, with workers that died, before it is taken for the reason
_PATIENCE_S = 10.0  # for the cluster to end what it does for us, and to give a result


class DaskCluster:
    """A cluster, connected on entering and given back on leaving."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Any = None

    def __enter__(self) -> DaskCluster:
        """Connect. Raises NO_CLUSTER_PACKAGE, and NO_CLUSTER where no scheduler answers within seconds."""
        distributed = imported("cluster", "distributed")
        try:
            self._client = distributed.Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        except Exception as error:  # of the network, of TLS, of another program that answers there
            raise self._unreachable(f"no Dask scheduler answers at {self._address}", error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        BackgroundCall(partial(self._client.close, timeout=_PATIENCE_S)).wait(_PATIENCE_S)

    def make_cases(
        self, plan: Path, numbers: Iterable[int], out: Path, *, places: CasePlaces, make: MakeCase, sample: Path
    ) -> Iterator[NumberedResult]:
        """Make cases.

        Args:
            plan: the file of the plan.
            numbers: of the cases in it.
            out: the output folder.
            places: where each of them belongs, by number.
            make: makes a case; a function of a module, which the workers import.
            sample: any file of the inputs.

        Returns: each number with its result or what refuses it, as they end.

        Raises: PipelineError NO_CLUSTER, UNFIT_WORKER.
        """
        self._wait_for_workers()
        hosts = Counter(host for address, threads in self._threads().items() for host in [host_of(address)] * threads)
        run = ClusterRun(
            f"verimask-{os.urandom(8).hex()}", make, plan.resolve(), out.resolve(), sample, all_versions(), dict(hosts)
        )
        try:
            self._refuse_unfit(run)
            yield from with_retry(partial(self._attempts, run, places), list(numbers), 0, places)
        finally:
            self._on_workers(end_processes, run)

    def _attempts(
        self, run: ClusterRun, places: CasePlaces, numbers: Sequence[int], at_a_time: int
    ) -> Iterator[Attempt]:
        """Submit cases, and yield what comes of each. at_a_time: 1 for one alone, else as many as the workers have room for."""
        left, running, lost = deque(numbers), dict[Any, int](), Counter[int]()
        ended: SimpleQueue[Any] = SimpleQueue()
        try:
            while left or running:
                names = [case_title(places[number]) for number in running.values()]
                room = at_a_time or self._wait_for_workers(names) * _AHEAD
                while left and len(running) < room:
                    number = left.popleft()
                    key = f"{run.name}-{number}-{os.urandom(4).hex()}"
                    submit = partial(self._client.submit, make_on_worker, run, number, key=key, pure=False)
                    future = submit(alone=at_a_time == 1)
                    running[future] = number
                    future.add_done_callback(ended.put)
                with suppress(Empty):
                    ended.get(timeout=_TURN_S)
                for future in [future for future in running if future.done()]:
                    number, end = running.pop(future), self._end_of(future)
                    lost[number] += end is None
                    if end is None and lost[number] < _LOSSES:
                        left.appendleft(number)  # where it was made, that is found
                    else:
                        yield number, end or ProcessEnd("was lost with its worker again and again")
        finally:
            if running:
                BackgroundCall(partial(self._client.cancel, list(running), force=True)).wait(_PATIENCE_S)

    def _end_of(self, future: Any) -> CaseResult | PipelineError | ProcessEnd | None:
        """What came of a case; None where that was lost with the worker that had it. Raises UNFIT_WORKER."""
        if future.status == "error":
            error = future.exception()
            if isinstance(error, imported("cluster", "distributed.scheduler").KilledWorker):
                return ProcessEnd("ended with every worker that had it (Dask: KilledWorker)")
            raise _unfit("a worker that joined later", error)
        if future.status != "finished":
            return None
        try:
            return future.result(timeout=_PATIENCE_S)  # type: ignore[no-any-return]
        except (Exception, asyncio.CancelledError):  # its worker is gone, with the result
            return None

    def _wait_for_workers(self, names: Sequence[str] = ()) -> int:
        """The threads of all workers, once there are any. names: of cases that were given out. Raises NO_CLUSTER."""
        end = monotonic() + _WORKERS_S
        while not (threads := sum(self._threads().values())):
            if monotonic() > end:
                what = f"no worker has been there for {_WORKERS_S:.0f} s"
                raise self._unreachable(f"{what}; it had {', '.join(names)}" if names else what)
            with suppress(TimeoutError):
                self._client.wait_for_workers(1, timeout=_TURN_S)
        return threads

    def _threads(self) -> dict[str, int]:
        try:
            return dict(self._client.nthreads())
        except Exception as error:
            raise self._unreachable("the connection to the scheduler is lost", error) from error

    def _refuse_unfit(self, run: ClusterRun) -> None:
        looked = self._client.run(look_at_worker, run, on_error="return")
        problems = [(address, problem) for address, problem in sorted(looked.items()) if problem]
        if problems:
            raise _unfit(*problems[0], len(problems) - 1)

    def _on_workers(self, function: Any, run: ClusterRun) -> None:
        BackgroundCall(partial(self._client.run, function, run, on_error="ignore")).wait(_PATIENCE_S)

    def _unreachable(self, what: str, error: Exception | None = None) -> PipelineError:
        reason = f" ({error})" if error is not None and str(error) else ""
        return refuse(
            Code.NO_CLUSTER,
            f"{what}{reason}",
            "Cases that were made are kept: run again when the cluster is there. Start one with dask scheduler, and dask worker "
            "ADDRESS on every machine, in the environment of this command; or use --jobs here.",
            where=(self._address,),
        )


def make_on_cluster(address: str) -> Callable[[CohortPlan, Sequence[int], Path], Iterator[NumberedResult]]:
    """Return what makes the cases of a plan on a cluster. address: of its scheduler."""

    def make(plan: CohortPlan, numbers: Sequence[int], out: Path) -> Iterator[NumberedResult]:
        places = {number: plan.case(number).place for number in numbers}
        sample = Path(plan.case(numbers[0]).images[0].files[0].path)
        with DaskCluster(address) as cluster:
            yield from cluster.make_cases(plan.path, numbers, out, places=places, make=make_case, sample=sample)

    return make


def require_cluster(address: str) -> None:
    """See that a scheduler answers, before anything is read. Raises NO_CLUSTER_PACKAGE, NO_CLUSTER."""
    with DaskCluster(address):
        pass


def _unfit(worker: str, problem: Any, others: int = 0) -> PipelineError:
    """Refuse a worker. problem: its own words, or the error that came instead. others: workers that are unfit too."""
    words = problem if isinstance(problem, str) else f"{type(problem).__name__}: {problem}"
    more = f" (and {others} more workers cannot either)" if others else ""
    return refuse(
        Code.UNFIT_WORKER,
        f"the Dask worker {worker} cannot make cases: {words}{more}",
        "Start every worker in the same environment as this command, with the folders of the inputs and of the output at the same "
        "paths.",
        where=(worker,),
    )
