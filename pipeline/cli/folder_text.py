"""Describe what `verimask FOLDER` found and did, for a person who never saw DICOM, without printing it.

Rules:
- One line a thing. A command stands on a line of its own, further in than all else and never wrapped, so that it can be copied.
- What a word of a verdict means is said where the word is used.
"""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.plain_text import escape_controls
from ..core.shell_words import join_words
from .folder_commands import (
    Typed,
    command_after,
    command_for_drawn_mask,
    command_for_image,
    command_for_values,
    entry_of,
)
from .text import describe_place, paint

if TYPE_CHECKING:
    from ..conversion.products import RunPlan
    from ..conversion.record import Outcome
    from ..conversion.unwritten_images import UnwrittenImage
    from ..core.findings import PipelineError
    from ..dicom.scan import Series

COMMAND = " " * 8  # before a command to type
_MOST_SERIES = 12  # that are listed one by one
_MOST_NAMES = 6  # of structures or segments
_LONGEST = 60  # characters of a description
_LONGEST_REASON = 300
_KINDS = {
    "image": "images, or masks as images",
    "seg": "DICOM SEG: masks as voxels",
    "rtstruct": "RTSTRUCT: masks as contours",
    "other": "neither images nor masks, and not converted",
}
_SCANNERS = {"PT": "PET", "US": "ultrasound", "OT": "images that another program made"}
_PLURALS = {"structure": "structures", "segment": "segments"}


class ConvertedFile(NamedTuple):
    """A file that was written, or was there already, and its record as it lies beside it."""

    made: Outcome
    record: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        return str(self.record["Verdict"])

    @property
    def is_mask(self) -> bool:
        return self.record.get("Type") == "ROI"


def describe_contents(typed: Sequence[str], plan: RunPlan, patients: int) -> list[str]:
    """Describe what is there.

    Args:
        typed: the inputs, as they were typed.
        plan: what was found among them.
        patients: how many there are that have an ID.

    Returns: lines.
    """
    bundles = [entry for entry in plan.entries if entry.series.kind == "bundle"]
    series = plan.found.series
    of = f" of {patients} patients" if patients > 1 else " of one patient" if patients else ""
    counted = [_count(len(series), "DICOM series", "DICOM series")] if series else []
    counted += [_count(len(bundles), "bundle from Mimics", "bundles from Mimics")] if bundles else []
    where = escape_controls(typed[0]) if len(typed) == 1 else f"{len(typed)} inputs"
    verb = "holds" if len(typed) == 1 else "hold"
    lines = [f"{where} {verb} {' and '.join(counted)}{of}:"]
    if patients > 1:
        kinds = Counter(_KINDS.get(one.kind, _KINDS["other"]) for one in series)
        return [*lines, *(f"  {number} × {kind}" for kind, number in kinds.most_common())]
    ordered = sorted(series, key=lambda one: (one.number is None, one.number or 0, one.folder))
    things = [
        *(_number(one) + _describe_series(one) for one in ordered),
        *(f"masks written inside Mimics: {e.title.removeprefix('bundle ')}" for e in bundles),
    ]
    lines += [f"  {thing}" for thing in things[:_MOST_SERIES]]
    if len(things) > _MOST_SERIES:
        more = join_words(["verimask", "series", *typed])
        lines.append(f"  and {len(things) - _MOST_SERIES} more, which {more} lists")
    lost = Counter(left.finding.severity.value for left in plan.found.left_out)["error"]
    if lost:
        lines.append(f"  and {_count(lost, 'file', 'files')} that cannot be read")
    return lines


def _number(series: Series) -> str:
    return "" if series.number is None else f"series {series.number}  "


def _describe_series(series: Series) -> str:
    description = textwrap.shorten(escape_controls(series.description), _LONGEST, placeholder="…")
    about = f"  “{description}”" if description else f"  in {escape_controls(series.folder)}"
    if series.kind == "image":
        size = f"{series.get('Columns', '?')} × {series.get('Rows', '?')} pixels"
        scanner = _SCANNERS.get(series.modality, series.modality or "unknown")
        return f"{scanner}: {_count(len(series.frames), 'plane', 'planes')} of {size}{about}"
    if series.kind in ("seg", "rtstruct"):
        return (
            f"{_KINDS[series.kind]}, {_list_names(series, 'segment' if series.kind == 'seg' else 'structure')}{about}"
        )
    return f"{series.modality or 'unknown'}: {_KINDS['other']}{about}"


