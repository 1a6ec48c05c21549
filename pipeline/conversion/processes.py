"""Convert many inputs in several processes at the same time, and give the results in the order of the inputs.

Rules:
- The results are those of one process, byte for byte. Of as many inputs as there are processes voxels stream at a time; what
  waits for its turn are results, and there is a bound on how many.
- A process that dies, whatever of, costs the task it had: that is refused, by name, and another process goes on.
- However the work ends, every process ends with it, and none leaves half a file.
"""

from __future__ import annotations

import pickle
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from subprocess import Popen, TimeoutExpired
from threading import Lock, Semaphore, Thread
from typing import Any, NamedTuple

from ..core.atomic_file import remove_partial_files
from ..core.findings import Code, PipelineError, refuse
from ..core.policy import Policy
from ..core.workers import BackgroundCall, count_cores, describe_exit, kill, python_process
from ..decode.rtstruct.structure_set import count_rois
from ..dicom.scan import Scan
from .convert_entry import Batch, Result, Study, Task
from .option_effects import Asked
from .product import Entry
from .products import RunPlan, name_input, names_in
from .request import Progress, silent
from .source import images_in
from .worker import DONE, PLANES, RESULT

_WAITING = 16  # tasks for each process that may be done before the first of them is
_TURN_S = 1.0  # between two looks at the keyboard; a key is noticed at once where the system allows it
_PATIENCE_S = 4.0  # for a process to clear up and end by itself
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
) -> Iterator[Result]:
    """Do tasks in processes of their own.

    Args:
        plan: the inputs.
        tasks: of `split`.
        batch: what is the same for every input.
        processes: how many.
        progress: called with how many inputs are done.

    Returns: the results, in the order of the tasks.
    """
    team = _Team(plan, tasks, batch, processes)
    try:
        yield from team.results(progress)
    finally:
        team.close()


class _Message(NamedTuple):
    """What a process said. number: of its task."""

    number: int
    what: str
    value: Any


class _Team:
    """The processes, each with a thread that hands it one task after the other."""

    def __init__(self, plan: RunPlan, tasks: Sequence[Task], batch: Batch, processes: int) -> None:
        self._plan, self._tasks, self._folder = plan, tasks, batch.folder
        self._first = BackgroundCall(partial(first_message, batch, processes))  # while the processes start
        self._study = b""
        self._left = deque(range(len(tasks)))
        self._lock, self._closed = Lock(), False
        self._places = Semaphore(_WAITING * processes)
        self._messages: SimpleQueue[_Message] = SimpleQueue()
        self._members: set[_Member] = set()
        self._threads = [Thread(target=self._hand_out, daemon=True) for _ in range(processes)]
        for thread in self._threads:
            thread.start()

    def results(self, progress: Progress) -> Iterator[Result]:
        """Yield the results in the order of the tasks, as they get ready."""
        held: dict[int, deque[Result]] = defaultdict(deque)
        ended: set[int] = set()
        current = planes = 0
        while current < len(self._tasks):
            message = self._next_message()
            if message.what == PLANES:
                planes += message.value
            elif message.what == DONE:
                ended.add(message.number)
            else:
                held[message.number].append(message.value)
            while held[current]:
                yield held[current].popleft()
            while current in ended:
                yield from held.pop(current, ())
                ended.remove(current)
                current += 1
                self._places.release()
            inputs = self._tasks[current].number if current < len(self._tasks) else len(self._plan.entries)
            progress(f"{planes} planes written; inputs done:", inputs, len(self._plan.entries))

    def close(self) -> None:
        """End every process, and remove what any of them left half written."""
        with self._lock:
            self._closed = True
            members = list(self._members)
        for _ in self._threads:
            self._places.release()  # those that wait for their turn find that there is nothing left
        for member in members:
            member.dismiss()
        for member in members:
            member.end(_PATIENCE_S)
            remove_partial_files(self._folder, member.mark)
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def _next_message(self) -> _Message:
        while True:
            with suppress(Empty):
                return self._messages.get(timeout=_TURN_S)

    def _hand_out(self) -> None:
        """Give one process its tasks until none is left; where it dies, start another one for those that are left."""
        member = None
        while (number := self._take()) is not None:
            try:
                member = member if member is not None and member.is_alive() else self._start()
                for what, value in member.do(self._payload(self._tasks[number], member)):
                    self._messages.put(_Message(number, what, value))
            except Exception as error:
                words = str(error) if member is None else member.end(_PATIENCE_S)
                if member is not None:
                    remove_partial_files(self._folder, member.mark)
                    self._members.discard(member)
                member = None
                entry = self._plan.entries[self._tasks[number].number]
                self._messages.put(_Message(number, RESULT, _ended(entry, words)))
            self._messages.put(_Message(number, DONE, None))
        if member is not None:
            member.dismiss()

    def _take(self) -> int | None:
        """The next task, once there is room for what will come of it."""
        self._places.acquire()
        with self._lock:
            return self._left.popleft() if self._left and not self._closed else None

    def _start(self) -> _Member:
        with self._lock:
            if self._closed:
                raise OSError("the work was broken off")
            member = _Member()
            self._members.add(member)
        return member

    def _payload(self, task: Task, member: _Member) -> bytes:
        """What a process is sent for a task: a series of images goes with it; masks look for theirs among all that was scanned."""
        entry, found = self._plan.entries[task.number], self._plan.found
        first, member.is_new = (self._first.result() if member.is_new else b""), False
        if entry.series.kind in ("image", "bundle"):
            return first + _pickled(task._replace(entry=entry, found=_only(found, entry)))
        with self._lock:
            if not self._study:
                masks = {n: e for n, e in enumerate(self._plan.entries) if e.series.kind not in ("image", "bundle")}
                self._study = _pickled(Study(found, masks))
        study, member.knows_study = (b"" if member.knows_study else self._study), True
        return first + study + _pickled(task)


