"""What a record says, in sentences for someone who never saw DICOM.

Rules:
- The first sentence answers the question the reader has: does it lie where it should, and who says so.
- What was not proven is said as plainly as what was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.findings import DOUBTS, Severity
from ..diagnosis.explain import explain, explain_affine
from ..geometry.grid import Grid, Plane
from .record import Record
from .tables import DOUBLED
from .volume import Volume

_CARE_DEGREES = 0.05
_DOUBTFUL = {code.name for code in DOUBTS}


@dataclass(frozen=True, slots=True)
class VerdictWords:
    """word: for the eye. sentence: the answer. proven: each (holds, sentence). open: what nobody proved."""

    word: str
    sentence: str
    proven: tuple[tuple[bool, str], ...]
    open: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of an explanation. kind: "head", "text" or "lines" (aligned)."""

    kind: str
    text: str


def verdict_of(record: Record) -> VerdictWords:
    """The answer at the top of a page."""
    if record.file is None:
        message = str(record.findings[0].get("Message", "")) if record.findings else "no reason was recorded"
        sentence = f"Nothing was converted, and no file was written: {message.rstrip('.')}."
        return VerdictWords("REFUSED", sentence, (), ())
    geometry, witnesses = record.values["Geometry"], record.values.get("CrossCheck", [])
    assumed = str(geometry.get("Assumed", ""))
    count = len(record.values["Planes"]["Index"])
    fit = within(geometry["CornerResidualMm"])
    planes = f"each of its {count} planes" if count > 1 else "its one plane"
    place = f"{planes} lies {fit} of where its own DICOM header puts it"
    if not count:
        place = f"its grid fits what its source says of every plane {fit}"
    limit = f" (allowed: {_mm(_limit_of(record))})"
    if "ResampledMm" in geometry:
        place, limit = f"each label, taken to the nearest voxel, lies {fit} of where its own plane puts it", ""
    header = within(geometry["HeaderDeviationMm"])
    proven = [
        (not assumed, f"{_capital(place)}{limit}."),
        (True, f"Read back after writing, the file is what was meant, bit for bit; its header is right {header}."),
        *(
            (_holds(w), _witness(w, "the source images" if _from_other(record) else "the same DICOM files"))
            for w in witnesses
        ),
    ]
    if _from_other(record):
        proven.append(
            (False, f"The {_from_other(record)} itself was read by verimask alone; no other reader was shown it.")
        )
    if not witnesses:
        proven.append((False, f"No other reader was asked: {_why_nobody(record)}."))
    return VerdictWords(record.verdict, _answer(record, place, assumed), tuple(proven), _not_proven(record))


def _doubt(record: Record) -> str:
    """The first finding that keeps a result from VERIFIED though its place is agreed on."""
    doubts = (f for f in record.findings if f.get("Code") in _DOUBTFUL and f.get("Severity") == Severity.WARNING.value)
    return next((str(f.get("Message", "")).rstrip(".") for f in doubts), "")


def _answer(record: Record, place: str, assumed: str) -> str:
    """The one sentence. place: how well the planes fit. assumed: why places are assumed, or nothing."""
    witnesses = record.values.get("CrossCheck", [])
    codes = {f.get("Code") for f in record.findings}
    lies = f"This {record.noun} lies where its DICOM series says it should: {place}"
    if record.verdict == "DISPUTED":
        who = _listed([w["Witness"] for w in witnesses if w["Status"] == "DIFFERS"])
        return f"Do not rely on this {record.noun} yet: {who} puts it elsewhere, and no known reason explains why."
    if assumed:
        return f"This {record.noun} may lie right, but its place was partly assumed and not given: {assumed}."
    if "RESAMPLED" in codes:
        return (
            f"This {record.noun} was moved onto another grid (resampled), as it was asked for, so its voxels are not those "
            "of the series any more, and no other reader can confirm them."
        )
    missing = without_frame(record) if "PLANES_FILLED" in codes else 0
    if missing:
        planes = "1 plane that the series lacks was" if missing == 1 else f"{missing} planes that the series lacks were"
        lies = f"{lies}. But {planes} filled with nothing"
    agreeing = [w["Witness"] for w in witnesses if _holds(w)]
    if record.verdict == "UNCONFIRMED" and agreeing and (doubt := _doubt(record)):
        return f"{lies}, and {_listed(agreeing)} agree{'s' * (len(agreeing) == 1)} on the place. But it stays unconfirmed: {doubt}."
    if record.verdict == "UNCONFIRMED":
        return (
            f"{lies}, and no other reader could confirm it."
            if missing
            else f"{lies}. But no other reader confirmed it."
        )
    one = len(agreeing) == 1
    others = "an independent reader," if one else f"{len(agreeing)} independent readers,"
    it = "its source images" if _from_other(record) else "it"
    return f"{lies}, and {others} {_listed(agreeing)}, put{'s' * one} {it} in the same place."


