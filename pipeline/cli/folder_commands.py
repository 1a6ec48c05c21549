"""Choose the command to type next for what `verimask FOLDER` did not convert.

Rules:
- A command is whole and quoted for the user's shell. It names the series alone, so that nothing else is done again.
- An option that changes a result is named only where the refusal is about just that; else the command is the plain one, which
  says the whole reason.
- What is an image by its values is wanted as an image.
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
    from ..dicom.scan import Series

_IMAGE = ("--as", "image")
# What can be done about a refusal; of planes that are missing, an image needs other planes than a mask does.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "GANTRY_TILT": ("--on-tilt", "shear"),
    "MISSING_PLANES": ("--on-gap", "fill"),
    "UNEVEN_SPACING": ("--on-gap", "resample"),
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
_OPTIONS_OF_IMAGES = {"MISSING_PLANES": ("--on-gap", "resample")}
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
    options = _OPTIONS.get(code, ())
    if entry is not None and options != _IMAGE and _is_image(entry):
        options = (*_OPTIONS_OF_IMAGES.get(code, options), *_IMAGE)
    return _convert(typed, _choice(entry, typed), options)


def command_for_image(image: UnwrittenImage, typed: Typed) -> str:
    """Choose the command that writes an image as it is. Returns one line."""
    entry = next((e for e in typed.plan.entries if e.series.uid == image.uid and e.folder == image.folder), None)
    return _convert(typed, _choice(entry, typed), _IMAGE)


def command_for_values(typed: Typed) -> str:
    """Choose the command that shows the values that stand out in an image. Returns one line."""
    choice = ["--series", "WHICH"] if len(typed.plan.entries) > 1 else []
    return join_words(["verimask", "convert", *typed.inputs, *choice, "--list-values"])


def command_for_drawn_mask(shown: Series, clean: Series, typed: Typed) -> str:
    """Choose the command that takes the mask out of an image by the same image without it.

    Args:
        shown: with the mask.
        clean: without it.
        typed: what the command line was.

    Returns: one line; "" where the two are in one folder, and no option can name one of them.
    """
    entry = next(entry for entry in typed.plan.entries if entry.series is shown or entry.series.uid == shown.uid)
    folder = os.path.commonpath([os.path.abspath(header.path.parent) for header in clean.headers])
    inside = (os.path.abspath(header.path.parent) for header in shown.headers)
    if not os.path.isdir(folder) or any(os.path.commonpath([folder, path]) == folder for path in inside):
        return ""
    near = os.path.relpath(folder)
    short = folder if near.startswith(os.pardir) else near
    out = str(typed.out / f"{entry.name}_mask.nii.gz")
    return join_words(["verimask", "convert", *typed.inputs, *_choice(entry, typed), "--clean", short, "-o", out])


def _is_image(entry: Entry) -> bool:
    """Whether the values of a series are those of an image, and of no mask."""
    if entry.series.kind != "image":
        return False
    from ..conversion.unwritten_images import shows_grey_values
    from ..core.policy import Policy

    try:
        return shows_grey_values(entry.series, Policy())
    except Exception:  # what cannot be read is none for certain
        return False


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
