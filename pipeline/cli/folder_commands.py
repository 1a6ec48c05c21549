"""Choose the command to type next for what `verimask FOLDER` did not convert.

Rules:
- A command is whole and quoted for the user's shell. It names the series alone, so that nothing else is done again.
- An option that changes a result is named only where the refusal is about just that; else the command is the plain one, which
  says the whole reason.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..core.shell_words import join_words

if TYPE_CHECKING:
    from ..conversion.product import Entry
    from ..conversion.products import RunPlan
    from ..conversion.unwritten_images import UnwrittenImage
    from ..core.findings import PipelineError

_IMAGE = ("--as", "image")
# What the refusal names first among what can be done about it.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "GANTRY_TILT": ("--on-tilt", "shear"),
    "MISSING_PLANES": ("--on-gap", "fill"),
    "UNEVEN_SPACING": ("--on-gap", "resample"),
    "DUPLICATE_POSITION": ("--on-duplicate", "first"),
    "FILE_UNREAD": ("--on-unread", "leave-out"),
    "CORRUPT_FILE": ("--on-unread", "leave-out"),
    "EMPTY": ("--allow-empty",),
    "LOSSY_PIXELS": ("--on-lossy", "threshold"),
    "NOT_A_MASK": _IMAGE,
    "COLOUR": _IMAGE,
    "NO_SOURCE": ("--source", "IMAGE_FOLDER"),
    "UNITS_UNKNOWN": ("--mm-per-unit", "MM"),
    "OUTPUT_EXISTS": ("-w", "suffix"),
}
_LISTED = frozenset({"AMBIGUOUS_EXPORT"})  # the values that stand out say more than a conversion


class Typed(NamedTuple):
    """A command line without a command. inputs: as typed. out: where results go. plan: what was found."""

    inputs: tuple[str, ...]
    out: Path
    plan: RunPlan


def entry_of(error: PipelineError, typed: Typed) -> Entry | None:
    """Find what a refusal is about; None where that is no one of the inputs."""
    about = [e for e in typed.plan.entries if error.finding.message.startswith(e.title) and e.folder == error.folder]
    return max(about, key=lambda entry: len(entry.title), default=None)


def command_after(error: PipelineError, typed: Typed) -> str:
    """Choose the command to type after a refusal. Returns one line."""
    entry = entry_of(error, typed)
    code = error.finding.code.name
    if code in _LISTED:
        return join_words(["verimask", "convert", *typed.inputs, *_choice(entry, typed), "--list-values"])
    return _convert(typed, _choice(entry, typed), _OPTIONS.get(code, ()))


def command_for_image(image: UnwrittenImage, typed: Typed) -> str:
    """Choose the command that writes an image as it is. Returns one line."""
    entry = next((e for e in typed.plan.entries if e.series.uid == image.uid and e.folder == image.folder), None)
    return _convert(typed, _choice(entry, typed), _IMAGE)


def _convert(typed: Typed, choice: Sequence[str], options: Sequence[str]) -> str:
    return join_words(["verimask", "convert", *typed.inputs, *choice, *options, "-o", os.path.join(str(typed.out), "")])


def _choice(entry: Entry | None, typed: Typed) -> list[str]:
    """The option that chooses one of several series: by its number where no other has it, else by its UID."""
    if entry is None or entry.series.kind == "bundle" or len(typed.plan.entries) < 2:
        return []
    numbers = [other.number for other in typed.plan.found.series]
    if entry.series.number is not None and numbers.count(entry.series.number) == 1:
        return ["--series", str(entry.series.number)]
    return ["--series", entry.series.uid] if entry.series.uid else []
