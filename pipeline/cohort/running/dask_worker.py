"""Make cases on a worker of a Dask cluster: each in a process of ours that the worker keeps, and outlives.

Rules:
- A task of Dask is a thread, and a worker may have many: a case needs a process of its own, for its memory and its speed.
  One that dies costs the worker nothing, and it is known which case it had.
- A process belongs to one run. It ends with the run, with its worker, and with a case that was tried again.
- A worker is looked at before it makes its first case, also one that joined when the run had begun.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from ...conversion.record import versions
from ...core.atomic_file import drop_partial, new_partial
from ...core.extras import imported
from ...core.findings import PipelineError
from ...core.regular_file import read_bytes
from ...core.team import Member, ProcessEnd, pickled
from ...core.team_worker import RESULT
from ...core.version import __version__
from ...dicom.source_file import open_source
from ..case import CaseResult
from ..making.case_folder import remove_work

_PATIENCE_S = 4.0  # for a process to clear up and end by itself


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """What holds for all cases of a run.

    name: its own. make: makes a case. sample: a file of the inputs, by which a worker shows that it sees them. versions: of what
    the results depend on, where the run was started. sharing: by host, how many processes work there at a time.
    """

    name: str
    make: Callable[[Path, int, Path], CaseResult]
    plan: Path
    out: Path
    sample: Path
    versions: dict[str, str]
    sharing: dict[str, int]


class UnfitWorker(Exception):
    """A worker cannot make cases; its text says why."""


def all_versions() -> dict[str, str]:
    """Of verimask, Python and the packages that a result may depend on."""
    return {**versions(), "verimask": __version__}


class _Processes:
    """The processes of every run: all that live, and those that have nothing to do."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._all: dict[str, set[Member]] = defaultdict(set)
        self._idle: dict[str, list[Member]] = defaultdict(list)
        self._closed: set[str] = set()

    @contextmanager
    def member(self, run: str, *, alone: bool) -> Iterator[Member]:
        """A process of a run, that nobody else has meanwhile. alone: a fresh one, which ends afterwards."""
        with self._lock:
            if run in self._closed:
                raise UnfitWorker("the work was broken off")
            idle = [] if alone else [member for member in self._idle.pop(run, ()) if member.is_alive()]
            member = idle.pop() if idle else Member(f"{__package__}.worker")
            self._idle[run] += idle
            self._all[run].add(member)
        try:
            yield member
        finally:
            with self._lock:
                if alone or run in self._closed or not member.is_alive():
                    self._all[run].discard(member)
                    member.dismiss()
                else:
                    self._idle[run].append(member)

    def close(self, run: str) -> list[Member]:
        """Take the processes of a run, which gets no more."""
        with self._lock:
            self._closed.add(run)
            self._idle.pop(run, None)
            return list(self._all.pop(run, ()))


_PROCESSES = _Processes()
_problems: dict[str, str] = {}  # of this worker, by run


def make_on_worker(run: ClusterRun, number: int, *, alone: bool) -> CaseResult | PipelineError | ProcessEnd:
    """Make a case in a process here.

    Args:
        run: which it is of.
        number: of the case in the plan.
        alone: in a fresh process that makes nothing else.

    Returns: what came of it.

    Raises: UnfitWorker.
    """
    if run.name not in _problems:
        _problems[run.name] = look_at_worker(run)
    if _problems[run.name]:
        raise UnfitWorker(_problems[run.name])
    end: Any = ProcessEnd("gave no answer")
    with _PROCESSES.member(run.name, alone=alone) as member:
        first = (run.make, run.plan, run.out, 1 if alone else run.sharing.get(_host(), 1))
        try:
            for what, value in member.do(member.introduce("plan", lambda: pickled(first)) + pickled(number)):
                end = value if what == RESULT else end
        except Exception:
            end = ProcessEnd(member.end(_PATIENCE_S))
            remove_work(run.out, member.mark)
    return end  # type: ignore[no-any-return]  # a process of ours answers


def end_processes(run: ClusterRun) -> None:
    """End all processes of a run on this worker, in the middle of a case too, and remove what they left half written."""
    members = _PROCESSES.close(run.name)
    for member in members:
        member.dismiss()
    for member in members:
        member.end(_PATIENCE_S)
        remove_work(run.out, member.mark)


def look_at_worker(run: ClusterRun) -> str:
    """Say what keeps this worker from making cases as the run wants them; "" for nothing."""
    here = all_versions()
    for name in sorted({*run.versions, *here}):
        if run.versions.get(name) != here.get(name):
            return f"{name} is {here.get(name, 'missing')} there and {run.versions.get(name, 'missing')} here"
    try:
        if sha256(read_bytes(run.plan)).hexdigest() != run.plan.stem:
            return f"the plan {run.plan.name} has other bytes there"
        drop_partial(new_partial(run.plan))
    except OSError as error:
        return f"it cannot read and write the output folder {run.out}: {error.strerror}"
    try:
        open_source(run.sample).close()
    except OSError as error:
        return f"it cannot read the input {run.sample}: {error.strerror}"
    return ""


def _host() -> str:
    """The host of this worker, as its address names it."""
    return host_of(imported("cluster", "distributed").get_worker().address)


def host_of(address: str) -> str:
    """The host of an address such as tcp://10.0.0.1:40331."""
    return address.rpartition("//")[2].rpartition(":")[0]
