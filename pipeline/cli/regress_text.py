"""Describe what came of cases as lines of text, without printing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .text import paint

if TYPE_CHECKING:
    from ..regression.judge import CaseJudged

_WORDS = {
    "HOLDS": ("holds", "hold"),
    "DIFFERS": ("differs", "differ"),
    "NEW": ("is new", "are new"),
    "FAILED": ("could not be run", "could not be run"),
    "LEFT_OUT": ("was left out", "were left out"),
}
_WIDEST = len("LEFT OUT")


def describe_line(judged: CaseJudged, width: int, *, colour: bool = False) -> str:
    """Describe a case in one line, as it ends.

    Args:
        judged: the case.
        width: of the longest id.
        colour: whether its status is painted.

    Returns: the line.
    """
    lines = judged.lines
    more = f" (and {len(lines) - 1} more)" if judged.status == "DIFFERS" and len(lines) > 1 else ""
    words = lines[0] + more if lines else ", ".join([describe_results(judged.results), *judged.notes])
    return f"{_status(judged, colour)}  {judged.case.id:{width}}  {words}"


def describe_reasons(judged: Sequence[CaseJudged]) -> list[str]:
    """Describe why cases do not hold, each with everything that differs."""
    lines = []
    for one in judged:
        if one.status in ("DIFFERS", "NEW", "FAILED"):
            lines += ["", f"{one.case.id} {_WORDS[one.status][0]}", *(f"  {line}" for line in one.lines)]
    return lines


def describe_table(judged: Sequence[CaseJudged], width: int, *, colour: bool = False) -> list[str]:
    """Describe all cases in a table, and count them.

    Args:
        judged: the cases, in the order of CASES.toml.
        width: of the longest id.
        colour: whether their status is painted.

    Returns: the lines.
    """
    gives = [describe_results(one.results) or "-" for one in judged]
    widest = max(map(len, gives), default=0)
    rows = [
        f"{one.case.id:{width}}  {_status(one, colour)}  {words:{widest}}  {_witnesses(one.results)}".rstrip()
        for one, words in zip(judged, gives, strict=True)
    ]
    counts: Counter[str] = Counter(one.status for one in judged)
    total = ", ".join(f"{counts[key]} {word[counts[key] > 1]}" for key, word in _WORDS.items() if counts[key])
    return ["", *rows, "", f"of {len(judged)} case{'s' * (len(judged) != 1)}, {total}" if judged else "no case"]


def describe_results(results: Sequence[Mapping[str, Any]]) -> str:
    """Describe what a case gives: each verdict or refusal, with its count where there are several."""
    words = [" ".join(filter(None, (one["Verdict"], one.get("Code", "")))) for one in results]
    return ", ".join(word if count == 1 else f"{count} {word}" for word, count in Counter(words).items())


def _status(judged: CaseJudged, colour: bool) -> str:
    word = judged.status.replace("_", " ")
    return paint(word, colour) + " " * (_WIDEST - len(word))


def _witnesses(results: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(_each_witness(results))


def _each_witness(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each witness with what it says, of all results."""
    minds: dict[str, Counter[str]] = {}
    for result in results:
        for name, one in result.get("Witnesses", {}).items():
            minds.setdefault(name, Counter())[one["Status"].lower().replace("_", " ")] += 1
    for name, counted in minds.items():
        yield f"{name} {' and '.join(counted)}"
