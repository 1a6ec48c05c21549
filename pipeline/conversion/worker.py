"""Convert inputs in a process of its own, one after the other, as the process that started it asks.

Rules:
- Messages are pickled objects: a Batch and how many processes there are, then a Study and Tasks, on standard input; pairs
  (what, value) on standard output. Only a process that we started ourselves is at the other end.
- It ends when its input closes, in the middle of its work too: then it leaves neither half a file nor a process.
"""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import sys
import warnings
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread, main_thread
from time import monotonic, sleep
from typing import IO, Any

from ..core.atomic_file import MARK, remove_partial_files
from ..core.findings import PipelineError
from ..core.unexpected import as_refusal
from ..core.workers import share_cores
from ..crosscheck.panel import Panel
from .convert_entry import Batch, Study, Task, write_items
from .products import Item, items_of, name_input

STARTED, PLANES, RESULT, DONE = "started", "planes", "result", "done"
_BETWEEN_S = 0.1  # from one message about progress to the next
_PATIENCE_S = 3.0  # for work that was broken off to clear up after itself


class _Worker:
    """Does tasks. The products of the last input are kept, since its further parts are likely to be asked for next."""

    def __init__(self, batch: Batch, panel: Panel, answers: IO[bytes]) -> None:
        self._batch = batch._replace(details=batch.details._replace(progress=self._count))
        self._panel, self._answers = panel, answers
        self._made: tuple[int, list[Item]] = (-1, [])
        self._last, self._written, self._sent = 0, 0, 0.0

    def do(self, task: Task, study: Study | None) -> None:
        """Do a task, and send each result as soon as it is there."""
        items = self._items(task, study)
        for result in write_items(items, self._batch, self._panel, task.chosen(len(items))):
            send(self._answers, RESULT, result)
        send(self._answers, PLANES, self._written)
        self._last = self._written = 0
        if task.part == task.parts - 1:
            self._made = (-1, [])

    def _items(self, task: Task, study: Study | None) -> list[Item]:
        if self._made[0] != task.number:
            self._made = (-1, [])  # what was made for another input is not held while this one's is made
            entry, found = task.entry, task.found
            if entry is None and study is not None:
                entry, found = study.entries[task.number], study.found
            if entry is None or found is None:
                raise TypeError("a task came without its input")
            self._made = (task.number, list(items_of(entry, found, self._batch.asked)))
        return self._made[1]

    def _count(self, stage: str, done: int, total: int) -> None:
        """Count the planes that are written, and send how many there were, not too often."""
        if stage != "writing":
            return
        self._written += done - self._last if done > self._last else 0
        self._last = done
        if monotonic() - self._sent > _BETWEEN_S:
            send(self._answers, PLANES, self._written)
            self._written, self._sent = 0, monotonic()


def send(answers: IO[bytes], what: str, value: Any = None) -> None:
    """Send a pair to the process that started this one. It goes as a whole, or not at all where it cannot be pickled.

    Args:
        answers: the pipe to it.
        what: STARTED, PLANES, RESULT or DONE.
        value: the MARK of this process, how many planes were written since the last time, a result, or nothing.
    """
    answers.write(pickle.dumps((what, value), pickle.HIGHEST_PROTOCOL))
    answers.flush()


def serve() -> None:
    """Do what is asked on standard input until it closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    warnings.simplefilter("ignore")  # what libraries warn of becomes a finding where it matters
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have come ignored, and `_listen` needs it
    messages: SimpleQueue[Any] = SimpleQueue()
    working = Event()
    send(answers, STARTED, MARK)
    Thread(target=_listen, args=(messages, working), daemon=True).start()
    with suppress(KeyboardInterrupt, BrokenPipeError):
        first = messages.get()
        if first is not None:
            batch, processes = first
            _work(batch, processes, messages, working, answers)


def _work(batch: Batch, processes: int, messages: SimpleQueue[Any], working: Event, answers: IO[bytes]) -> None:
    share_cores(processes)
    study = None
    with Panel(batch.asked.policy) as panel:
        worker = _Worker(batch, panel, answers)
        for message in iter(messages.get, None):
            if isinstance(message, Study):
                study = message
                continue
            working.set()
            try:
                worker.do(message, study)
            except Exception as error:  # of ours: what an input is refused for is a result
                send(answers, RESULT, _named(message, study, as_refusal(error)))
            working.clear()
            send(answers, DONE)


def _named(task: Task, study: Study | None, error: PipelineError) -> PipelineError:
    entry = task.entry if task.entry is not None or study is None else study.entries[task.number]
    return error if entry is None else name_input(entry, error)


def _listen(messages: SimpleQueue[Any], working: Event) -> None:
    """Take messages until the other process is gone or wants no more; then break off what is being done."""
    folder = None
    with suppress(Exception):  # its end, in the middle of a message too, or one that cannot be understood
        while True:
            message = pickle.load(sys.stdin.buffer)
            if folder is None:
                folder = message[0].folder
            messages.put(message)
    messages.put(None)
    if working.is_set():
        _interrupt()
    sleep(_PATIENCE_S)  # by now the process has ended, unless it hangs outside of Python
    if folder is not None:
        remove_partial_files(folder, MARK)
    os._exit(1)


def _interrupt() -> None:
    """Raise KeyboardInterrupt in the main thread, so that it clears up; where the system can, in the middle of a call to it."""
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)


if __name__ == "__main__":
    serve()
