"""Log a run by the standard library: the logger is called verimask, and prints nothing unless somebody asks it to.

Rules:
- Stages are DEBUG with their time, results INFO; warnings of a result, and witnesses that failed or differ, are WARNING.
- What is raised is not logged: the exception says it, and whoever catches it decides. What is refused of many is returned
  where it is easily passed over, so it is an ERROR.
- Files appear by name. Nothing is logged but what a record or a refusal says too: no path, and no name of a patient.
- Numbers and names are fields of the log record too (`extra`): output, verdict, seconds, stage, code, where,
  witness, status.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.findings import Finding, PipelineError
from ..core.plain_text import escape_controls
from .record import Outcome

if TYPE_CHECKING:
    from logging import Logger

    from .request import Progress

T = TypeVar("T")
NAME = "verimask"
_FIRST = "reading headers"  # the stage that every run begins with
_LEVELS = {"info": "DEBUG", "warning": "WARNING", "error": "ERROR"}  # of findings, by their severity


class StageLog:
    """Logs the stages and results of one run. progress: shows what it was made with, and times its stages."""

    def __init__(self, progress: Progress) -> None:
        self._shown = progress
        self._logger = _find_logger()
        self._start = self._stage_start = perf_counter()
        self._stage = _FIRST
        is_timed = self._logger is not None and self._logger.isEnabledFor(10)  # logging.DEBUG
        self.progress: Progress = self._time if is_timed else progress

    def note(self, result: T) -> T:
        """Log an outcome or a refusal, and return it."""
        if self._logger is not None:
            self._end_stage(_FIRST)
            now = perf_counter()
            seconds, self._start = now - self._start, now
            if isinstance(result, Outcome):
                self._log_outcome(result, seconds)
            elif isinstance(result, PipelineError):
                self._log_finding(result.finding, {})
        return result

    def _log_outcome(self, outcome: Outcome, seconds: float) -> None:
        name = outcome.output.name
        facts: dict[str, Any] = {"output": name}
        for finding in outcome.findings:
            self._log_finding(finding, facts)
        for agreement in outcome.agreements:
            level = "WARNING" if agreement.status in ("FAILED", "DIFFERS") else "DEBUG"
            more = {**facts, "witness": agreement.witness, "status": agreement.status}
            self._log(level, f"{name}: {agreement.witness} {agreement.status}: {agreement.words}", more)
        more = {**facts, "verdict": outcome.verdict, "seconds": seconds}
        self._log("INFO", f"{name}: {outcome.verdict} in {seconds:.2f} s", more)

    def _time(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._end_stage(stage)
        self._shown(stage, done, total)

    def _end_stage(self, following: str) -> None:
        now = perf_counter()
        seconds = now - self._stage_start
        self._log("DEBUG", f"{self._stage}: {seconds:.3f} s", {"stage": self._stage, "seconds": seconds})
        self._stage, self._stage_start = following, now

    def _log_finding(self, finding: Finding, facts: dict[str, Any]) -> None:
        more = {**facts, "code": finding.code.name, "where": list(finding.where)}
        named = f"{facts['output']}: " if facts else ""
        self._log(_LEVELS[finding.severity.value], f"{named}{finding.code.name}: {finding.message}", more)

    def _log(self, level: str, words: str, facts: dict[str, Any]) -> None:
        import logging

        if self._logger is not None:
            self._logger.log(getattr(logging, level), "%s", escape_controls(words), extra=facts)


def _find_logger() -> Logger | None:
    """The logger; None where logging was never imported: then nobody can listen, and its import would only cost time."""
    if "logging" not in sys.modules:
        return None
    import logging

    logger = logging.getLogger(NAME)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # or Python prints warnings that nobody asked for
    return logger
