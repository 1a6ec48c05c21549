"""Convert many inputs in several processes at the same time, and give the results in the order of the inputs.

Rules:
- The results are those of one process, byte for byte. Of as many inputs as there are processes voxels stream at a time; what
  waits for its turn are results, and there is a bound on how many.
- A process that dies, whatever of, costs the task it had: that is refused, by name, and another process goes on.
- However the work ends, every process ends with it, and none leaves half a file.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock

from ..core.findings import Code, PipelineError, refuse
from ..core.leftovers import remove_of
from ..core.policy import Policy
from ..core.team import ENDED, Member, Team, pickled
from ..core.team_worker import DONE
from ..core.workers import BackgroundCall, count_cores
from ..decode.rtstruct.structure_set import count_rois
from ..dicom.scan import Scan
from .convert_entry import Batch, Made, Study, Task
from .option_effects import Asked
from .product import Entry
from .products import RunPlan, name_input, names_in
from .request import Progress, silent
from .source import images_in
from .worker import PLANES

_WAITING = 16  # tasks for each process that may be done before the first of them is
# Bytes of files that one process converts in a second, proofs included, as far as the size shows it.
_SECOND = {"image": 7e7, "seg": 1e7, "rtstruct": 1e6}


def count_processes(jobs: int | None, plan: RunPlan, tasks: Sequence[Task]) -> int:
    """Count the processes that are worth it: 1 where all is done in this one.

    Args:
        jobs: as many as the user wants; None for as many as there are cores, where each has a second of work.
        plan: the inputs.
        tasks: what there is to do.

    Returns: the number.
    """
    if not plan.is_settled:  # then all products are made before the first is written
        return 1
    if jobs is not None:
        return min(jobs, len(tasks))
    return max(1, min(count_cores(), len(tasks), int(sum(map(_seconds, plan.entries)))))


def split(plan: RunPlan, asked: Asked, jobs: int | None) -> list[Task]:
    """Split the work into tasks, in the order of the results.

    The masks of a structure set, and the segments of a SEG that are to be separate files, are shared out where the user names
    a number of processes for which there are not inputs enough: each makes all products then, since every record speaks of
    all, and writes its part. That pays on many cores, and costs memory and processor time.

    Args:
        plan: the inputs.
        asked: what is wanted of them.
        jobs: as many processes as the user wants; None for no wish.

    Returns: the tasks.
    """
    parts = jobs if jobs is not None and len(plan.entries) < 2 * jobs else 1
    tasks = []
    for number, entry in enumerate(plan.entries):
        count = min(parts, _count_files(entry, asked.policy)) if parts > 1 else 1
        tasks += [Task(number, part, count) for part in range(count)]
    return tasks


def convert_in_processes(
    plan: RunPlan, tasks: Sequence[Task], batch: Batch, processes: int, progress: Progress
) -> Iterator[Made]:
    """Do tasks in processes of their own.

    Args:
        plan: the inputs.
        tasks: of `split`.
        batch: what is the same for every input.
        processes: how many.
        progress: called with how many inputs are done.

    Returns: the results, in the order of the tasks.
    """
    work = _ConversionTasks(plan, tasks, batch, processes)
    team = Team(f"{__package__}.worker", work, processes, _WAITING)
    try:
        yield from _in_order(team, plan, tasks, progress)
    finally:
        team.close()


def _in_order(team: Team, plan: RunPlan, tasks: Sequence[Task], progress: Progress) -> Iterator[Made]:
    """Yield the results in the order of the tasks, as they get ready."""
    held: dict[int, deque[Made]] = defaultdict(deque)
    ended: set[int] = set()
    current = planes = 0
    while current < len(tasks):
        number, what, value = team.next_message()
        if what == PLANES:
            planes += value
        elif what == DONE:
            ended.add(number)
        else:
            held[number].append(_ended(plan.entries[tasks[number].number], value.words) if what == ENDED else value)
        while held[current]:
            yield held[current].popleft()
        while current in ended:
            yield from held.pop(current, ())
            ended.remove(current)
            current += 1
            team.make_room()
        inputs = tasks[current].number if current < len(tasks) else len(plan.entries)
        progress(f"{planes} planes written; inputs done:", inputs, len(plan.entries))


class _ConversionTasks:
    """The tasks, and what a process is sent for each."""

    def __init__(self, plan: RunPlan, tasks: Sequence[Task], batch: Batch, processes: int) -> None:
        self._plan, self._tasks, self._folder = plan, tasks, batch.folder
        self._alone = () if batch.asked.seeks_partners else ("image", "bundle")  # kinds that need no other input
        self._first = BackgroundCall(partial(first_message, batch, processes))  # while the processes start
        self._study, self._lock = b"", Lock()
        self._left = iter(range(len(tasks)))

    def take(self, last: int | None) -> int | None:
        """The next task, in their order, whoever asks."""
        return next(self._left, None)

    def payload(self, number: int, member: Member) -> bytes:
        """What a process is sent for a task: a series of images goes with it; masks look for theirs among all that was scanned."""
        task = self._tasks[number]
        entry, found = self._plan.entries[task.number], self._plan.found
        first = member.introduce("batch", self._first.result)
        if entry.series.kind in self._alone:
            return first + pickled(task._replace(entry=entry, found=_only(found, entry)))
        return first + member.introduce("study", self._pickled_study) + pickled(task)

    def clear_up(self, mark: str) -> None:
        """Remove the half-written files of a process that has ended."""
        remove_of(self._folder, mark)

    def _pickled_study(self) -> bytes:
        with self._lock:
            if not self._study:
                masks = {n: e for n, e in enumerate(self._plan.entries) if e.series.kind not in self._alone}
                self._study = pickled(Study(self._plan.found, masks))
            return self._study


def first_message(batch: Batch, processes: int) -> bytes:
    """What every process needs, with what this one has looked at for all of them."""
    for given in (batch.asked.request.source, batch.asked.request.clean):
        with suppress(PipelineError, OSError):  # whoever needs it will be refused
            images = images_in(Scan((), ()), given, batch.asked.looks)[1]
            if len(images) == 1:  # of several, masks choose, and what none of them chooses is not hashed
                batch.asked.looks.digests(header.path for header in images[0].headers)
    batch.asked.looks.forget_headers()  # each goes with its input, to the process that converts it
    return pickled((batch._replace(details=batch.details._replace(progress=silent)), processes))


def _only(found: Scan, entry: Entry) -> Scan:
    """What was scanned with a series that needs no other one: itself, and what may be a plane of it."""
    own = frozenset({entry.series})
    return Scan((entry.series,), tuple(left._replace(concerns=own) for left in found.left_out if own & left.concerns))


def _count_files(entry: Entry, policy: Policy) -> int:
    """How many masks of an input may be written by different processes, about; at least 1."""
    kind = entry.series.kind
    if kind == "rtstruct":
        return max(1, count_rois(entry.series))
    if kind == "seg" and policy.combine == "separate":
        with suppress(PipelineError):  # what refuses it is said by whoever converts it
            return max(1, len(names_in(entry.series)))
    return 1


def _seconds(entry: Entry) -> float:
    """How long an input takes, about: enough to know whether other processes are worth their start."""
    return sum(header.size for header in entry.series.headers) / _SECOND.get(entry.series.kind, _SECOND["image"])


def _ended(entry: Entry, words: str) -> PipelineError:
    verb = "was " if words.startswith("killed") else ""
    error = refuse(
        Code.PROCESS_ENDED,
        f"the process that converted it {verb}{words}",
        "Other inputs were converted all the same. Convert it alone; where memory ran out, with a smaller --jobs. If it ends in "
        "the same way again, please report it.",
        where=(entry.title,),
    )
    return name_input(entry, error)
