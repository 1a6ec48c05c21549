"""Describe the verdict of a record: the answer at the top of its page, what was proven, and what was not.

Rules:
- The first sentence answers the question the reader has: does it lie where it should, and who says so.
- What was not proven is said as plainly as what was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.findings import DOUBTS, Severity
from ..core.policy import default
from .record import RecordFile
from .words import count_missing, describe_bound, format_mm, join_names

_DOUBTFUL = {code.name for code in DOUBTS}


@dataclass(frozen=True, slots=True)
class VerdictWords:
    """word: for the eye. sentence: the answer. proven: each (holds, sentence). open: what nobody proved."""

    word: str
    sentence: str
    proven: tuple[tuple[bool, str], ...]
    open: tuple[str, ...]


def describe_verdict(record: RecordFile) -> VerdictWords:
    """Answer the question at the top of a page, and say what was proven and what was not."""
    if record.file is None:
        message = record.first_message or "no reason was recorded"
        sentence = f"Nothing was converted, and no file was written: {message.rstrip('.')}."
        return VerdictWords("REFUSED", sentence, (), ())
    place, limit = _describe_place(record)
    header = _bound_of(record, "HeaderDeviationMm")
    proven = [
        (not _assumption(record), f"{_capital(place)}{limit}."),
        (True, f"Read back after writing, the file is what was meant, bit for bit; its header is right {header}."),
        *_describe_witnesses(record),
    ]
    return VerdictWords(record.verdict, _answer(record, place), tuple(proven), _list_unproven(record))


def _describe_place(record: RecordFile) -> tuple[str, str]:
    """Describe how well the planes fit, and how well they had to."""
    fit = _bound_of(record, "CornerResidualMm")
    if "ResampledMm" in record.values["Geometry"]:
        return f"each label, taken to the nearest voxel, lies {fit} of where its own plane puts it", ""
    limit = f" (allowed: {format_mm(_limit_of(record))})"
    count = len(record.values["Planes"]["Index"])
    if not count and not record.values["Provenance"]["Inputs"]:
        return "its grid is the affine that was given, which no DICOM was held against", ""
    if not count:
        return f"its grid fits what its source says of every plane {fit}", limit
    planes = f"each of its {count} planes" if count > 1 else "its one plane"
    return f"{planes} lies {fit} of where its own DICOM header puts it", limit


def _describe_witnesses(record: RecordFile) -> list[tuple[bool, str]]:
    """Describe what every witness gave, and what none of them saw: (holds, sentence) each."""
    witnesses, mask_source = _witnesses(record), _mask_source(record)
    sentences = [(_agrees(w), _describe_witness(w, _name_what_it_saw(w, mask_source))) for w in witnesses]
    if mask_source and not any(_saw_mask(w) and w["VoxelsDiffering"] is not None for w in witnesses):
        alone = f"The {mask_source} itself was read by verimask alone; no other reader was shown it."
        sentences.append((False, alone))
    if not witnesses:
        sentences.append((False, f"No other reader was asked: {_why_nobody(record)}."))
    return sentences


def _answer(record: RecordFile, place: str) -> str:
    """Answer in one sentence: does it lie where it should? place: how well the planes fit."""
    noun, codes = record.noun, {f.get("Code") for f in record.findings}
    if record.verdict == "DISPUTED":
        differing = [w for w in _witnesses(record) if w["Status"] == "DIFFERS"]
        verb = "reads it otherwise" if _mask_source(record) and all(map(_saw_mask, differing)) else "puts it elsewhere"
        who = join_names([w["Witness"] for w in differing])
        return f"Do not rely on this {noun} yet: {who} {verb}, and no known reason explains why."
    if _assumption(record):
        return f"This {noun} may lie right, but its place was partly assumed and not given: {_assumption(record)}."
    if "RESAMPLED" in codes:
        return (
            f"This {noun} was moved onto another grid (resampled), as it was asked for, so its voxels are not those "
            "of the series any more, and no other reader can confirm them."
        )
    lies = f"This {noun} lies where its DICOM series says it should: {place}"
    filled = count_missing(record) if "PLANES_FILLED" in codes else 0
    if filled:
        planes = "1 plane that the series lacks was" if filled == 1 else f"{filled} planes that the series lacks were"
        lies = f"{lies}. But {planes} filled with nothing"
    agreeing = [w["Witness"] for w in _witnesses(record) if _agrees(w)]
    if record.verdict == "UNCONFIRMED":
        return lies + _add_doubt(record, agreeing, has_but=bool(filled))
    return lies + _add_confirmation(record, agreeing)


def _add_doubt(record: RecordFile, agreeing: Sequence[str], *, has_but: bool) -> str:
    """End the answer of an unconfirmed result. has_but: whether the answer already holds one."""
    doubt = _first_doubt(record)
    if agreeing and doubt:
        agree = "agree" if len(agreeing) > 1 else "agrees"
        return f", and {join_names(agreeing)} {agree} on the place. But it stays unconfirmed: {doubt}."
    return ", and no other reader could confirm it." if has_but else ". But no other reader confirmed it."


def _add_confirmation(record: RecordFile, agreeing: Sequence[str]) -> str:
    """End the answer of a verified result."""
    mask_source = _mask_source(record)
    saw_mask = [w["Witness"] for w in _witnesses(record) if _agrees(w) and _saw_mask(w)]
    if mask_source and saw_mask:
        others = [name for name in agreeing if name not in saw_mask]
        read = (
            f", and an independent reader, {saw_mask[0]}, reads"
            if len(saw_mask) == 1
            else f", and {join_names(saw_mask)} read"
        )
        rest = (
            f" {join_names(others)} {'put' if len(others) > 1 else 'puts'} its source images in the same place."
            if others
            else ""
        )
        return f"{read} the same mask from the {mask_source}, voxel for voxel.{rest}"
    it = "its source images" if mask_source else "it"
    if len(agreeing) == 1:
        return f", and an independent reader, {join_names(agreeing)}, puts {it} in the same place."
    return f", and {len(agreeing)} independent readers, {join_names(agreeing)}, put {it} in the same place."


def _first_doubt(record: RecordFile) -> str:
    """Find the first finding that keeps a result from VERIFIED though its place is agreed on; "" for none."""
    doubts = (f for f in record.findings if f.get("Code") in _DOUBTFUL and f.get("Severity") == Severity.WARNING.value)
    return next((str(f.get("Message", "")).rstrip(".") for f in doubts), "")


def _witnesses(record: RecordFile) -> list[dict[str, Any]]:
    return list(record.values.get("CrossCheck", []))


def _saw_mask(witness: dict[str, Any]) -> bool:
    """Whether a witness was shown the mask itself, not only its source. Older records do not say it of any."""
    return bool(witness.get("Saw", "source") == "voxels")


def _name_what_it_saw(witness: dict[str, Any], mask_source: str) -> str:
    if not mask_source:
        return "the same DICOM files"
    return f"the {mask_source}" if _saw_mask(witness) else "the source images"


def _assumption(record: RecordFile) -> str:
    """Why places were assumed, or ""."""
    return str(record.values["Geometry"].get("Assumed", ""))


def _mask_source(record: RecordFile) -> str:
    """What a mask was read from where that is no image series, such as a SEG, which the witnesses were not shown."""
    return str(record.values.get("MaskSource", ""))


def _limit_of(record: RecordFile) -> float:
    """The limit of the corner proof in mm, by the policy of the record."""
    policy = record.values.get("Policy", {})
    most = float(policy.get("CornerLimitMm", default("corner_limit_mm")))
    fraction = float(policy.get("CornerLimitFraction", default("corner_limit_fraction")))
    return min(most, fraction * float(min(record.values["Geometry"]["SpacingMm"])))


def _agrees(witness: dict[str, Any]) -> bool:
    return witness["Status"] in ("AGREES", "REORDERED")


def _describe_witness(witness: dict[str, Any], what: str) -> str:
    """Describe what one witness gave. what: the files it was shown."""
    who = f"{witness['Witness']} {witness['Version']}".strip()
    own_words, status = str(witness["Words"]), witness["Status"]
    if status == "KNOWN_WRONG":
        return f"{who} is wrong about this series for a known reason: {own_words}."
    if not _agrees(witness):
        return f"{who}{f' {status}' if status in ('DIFFERS', 'FAILED') else ''}: {own_words}."
    differing = witness["VoxelsDiffering"]
    compared = (
        "; its voxels were not compared" if differing is None else f", and {differing or 'none'} of its voxels differ"
    )
    order = ", in another storage order" if status == "REORDERED" else ""
    bound = describe_bound(witness["MaxCornerMm"])
    return f"{who} read {what} by itself and agrees {bound}{order}{compared}."


def _why_nobody(record: RecordFile) -> str:
    if record.values.get("Policy", {}).get("Crosscheck") == "off":
        return "the cross-check was turned off"
    return "what was done here is something no other reader does (see the findings)"


def _list_unproven(record: RecordFile) -> tuple[str, ...]:
    """List what no program can prove of a file, a sentence each."""
    right = "Does the outline follow the right structure?" if record.is_mask else "Does it show the right thing?"
    always = (
        f"{right} Only eyes can tell: look at the pictures.",
        "Are the DICOM headers true of the patient? If the scanner was told a wrong position, that was kept.",
    )
    other = "Does it fit some other image? verimask check MASK IMAGE compares the two grids."
    return (*always, other) if record.is_mask else always


def _bound_of(record: RecordFile, key: str) -> str:
    return describe_bound(record.values["Geometry"][key])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
