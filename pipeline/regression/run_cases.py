"""Run many cases, here or in several processes at the same time, and give each as it ends.

Rules:
- A process that dies, whatever of, costs the case it had: that has failed, by name, and another process goes on.
- However the run ends, every process ends with it, and what cases wrote is removed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from ..core.findings import Code, refuse
from ..core.team import ENDED, Member, Team, pickled
from ..core.team_worker import DONE
from ..core.temporary_folder import temporary_folder
from .case_list import CaseList, RegressionCase
from .run_case import CaseRun, ReadOptions, run_case

_AHEAD = 16  # cases for each process whose results may wait for the caller


def run_cases(
    cases: CaseList,
    chosen: Sequence[RegressionCase],
    read_options: ReadOptions,
    *,
    fetch: bool = False,
    jobs: int = 1,
) -> Generator[CaseRun, None, None]:
    """Run cases.

    Args:
        cases: the list that holds them.
        chosen: those that are to be run.
        read_options: from the words of a case to what is wanted; a function of a module.
        fetch: whether their commands may be run.
        jobs: how many processes run them; 1 for this one.

    Yields: what came of each, as it ends: with one process in the order of `chosen`.
    """
    processes = min(jobs, len(chosen))
    with temporary_folder() as folder:
        if processes <= 1:
            for case in chosen:
                yield run_case(cases, case, read_options, folder, fetch=fetch)
            return
        tasks = _RegressionTasks(pickled((cases, chosen, read_options, folder, fetch, processes)), len(chosen))
        team = Team(f"{__package__}.worker", tasks, processes, _AHEAD)
        try:
            for _ in chosen:
                while (message := team.next_message()).what != DONE:
                    name = chosen[message.number].id
                    yield _ended(name, message.value.words) if message.what == ENDED else message.value
                team.make_room()
        finally:
            team.close()


class _RegressionTasks:
    """The cases that are left, by number."""

    def __init__(self, first: bytes, count: int) -> None:
        self._first, self._left = first, iter(range(count))

    def take(self, _: int | None) -> int | None:
        """The next case, whoever asks."""
        return next(self._left, None)

    def payload(self, number: int, member: Member) -> bytes:
        """What a process is sent for a case."""
        return member.introduce("cases", lambda: self._first) + pickled(number)

    def clear_up(self, mark: str) -> None:
        """Remove nothing: the folder of the run goes as a whole."""


def _ended(name: str, words: str) -> CaseRun:
    verb = "was " if words.startswith("killed") else ""
    error = refuse(
        Code.PROCESS_ENDED,
        f"{name}: the process that ran it {verb}{words}",
        "Other cases were run all the same. Run it alone with --only; where memory ran out, with a smaller --jobs.",
        where=(name,),
    )
    return CaseRun(name, refusal=error)
