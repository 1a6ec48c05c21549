"""Read the descriptions of the segments of a SEG from a small TOML file.

Rules:
- One `[[segment]]` a label. `value` is the label in the mask; everything else may be left out and is then taken from
  the mask, or is the placeholder below, which is reported.
- An entry for a label the mask does not have, an unknown key or a code of another form is refused, not ignored.

    [[segment]]
    value = 1
    name = "Liver"
    category = ["91723000", "SCT", "Anatomical Structure"]   # code value, coding scheme, meaning
    type = ["10200004", "SCT", "Liver"]
    colour = [221, 130, 101]                                 # RGB, 0 to 255
    algorithm = "SEMIAUTOMATIC"                              # or MANUAL, AUTOMATIC
    algorithm_name = "region growing"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.plain_text import escape_controls
from ..core.text_file import read_text
from ..core.toml_file import parse_toml
from ..volume.mask import Concept, Segment

ALGORITHMS = ("MANUAL", "SEMIAUTOMATIC", "AUTOMATIC")
LONGEST_TEXT = 64  # characters of a Segment Label and of a Series Description (LO, PS3.5 6.2)
# What is written where nothing is known: the standard demands codes, and every segment is some tissue.
TISSUE = Concept("85756007", "SCT", "Tissue")
_KEYS = {"value", "name", "category", "type", "colour", "algorithm", "algorithm_name"}


def describe_segments(
    segments: Sequence[Segment], toml: Path | None
) -> tuple[tuple[Segment, ...], tuple[Finding, ...]]:
    """Complete the segments of a mask by what a file says of them, and by placeholders where nobody says anything.

    Codes and algorithm are always filled afterwards; the findings name the segments that got placeholders.
    Raises SEGMENT_DESCRIPTION for anything the file says that cannot be used, NO_SUCH_INPUT where it cannot be read.
    """
    entries = _entries(toml) if toml is not None else {}
    unknown = sorted(set(entries) - {s.number for s in segments})
    if unknown and toml is not None:
        there = ", ".join(f"{s.number} “{escape_controls(s.name)}”" for s in segments)
        raise _refusal(toml, f"describes label {unknown[0]}, which the mask does not have", f"The mask has {there}.")
    merged = tuple(replace(s, **entries.get(s.number, {})) for s in segments)
    placeholders = [s.name for s in merged if s.category is None or s.type is None]
    findings = []
    if placeholders:
        findings.append(
            Finding(
                Code.SEGMENT_DESCRIPTION,
                f"no codes are known for {', '.join(placeholders)}; “Tissue” (85756007, SCT) is written",
                "A TOML file with category and type for each label makes the SEG mean what it shows.",
                Severity.WARNING,
                clause="PS3.3 C.8.20.2",
                where=tuple(placeholders),
            )
        )
    filled = tuple(
        replace(
            s,
            category=s.category or TISSUE,
            type=s.type or TISSUE,
            algorithm=s.algorithm if s.algorithm.split(" ")[0] in ALGORITHMS else "SEMIAUTOMATIC not stated",
        )
        for s in merged
    )
    return filled, tuple(findings)


def _entries(path: Path) -> dict[int, dict[str, Any]]:
    """The entries of a file: label to the fields of its segment. Raises as `describe_segments`."""
    try:
        given = parse_toml(read_text(path))
    except OSError as error:
        problem = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        words = f"{path} {problem}"
        raise refuse(Code.NO_SUCH_INPUT, words, "Check the path; nothing was written.", where=(str(path),)) from error
    except ValueError as error:
        raise _refusal(path, f"is not TOML: {error}") from error
    listed = given.get("segment")
    if set(given) != {"segment"} or not isinstance(listed, list) or not all(isinstance(e, dict) for e in listed):
        raise _refusal(path, "holds something else than [[segment]] tables")
    entries: dict[int, dict[str, Any]] = {}
    for entry in listed:
        value = entry.get("value")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _refusal(path, f"has a segment with value {value!r}; a label is a whole number from 1 on")
        if value in entries:
            raise _refusal(path, f"describes label {value} twice")
        entries[value] = _fields(path, value, entry)
    return entries


def _fields(path: Path, value: int, entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of a segment that an entry gives. Raises SEGMENT_DESCRIPTION for a value of another form."""
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise _refusal(path, f"has “{unknown[0]}” at label {value}", f"Known are {', '.join(sorted(_KEYS))}.")
    fields: dict[str, Any] = {}
    for key, parse in _PARSERS.items():
        if key in entry:
            try:
                fields[key] = parse(entry[key])
            except _WrongForm as error:
                raise _refusal(path, f"has a {key} at label {value} that is not {error}") from error
    if "algorithm" in entry or "algorithm_name" in entry:
        kind, name = entry.get("algorithm", "SEMIAUTOMATIC"), entry.get("algorithm_name", "not stated")
        if kind not in ALGORITHMS or not isinstance(name, str):
            raise _refusal(path, f"has an algorithm at label {value} that is none of {', '.join(ALGORITHMS)}")
        fields["algorithm"] = kind if kind == "MANUAL" else f"{kind} {name}"
    return fields


class _WrongForm(ValueError):
    """A value of another form; the text is what it should be."""


def _parse_name(given: Any) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= LONGEST_TEXT:
        raise _WrongForm(f"of 1 to {LONGEST_TEXT} characters")
    return given


def _parse_concept(given: Any) -> Concept:
    if not isinstance(given, list) or len(given) != 3 or not all(isinstance(part, str) and part for part in given):
        raise _WrongForm("[value, scheme, meaning]")
    return Concept(*given)


def _parse_colour(given: Any) -> tuple[int, int, int]:
    if not isinstance(given, list) or len(given) != 3 or not all(part in range(256) for part in given):
        raise _WrongForm("three numbers from 0 to 255")
    red, green, blue = given
    return red, green, blue


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "name": _parse_name,
    "category": _parse_concept,
    "type": _parse_concept,
    "colour": _parse_colour,
}


def _refusal(path: Path, what: str, hint: str = "") -> PipelineError:
    """The refusal of something the file says."""
    return refuse(
        Code.SEGMENT_DESCRIPTION,
        f"{path.name} {what}",
        hint or "Nothing was written. The format is one [[segment]] table for each label, with value and name.",
        where=(path.name,),
    )
