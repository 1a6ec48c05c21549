"""Define what verifying one result gives: what does not hold, with what was and is, and what could not be checked.

Rules:
- A result holds where nothing that was checked is broken. What could not be checked is said beside it and is no proof.
- Was is what the record says, and is what the file, the inputs or the computation give now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

VerifyStatus = Literal["HOLDS", "BROKEN", "NO RECORD", "NO FILE", "OTHER PROGRAM", "NEWER"]
_LONGEST = 160  # letters of a value that are shown
_ROUNDING = 1e-9  # what the last bits of float64 are: another machine adds in another order


class Broken(NamedTuple):
    """One thing that does not hold. what: was checked. where: key, file, label or plane. was: recorded; found: now."""

    what: str
    where: str
    was: str
    found: str


class NotChecked(NamedTuple):
    """One thing that could not be checked, and why."""

    what: str
    why: str


Note = Broken | NotChecked
RecordValues = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VerifiedResult:
    """What became of the proof of one result.

    name: of the NIfTI file, below the folder that was given. checked: what was, in words. verdict: as recorded.
    """

    name: str
    status: VerifyStatus
    checked: tuple[str, ...] = ()
    broken: tuple[Broken, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()
    verdict: str = ""

    def as_json(self) -> RecordValues:
        """The result as the command prints it."""
        return {
            "File": self.name,
            "Status": self.status.replace(" ", "_"),
            "Recorded": self.verdict or None,
            "Checked": list(self.checked),
            "Broken": [{"What": b.what, "Where": b.where, "Was": b.was, "Is": b.found} for b in self.broken],
            "NotChecked": [{"What": n.what, "Why": n.why} for n in self.not_checked],
        }


def show(value: object) -> str:
    """Write a value on one line, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} letters)"


def same(what: str, where: str, was: object, found: object) -> Iterator[Broken]:
    """Yield what is broken where two values are not equal.

    Args:
        what: was checked.
        where: key, file or label.
        was: recorded.
        found: now.

    Returns: nothing, or the one thing that is broken.
    """
    if was != found:
        yield Broken(what, where, show(was), show(found))


def near(what: str, where: str, was: object, found: object, limit: float = 0.0) -> Iterator[Broken]:
    """Yield what is broken where numbers are not those that were computed.

    Args:
        what: was checked.
        where: the key of the numbers.
        was: recorded, a number or lists of them.
        found: computed, of the same shape.
        limit: how far apart they may be beyond rounding.

    Returns: nothing, or the first number that differs, with the count of the others.
    """
    old, new = np.asarray(was, np.float64), np.asarray(found, np.float64)
    if old.shape != new.shape:
        yield Broken(what, where, f"{old.size} numbers", f"{new.size} numbers")
        return
    off = ~(np.abs(old - new) <= limit + _ROUNDING * np.maximum(1, np.abs(new)))
    for index in np.argwhere(off)[:1]:  # the first shows it; a shifted plane would give hundreds
        at = tuple(int(n) for n in index)
        more = f" (and {off.sum() - 1} more)" if off.sum() > 1 else ""
        place = "".join(f"[{n}]" for n in at) + more
        yield Broken(what, where + place, repr(float(old[at])), repr(float(new[at])))


def computed(what: str, where: str, check: Callable[[], Iterable[Note]]) -> Sequence[Note]:
    """Run a check whose numbers may be anything.

    Args:
        what: is checked.
        where: the keys it computes with.
        check: yields what it finds.

    Returns: what it found; numbers that cannot be computed with are broken.
    """
    try:
        with np.errstate(all="ignore"):
            return list(check())
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        return [Broken(what, where, "numbers that can be computed with", show(str(error)))]
