"""Describe outcomes and refusals as calm, aligned lines of text, without printing them.

Rules:
- The verdict stands first, what follows hangs under it. Colour says nothing that the words do not.
- Wrapped to the width given; piped output is the same text without colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

from ..conversion.record import Outcome, sidecar_of
from ..conversion.unwritten_images import UnwrittenImage
from ..core.findings import Exit, Finding, PipelineError, Severity
from ..core.plain_text import paint_bold
from ..crosscheck.agreement import Agreement
from ..volume.label_table import LabelRow

_COLOUR = {
    "VERIFIED": "32",
    "UNCONFIRMED": "33",
    "DISPUTED": "31",
    "REFUSED": "31",
    "SKIPPED": "36",
    "PARTNER": "36",
    "PASSED": "36",
    "HOLDS": "32",
    "DIFFERS": "31",
    "NEW": "33",
    "FAILED": "31",
    "LEFT OUT": "36",
    "BROKEN": "31",
}
_HANG = 2
_DEEP = 8  # columns: what is further in hangs under a verdict, and is no entry of a list
_MOST_VALUES = 11  # labels that are named one by one in the line of the verdict
_LONGEST_NAME = 32  # characters of a label in the table, so that its numbers stay on the line
_NARROWEST = 40  # columns: on a narrower terminal, wrapped text would be a column of single words


def describe_outcome(outcome: Outcome, *, colour: bool = False, width: int = 100) -> list[str]:
    """Describe one conversion: verdict and file, proof, witnesses, findings, labels.

    Args:
        outcome: of the conversion.
        colour: whether the verdict is painted, by the codes of a terminal.
        width: columns to wrap to.

    Returns:
        Lines without line ends.
    """
    if outcome.verdict == "SKIPPED":
        disputed = ", and is DISPUTED" if outcome.exit is Exit.DISPUTED else ""
        return [
            paint("SKIPPED", colour)
            + f"  {outcome.output.name}  is already there{disputed}{describe_place(outcome.folder)}"
        ]
    hang = " " * (len(outcome.verdict) + _HANG)
    findings = [f for f in outcome.findings if not _is_left_out_file(f)]
    return [
        _head(outcome, colour),
        *_wrap_all(_describe_proof(outcome), hang, width),
        *_wrap_all(_describe_witnesses(outcome), hang, width),
        *_wrap_all([_describe_finding(f) for f in findings], hang, width),
        *_label_table(outcome, hang),
        *_wrap_all(_describe_left_out(outcome), hang, width),
        *_wrap_all(_describe_removed(outcome), hang, width),
    ]


def _head(outcome: Outcome, colour: bool) -> str:
    """The verdict, and what the file is."""
    size = " × ".join(map(str, outcome.shape))
    labels = "" if outcome.labels is None else "  labels " + _range([0, *(row.value for row in outcome.labels)])
    return f"{paint(outcome.verdict, colour)}  {outcome.output.name}  {size}  {outcome.dtype}{labels}{describe_place(outcome.folder)}"


def describe_place(folder: str) -> str:
    """Where in the inputs it lies; nothing where that is the input itself."""
    return "" if folder in ("", ".") else f"  from {folder}"


def describe_unwritten(image: UnwrittenImage, *, colour: bool = False) -> str:
    """Describe an image that was not written, in one line.

    Args:
        image: an image series among masks.
        colour: whether its word is painted, by the codes of a terminal.

    Returns:
        The line.
    """
    return (
        f"{paint(image.verdict, colour)}  {image.series}{describe_place(image.folder)}  {image.message}; {image.hint}"
    )


def _describe_proof(outcome: Outcome) -> list[str]:
    """Describe how well every plane fits, where that was measured."""
    if outcome.proofs is None:
        return []
    planes = outcome.proofs.planes
    what = "every plane" if planes.travelled_mm is None else "every label, taken to the nearest voxel,"
    return [f"{what} within {planes.worst_mm:.4f} mm of its own DICOM equation; read back bit for bit"]


def _describe_witnesses(outcome: Outcome) -> list[str]:
    """Describe every witness, or why there is none, and whether one of them saw a mask that is no image."""
    policy, voxels = outcome.record.get("Policy", {}), prod(outcome.shape)
    if policy.get("Crosscheck") == "off":
        return ["no other reader was asked (--crosscheck off)"]
    lines = [describe_agreement(agreement, voxels, policy) for agreement in outcome.agreements]
    source = str(outcome.record.get("MaskSource", ""))
    if source and not any(a.confirms and a.saw == "voxels" for a in outcome.agreements):
        return [*lines, _describe_unseen(source, deep=policy.get("Crosscheck") == "voxels")]
    idle = ", and --crosscheck voxels changes nothing" * (policy.get("Crosscheck") == "voxels")
    return lines or [f"no other reader here can judge this{idle}"]


def _describe_unseen(source: str, *, deep: bool) -> str:
    """Say that nobody else saw the mask itself. deep: whether every reader was asked."""
    more = "; with --crosscheck voxels highdicom reads it too" if source == "SEG" and not deep else ""
    return f"no other reader saw the mask itself{more}"


def _is_left_out_file(finding: Finding) -> bool:
    """Whether a finding only tells of a file left out: these are counted, since there can be hundreds."""
    return finding.severity is Severity.INFO and finding.code.stage == "SCAN"


def _describe_left_out(outcome: Outcome) -> list[str]:
    count = sum(map(_is_left_out_file, outcome.findings))
    if not count:
        return []
    return [f"{count} file{'s' * (count > 1)} left out, each with its reason in {sidecar_of(outcome.output).name}"]


def _describe_removed(outcome: Outcome) -> list[str]:
    return [f"removed with the file that was replaced: {', '.join(outcome.removed)}"] * bool(outcome.removed)


def _range(values: list[int]) -> str:
    """Name all values, or, where they would not fit a line, their range."""
    few = len(values) <= _MOST_VALUES
    return ", ".join(map(str, values)) if few else f"0 to {max(values)} ({len(values) - 1} of them)"


def _label_table(outcome: Outcome, hang: str) -> list[str]:
    """Align the table of labels; centroids in RAS mm, as NIfTI viewers show them."""
    if not outcome.labels:
        return []
    heads = ("label", "name", "voxels", "ml", "centroid RAS mm", "pieces")
    rows = [heads, *map(_label_row, outcome.labels)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [(hang + "  ".join(map(_align, heads, row, widths))).rstrip() for row in rows]


def _align(head: str, cell: str, width: int) -> str:
    return cell.ljust(width) if head == "name" else cell.rjust(width)


def _label_row(row: LabelRow) -> tuple[str, ...]:
    centre = "-" if row.centroid_ras_mm is None else "  ".join(f"{c:.1f}" for c in row.centroid_ras_mm)
    pieces = "-" if row.components is None else str(row.components)
    name = textwrap.shorten(row.name, _LONGEST_NAME, placeholder="…")
    return str(row.value), name, _grouped(row.voxels), f"{row.volume_ml:.3g}", centre, pieces


def _grouped(count: int) -> str:
    """1234567 -> 1 234 567"""
    return f"{count:,}".replace(",", " ")


def describe_agreement(agreement: Agreement, voxels: int, policy: Mapping[str, Any]) -> str:
    """Describe what one witness gave.

    Args:
        agreement: of the witness.
        voxels: how many the file holds.
        policy: as recorded, since it decides whether voxels were compared.

    Returns:
        One line.
    """
    who = f"{agreement.witness} {agreement.version}".strip()
    if agreement.confirms and agreement.saw == "source":
        return f"{who} agrees on the images it lies on ({agreement.words}): {agreement.max_corner_mm:.4f} mm"
    if agreement.confirms:
        compared = _describe_comparison(agreement.voxels_differing, voxels, policy)
        return f"{who} agrees ({agreement.words}): {agreement.max_corner_mm:.4f} mm, {compared}"
    if agreement.status == "KNOWN_WRONG":
        return f"{who} is wrong here for a known reason: {agreement.words}"
    if agreement.status in ("DIFFERS", "FAILED"):
        return f"{who} {agreement.status}: {agreement.words}"
    return f"{who} {agreement.words}" if agreement.status == "REFUSED" else f"{who}: {agreement.words}"


def _describe_comparison(differing: int | None, voxels: int, policy: Mapping[str, Any]) -> str:
    if differing is not None:
        return f"{differing} of {_grouped(voxels)} voxels differ"
    if policy.get("Crosscheck") == "voxels":
        return "voxels not compared (no DICOM plane holds them)"
    return "voxels not compared (--crosscheck voxels does)"


def describe_refusal(error: PipelineError, *, colour: bool = False, width: int = 100) -> list[str]:
    """Describe a refusal: what, where, how much, the limit, and what to do.

    Args:
        error: the refusal.
        colour: whether its word is painted, by the codes of a terminal.
        width: columns to wrap to.

    Returns:
        Lines without line ends.
    """
    finding = error.finding
    lines = [f"{paint('REFUSED', colour)}  {finding.code.name}{describe_place(error.folder)}"]
    hang = " " * len("REFUSED  ")
    lines += _wrap(_sentence(finding), hang, width)
    if finding.measured is not None:
        unit = f" {finding.unit}" if finding.unit else ""
        lines += _wrap(f"measured {finding.measured:.4g}{unit}, limit {finding.limit:.4g}{unit}", hang, width)
    for part in finding.hint.splitlines():
        lines += [hang + part] if part.startswith("  ") else _wrap(part, hang, width)
    if finding.clause:
        lines += _wrap(finding.clause, hang, width)
    for other in error.others:
        if other.severity is not Severity.INFO:
            lines += _wrap(f"also {other.code.name}: {other.message}", hang, width)
    lines.append(hang + f"exit {int(error.exit)} ({error.exit.name})")
    return lines


def describe_summary(
    done: Sequence[Outcome], images: Sequence[UnwrittenImage], refused: Sequence[PipelineError]
) -> list[str]:
    """Count in one line what became of many conversions, and say how masks that only a folder names get their names.

    Args:
        done: what was written, or was there already.
        images: that were not written, and need not be.
        refused: what was not.

    Returns:
        One line or two.
    """
    counts: dict[str, int] = {}
    for name in [*(o.verdict for o in done), *("REFUSED" for _ in refused), *(i.verdict for i in images)]:
        counts[name] = counts.get(name, 0) + 1
    return [", ".join(f"{n} {name}" for name, n in counts.items()), *describe_unnamed(done)]


def describe_unnamed(done: Sequence[Outcome]) -> list[str]:
    """Say how masks get the names of their folders. Returns a sentence, or nothing where they have names, or no folder has any."""
    unnamed = any(made.unnamed and made.labels is not None and made.folder not in ("", ".") for made in done)
    return [
        "Names of folders are not written, since they may be a patient's; --keep-names calls masks by them."
    ] * unnamed


def _describe_finding(finding: Finding) -> str:
    lead = "note" if finding.severity is Severity.INFO else "warning"
    hint = f" {finding.hint}" if finding.hint else ""
    return f"{lead}: {_sentence(finding)}{hint}"


def _sentence(finding: Finding) -> str:
    """Make the message a sentence with a capital and a full stop; a file keeps its name as it is."""
    text = finding.message
    first = text.split(" ", 1)[0].rstrip(",:;")
    named = any(mark in "._/" or mark.isdigit() for mark in first) or text.startswith(
        tuple(w for w in finding.where if w)
    )
    return (text[:1] if named else text[:1].upper()) + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def wrap_line(line: str, width: int) -> list[str]:
    """Wrap one line: a paragraph at the edge, an entry of a list with its further lines a little further in."""
    text = line.lstrip()
    indent = line[: len(line) - len(text)]
    if len(line) <= width or text.startswith("["):  # A row of a matrix stays one line, so that it can be copied.
        return [line]
    first, *more = _wrap(text, indent + "  " * (0 < len(indent) < _DEEP), width)
    return [indent + first.lstrip(), *more]


def _wrap_all(paragraphs: Iterable[str], hang: str, width: int) -> list[str]:
    return [line for paragraph in paragraphs for line in _wrap(paragraph, hang, width)]


def _wrap(text: str, hang: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, _NARROWEST),
        initial_indent=hang,
        subsequent_indent=hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def paint(word: str, colour: bool) -> str:
    """Write a word of the verdict. colour: whether it is painted, by the codes of a terminal."""
    return paint_bold(word, _COLOUR.get(word, "0")) if colour else word
