"""Do tasks in several processes at the same time: each is handed one task after the other, and its answers are passed on.

Rules:
- A process that dies, whatever of, costs the task it had, and another process goes on with the next one.
- However the work ends, every process ends with it: its input closes, and it has `team_worker` to notice that.
- No more tasks are handed out than the caller made room for: what waits to be taken is bounded.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from subprocess import Popen, TimeoutExpired
from threading import Lock, Semaphore, Thread
from typing import Any, NamedTuple, Protocol

from .team_worker import DONE
from .workers import describe_exit, kill, python_process, start_threads

ENDED = "ended"  # instead of an answer, where the process of a task ended: a ProcessEnd
_TURN_S = 1.0  # between two looks at the keyboard; a key is noticed at once where the system allows it
_PATIENCE_S = 4.0  # for a process to clear up and end by itself


class Message(NamedTuple):
    """What came of a task. number: of the task. what: DONE at its end, ENDED, or a word of the worker. value: with it."""

    number: int
    what: str
    value: Any


class ProcessEnd(NamedTuple):
    """How the process of a task ended before the task did, in words."""

    words: str


class TeamTasks(Protocol):
    """What a team is to do. All of it is called by the threads of the team."""

    def take(self, last: int | None) -> int | None:
        """The number of the next task, None for no more; one call at a time. last: what the same process did before."""

    def payload(self, number: int, member: Member) -> bytes:
        """What a process is sent for a task."""

    def clear_up(self, mark: str) -> None:
        """Remove what a process left half written. mark: of its temporary files, "" where it died before it named it."""


class Team:
    """The processes, each with a thread that hands it one task after the other."""

    def __init__(self, module: str, tasks: TeamTasks, processes: int, ahead: int) -> None:
        """Start them.

        Args:
            module: what each runs, by its full name: a module that calls `team_worker.serve`.
            tasks: what there is to do.
            processes: how many.
            ahead: tasks for each process that may be handed out before `make_room` is called for the first.
        """
        self._module, self._tasks = module, tasks
        self._lock, self._closed = Lock(), False
        self._places = Semaphore(ahead * processes)
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._members: set[Member] = set()
        self._threads = start_threads([Thread(target=self._hand_out, daemon=True) for _ in range(processes)])

    def next_message(self) -> Message:
        """Wait for the next message of any process."""
        while True:
            with suppress(Empty):
                return self._messages.get(timeout=_TURN_S)

    def make_room(self) -> None:
        """Say that one more task may be handed out."""
        self._places.release()

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
            self._tasks.clear_up(member.mark)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        if not any(thread.is_alive() for thread in self._threads):  # one that reads still would be waited for
            for member in members:
                member.forget()

    def _hand_out(self) -> None:
        """Give one process its tasks until none is left; where it dies, start another one for those that are left."""
        member = last = None
        while (number := self._take(last)) is not None:
            try:
                member = member if member is not None and member.is_alive() else self._start()
                for what, value in member.do(self._tasks.payload(number, member)):
                    self._messages.put(Message(number, what, value))
            except Exception as error:
                words = str(error) if member is None else member.end(_PATIENCE_S)
                if member is not None:
                    self._tasks.clear_up(member.mark)
                    self._members.discard(member)
                    member.forget()
                member = None
                self._messages.put(Message(number, ENDED, ProcessEnd(words)))
            self._messages.put(Message(number, DONE, None))
            last = number
        if member is not None:
            member.dismiss()

    def _take(self, last: int | None) -> int | None:
        """The next task, once there is room for what will come of it."""
        self._places.acquire()
        with self._lock:
            return None if self._closed else self._tasks.take(last)

    def _start(self) -> Member:
        with self._lock:
            if self._closed:
                raise OSError("the work was broken off")
            member = Member(self._module)
            self._members.add(member)
        return member


class Member:
    """One process. mark: of its temporary files, "" before it has named it."""

    def __init__(self, module: str) -> None:
        self.mark = ""
        self._knows: set[str] = set()
        self._process: Popen[bytes] = python_process(module)

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

    def introduce(self, name: str, message: Callable[[], bytes]) -> bytes:
        """What has to be sent before a task. name, message: of what each process is sent once. Returns nothing where it was."""
        is_known = name in self._knows
        self._knows.add(name)
        return b"" if is_known else message()

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

    def forget(self) -> None:
        """Close its output, once it has ended and nobody reads it any more."""
        if self._process.stdout is not None:
            self._process.stdout.close()


def pickled(value: Any) -> bytes:
    """A value as the processes of a team send it to each other."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
