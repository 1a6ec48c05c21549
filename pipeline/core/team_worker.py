"""Serve as one process of a team: take messages on standard input, answer on standard output, end when the input closes.

Rules:
- Messages are pickled objects; answers are pairs (what, value). Only a process that we started ourselves is at the other end.
- It ends when its input closes, in the middle of its work too: then it leaves neither half a file nor a process.
"""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread, main_thread
from time import sleep
from typing import IO, Any

from .leftovers import own_mark
from .temporary_folder import end_all

STARTED, RESULT, DONE = "started", "result", "done"
_PATIENCE_S = 3.0  # for work that was broken off to clear up after itself


class Answers:
    """The pipe to the process that started this one."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def send(self, what: str, value: Any = None) -> None:
        """Send a pair. It goes as a whole, or not at all where it cannot be pickled."""
        self._pipe.write(pickle.dumps((what, value), pickle.HIGHEST_PROTOCOL))
        self._pipe.flush()


class Inbox:
    """The messages that came. is_working: set by whoever takes them while he works on one."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self.is_working = Event()

    def put(self, message: Any) -> None:
        """Add a message; None for the end."""
        self._queue.put(message)

    def __iter__(self) -> Iterator[Any]:
        """The messages, until the input closes."""
        return iter(self._queue.get, None)


def serve(work: Callable[[Any, Inbox, Answers], None], clear_up: Callable[[Any, str], None]) -> None:
    """Do what is asked on standard input until it closes.

    Args:
        work: called with the first message, the inbox of all further ones, and where answers go.
        clear_up: removes what work that was broken off left half written; called with the first message and the mark
            of this process, where that process hangs outside of Python.
    """
    answers = Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    warnings.simplefilter("ignore")  # what libraries warn of becomes a finding where it matters
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have come ignored, and `_listen` needs it
    inbox = Inbox()
    answers.send(STARTED, own_mark())
    Thread(target=_listen, args=(inbox, clear_up), daemon=True).start()
    with suppress(KeyboardInterrupt, BrokenPipeError):
        for first in inbox:
            work(first, inbox, answers)
            return


def _listen(inbox: Inbox, clear_up: Callable[[Any, str], None]) -> None:
    """Take messages until the other process is gone or wants no more; then break off what is being done."""
    first = None
    with suppress(Exception):  # its end, in the middle of a message too, or one that cannot be understood
        while True:
            message = pickle.load(sys.stdin.buffer)
            first = message if first is None else first
            inbox.put(message)
    inbox.put(None)
    if inbox.is_working.is_set():
        _interrupt()
    sleep(_PATIENCE_S)  # by now the process has ended, unless it hangs outside of Python
    if first is not None:
        clear_up(first, own_mark())
    end_all()
    os._exit(1)


def _interrupt() -> None:
    """Raise KeyboardInterrupt in the main thread, so that it clears up; where the system can, in the middle of a call to it."""
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)
