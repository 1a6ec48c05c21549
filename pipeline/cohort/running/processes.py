"""Make the cases of a plan in several processes at the same time, and give the results as they end.

Rules:
- Cases of one subject go to one process where that keeps nobody idle: it has its files and its witnesses at hand.
- A process that dies, whatever of, costs its case one more try: in a fresh process, when no other one runs. A case that ends
  that one too is refused by name. All others are made.
- However the work ends, every process ends with it, and what they left half written is removed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby
from pathlib import Path

from ...core.findings import Code, PipelineError, refuse
from ...core.team import Member, ProcessEnd, Team, pickled
from ...core.team_worker import DONE
from ..case import CaseResult, Place
from ..making.case_folder import remove_work

MakeCase = Callable[[Path, int, Path], CaseResult]  # of the plan, the number of a case in it, and the output folder
CasePlaces = Mapping[int, Place] | Sequence[Place]  # where cases of the plan belong, by number
NumberedResult = tuple[int, CaseResult | PipelineError]  # the number of a case, and what came of it
_AHEAD = 16  # cases for each process whose results may wait for the caller


Attempt = tuple[int, CaseResult | PipelineError | ProcessEnd]


def make_cases_in_processes(
    plan: Path, numbers: Iterable[int], out: Path, jobs: int, *, places: CasePlaces, make: MakeCase
) -> Iterator[NumberedResult]:
    """Make cases in processes of their own.

    Args:
        plan: the file of the plan.
        numbers: of the cases in it, those of one subject one after the other.
        out: the output folder.
        jobs: how many processes.
        places: where each of them belongs, by number.
        make: makes a case; a function of a module, which the processes import.

    Returns: each number with its result or what refuses it, as they end.
    """
    return with_retry(partial(_attempts, (make, plan, out), places), list(numbers), jobs, places)


def with_retry(
    attempts: Callable[[Sequence[int], int], Iterator[Attempt]],
    numbers: Sequence[int],
    jobs: int,
    places: CasePlaces,
) -> Iterator[NumberedResult]:
    """Make cases, and once more, one after the other and alone, those whose process ended.

    Args:
        attempts: makes cases of some numbers, so many at a time.
        numbers: of the cases.
        jobs: how many at a time.
        places: where each of them belongs, by number.

    Returns: each number with its result or what refuses it, as they end.
    """
    ended: dict[int, ProcessEnd] = {}
    with closing(attempts(numbers, jobs)) as made:  # type: ignore[type-var]  # a generator
        for number, end in made:
            if isinstance(end, ProcessEnd):
                ended[number] = end
            else:
                yield number, end
    for number in sorted(ended):
        with closing(attempts([number], 1)) as made:  # type: ignore[type-var]
            for _, end in made:
                yield number, _poisoned(places[number], ended[number], end) if isinstance(end, ProcessEnd) else end


def case_title(place: Place) -> str:
    """What a case is called in messages."""
    return " ".join(filter(None, (place.subject, place.session, "" if place.alone else place.name)))


def _poisoned(place: Place, first: ProcessEnd, second: ProcessEnd) -> PipelineError:
    name = case_title(place)
    return refuse(
        Code.PROCESS_ENDED,
        f"{name}: the process that made it {_verb(first)}, and a fresh one that made nothing else {_verb(second)}",
        "Other cases were made all the same. Where memory ran out, make it on a machine with more of it. If it ends in the "
        "same way again, please report it.",
        where=(name,),
    )


def _verb(end: ProcessEnd) -> str:
    return f"was {end.words}" if end.words.startswith("killed") else end.words


def _attempts(
    given: tuple[MakeCase, Path, Path], places: CasePlaces, numbers: Sequence[int], jobs: int
) -> Iterator[Attempt]:
    processes = min(jobs, len(numbers))
    team = Team(f"{__package__}.worker", _CaseTasks(given, places, numbers, processes), processes, _AHEAD)
    try:
        for _ in numbers:
            while (message := team.next_message()).what != DONE:
                yield message.number, message.value
            team.make_room()
    finally:
        team.close()


class _CaseTasks:
    """The cases that are left, by subject."""

    def __init__(
        self, given: tuple[MakeCase, Path, Path], places: CasePlaces, numbers: Sequence[int], processes: int
    ) -> None:
        self._first, self._out = pickled((*given, processes)), given[2]
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
        return member.introduce("plan", lambda: self._first) + pickled(number)

    def clear_up(self, mark: str) -> None:
        """Remove what a process that has ended was writing."""
        remove_work(self._out, mark)
