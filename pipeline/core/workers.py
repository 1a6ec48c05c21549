"""Run work in the background: a thread for calls that leave the interpreter free, a child process for everything else.

Rules:
- A Python of ours runs the standard library, this package and the installed packages, in that order. Neither the current
  folder nor PYTHON* variables put anything before them, and it writes nothing into the current folder.
- It leads a process group of its own, so that it can be ended together with all that it started.
- Cores are those that this process may use. Where several of our processes share them, each counts its part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .stop_signals import not_now

if TYPE_CHECKING:
    from subprocess import Popen

T = TypeVar("T")

# Isolated and without `site` the path is the standard library alone; `site` then adds the installed packages behind ours.
_START = """\
import sys
sys.path.append({root!a})
import site
site.main()
sys.path += [entry for entry in {more!a} if entry not in sys.path]
import runpy
__import__({folder!a})
runpy.run_module({module!a}, run_name="__main__", alter_sys=True)
"""
_PATIENCE_S = 5.0  # for a process to be gone once it was killed
_CGROUPS = Path("/sys/fs/cgroup")  # of Linux, where containers are given a part of the cores
_started: list[Popen[Any]] = []  # the processes of this one
_killed: list[int] = []  # numbers of those that could not clear up after themselves
_sharing = [1]  # how many of our processes work at the same time, this one among them


class BackgroundCall(Generic[T]):
    """Starts `work` at once. `result` waits for it, and gives what it returned or raises what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: T
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error

    def wait(self, limit_s: float) -> None:
        """Wait for its end, no longer than this."""
        self._thread.join(limit_s)

    def result(self) -> T:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value


def start_threads(threads: Sequence[Thread]) -> list[Thread]:
    """Start threads, as many of them as the system gives.

    Args:
        threads: that do the same, so that fewer do as well.

    Returns: those that were started.

    Raises: RuntimeError where there is none.
    """
    started: list[Thread] = []
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:
            if not started:
                raise
            break
        started.append(thread)
    return started


def python_process(module: str, *arguments: str, folder: str = "", keep_errors: bool = False) -> Popen[bytes]:
    """A Python that runs a module of this package, with pipes to it and from it. It inherits no thread and no lock.

    Args:
        module: its full name.
        arguments: for the module.
        folder: where it is to work and to put its temporary files; by default where we do.
        keep_errors: whether its standard error is a pipe too; else it goes nowhere.

    Returns: the process.

    Raises: OSError where no process can be started.
    """
    from subprocess import DEVNULL, PIPE

    package = Path(__file__).parents[1]  # this very copy, whatever else is installed
    start = _START.format(root=str(package.parent), folder=package.name, more=_further_path(), module=module)
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder) if folder else {}
    return start_process(
        [sys.executable, "-I", "-S", *_flags(), "-c", start, *arguments],
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE if keep_errors else DEVNULL,
        cwd=folder or None,
        env={**environment(), **places, "OPENBLAS_NUM_THREADS": "1"},
    )


def start_process(command: Sequence[str], **details: Any) -> Popen[bytes]:
    """Start a process as the head of a group of its own, which ends with this process unless `kill` ends it before.

    Args:
        command: the program and its arguments.
        details: further arguments of Popen.

    Raises: OSError where it cannot be started.
    """
    import subprocess

    if not _started:
        import atexit

        atexit.register(kill_all)
    _started[:] = [process for process in _started if process.returncode is None] or _started[:1]
    with not_now():  # a process that nobody knows of would be ended by nobody
        process = subprocess.Popen(command, **details, **own_group())
        _started.append(process)
    return process


def kill_all() -> bool:
    """End every process that was started here and not ended yet, each with its group; whether any was ever killed."""
    for process in list(_started):
        if process.returncode is None:
            kill(process)
    return bool(_killed)


def share_cores(processes: int) -> None:
    """Say that so many of our processes work at the same time as this one, itself among them."""
    _sharing[0] = max(1, processes)


def count_cores() -> int:
    """Count the cores for this process: those it may use, divided by the processes that share them; 1 at least."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows bind no process to a part of the cores in this way
        cores = os.cpu_count() or 1
    return max(1, min(cores, _cores_of_group() or cores) // _sharing[0])


def _cores_of_group() -> int:
    """How many cores the control group of this process may use (cgroup v2, cpu.max); 0 where there is no limit."""
    try:
        own = Path("/proc/self/cgroup").read_text("utf-8").rpartition("::")[2].strip().lstrip("/")
    except OSError:
        return 0
    for folder in (_CGROUPS / own, _CGROUPS):
        with suppress(OSError, ValueError):  # without a limit the quota is the word "max"
            quota, period = (int(word) for word in (folder / "cpu.max").read_text("utf-8").split())
            return -(-quota // period)
    return 0


def describe_exit(code: int) -> str:
    """Name the exit status of a process, or the signal that killed it."""
    if code >= 0:
        return f"ended with exit status {code}"
    import signal

    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def describe_end(process: Popen[bytes], limit_s: float) -> str:
    """Describe how a process ended whose output is closed; wait no longer than this for its end."""
    from subprocess import TimeoutExpired

    try:
        return describe_exit(process.wait(timeout=limit_s))
    except TimeoutExpired:
        return "closed its output without an answer"


def environment() -> dict[str, str]:
    """Our environment variables without those that change what a Python does."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("PYTHON")}


def own_group() -> dict[str, Any]:
    """The arguments of Popen that make a process the head of a group of its own, for `kill`."""
    if sys.platform == "win32":
        import subprocess

        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def kill(process: Popen[Any]) -> None:
    """End a process with all of its group, and wait for it; not for ever, whatever holds it. To be called once."""
    from subprocess import TimeoutExpired

    _killed.append(process.pid)
    with suppress(OSError):  # all of it may be gone already
        if sys.platform == "win32":
            process.kill()
        else:
            import signal

            os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutExpired):
        process.wait(timeout=_PATIENCE_S)


def _flags() -> list[str]:
    """What an isolated Python would not know of: how we name files, and where we keep compiled modules."""
    flags = ["-X", "utf8"] if sys.flags.utf8_mode else []
    if sys.dont_write_bytecode:
        flags.append("-B")
    if sys.pycache_prefix:
        flags += ["-X", f"pycache_prefix={os.path.abspath(sys.pycache_prefix)}"]
    return flags


def _further_path() -> list[str]:
    """Where else we ourselves import from; what PYTHONPATH names comes last, and the current folder not at all."""
    here = ""
    with suppress(OSError):  # it may have been removed
        here = os.path.realpath(os.getcwd())
    entries = [p for p in sys.path if os.path.isabs(p) and os.path.realpath(p) != here]
    named = {os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(p)}
    return sorted(entries, key=lambda entry: os.path.abspath(entry) in named)
