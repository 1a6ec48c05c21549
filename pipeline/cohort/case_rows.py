"""Write the rows of cohort.tsv about one case: one for each image, each mask, and each that is refused.

Rules:
- A row names no patient: every text is cleaned before it is in one. Folders and files it names: see `public_rows`.
- code and message are those of what refuses it, else of the first warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..core.findings import Finding, PipelineError, Severity
from ..core.hints import keep_known_options
from .case import Case, CaseSeries, TableRow
from .privacy import Cleaner

if TYPE_CHECKING:
    from ..conversion.record import Outcome
    from ..volume.label_table import LabelRow

# What a message may tell somebody to give to `verimask cohort`.
OPTIONS = frozenset(
    (
        "--table", "--labels", "--labels-draft", "--images", "--incomplete", "--subject", "--session", "--salt", "--public-ids",
        "--only-failed", "--prune", "-w", "--on-tilt", "--on-gap", "--on-duplicate", "--on-unread", "--assume-spacing",
        "--resample", "--same-frame", "--fractional", "--interpolate", "--mm-per-unit", "--allow-empty", "--crosscheck",
        "--keep-disputed",
    )
)  # fmt: skip


def series_row(case: Case, member: CaseSeries, role: str, clean: Callable[[str], str]) -> TableRow:
    """What a row says of its series, and of the case.

    Args:
        case: that the series is of.
        member: the series.
        role: "image" or "mask".
        clean: takes identifiers out of a text.

    Returns: the row.
    """
    place = case.place
    row = {
        "subject": place.subject,
        "session": place.session,
        "case": place.name,
        "role": role,
        "series": clean(member.title),
        "kind": member.kind,
        "link": member.link,
        "folder": clean(member.folder),
        "key": member.key,
        "modality": member.modality,
    }
    if role == "image":
        return row | {"channel": str(member.channel)}
    return row | {"image": member.image or case.images[0].key}


def written_cells(outcome: Outcome, output: str, inputs_sha256: str, clean: Callable[[str], str]) -> TableRow:
    """What a row says of a file that was written.

    Args:
        outcome: of the conversion.
        output: its path in the output folder.
        inputs_sha256: the digest of all files it was made of.
        clean: takes identifiers out of a text.

    Returns: the cells.
    """
    spacing = outcome.record["Geometry"]["SpacingMm"]
    grid = "x".join(map(str, outcome.shape)) + " " + "x".join(f"{length:.6g}" for length in spacing)
    return {
        "verdict": outcome.verdict,
        **finding_cells(_first(outcome.findings), clean),
        "grid": grid,
        "output": output,
        "sha256": outcome.record["Provenance"]["OutputSHA256"],
        "inputs_sha256": inputs_sha256,
    }


def planned_rows(case: Case) -> Iterator[TableRow]:
    """The rows of a case that was not made yet: one for each series."""
    clean = Cleaner(dict.fromkeys(case.identifiers, case.place.subject)).clean
    for role, members in (("image", case.images), ("mask", case.masks)):
        for member in members:
            yield series_row(case, member, role, clean)


def label_cells(label: LabelRow) -> TableRow:
    """What a row says of one label: its voxels and millilitres."""
    return {"voxels": str(label.voxels), "ml": f"{label.volume_ml:.6g}"}


def label_row(case: Case, label: str) -> TableRow:
    """What a row says of a label of a case that is of no series: it is missing, or not where it should be.

    Its key is that of the first mask series, so that the table can be given back.
    """
    place, member = case.place, case.masks[0]
    cells = {"subject": place.subject, "session": place.session, "case": place.name, "role": "mask", "mask": label}
    return cells | {"key": member.key, "image": member.image or case.images[0].key}


def finding_cells(finding: Finding | None, clean: Callable[[str], str]) -> TableRow:
    """Code and message of a finding, on one line, with what to do where it refuses."""
    if finding is None:
        return {}
    return {"code": finding.code.name, "message": clean(_sentences(finding))}


def refused_rows(case: Case, error: PipelineError) -> Iterator[TableRow]:
    """The rows of a case that is refused as a whole: every series of it, with the reason."""
    clean = Cleaner(dict.fromkeys(case.identifiers, case.place.subject)).clean
    cells = {"status": "REFUSED", "verdict": "REFUSED", **finding_cells(error.finding, clean)}
    return (row | cells for row in planned_rows(case))


def _sentences(finding: Finding) -> str:
    """What is so, and what to do about it with the options of `verimask cohort`, where it is more than a note."""
    message = finding.message if finding.message.endswith((".", "?", "!")) else f"{finding.message}."
    hint = "" if finding.severity is Severity.INFO else keep_known_options(finding.hint, OPTIONS)
    return " ".join(f"{message} {hint}".split())


def _first(findings: tuple[Finding, ...]) -> Finding | None:
    """The first warning. What refuses another mask of the same series stands in that one's row."""
    return next((finding for finding in findings if finding.severity is Severity.WARNING), None)
