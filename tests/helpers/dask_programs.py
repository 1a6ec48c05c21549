"""A Dask cluster on this machine: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.helpers.watching import ROOT, wait_for


class DaskPrograms:
    """The programs of a cluster; all of them end with the block. address: of the scheduler, which is the first of them."""

    def __init__(self, folder: Path) -> None:
        """Start a scheduler. folder: for its logs."""
        self.folder = folder
        self.programs: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def __enter__(self) -> DaskPrograms:
        file = self.folder / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        try:
            wait_for(lambda: file.exists() and file.read_text("utf-8").endswith("}"))
        except TimeoutError:
            self._end()
            raise
        self.address = str(json.loads(file.read_text("utf-8"))["address"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def start_worker(self, *options: str, nanny: bool = False) -> subprocess.Popen[bytes]:
        """Start a worker of one thread. nanny: whether another process starts it again where it dies."""
        alone = () if nanny else ("--no-nanny",)
        return self._start("worker", self.address, "--nthreads", "1", *alone, *options)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        given = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *arguments]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "TMPDIR": str(self.folder),  # of what workers write
            "DASK_LOGGING__DISTRIBUTED": "critical",
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",  # workers that a case may end, before it is given up
        }
        log = self.folder / f"{program}-{len(self.programs)}.log"
        with log.open("wb") as file:
            self.programs.append(subprocess.Popen(given, cwd=self.folder, env=environment, stdout=file, stderr=file))
        return self.programs[-1]

    def _end(self) -> None:
        for process in reversed(self.programs):
            process.kill()
            process.wait()