def _from_other(record: Record) -> str:
    """What a mask was read from where that is no image series, such as a SEG, which the witnesses were not shown."""
    return str(record.values.get("MaskSource", ""))


def without_frame(record: Record) -> int:
    """Planes of the grid between the first and the last that have no frame of the series."""
    index = record.values["Planes"]["Index"]
    return int(index[-1]) + 1 - int(index[0]) - len(index) if index else 0


def explanation(record: Record) -> tuple[Block, ...]:
    """The affine derived from this series' own numbers, and, where the file has another order, how that follows."""
    geometry = record.values["Geometry"]
    grid = Grid(tuple(geometry["GridShape"]), np.array(geometry["GridAffineLPS"]))
    affine = np.array(geometry["Affine"])
    shape = record.values["Shape"]
    if "FirstPlane" not in geometry:
        why = "The planes of this file are not those of the series, so only the file's own affine is told."
        return (Block("text", why), *blocks(explain_affine(affine, shape, title="The file")))
    told = blocks(explain(grid, _plane(geometry["FirstPlane"])))
    if np.allclose(grid.ras, affine, rtol=0, atol=1e-9):
        return told
    return (
        *told,
        Block("head", f"The file is stored in another order, {geometry['AxisCodes']}, as it was asked for"),
        *blocks(explain_affine(affine, shape, title="The file")),
    )


def blocks(text: str) -> tuple[Block, ...]:
    """Lines of `explain` as headings, paragraphs and aligned lines, so that they can be wrapped on a narrow screen."""
    found: list[Block] = []
    lines = [*text.split("\n"), ""]
    for n, line in enumerate(lines[:-1]):
        if not line:
            found.append(Block("end", ""))
            continue
        indented = line.startswith("  ")
        headed = line[0].isupper() and lines[n + 1].startswith("  ") and line[-1] not in ".:,"
        kind = "lines" if indented else "head" if headed else "text"
        if found and found[-1].kind == kind and kind != "head":
            found[-1] = Block(kind, found[-1].text + ("\n" if indented else " ") + line)
        else:
            found.append(Block(kind, line))
    return tuple(b for b in found if b.kind != "end")


def lean(block: Volume, record: Record) -> list[str]:
    """What a reader of the pictures has to know of a block that does not stand along the patient."""
    shear = float(record.values["Geometry"].get("ShearDegrees", 0.0))
    off = block.lean_degrees
    said = []
    if off > _CARE_DEGREES:
        said.append(
            f"The {record.noun} is oblique: its axes lean up to {off:.1f}° from the patient's. The pictures follow its own "
            "axes, voxel for voxel, so a letter means “mostly towards”."
        )
    if shear > _CARE_DEGREES:
        said.append(
            f"The stack of planes leans by {shear:.1f}° (gantry tilt). The pictures draw it upright; the file keeps the lean."
        )
    return said