class _Member:
    """One process. mark: of its temporary files. is_new: whether it was sent nothing; knows_study: whether the Study was sent."""

    def __init__(self) -> None:
        self.mark, self.is_new, self.knows_study = "", True, False
        self._process: Popen[bytes] = python_process(f"{__package__}.worker")

    def do(self, payload: bytes) -> Iterator[tuple[str, Any]]:
        """Hand over a task and yield what comes of it. Raises whatever shows that the process has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise OSError("a process was started without pipes")
        if not self.mark:
            self.mark = pickle.load(stdout)[1]
        stdin.write(payload)
        stdin.flush()
        while True:
            what, value = pickle.load(stdout)
            if what == DONE:
                return
            yield what, value

    def is_alive(self) -> bool:
        """Whether it has not ended yet; one that died with nothing to do costs no task."""
        return self._process.poll() is None

    def dismiss(self) -> None:
        """Close its input: it ends, and breaks off what it is doing."""
        if self._process.stdin is not None:
            with suppress(OSError):  # it is dead already, with something unread
                self._process.stdin.close()

    def end(self, limit_s: float) -> str:
        """Wait for its end, or kill it with its group; how it ended, in words."""
        self.dismiss()
        try:
            self._process.wait(limit_s)
        except TimeoutExpired:
            kill(self._process)
        code = self._process.returncode
        return "did not answer" if code is None else describe_exit(code)


def first_message(batch: Batch, processes: int) -> bytes:
    """What every process needs, with what this one has looked at for all of them."""
    for given in (batch.asked.request.source, batch.asked.request.clean):
        with suppress(PipelineError, OSError):  # whoever needs it will be refused
            images = images_in(Scan((), ()), given, batch.asked.looks)[1]
            if len(images) == 1:  # of several, masks choose, and what none of them chooses is not hashed
                batch.asked.looks.digests(header.path for header in images[0].headers)
    batch.asked.looks.forget_headers()  # each goes with its input, to the process that converts it
    return _pickled((batch._replace(details=batch.details._replace(progress=silent)), processes))


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


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
    return name_input(entry.title, error)
