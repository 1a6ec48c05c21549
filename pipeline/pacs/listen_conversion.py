"""Convert series beside the receiving: one after the other, in a process of its own that is started for the first.

Rules:
- A process that dies costs the series that it had; another one goes on with the next.
- At the end a conversion that runs is broken off, and leaves nothing half.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

from ..core.findings import Code, PipelineError, refuse
from ..core.leftovers import remove_of
from ..core.policy import Policy
from ..core.team import Member, pickled

_PATIENCE_S = 4.0  # for the process to clear up and end by itself


class ConversionJob(NamedTuple):
    """A series to convert. images: folders of the images that a mask may have been drawn on; empty for an image."""

    folder: Path
    images: tuple[Path, ...]
    output: Path
    is_mask: bool


class ConversionReport(NamedTuple):
    """What came of a job. files, verdicts: of each that is there now. passed: why an image was not written.

    named: the UIDs of the series that a mask refers to.
    """

    files: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    refused: tuple[PipelineError, ...] = ()
    passed: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


class SeriesConverter:
    """Takes jobs, and hands on what came of each."""

    def __init__(self, policy: Policy, output: Path, done: Callable[[str, ConversionReport], None]) -> None:
        """Start its thread.

        Args:
            policy: of all conversions.
            output: the folder that all jobs write below.
            done: called by the thread with the name of a job and its report.
        """
        self._policy, self._output, self._done = policy, output, done
        self._jobs: SimpleQueue[tuple[str, ConversionJob] | None] = SimpleQueue()
        self._member: Member | None = None
        self._is_closed = False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, name: str, job: ConversionJob) -> None:
        """Add a job, by a name that its report is handed on with."""
        self._jobs.put((name, job))

    def close(self) -> None:
        """Break off what is being done, and do no more."""
        self._is_closed = True
        self._jobs.put(None)
        if self._member is not None:
            self._end(self._member)
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        while (task := self._jobs.get()) is not None and not self._is_closed:
            name, job = task
            report = self._convert(job)
            if not self._is_closed:
                self._done(name, report)

    def _convert(self, job: ConversionJob) -> ConversionReport:
        words = "did not begin"
        try:
            member, payload = self._member, pickled(job)
            if member is None or not member.is_alive():
                member = self._member = Member(f"{__package__}.listen_worker")
                payload = pickled((self._policy, self._output)) + payload
            reports: list[ConversionReport] = [value for _, value in member.do(payload)]  # to its end
            return reports[-1]
        except Exception as error:  # whatever shows that it has ended
            words = self._end(self._member) if self._member is not None else str(error)
            self._member = None
        refusal = refuse(
            Code.PROCESS_ENDED,
            f"the process that converted it {words}",
            "Convert its folder with verimask convert, or start verimask listen again, which tries it again.",
            where=(job.folder.name,),
        )
        return ConversionReport(refused=(refusal,))

    def _end(self, member: Member) -> str:
        words = member.end(_PATIENCE_S)
        for folder in self._output.glob("*/*"):
            remove_of(folder, member.mark)
        return words