def _list_names(series: Series, word: str) -> str:
    from ..conversion.products import names_in
    from ..core.findings import PipelineError

    try:
        names = [name or str(number) for number, name in names_in(series)]
    except PipelineError:  # the conversion says why
        return f"{word}s that cannot be listed"
    return _count(len(names), word, _PLURALS[word]) + (f": {_few(names)}" if names else "")


def describe_cohort(typed: Sequence[str], name: str, patients: Sequence[Sequence[Series]]) -> list[str]:
    """Say that a folder of several patients is for another command.

    Args:
        typed: the inputs, as they were typed.
        name: of the results.
        patients: the series of each.

    Returns: lines.
    """
    cohort = join_words(["verimask", "cohort", *typed, "-o", os.path.join(f"{name}-dataset", "")])
    lines = [
        "",
        "These are several patients, so nothing was converted here. All of them, as a data set of images and masks with one "
        "table and one page:",
        f"{COMMAND}{cohort}",
    ]
    folder = os.path.commonpath([os.path.dirname(header.path) for one in patients[0] for header in one.headers])
    if os.path.isdir(folder) and folder not in {os.path.normpath(path) for path in typed}:
        lines += ["One patient alone, the first:", f"{COMMAND}{join_words(['verimask', folder])}"]
    return lines


def describe_nifti(paths: Sequence[Path]) -> list[str]:
    """Say what NIfTI files are, and which commands take them.

    Args:
        paths: files, or folders that hold some, among inputs without any DICOM.

    Returns: lines.
    """
    path = paths[0]
    is_file = not path.is_dir()
    what = f"{path} is a NIfTI file" if is_file else f"{path} holds NIfTI files and no DICOM"
    words = f"{what}: what verimask writes, and not what it converts. It can be checked against its DICOM images:"
    if not is_file and (path / "index.html").is_file():
        words = f"{path} holds results of verimask; {path / 'index.html'} shows them. To check other people's files:"
    file = str(path) if is_file else os.path.join(str(path), "MASK.nii.gz")
    rows = [
        (["verimask", "check", file, "DICOM_FOLDER"], "whether it lies on the grid of the images"),
        (["verimask", "diagnose", file, "--source", "DICOM_FOLDER"], "what is wrong with it, and the right one"),
        (["verimask", "explain", file], "where its voxels lie"),
        (["verimask", "export", file, "--source", "DICOM_FOLDER", "-o", "NEW_FOLDER"], "the mask as DICOM"),
    ]
    lines = [escape_controls(words)]
    for command, meaning in rows:
        lines += [f"  {meaning}:", f"{COMMAND}{join_words(command)}"]
    return lines


def describe_result(written: ConvertedFile, *, colour: bool) -> list[str]:
    """Describe one file that was written, or is there already. colour: for a terminal. Returns lines."""
    from ..core.findings import Severity

    made = written.made
    labels = [str(row.get("Name") or row.get("Value")) for row in written.record.get("Labels", [])]
    what = f"mask: {_few(labels)}" if written.is_mask else "image"
    there = ", was there already" if made.verdict == "SKIPPED" else ""
    stale = [f.message for f in made.findings if f.code.name == "STALE"]
    warnings = [f.message for f in made.findings if f.severity is Severity.WARNING]
    return [
        f"  {paint(written.verdict, colour)}  {made.output.name}  {what}{there}{describe_place(made.folder)}",
        *(f"      note: {_short(message)}" for message in [*stale, *warnings]),
    ]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + ", …" * (len(names) > _MOST_NAMES)


def describe_rest(unwritten: Iterable[UnwrittenImage], refused: Iterable[PipelineError], typed: Typed) -> Iterator[str]:
    """Describe what was not converted: the reason and the command to type.

    Args:
        unwritten: images that have to do with no mask.
        refused: all else.
        typed: what the command line was.

    Returns: lines.
    """
    things = [(f"{i.series}: {i.message}", command_for_image(i, typed)) for i in unwritten]
    things += [(_reason(error, typed), command_after(error, typed)) for error in refused]
    for number, (reason, command) in enumerate(things):
        if number == 0:
            yield from ("", "Not converted, each with its reason and what to type next:")
        yield f"  {_short(reason)}"
        yield f"{COMMAND}{command}"


