"""Outcomes and refusals as calm, aligned lines of text. Returns lines; prints nothing.

Rules:
- The verdict stands first, what follows hangs under it. Colour says nothing that the words do not.
- Wrapped to the width given; piped output is the same text without colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from ..conversion.record import Outcome, sidecar_of
from ..core.findings import Exit, Finding, PipelineError, Severity
from ..crosscheck.agreement import Agreement

_COLOUR = {"VERIFIED": "32", "UNCONFIRMED": "33", "DISPUTED": "31", "REFUSED": "31", "SKIPPED": "36"}
_HANG = 2
_DEEP = 8  # columns: what hangs under a verdict is no list


def outcome_lines(outcome: Outcome, *, colour: bool = False, width: int = 100) -> list[str]:
    """What a person is to know of one conversion."""
    assert outcome.output is not None
    if outcome.verdict == "SKIPPED":
        disputed = ", and is DISPUTED" if outcome.exit is Exit.DISPUTED else ""
        return [_paint("SKIPPED", colour) + f"  {outcome.output.name}  is already there{disputed}"]
    size = " × ".join(map(str, outcome.shape))
    labels = "" if outcome.labels is None else "  labels " + _range([0, *(row.value for row in outcome.labels)])
    head = f"{_paint(outcome.verdict, colour)}  {outcome.output.name}  {size}  {outcome.dtype}{labels}"
    hang = " " * (len(outcome.verdict) + _HANG)
    lines = [head]
    if outcome.proofs is not None:
        planes = outcome.proofs.planes
        what = "every plane" if planes.travelled_mm is None else "every label, taken to the nearest voxel,"
        lines += _wrapped(
            f"{what} within {planes.worst_mm:.4f} mm of its own DICOM equation; read back bit for bit", hang, width
        )
    voxels = prod(outcome.shape)
    for agreement in outcome.agreements:
        lines += _wrapped(agreement_words(agreement, voxels, outcome.record.get("Policy", {})), hang, width)
    if not outcome.agreements:
        asked = outcome.record.get("Policy", {}).get("Crosscheck")
        why = "no other reader here can judge this" + (
            ", and --crosscheck voxels changes nothing" * (asked == "voxels")
        )
        if asked == "off":
            why = "no other reader was asked (--crosscheck off)"
        lines += _wrapped(why, hang, width)
    for finding in outcome.findings:
        if finding.severity is not Severity.INFO or finding.code.stage != "SCAN":
            lines += _wrapped(_finding_words(finding), hang, width)
    lines += _label_lines(outcome, hang)
    left_out = sum(f.code.stage == "SCAN" and f.severity is Severity.INFO for f in outcome.findings)
    if left_out:
        lines += _wrapped(
            f"{left_out} file{'s' * (left_out > 1)} left out, each with its reason in {sidecar_of(outcome.output).name}",
            hang,
            width,
        )
    return lines


def _range(values: list[int]) -> str:
    return ", ".join(map(str, values)) if len(values) < 12 else f"0 to {max(values)} ({len(values) - 1} of them)"


def _label_lines(outcome: Outcome, hang: str) -> list[str]:
    """The label table, aligned; centroids in RAS mm, as NIfTI viewers show them."""
    rows = [("label", "name", "voxels", "ml", "centroid RAS mm", "pieces")]
    for row in outcome.labels or ():
        centre = "-" if row.centroid_ras_mm is None else "  ".join(f"{c:.1f}" for c in row.centroid_ras_mm)
        pieces = "-" if row.components is None else str(row.components)
        name = textwrap.shorten(row.name, 32, placeholder="…")
        rows.append((str(row.value), name, f"{row.voxels:,}".replace(",", " "), f"{row.volume_ml:.3g}", centre, pieces))
    if len(rows) == 1:
        return []
    widths = [max(len(r[c]) for r in rows) for c in range(6)]
    right = (True, False, True, True, True, True)
    return [
        (hang + "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))).rstrip()
        for row in rows
    ]


def agreement_words(agreement: Agreement, voxels: int, policy: Mapping[str, Any]) -> str:
    """One line for one witness. policy: as recorded."""
    who = f"{agreement.witness} {agreement.version}".strip()
    if agreement.confirms:
        compared = (
            "voxels not compared ("
            + ("no DICOM plane holds them)" if policy.get("Crosscheck") == "voxels" else "--crosscheck voxels does)")
            if agreement.voxels_differing is None
            else f"{agreement.voxels_differing} of {voxels:,} voxels differ".replace(",", " ")
        )
        return f"{who} agrees ({agreement.words}): {agreement.max_corner_mm:.4f} mm, {compared}"
    if agreement.status == "KNOWN_WRONG":
        return f"{who} is wrong here for a known reason: {agreement.words}"
    if agreement.status in ("DIFFERS", "FAILED"):
        return f"{who} {agreement.status}: {agreement.words}"
    return f"{who} {agreement.words}" if agreement.status == "REFUSED" else f"{who}: {agreement.words}"


def refusal_lines(error: PipelineError, *, colour: bool = False, width: int = 100) -> list[str]:
    """What, where, how much, the limit, and what to do."""
    finding = error.finding
    lines = [f"{_paint('REFUSED', colour)}  {finding.code.name}"]
    hang = " " * len("REFUSED  ")
    lines += _wrapped(_sentence(finding), hang, width)
    if finding.measured is not None:
        unit = f" {finding.unit}" if finding.unit else ""
        lines += _wrapped(f"measured {finding.measured:.4g}{unit}, limit {finding.limit:.4g}{unit}", hang, width)
    for part in finding.hint.splitlines():
        lines += [hang + part] if part.startswith("  ") else _wrapped(part, hang, width)
    if finding.clause:
        lines += _wrapped(finding.clause, hang, width)
    for other in error.others:
        if other.severity is not Severity.INFO:
            lines += _wrapped(f"also {other.code.name}: {other.message}", hang, width)
    lines.append(hang + f"exit {int(error.exit)} ({error.exit.name})")
    return lines


def summary_lines(done: Sequence[Outcome], refused: Sequence[PipelineError]) -> list[str]:
    """One line over many conversions."""
    counts: dict[str, int] = {}
    for name in [*(o.verdict for o in done), *("REFUSED" for _ in refused)]:
        counts[name] = counts.get(name, 0) + 1
    return [", ".join(f"{n} {name}" for name, n in counts.items())]


def _finding_words(finding: Finding) -> str:
    lead = "note" if finding.severity is Severity.INFO else "warning"
    hint = f" {finding.hint}" if finding.hint else ""
    return f"{lead}: {_sentence(finding)}{hint}"


def _sentence(finding: Finding) -> str:
    """The message with a capital and a full stop; a file keeps its name as it is."""
    text = finding.message
    first = text.split(" ", 1)[0].rstrip(",:;")
    named = any(mark in "._/" or mark.isdigit() for mark in first) or text.startswith(
        tuple(w for w in finding.where if w)
    )
    return (text[:1] if named else text[:1].upper()) + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def wrapped(line: str, width: int) -> list[str]:
    """One line as those that fit: a paragraph at the edge, an entry with its further lines a little further in."""
    text = line.lstrip()
    indent = line[: len(line) - len(text)]
    if len(line) <= width or text.startswith("["):  # a row of numbers to be copied stays one
        return [line]
    first, *more = _wrapped(text, indent + "  " * (0 < len(indent) < _DEEP), width)
    return [indent + first.lstrip(), *more]


def _wrapped(text: str, hang: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=hang,
        subsequent_indent=hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _paint(word: str, colour: bool) -> str:
    return f"\033[1;{_COLOUR.get(word, '0')}m{word}\033[0m" if colour else word
