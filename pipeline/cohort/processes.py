"""Make the cases of a plan in several processes at the same time, and give the results as they end.

Rules:
- Cases of one subject go to one process where that keeps nobody idle: it has scanned their files already.
- A process that dies, whatever of, costs its case one more try: in a fresh process, when no other one runs. A case that kills
  that one too is refused by name. All others are made.
- However the work ends, every process ends with it, and what they left half written is removed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from ..core.findings import Code, PipelineError, refuse
from ..core.team import ENDED, Member, Team, pickled
from ..core.team_worker import DONE, RESULT
from .case import CaseResult, Place
from .private_folder import remove_work

MakeCase = Callable[[Path, int, Path], CaseResult]  # plan, number of the case in it, output folder
CaseEnd = tuple[int, CaseResult | PipelineError]  # number of the case, and what came of it
_AHEAD = 16  # cases for each process whose results may wait for the caller


def make_cases_in_processes(
    plan: Path, numbers: Iterable[int], out: Path, jobs: int, *, places: Sequence[Place], make: MakeCase
) -> Iterator[CaseEnd]:
    """Make cases in processes of their own.

    Args:
        plan: the file of the plan.
        numbers: of the cases in it, those of one subject one after the other.
        out: the output folder.
        jobs: how many processes.
        places: where each case of the plan belongs, by number.
        make: makes a case; a function of a module, which the processes import.

    Returns: each number with its result or what refuses it, as they end.
    """
    wanted = list(numbers)
    deaths: dict[int, str] = {}
    yield from _make(_CaseTasks(plan, wanted, out, min(jobs, len(wanted)), places, make), deaths)
    for number in sorted(deaths):
        again: dict[int, str] = {}
        yield from _make(_CaseTasks(plan, [number], out, 1, places, make), again)
        if number in again:
            yield number, poisoned(places[number], deaths[number], again[number])


def poisoned(place: Place, first: str, second: str) -> PipelineError:
    """Refuse a case that ended two processes.

    Args:
        place: of the case.
        first: how the first of them ended, in words.
        second: how the other one did, which had nothing else to make.

    Returns: the refusal, PROCESS_ENDED.
    """
    name = case_title(place)
    return refuse(
        Code.PROCESS_ENDED,
        f"{name}: the process that made it {_verb(first)}, and a fresh one that made nothing else {_verb(second)}",
        "Other cases were made all the same. Where memory ran out, make it on a machine with more of it. If it ends in the "
        "same way again, please report it.",
        where=(name,),
    )


def case_title(place: Place) -> str:
    """What a case is called in messages."""
    return " ".join(filter(None, (place.subject, place.session, "" if place.alone else place.name)))


def _verb(words: str) -> str:
    return f"was {words}" if words.startswith("killed") else words


def _make(tasks: _CaseTasks, deaths: dict[int, str]) -> Iterator[CaseEnd]:
    """Yield what the processes answer, and put into `deaths` the cases that ended one, with how it did."""
    team = Team(f"{__package__}.worker", tasks, tasks.processes, _AHEAD)
    try:
        for _ in range(tasks.count):
            while (message := team.next_message()).what != DONE:
                if message.what == RESULT:
                    yield message.number, message.value
                elif message.what == ENDED:
                    deaths[message.number] = message.value
            team.make_room()
    finally:
        team.close()


class _CaseTasks:
    """The cases that are left, by subject. count: how many there were. processes: that will make them."""

    def __init__(
        self, plan: Path, numbers: Sequence[int], out: Path, processes: int, places: Sequence[Place], make: MakeCase
    ) -> None:
        self.count, self.processes = len(numbers), processes
        self._first, self._out = pickled((make, plan, out, processes)), out
        self._fresh = deque(deque(group) for _, group in groupby(numbers, lambda number: places[number].subject))
        self._begun: dict[int, deque[int]] = {}  # what is left of a subject, by the case of it that was taken last

    def take(self, last: int | None) -> int | None:
        """The next case: of the same subject, or the first of one that nobody has begun, or one of the longest that is left."""
        group = self._begun.pop(last, None) if last is not None else None
        if not group and self._fresh:
            group = self._fresh.popleft()
        if group:
            number = group.popleft()
            self._begun[number] = group
            return number
        longest = max(self._begun.values(), key=len, default=None)
        return longest.pop() if longest else None

    def payload(self, number: int, member: Member) -> bytes:
        """What a process is sent for a case."""
        first = b"" if member.knows else self._first
        member.knows.add("plan")
        return first + pickled(number)

    def clear_up(self, mark: str) -> None:
        """Remove what a process that has ended was writing."""
        remove_work(self._out, mark)
