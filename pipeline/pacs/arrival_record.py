"""Write down what became of each series, in a small file of its own: STATUS/study-…/series-….json.

Rules:
- It says of what instances a result was made, so that a receiver that is started again knows what is still to be done.
- A result that lacks an instance is STALE here before it is made anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ..core.atomic_file import in_place, make_folder
from ..core.json_file import read_json
from .arrival import CompletedBy, SeriesArrival
from .listen_conversion import ConversionReport

ArrivalState = Literal["RECEIVING", "COMPLETE", "CONVERTED", "PASSED", "REFUSED", "STALE"]
SCHEMA = 1
_PASSING = {"PROCESS_ENDED", "CANNOT_WRITE", "MEMORY_LIMIT"}  # refusals of this machine, not of what came
_WORDS = ("CompletedBy", "Incomplete", "InstancesDigest", "MadeOf")


class ArrivalRecord(NamedTuple):
    """What is known of one series. made_of: the instances that its result was made of, "" where there is none.

    stale: files of an earlier result that the last conversion did not make again.
    """

    state: ArrivalState
    completed_by: str = ""
    lacks: str = ""
    instances: str = ""
    made_of: str = ""
    report: ConversionReport = ConversionReport()
    stale: tuple[str, ...] = ()

    def after(self, report: ConversionReport, made_of: str) -> ArrivalRecord:
        """The record after a conversion."""
        before = dict.fromkeys((*self.stale, *self.report.files))
        stale = tuple(name for name in before if name not in report.files)
        return self._replace(state=_state_of(report), made_of=made_of, report=report, stale=stale)

    def as_json(self, series: SeriesArrival) -> dict[str, Any]:
        """What is written of it."""
        report = self.report
        return {
            "Schema": SCHEMA,
            "State": self.state,
            "StudyInstanceUID": series.study,
            "SeriesInstanceUID": series.series,
            "Modality": series.modality,
            "Instances": series.count,
            "InstancesBySender": series.expected or None,
            "CompletedBy": self.completed_by or None,
            "Incomplete": self.lacks or None,
            "InstancesDigest": self.instances,
            "MadeOf": self.made_of or None,
            "Results": [{"File": f, "Verdict": v} for f, v in zip(report.files, report.verdicts, strict=True)],
            "StaleResults": list(self.stale),
            "NotWritten": list(report.passed),
            "Names": list(report.named),
            "Findings": [found.as_json() for error in report.refused for found in (error.finding, *error.others)],
        }


def _state_of(report: ConversionReport) -> ArrivalState:
    """What a series is after its conversion."""
    if report.refused:
        return "REFUSED"
    return "CONVERTED" if report.files else "PASSED"


def write_record(path: Path, record: ArrivalRecord, series: SeriesArrival) -> None:
    """Write it in place of the one before.

    Args:
        path: of the file; its folder is made.
        record: what is known of the series.
        series: which.

    Returns: nothing.

    Raises: PipelineError CANNOT_WRITE.
    """
    from ..conversion.record_text import as_text

    make_folder(path.parent)
    with in_place(path, overwrite=True) as temporary:
        temporary.write_text(as_text(record.as_json(series)) + "\n", encoding="utf-8")


def read_record(path: Path) -> ArrivalRecord | None:
    """Read what a receiver wrote before; None where there is nothing, or it is no such record."""
    try:
        known = read_json(path)
        states: tuple[ArrivalState, ...] = get_args(ArrivalState)
        state = next(state for state in states if state == known["State"])
        by, lacks, instances, made_of = (str(known[key] or "") for key in _WORDS)
        files = tuple(str(result["File"]) for result in known["Results"])
        verdicts = tuple(str(result["Verdict"]) for result in known["Results"])
        stale = tuple(map(str, known["StaleResults"]))
        named = tuple(map(str, known.get("Names", ())))
        if state == "REFUSED" and _PASSING.intersection(str(finding["Code"]) for finding in known["Findings"]):
            state = "COMPLETE"  # it is tried again
        if known["Schema"] != SCHEMA:
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None
    return ArrivalRecord(state, by, lacks, instances, made_of, ConversionReport(files, verdicts, named=named), stale)


def completed_by(words: str) -> CompletedBy:
    """The reason that a record names; "" where it names none."""
    reasons: tuple[CompletedBy, ...] = get_args(CompletedBy)
    return next((reason for reason in reasons if reason == words), "")
