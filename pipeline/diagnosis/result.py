"""Hold the result of a diagnosis, and write it as lines of text or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..geometry.rigid_motion import Motion
from .array_match import ArrayMatch
from .mistakes import Mistake

DiagnosisStatus = Literal["correct", "mistakes", "moved", "unexplained", "undecided"]
_LISTED = 2  # other explanations that are written out; the JSON has all
_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth")  # of the mistakes as they are listed
_DO_NOT_ADD_UP = "Each number is what that mistake alone would move the worst corner by; they do not add up, as they point different ways."

_VERDICTS: dict[DiagnosisStatus, str] = {
    "correct": "Nothing is wrong: every voxel lies within {total:.4f} mm of its place.",
    "mistakes": "The file is wrong, and {mistakes} it exactly.",
    "moved": (
        "The file is wrong, and a motion without a known cause is left over: "
        "another Frame of Reference, a registration or a moved table would look so."
    ),
    "unexplained": "No known set of mistakes explains this file: its voxels or its place are others than the series'.",
    "undecided": "The affine fits the series. Whether the array fits the affine is not known.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What is wrong with a file, and what is known of it.

    status: `correct` (every voxel in its place), `mistakes` (explained exactly), `moved` (explained but for a rigid
    motion without a known cause), `unexplained`, `undecided` (nothing wrong with the affine, and no voxels to judge the
    array by). mistakes: each in words with what it alone costs. total_mm: how far the worst corner lies from its place;
    None where that is not known. residual: the motion left over. fit: where the voxels are in the truth, or None.
    others: sets of as many mistakes that give the very same file. unknown: what cannot be known, a sentence each.
    notes: what was found on the way, a sentence each. places: where the planes may lie as well as not; none where that is known.
    """

    status: DiagnosisStatus
    mistakes: tuple[Mistake, ...]
    total_mm: float | None
    fit: ArrayMatch | None
    residual: Motion | None = None
    others: tuple[tuple[Mistake, ...], ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    places: tuple[tuple[int, ...], ...] = ()

    def lines(self) -> list[str]:
        """Write the diagnosis as lines of text: verdict, mistakes, total, notes, what is unknown."""
        n = len(self.mistakes)
        explain = "one mistake explains" if n == 1 else f"{n} mistakes explain"
        lines = [_VERDICTS[self.status].format(mistakes=explain, total=self.total_mm)]
        width = max((len(_mm(m.mm)) for m in self.mistakes), default=0)
        lines += [f"  {_mm(m.mm):>{width}} mm  {m.words}" for m in self.mistakes]
        if self.residual is not None:
            lines.append(f"  left over: {self.residual.words}")
        if self.total_mm is not None and self.status != "correct":
            lines.append(f"The worst corner lies {_mm(self.total_mm)} mm from its place.")
        if n > 1:
            lines.append(_DO_NOT_ADD_UP)
        lines += list(dict.fromkeys(_describe_other(self.mistakes, other) for other in self.others))[:_LISTED]
        return [*lines, *self.notes, *self.unknown]

    def as_json(self) -> dict[str, Any]:
        return {
            "Status": self.status,
            "Mistakes": _mistakes_json(self.mistakes),
            "TotalMm": self.total_mm,
            "Residual": self.residual.as_json() if self.residual else None,
            "VoxelsFound": self.fit is not None,
            "ArrayAxes": list(self.fit.order.axes) if self.fit else None,
            "ArrayFlipped": list(self.fit.order.flipped) if self.fit else None,
            "Planes": list(self.fit.planes) if self.fit else None,
            "AlsoExplainedBy": [_mistakes_json(other) for other in self.others],
            "Notes": list(self.notes),
            "Unknown": list(self.unknown),
        }


def _describe_other(first: Sequence[Mistake], other: Sequence[Mistake]) -> str:
    """Say in one line in what another explanation differs from the first."""
    shared = {m.short for m in first} & {m.short for m in other}
    if len(shared) == len(other):  # they differ in more than what a short form says
        shared = {m.short for m in first if m.words in {o.words for o in other}}
    new = "; ".join(m.short for m in other if m.short not in shared)
    places = [_PLACES[n] for n, m in enumerate(first) if m.short not in shared]
    instead = f", instead of the {' and '.join(places)}" if places and shared else ""
    return f"Or{instead}: {new}."


def _mm(length: float) -> str:
    """Write a length with one decimal, and with four where one would show 0.0."""
    return f"{length:.1f}" if length >= 0.1 else f"{length:.4f}"


def _mistakes_json(mistakes: Sequence[Mistake]) -> list[dict[str, Any]]:
    return [{"Name": m.name, "Words": m.words, "Mm": m.mm} for m in mistakes]