def planes_in_words(record: Record) -> str:
    """The strip in a sentence: how many planes, how far apart, what is missing or doubled, and the lean."""
    planes, geometry = record.values["Planes"], record.values["Geometry"]
    places = np.array(planes["AlongNormalMm"])
    if not len(places):
        return "The planes of this file are not those of a DICOM series, so there is nothing to draw."
    if len(places) == 1:
        return "One plane: a place, but no step to the next one."
    gaps = np.diff(places)
    apart = f"{len(places)} planes, {_mm(float(gaps.min()))} to {_mm(float(gaps.max()))} apart"
    if float(np.ptp(gaps)) < 1e-3:
        apart = f"{len(places)} planes, every one {_mm(float(gaps.mean()))} from the next"
    missing = without_frame(record)
    filled = any(f.get("Code") == "PLANES_FILLED" for f in record.findings)
    dropped = sum(f.get("Code") == "DUPLICATE_DROPPED" for f in record.findings)
    close = int((gaps < DOUBLED * float(geometry["StepMm"])).sum())
    words = [
        apart,
        "none missing" if not missing else f"{missing} missing" if filled else f"{missing} without a frame, empty",
    ]
    words += [f"{close} at the place of another"] if close else []
    words.append(f"{dropped} doubled and dropped" if dropped else "none doubled" if not close else "none dropped")
    shear = float(geometry.get("ShearDegrees", 0.0))
    across = max(float(np.ptp(planes["AlongRowMm"])), float(np.ptp(planes["AlongColumnMm"])))
    leans = max(shear, float(np.degrees(np.arctan2(across, np.ptp(places)))))
    words.append(f"the stack leans by {leans:.2f}°" if leans > _CARE_DEGREES else "the stack is upright")
    return ", ".join(words) + "."


def _limit_of(record: Record) -> float:
    policy = record.values.get("Policy", {})
    smallest = min(record.values["Geometry"]["SpacingMm"])
    limit = min(float(policy.get("CornerLimitMm", 0.1)), float(policy.get("CornerLimitFraction", 0.1)) * smallest)
    return float(limit)


def _holds(witness: dict[str, Any]) -> bool:
    return witness["Status"] in ("AGREES", "REORDERED")


def _witness(witness: dict[str, Any], what: str) -> str:
    who = f"{witness['Witness']} {witness['Version']}".strip()
    words = str(witness["Words"])
    if not _holds(witness):
        if witness["Status"] == "KNOWN_WRONG":
            return f"{who} is wrong about this series for a known reason: {words}."
        said = f" {witness['Status']}" if witness["Status"] in ("DIFFERS", "FAILED") else ""
        return f"{who}{said}: {words}."
    differing = witness["VoxelsDiffering"]
    compared = (
        "; its voxels were not compared" if differing is None else f", and {differing or 'none'} of its voxels differ"
    )
    order = ", in another storage order" if witness["Status"] == "REORDERED" else ""
    return f"{who} read {what} by itself and agrees {within(witness['MaxCornerMm'])}{order}{compared}."


def _why_nobody(record: Record) -> str:
    if record.values.get("Policy", {}).get("Crosscheck") == "off":
        return "the cross-check was turned off"
    return "what was done here is something no other reader does (see the findings)"


def _not_proven(record: Record) -> tuple[str, ...]:
    right = "Does the outline follow the right structure?" if record.is_mask else "Does it show the right thing?"
    said = [
        f"{right} Only eyes can tell: look at the pictures.",
        "Are the DICOM headers true of the patient? If the scanner was told a wrong position, that was kept.",
    ]
    if record.is_mask:
        said.append("Does it fit some other image? verimask check MASK IMAGE compares the two grids.")
    return tuple(said)


def _plane(values: dict[str, Any]) -> Plane:
    return Plane(
        position=tuple(values["Position"]),
        row_cosine=tuple(values["RowCosine"]),
        column_cosine=tuple(values["ColumnCosine"]),
        row_spacing=values["RowSpacing"],
        column_spacing=values["ColumnSpacing"],
        rows=values["Rows"],
        columns=values["Columns"],
    )


def _mm(length: float) -> str:
    """Four decimals at most."""
    return f"{length:.4f}".rstrip("0").rstrip(".") + " mm"


def within(length: float) -> str:
    """An upper bound to four decimals: never less than was measured, never nothing."""
    return f"within {_mm(max(np.ceil(length * 1e4) / 1e4, 1e-4))}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