def describe_lone_images(drawn: tuple[Series, Series] | None, typed: Typed) -> Iterator[str]:
    """Say that there is no mask, and how to have one that is drawn into the images.

    Args:
        drawn: the series that is another with a mask drawn into it, and that other; None where there are no such two.
        typed: what the command line was.

    Returns: lines.
    """
    yield ""
    if drawn is None:
        yield "No mask was found here, so the images were converted. If a mask is drawn into one, this shows its values:"
        yield f"{COMMAND}{command_for_values(typed)}"
        return
    shown, clean = drawn
    title = shown.title[0].upper() + shown.title[1:]
    yield f"{title} is {clean.title} with a mask drawn into it. The mask as a file:"
    command = command_for_drawn_mask(shown, clean, typed)
    yield f"{COMMAND}{command}" if command else "  move one of the two into a folder of its own, and run this again"


def _reason(error: PipelineError, typed: Typed) -> str:
    """The sentence of a refusal, with the name of its series."""
    entry = entry_of(error, typed)
    message = error.finding.message
    return f"{message} ({entry.folder})" if entry and entry.folder not in ("", ".") else message


def _short(text: str) -> str:
    return textwrap.shorten(text.split("\n")[0], _LONGEST_REASON, placeholder=" …")


def describe_end(done: Sequence[ConvertedFile], page: Path | None, lack: PipelineError | None) -> Iterator[str]:
    """Say why the results can be trusted, and name the page.

    Args:
        done: what was written, or was there already.
        page: to be opened; None where there is none.
        lack: what keeps pages from being made, None where nothing does.

    Returns: lines.
    """
    if not done:
        yield from ("", "Nothing was converted.")
        return
    yield ""
    yield from _explain_verdicts(done)
    if lack is not None:
        yield f"There is no page that shows it, since a package is missing. {lack.finding.hint.split('. ')[0]}"
    if page is not None:
        yield f"The page that shows it: {page}"


def _explain_verdicts(done: Sequence[ConvertedFile]) -> Iterator[str]:
    verdicts = {written.verdict for written in done}
    if "VERIFIED" in verdicts:
        proven = [written for written in done if written.verdict == "VERIFIED"]
        worst = max(float(written.record["Geometry"]["CornerResidualMm"]) for written in proven)
        yield (
            f"VERIFIED: every plane lies where its own DICOM header puts it ({worst:.4f} mm off at most), the file was read "
            f"back bit for bit, and {_name_readers(proven)}."
        )
    if "UNCONFIRMED" in verdicts:
        yield (
            "UNCONFIRMED: placed and read back in the same way, but no other program could settle all of it; the notes and "
            "the page say what is open."
        )
    if "DISPUTED" in verdicts:
        yield "DISPUTED: another program comes to another result; do not use it before you know why."


def _name_readers(proven: Sequence[ConvertedFile]) -> str:
    """Say who agrees, and on what: a reader that saw only the images has not seen the mask."""
    seen: dict[str, set[str]] = {}
    for written in proven:
        for check in written.record["CrossCheck"]:
            if check["Status"] in ("AGREES", "REORDERED"):
                seen.setdefault(check["Witness"], set()).add(check["Saw"])
    agreed = [f"{name} on {_name_sights(seen[name])}" for name in sorted(seen, key=str.casefold)]
    begin = "independent readers agree" if len(agreed) > 1 else "an independent reader agrees"
    return f"{begin}: {', '.join(agreed)}"


def _name_sights(sights: set[str]) -> str:
    """Name what a reader that agrees was shown, from the record's words for it."""
    words = ["every voxel"] if "voxels" in sights else []
    if sights >= {"grid", "source"}:
        words.append("the place (of masks: that of the images they lie on)")
    elif sights & {"grid", "source"}:
        words.append("the place" if "grid" in sights else "the place of the images that the mask lies on")
    return " and on ".join(words)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
