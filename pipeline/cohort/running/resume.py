"""Judge what an earlier run made of a case: fresh, or to be made anew, and why.

Rules:
- FRESH is only what has the version, the options, the inputs and the outputs that it would have now. Files are compared by size
  and time first, and by their bytes where those differ.
- What failed for a reason that lies outside of its inputs is made anew; what its inputs were refused for would be again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...core.codes import Code
from ...core.version import __version__
from ...dicom.source_file import sha256
from ..case import Case, CaseOutput, CaseResult, CaseState
from ..facts import InputFile
from ..plan import content_of

# What refuses a case and says nothing of its inputs.
_PASSING = frozenset(
    code.name
    for code in (
        Code.PROCESS_ENDED, Code.UNEXPECTED, Code.CANNOT_WRITE, Code.READ_BACK_DIFFERS, Code.INPUT_CHANGED, Code.OUTPUT_EXISTS,
        Code.FILE_UNREAD,
    )
)  # fmt: skip


class StoredCase(NamedTuple):
    """What the index keeps of a case that ended.

    content: of `content_of`. options, version: digest and version it was made with. inputs: as they were. times: mtime_ns of its
    outputs, by path.
    """

    content: str
    options: str
    version: str
    inputs: tuple[InputFile, ...]
    result: CaseResult
    times: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """What is kept, as JSON has it."""
        return {**self._asdict(), "inputs": [list(file) for file in self.inputs], "result": self.result.as_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StoredCase:
        """What `as_json` gave."""
        inputs = tuple(InputFile(*file) for file in value["inputs"])
        return cls(**{**value, "inputs": inputs, "result": CaseResult.from_json(value["result"])})

    @property
    def outputs(self) -> dict[str, CaseOutput]:
        """Its files by path."""
        return {output.path: output for output in self.result.outputs}


class CaseJudgement(NamedTuple):
    """The state of a case, and why, in words. is_to_make: whether a run makes it; what inputs were refused for would be again."""

    state: CaseState
    why: str = ""
    is_to_make: bool = True


def stored_case(case: Case, options: str, result: CaseResult, out: Path) -> StoredCase:
    """Make what is kept of a case that ended, now that its files are in their place.

    Args:
        case: as it was planned.
        options: the digest of those of the plan.
        result: what came of it.
        out: the output folder.

    Returns: what is kept.
    """
    times = {output.path: (out / output.path).stat().st_mtime_ns for output in result.outputs}
    return StoredCase(content_of(case), options, __version__, inputs_of(case), result, times)


def inputs_of(case: Case) -> tuple[InputFile, ...]:
    """Every file that a case reads, once."""
    return tuple(dict.fromkeys(f for member in (*case.images, *case.masks, *case.others) for f in member.files))


def judge_case(case: Case, stored: StoredCase | None, options: str, out: Path) -> CaseJudgement:
    """Judge what is kept of a case.

    Args:
        case: as it is planned now.
        stored: what the index keeps of it.
        options: the digest of those of now.
        out: the output folder.

    Returns: its state. FAILED is what was not wholly done, of inputs and options that are what they were.
    """
    if stored is None:
        return CaseJudgement("NEW")
    if stored.version != __version__:
        return CaseJudgement("VERSION CHANGED", f"it was made by {stored.version}, and this is {__version__}")
    if stored.options != options:
        return CaseJudgement("OPTIONS CHANGED")
    why = _changed_inputs(stored, case) or _changed_outputs(stored, out)
    if why:
        return CaseJudgement("STALE", why)
    if not has_failed(stored.result):
        return CaseJudgement("FRESH", is_to_make=False)
    if has_passing_reason(stored.result):
        return CaseJudgement("FAILED", "for a reason that may have passed")
    return CaseJudgement("FAILED", "--only-failed makes it again", is_to_make=False)


def has_passing_reason(result: CaseResult) -> bool:
    """Whether a case, or a mask of it, failed for a reason that lies outside of its inputs."""
    return any(row.get("code") in _PASSING and not row.get("output") for row in result.rows)


def has_failed(result: CaseResult) -> bool:
    """Whether a case is not wholly done."""
    return result.status not in ("DONE", "NO_MASK")


def _changed_inputs(stored: StoredCase, case: Case) -> str:
    """How the inputs differ, in words; "" where they do not."""
    was, now = ({file.path: file for file in files} for files in (stored.inputs, inputs_of(case)))
    new, gone = now.keys() - was.keys(), was.keys() - now.keys()
    if new or gone:
        return f"inputs changed ({len(new)} new, {len(gone)} gone)"
    changed = [path for path in now if now[path] != was[path] and not _has_bytes(path, stored.result.inputs)]
    if changed:
        return f"inputs changed ({len(changed)} have other bytes)"
    return "" if stored.content == content_of(case) else "its series, links or place are others now"


def _has_bytes(path: str, digests: Mapping[str, str]) -> bool:
    """Whether a file has the bytes that it was converted with."""
    try:
        return path in digests and sha256(Path(path)) == digests[path]
    except OSError:
        return False


def _changed_outputs(stored: StoredCase, out: Path) -> str:
    """Which outputs are gone or have other bytes, in words; "" for none."""
    for path, output in stored.outputs.items():
        try:
            state = (out / path).stat()
        except OSError:
            return f"{path} is gone"
        same = state.st_size == output.size and state.st_mtime_ns == stored.times.get(path)
        if not same and (state.st_size != output.size or sha256(out / path) != output.sha256):
            return f"{path} has other bytes than were written"
    return ""
