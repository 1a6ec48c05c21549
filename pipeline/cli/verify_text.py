"""Describe verified results in lines of text: a line for each, what does not hold under it, and a table of counts.

Rules:
- What was checked in all results, or could be in none, is said once, at the end.
- Was and is stand under each other, so that two digests can be compared by eye.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ..diagnosis.verify_result import VerifiedResult, VerifyStatus
from .text import paint

_MOST = 12  # things of one result that are listed
_MEANINGS: dict[VerifyStatus, str] = {
    "HOLDS": "everything that was checked holds",
    "BROKEN": "something is not as it was proven",
    "NO FILE": "a record whose NIfTI file is not there",
    "NO RECORD": "a NIfTI file without a record of its own",
    "OTHER PROGRAM": "the JSON beside it is no record of verimask",
    "NEWER": "a record of another schema than this version knows",
}


class Shared(NamedTuple):
    """What was checked in all of several results, and what in none, each in words."""

    checked: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()


def describe_result(result: VerifiedResult, shared: Shared, *, colour: bool) -> list[str]:
    """Describe one result.

    Args:
        result: that was verified.
        shared: what is said once for all results.
        colour: whether its status is painted, by the codes of a terminal.

    Returns: lines without line ends, not yet wrapped.
    """
    hang = " " * (len(result.status) + 2)
    recorded = f"  recorded {result.verdict}" if result.verdict else ""
    own = [word for word in result.checked if word not in shared.checked and not result.broken]
    lines = [f"{paint(result.status, colour)}  {result.name}{recorded}"]
    lines += [f"{hang}checked: {', '.join(own)}"] if own else []
    for broken in result.broken[:_MOST]:
        lines += [
            f"{hang}{broken.what}: {broken.where}",
            f"{hang}  was {broken.was}",
            f"{hang}  is  {broken.found}",
        ]
    more = len(result.broken) - _MOST
    lines += [f"{hang}and {more} more, which --json lists"] if more > 0 else []
    left_out = [f"{n.what}: {n.why}" for n in result.not_checked]
    return [*lines, *(f"{hang}not checked: {text}" for text in left_out if text not in shared.not_checked)]


def find_shared(results: Sequence[VerifiedResult]) -> Shared:
    """Find what several results have in common, of those of which something was checked."""
    looked_at = [result for result in results if result.checked]
    if len(looked_at) < 2:
        return Shared()
    first, *others = looked_at
    checked = [word for word in first.checked if all(word in result.checked for result in others)]
    not_checked = [n for n in first.not_checked if all(n in result.not_checked for result in others)]
    return Shared(tuple(checked), tuple(f"{n.what}: {n.why}" for n in not_checked))


def describe_counts(results: Sequence[VerifiedResult], shared: Shared) -> list[str]:
    """Count the results by status, and say what was checked in none of them."""
    counts = Counter(result.status for result in results)
    width = max(len(status) for status in counts)
    digits = len(str(max(counts.values())))
    lines = [f"{counts[s]:>{digits}}  {s:<{width}}  {words}" for s, words in _MEANINGS.items() if counts[s]]
    lines += [f"checked in all: {', '.join(shared.checked)}"] if shared.checked else []
    return [*lines, *(f"checked in none: {text}" for text in shared.not_checked)]
