"""Judge what a case gave: against its golden record, its SHA-256 and what it is expected to give.

Rules:
- A case HOLDS when it was run, has a golden record, and differs from it in nothing. What was not run does not hold.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ..core.findings import PipelineError
from .case_list import CaseList, RegressionCase
from .difference import Difference, find_differences, find_notes
from .golden import read_golden, words_of
from .run_case import CaseRun

RegressStatus = Literal["HOLDS", "DIFFERS", "NEW", "FAILED", "LEFT_OUT"]


class CaseJudged(NamedTuple):
    """What is to be said of one case that was run, or was to be.

    status: NEW has no golden record; FAILED could not be run. notes: what is to be known though it is no difference.
    """

    case: RegressionCase
    run: CaseRun
    status: RegressStatus
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def results(self) -> list[dict[str, Any]]:
        """What it gave, as in its golden record, with the messages of refusals."""
        return list(self.run.golden["Results"]) if self.run.golden else []

    @property
    def lines(self) -> list[str]:
        """Why it does not hold, one line a reason; empty where it does."""
        if self.run.left_out:
            return [self.run.left_out]
        if self.status == "FAILED" and self.run.refusal is not None:
            finding = self.run.refusal.finding
            return [f"{finding.code.name}: {finding.message}", *([finding.hint] if finding.hint else [])]
        return [f"{one.subject}: {one.words}" if one.names_result else one.words for one in self.differences]


def judge_case(cases: CaseList, case: RegressionCase, run: CaseRun) -> CaseJudged:
    """Judge a run of a case.

    Args:
        cases: the list that holds it.
        case: one of them.
        run: what came of it.

    Returns: what is to be said of it.
    """
    if run.left_out:
        return CaseJudged(case, run, "LEFT_OUT")
    if run.golden is None:
        return CaseJudged(case, run, "FAILED")
    wrong = [*_unexpected(case, run)]
    try:
        was = read_golden(cases.golden_path(case.id))
    except PipelineError as error:
        return CaseJudged(case, run._replace(refusal=error), "FAILED")
    if was is None:
        words = f"there is no golden record; --update {case.id} writes it"
        return CaseJudged(case, run, "NEW", (*wrong, Difference("golden", "", words)))
    found = find_differences(was, run.golden)
    if not any(difference.kind == "input" for difference in found):
        wrong += _other_digest(case, run)
    differences = (*found, *wrong)
    return CaseJudged(case, run, "DIFFERS" if differences else "HOLDS", differences, tuple(find_notes(was, run.golden)))


def _unexpected(case: RegressionCase, run: CaseRun) -> list[Difference]:
    """What a case gives that its line of CASES.toml does not expect."""
    gives = words_of(run.golden) if run.golden else []
    odd = [word for word in gives if word not in case.expected]
    if not odd and gives:
        return []
    words = f"gives {', '.join(odd) or 'nothing'}, and {' or '.join(case.expected)} is expected"
    return [Difference("expected", "", words, list(case.expected), gives)]


def _other_digest(case: RegressionCase, run: CaseRun) -> list[Difference]:
    """The SHA-256 in CASES.toml, where it is another than that of the files, which are those of the golden record."""
    if not case.sha256 or case.sha256 == run.sha256:
        return []
    words = f"CASES.toml has the SHA-256 {case.sha256}, and the input has {run.sha256}"
    return [Difference("sha256", "", words, case.sha256, run.sha256)]
