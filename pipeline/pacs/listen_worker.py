"""Convert series in a process of its own, one after the other, as the process that listens asks.

Rules:
- Messages are a Policy, then ConversionJobs; the answer to each is one RESULT, a ConversionReport. How they travel, and how
  the process ends, is `core.team_worker`'s.
- What is there already and proven stays as it is; what no longer fits its inputs is made anew: see `existing_output`.
"""

from __future__ import annotations

from pathlib import Path

from ..conversion.convert import convert_each
from ..conversion.record import Outcome
from ..conversion.request import Request
from ..conversion.unwritten_images import UnwrittenImage
from ..core.findings import Code, PipelineError
from ..core.leftovers import remove_of
from ..core.policy import Policy
from ..core.team_worker import DONE, RESULT, Answers, Inbox, serve
from ..core.unexpected import as_refusal
from ..crosscheck.panel import Panel
from .fetch_needed import read_sources
from .listen_conversion import ConversionJob, ConversionReport


def convert_job(job: ConversionJob, policy: Policy, panel: Panel) -> ConversionReport:
    """Convert a series. Whatever goes wrong is in the report.

    Args:
        job: the series.
        policy: of the conversion.
        panel: the witnesses, running.

    Returns: what came of it.
    """
    files, verdicts, passed = [], [], []
    refused: list[PipelineError] = []
    request = Request(source=job.images) if job.is_mask else Request(images=True)
    try:
        for result in convert_each(
            job.folder, job.output, request=request, policy=policy, panel=panel, lone_images=not job.is_mask
        ):
            if isinstance(result, Outcome):
                files.append(result.output.name)
                verdicts.append(str(result.record.get("Recorded", result.verdict)))
            elif isinstance(result, UnwrittenImage):
                passed.append(result.message)
            else:
                refused.append(result)
    except Exception as error:
        refused.append(as_refusal(error))
    passed += [error.finding.message for error in refused if error.finding.code is Code.NOT_CONVERTIBLE]
    refused = [
        error for error in refused if error.finding.code is not Code.NOT_CONVERTIBLE
    ]  # a report, a presentation state
    return ConversionReport(tuple(files), tuple(verdicts), tuple(refused), tuple(passed), _named_by(job))


def _named_by(job: ConversionJob) -> tuple[str, ...]:
    if not job.is_mask:
        return ()
    try:
        return tuple(sorted(read_sources(job.folder).series_uids))
    except Exception:  # what cannot be read names nothing, and its conversion said why
        return ()


def _work(first: tuple[Policy, Path], inbox: Inbox, answers: Answers) -> None:
    policy, _ = first
    with Panel(policy) as panel:
        for job in inbox:
            inbox.is_working.set()
            answers.send(RESULT, convert_job(job, policy, panel))
            inbox.is_working.clear()
            answers.send(DONE)


def _clear_up(first: tuple[Policy, Path], mark: str) -> None:
    for folder in first[1].glob("*/*"):
        remove_of(folder, mark)


if __name__ == "__main__":
    serve(_work, _clear_up)
