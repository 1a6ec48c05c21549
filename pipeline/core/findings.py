"""Say what is true of a series, a mask or a file, and raise what refuses it.

Rules:
- A check yields `Finding`s; a computation returns or raises `PipelineError`. Nothing answers None where a reason is known.
- `measured` and `limit` come together, with their unit; a message says what, where, how much, and what to do.
- Message and hint are plain text, whatever names from files stand in them; `where` keeps these as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from .codes import EXIT_BY_CODE, Code
from .doubts import DOUBTS
from .exits import Exit
from .numbers import is_finite_number
from .plain_text import escape_controls

if TYPE_CHECKING:
    from .record_types import FindingRecord


class Severity(str, Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the input or the result.

    code: which defect. severity: whether it refuses (ERROR), is to be known (WARNING) or explains (INFO).
    message: what, where and how much, one sentence. hint: the likely cause and what to do.
    clause: the clause of the DICOM or NIfTI standard. where: file names, UIDs or planes.
    measured, limit, unit: the number behind it and its bound; always both or neither, and neither for one that is not finite.
    """

    code: Code
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    clause: str = ""
    where: tuple[str, ...] = ()
    measured: float | None = None
    limit: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if (self.measured is None) != (self.limit is None):
            raise ValueError(f"{self.code.name}: measured and limit come together")
        if self.measured is not None and not (is_finite_number(self.measured) and is_finite_number(self.limit or 0)):
            # of a header that says "nan", which JSON has no word for; the message has it
            object.__setattr__(self, "measured", None)
            object.__setattr__(self, "limit", None)
        # Names from files stand in them: a message is one line of plain text, and a further line of a hint, the row of a
        # table of ours, begins with two spaces.
        object.__setattr__(self, "message", escape_controls(self.message))
        object.__setattr__(self, "hint", "\n  ".join(map(escape_controls, self.hint.split("\n  "))))

    @property
    def leaves_doubt(self) -> bool:
        """Whether a result with it stays UNCONFIRMED, whatever other readers say of its grid."""
        return self.code in DOUBTS and self.severity is not Severity.INFO

    def as_json(self) -> FindingRecord:
        """What the record says of it."""
        record: dict[str, Any] = {
            "Code": self.code.name,
            "Stage": self.code.stage,
            "Severity": self.severity.value,
            "Message": self.message,
        }
        extra = {"Hint": self.hint, "Clause": self.clause, "Where": list(self.where)}
        record.update({key: value for key, value in extra.items() if value})
        if self.measured is not None:
            record.update({"Measured": self.measured, "Limit": self.limit, "Unit": self.unit})
        return cast("FindingRecord", record)


class PipelineError(Exception):
    """The one exception of verimask: a finding that stops the work, with all that was found before it.

    folder: of the inputs, where what was refused lies: relative to the input, POSIX; "" where it is no one of many.
    """

    def __init__(self, finding: Finding, others: tuple[Finding, ...] = (), folder: str = "") -> None:
        super().__init__(finding, others, folder)
        self.finding = finding
        self.others = others
        self.folder = folder

    def __str__(self) -> str:
        return f"{self.finding.code.name}: {self.finding.message}"

    @property
    def exit(self) -> Exit:
        return EXIT_BY_CODE.get(self.finding.code, Exit.REFUSED)


def refuse(code: Code, message: str, hint: str = "", **details: Any) -> PipelineError:
    """Make the exception of one refusing finding; `raise refuse(...)` reads as what it does.

    Args:
        code: which defect.
        message: what, where and how much, one sentence.
        hint: the likely cause and what to do.
        details: the other fields of `Finding`: where, clause, measured, limit, unit.

    Returns: the exception, to be raised.
    """
    return PipelineError(Finding(code, message, hint, **details))
