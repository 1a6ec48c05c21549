"""Run the command line in a fork of this process, which has everything imported: a kill then costs what the command does.

Rules:
- In the fork nothing of this process runs: what it would do at its end is forgotten first, and it ends by itself.
- It offers what is used here of `subprocess.Popen`.
"""

from __future__ import annotations

import atexit
import faulthandler
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pipeline

_POLL_S = 0.005
_HANGS_S = 20.0  # then it says on standard error where it is
_OTHERS = ("highdicom", "dicom2nifti", "SimpleITK", "pydicom.encoders", "pydicom.overlays")  # that commands load late


def load_all() -> None:
    """Import what commands import; what is not installed is left to them."""
    for module in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
        if "scripts" not in module.name and not module.name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(module.name)
    for name in _OTHERS:
        with suppress(ImportError):
            importlib.import_module(name)


class ForkedCommand:
    """A command that runs. begin: called in the fork before the command."""

    def __init__(
        self, words: Sequence[str], cwd: Path, environment: Mapping[str, str], errors: Path, begin: Callable[[], None]
    ) -> None:
        self._errors = errors
        self.returncode: int | None = None
        errors.touch()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_command(words, cwd, environment, errors, begin)

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Wait until it has ended; what it printed on standard error. Raises TimeoutExpired."""
        end = time.monotonic() + (timeout or 1e9)
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("verimask", timeout or 0.0)
            time.sleep(_POLL_S)
        return b"", self._errors.read_bytes()


def _be_the_command(
    words: Sequence[str], cwd: Path, environment: Mapping[str, str], errors: Path, begin: Callable[[], None]
) -> NoReturn:
    code: Any = 1
    try:
        atexit._clear()
        finalize: Any = weakref.finalize
        finalize._registry.clear()
        finalize._registered_with_atexit = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        null = os.open(os.devnull, os.O_RDWR)
        for to, source in ((0, null), (1, null), (2, os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))):
            os.dup2(source, to)
        sys.argv = ["verimask", *words]
        faulthandler.dump_traceback_later(_HANGS_S, file=2)
        begin()
        from pipeline.cli.main import main

        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            shut_down: Any = threading
            shut_down._shutdown()
            atexit._run_exitfuncs()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
