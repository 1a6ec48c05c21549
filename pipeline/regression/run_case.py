"""Run one case: find its inputs, convert them as `convert INPUTS -o FOLDER/` does, and describe what came of it.

Rules:
- What cannot be run is a refusal or a reason why it was left out, and never an exception: one case keeps no other from running.
- Everything that a case writes lies in a folder of the run, which whoever made that folder removes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from ..conversion.convert import convert_each
from ..conversion.convert_entry import Result
from ..conversion.request import Request
from ..core.findings import PipelineError
from ..core.policy import Policy
from ..core.unexpected import as_refusal
from .case_inputs import CaseInputs, files_of_options, find_inputs, why_left_out
from .case_list import CaseList, RegressionCase
from .golden import Golden, build_golden

# From the words of a case, the folder that paths in them are relative to, what was made of its archive or recipe, and its
# root, to what is wanted. A function of a module, which other processes import. Raises BAD_CASES.
ReadOptions = Callable[[Sequence[str], "CaseFolders"], tuple[Request, Policy]]


class CaseFolders(NamedTuple):
    """What paths in the words of a case may be relative to. case: CASES.toml's. made: "{inputs}". root: "{root}"."""

    case: Path
    made: Path | None
    root: Path


class CaseRun(NamedTuple):
    """What came of running a case. id: of the case.

    golden: what it gave, None where it was not run. sha256: of its inputs. refusal: what kept it from being run.
    left_out: why it was not to be run here. seconds: how long it took.
    """

    id: str
    golden: Golden | None = None
    sha256: str = ""
    refusal: PipelineError | None = None
    left_out: str = ""
    seconds: float = 0.0


def run_case(
    cases: CaseList, case: RegressionCase, read_options: ReadOptions, folder: Path, *, fetch: bool = False
) -> CaseRun:
    """Run one case.

    Args:
        cases: the list that holds it.
        case: one of them.
        read_options: from its words to what is wanted.
        folder: of the run, in which it makes a folder of its own and removes it.
        fetch: whether its command may be run.

    Returns: what came of it.
    """
    begin = monotonic()
    left_out = why_left_out(cases, case, fetch=fetch)
    if left_out:
        return CaseRun(case.id, left_out=left_out)
    scratch = folder / case.id
    try:
        scratch.mkdir()
        inputs = find_inputs(cases, case, scratch)
        golden = _convert(cases, case, inputs, read_options, scratch)
        return CaseRun(case.id, golden, inputs.sha256, seconds=monotonic() - begin)
    except Exception as error:
        return CaseRun(case.id, refusal=as_refusal(error, case.id), seconds=monotonic() - begin)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _convert(
    cases: CaseList, case: RegressionCase, inputs: CaseInputs, read_options: ReadOptions, scratch: Path
) -> Golden:
    request, policy = read_options(case.options, CaseFolders(cases.folder, inputs.folder, cases.base_of(case)))
    named = (*request.source, *request.clean, *([request.like] if request.like else []))
    files = {**files_of_options(cases, case, inputs, named), **inputs.files}
    results: list[Result] = []
    try:
        results.extend(convert_each(inputs.given, scratch / "out", request=request, policy=policy))
    except Exception as error:  # before the first result: there is nothing to convert, or an option can have no effect
        results.append(as_refusal(error, case.id))
    return build_golden(case.options, files, results)
