"""Let a command end in order when a signal stops it: Ctrl-C (SIGINT), SIGTERM of a batch system, SIGHUP of a closed terminal.

Rules:
- Only the command line installs handlers. As a library this package leaves all signals as they are.
- The first signal raises `Stopped` in the main thread, so that everything clears up on its way out. Further ones raise
  nothing, since they would break that off: they only shorten how long it may take.
- What cannot clear up in time, such as a read from a network folder that hangs, is ended from another thread.
- A signal that the process was started to ignore (nohup) stays ignored.
"""

from __future__ import annotations

import _thread
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_PATIENCE_S = 15.0  # for what is being done to clear up after itself
_SHORT_PATIENCE_S = 2.0  # after a second signal
_AGAIN_S = 0.05  # for the finaliser that dropped it to be left
_LAST_PATIENCE_S = 2.0  # for our files to be removed by another thread, where the disk answers at all


class Stopped(KeyboardInterrupt):
    """A signal stopped the command. In the words of whoever has something to say about it, or none."""


class _State:
    """What has come so far. signum: the first signal, 0 for none. held: how many blocks keep it from being raised."""

    def __init__(self) -> None:
        self.signum, self.held = 0, 0
        self.is_raised = self.is_ending = False
        self.pipe = self.pipe_before = -1  # that the system writes to for each signal
        self.main = 0  # the thread that handlers run in; 0 while none are installed
        self.clear_up: Callable[[], None] = lambda: None


_state = _State()


def install(clear_up: Callable[[], None]) -> bool:
    """Have signals stop this process, from `begin` on. Not where a caller has it in a thread of his.

    Args:
        clear_up: ends every process and removes every file of ours, whatever the main thread is doing; called from any thread.

    Returns: whether they do.
    """
    state = _state
    state.signum, state.held, state.is_raised, state.is_ending = 0, 1, False, False
    state.clear_up, state.main = clear_up, _thread.get_ident()
    try:
        for number in _numbers():
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _handle)
    except ValueError:  # not the main thread
        state.main = 0
        return False
    sys.unraisablehook = _raise_again
    _start_watching()
    return True


def begin() -> None:
    """Let them be raised from now on, and one that came since `install`. Called where what is raised is taken."""
    _state.held -= 1
    _raise_if_due()


@contextmanager
def handled(clear_up: Callable[[], None]) -> Iterator[None]:
    """Have signals stop what is done in the block, and nothing after it."""
    before = {number: signal.getsignal(number) for number in _numbers()}
    hook = sys.unraisablehook
    is_installed = install(clear_up)
    try:
        yield
    finally:
        _state.main = 0
        if is_installed:
            sys.unraisablehook = hook
            _stop_watching()
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def not_now() -> Iterator[None]:
    """Keep a signal from breaking off a block that is quick: what it starts is written down before anything is raised."""
    if _thread.get_ident() != _state.main:  # handlers run in the main thread alone
        yield
        return
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
        _raise_if_due()


def begin_to_end() -> None:
    """Say that the command has its exit code: from now on there is nothing to unwind, and a signal ends the process at once."""
    _state.is_ending = True


def ignore() -> None:
    """Ignore them while the interpreter is taken down: it would let them kill what has only to exit with its code."""
    for number in _numbers():
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.SIG_IGN)


def has_come() -> bool:
    """Whether a signal has come. Then an error that follows is none of its own: libraries turn what is raised into others."""
    return _state.signum != 0


def exit_code() -> int:
    """The exit code of a command that was stopped, as shells have it: 128 and the signal."""
    return 128 + (_state.signum or signal.SIGINT)


def describe_stop(error: BaseException | None = None) -> str:
    """One line that says what happened. error: whose words are taken, where it has any."""
    if words := str(error or ""):
        return words
    return "stopped" if _state.signum in (0, signal.SIGINT) else f"stopped by {signal.Signals(_state.signum).name}"


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _handle(signum: int, _: FrameType | None) -> None:
    _state.signum = _state.signum or signum
    if _state.is_ending:
        _end_at_once()
    _raise_if_due()


def _raise_if_due() -> None:
    if _state.signum and not _state.held and not _state.is_raised:
        _state.is_raised = True
        raise Stopped


def _raise_again(lost: Any) -> None:
    """Where `Stopped` was raised in a finaliser, Python drops it. It is raised again in the code that was interrupted."""
    if issubclass(lost.exc_type, Stopped):
        _thread.start_new_thread(_send_again, ())
    else:
        sys.__unraisablehook__(lost)


def _send_again() -> None:
    time.sleep(_AGAIN_S)
    _state.is_raised = False
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(_state.main, _state.signum)
    else:
        _thread.interrupt_main()


def _start_watching() -> None:
    """Start the thread that ends the process where the main thread does not come to it. The system wakes it by a pipe."""
    if (
        sys.platform == "win32"
    ):  # it interrupts no call by a signal, and has no way to end a thread of a hung disk either
        return
    readable, _state.pipe = os.pipe()
    os.set_blocking(_state.pipe, False)
    _state.pipe_before = signal.set_wakeup_fd(_state.pipe, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch, (readable,))


def _stop_watching() -> None:
    if _state.pipe >= 0:
        signal.set_wakeup_fd(_state.pipe_before)
        os.close(_state.pipe)  # which ends the thread
        _state.pipe = -1


def _watch(readable: int) -> None:
    import select

    end, is_over = math.inf, False
    while not is_over and (left := end - time.monotonic()) > 0:
        if select.select([readable], [], [], None if left == math.inf else left)[0]:
            is_over = not os.read(readable, 64)
            end = time.monotonic() + _PATIENCE_S if end == math.inf else min(end, time.monotonic() + _SHORT_PATIENCE_S)
    os.close(readable)
    if not is_over:
        _end_at_once()


def _end_at_once() -> None:
    """End the process without unwinding it; nothing of ours stays where the disk lets it be removed."""
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(_clear_up, (done,))
    done.acquire(timeout=_LAST_PATIENCE_S)
    with suppress(OSError, ValueError):
        os.write(2, f"{describe_stop()}\n".encode())
    os._exit(exit_code())


def _clear_up(done: Any) -> None:
    try:
        _state.clear_up()
    finally:
        done.release()
