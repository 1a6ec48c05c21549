"""What a SEG says of its segments, from a small TOML file.

Rules:
- One `[[segment]]` a label. `value` is the label in the mask; everything else may be left out and is then taken from
  the mask, or is the placeholder below, which is reported.
- An entry for a label the mask does not have, an unknown key or a code of another form is refused, never passed over.

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

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..volume.mask import Concept, Segment

ALGORITHMS = ("MANUAL", "SEMIAUTOMATIC", "AUTOMATIC")
_TISSUE = Concept("85756007", "SCT", "Tissue")
_KEYS = {"value", "name", "category", "type", "colour", "algorithm", "algorithm_name"}


def described(segments: Sequence[Segment], toml: Path | None) -> tuple[tuple[Segment, ...], tuple[Finding, ...]]:
    """The segments of a mask with what the file says of them, codes and algorithm always filled; and what was filled.

    Raises SEGMENT_DESCRIPTION for anything the file says that cannot be used, NO_SUCH_INPUT where it is not there.
    """
    entries = _entries(toml) if toml is not None else {}
    unknown = sorted(set(entries) - {s.number for s in segments})
    if unknown and toml is not None:
        there = ", ".join(f"{s.number} “{s.name}”" for s in segments)
        raise _wrong(toml, f"describes label {unknown[0]}, which the mask does not have", f"The mask has {there}.")
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
            )
        )
    filled = tuple(
        replace(
            s,
            category=s.category or _TISSUE,
            type=s.type or _TISSUE,
            algorithm=s.algorithm if s.algorithm.split(" ")[0] in ALGORITHMS else "SEMIAUTOMATIC not stated",
        )
        for s in merged
    )
    return filled, tuple(findings)


def _entries(path: Path) -> dict[int, dict[str, Any]]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise refuse(
            Code.NO_SUCH_INPUT, f"{path} is not there", "Check the path; nothing was written.", where=(str(path),)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(path, f"is not TOML: {error}") from error
    listed = given.get("segment")
    if set(given) != {"segment"} or not isinstance(listed, list) or not all(isinstance(e, dict) for e in listed):
        raise _wrong(path, "holds something else than [[segment]] tables")
    entries: dict[int, dict[str, Any]] = {}
    for entry in listed:
        value = entry.get("value")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _wrong(path, f"has a segment with value {value!r}; a label is a whole number from 1 on")
        if value in entries:
            raise _wrong(path, f"describes label {value} twice")
        entries[value] = _fields(path, value, entry)
    return entries


def _fields(path: Path, value: int, entry: dict[str, Any]) -> dict[str, Any]:
    strange = sorted(set(entry) - _KEYS)
    if strange:
        raise _wrong(path, f"has “{strange[0]}” at label {value}", f"Known are {', '.join(sorted(_KEYS))}.")
    found: dict[str, Any] = {}
    if "name" in entry:
        if not isinstance(entry["name"], str) or not 0 < len(entry["name"]) <= 64:
            raise _wrong(path, f"has a name at label {value} that is not of 1 to 64 characters")
        found["name"] = entry["name"]
    for key in ("category", "type"):
        if key in entry:
            code = entry[key]
            if not isinstance(code, list) or len(code) != 3 or not all(isinstance(c, str) and c for c in code):
                raise _wrong(path, f"has a {key} at label {value} that is not [value, scheme, meaning]")
            found[key] = Concept(*code)
    if "colour" in entry:
        colour = entry["colour"]
        if not isinstance(colour, list) or len(colour) != 3 or not all(c in range(256) for c in colour):
            raise _wrong(path, f"has a colour at label {value} that is not three numbers from 0 to 255")
        found["colour"] = tuple(colour)
    if "algorithm" in entry or "algorithm_name" in entry:
        kind, name = entry.get("algorithm", "SEMIAUTOMATIC"), entry.get("algorithm_name", "not stated")
        if kind not in ALGORITHMS or not isinstance(name, str):
            raise _wrong(path, f"has an algorithm at label {value} that is none of {', '.join(ALGORITHMS)}")
        found["algorithm"] = kind if kind == "MANUAL" else f"{kind} {name}"
    return found


def _wrong(path: Path, what: str, hint: str = "") -> PipelineError:
    return refuse(
        Code.SEGMENT_DESCRIPTION,
        f"{path.name} {what}",
        hint or "Nothing was written. The format is one [[segment]] table for each label, with value and name.",
        where=(path.name,),
    )
