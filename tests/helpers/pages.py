"""Write the pages of docs/ that are made from code (findings, record, command line, the recipes of regression, the manual
page), and the types of the record.

`python -m tests.helpers.pages` rewrites them; a test holds each against what the code gives.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline.cli.main import main as verimask
from pipeline.core.finding_help import HELP
from pipeline.core.findings import DOUBTS, Code, Severity, refuse
from tests.fuzz.hardening_page import hardening_page
from tests.helpers import man_page, record_types
from tests.helpers.finding_examples import Example, examples
from tests.helpers.record_schema import schema
from tests.helpers.regression_page import regression_page

ROOT = Path(__file__).parents[2]
_MADE = "<!-- Made by `python -m tests.helpers.pages`. Do not edit. -->"
_WIDTH = 100  # columns of a terminal

# Stage: its name on the page, and what is looked at there. The order is that of `Code`.
STAGES = {
    "PROGRAM": ("Program", "Bugs of verimask."),
    "OPTIONS": ("Options", "What was asked for."),
    "SCAN": ("Scan", "Reading folders and headers."),
    "PIXELS": ("Pixels", "Bytes that must be what the header says of them."),
    "SERIES": ("Series", "Choosing a series, and knowing what it is."),
    "GEOMETRY": ("Geometry", "Planes that are to be one grid, and the grid of the source."),
    "MASK": ("Mask", "Values, contours, segments, and exports with the mask in the image."),
    "EXPORT": ("Export", "Masks on their way back into DICOM."),
    "NIFTI": ("NIfTI", "Writing files and reading them back."),
    "MIMICS": ("Mimics", "Bundles written inside Mimics, and masks on their way back."),
    "CHECK": ("Check", "Witnesses, and files that are there already."),
    "COHORT": ("Cohort", "Data sets of many patients."),
    "REPORT": ("Report", "Pages made of records."),
    "PACS": ("Archive", "Archives (PACS): asked, received from, and sent to."),
    "REGRESSION": ("Regression", "Cases, and their golden records."),
}


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, outside of tables."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


# ---------------------------------------------------------------------------------------------- findings


def findings_page() -> str:
    """Every Code with its meaning, what to do, and a sentence that a test has made."""
    lines = [
        _MADE,
        "# Findings",
        "",
        "A finding is one fact about the input or the result. It has a code, a severity and one sentence. Most have a hint,",
        "and many have the number behind them with its limit. They are printed, and stand in the record under `Findings`.",
        "",
        "- An **error** refuses: nothing is written. The exit code follows from the code.",
        "- A **warning** should be known. Some warnings keep a result from VERIFIED; it is then UNCONFIRMED.",
        "- An **info** explains.",
        "",
        "The examples are what the tests of verimask make. Names of files and numbers are those of the tests.",
        "",
    ]
    kept = examples()
    for stage, (title, about) in STAGES.items():
        codes = [code for code in Code if code.stage == stage]
        lines += [f"## {title}", "", about, "", "| code | meaning |", "|---|---|"]
        lines += [f"| [{c.name}](#{c.name.lower()}) | {_cell(HELP[c].meaning)} |" for c in codes] + [""]
        for code in codes:
            lines += _one_finding(code, kept.get(code.name))
    return "\n".join(lines).rstrip() + "\n"


def _one_finding(code: Code, example: Example | None) -> Iterator[str]:
    told = HELP[code]
    yield from (f"### {code.name}", "", told.meaning, "", f"- What to do: {told.remedy}")
    if told.clause:
        yield f"- Standard: {told.clause}"
    if example is not None:
        yield f"- Severity: {_severities(code, example['Severities'])}"
    if code in DOUBTS:
        yield "- With a warning the result is not VERIFIED."
    yield ""
    if example is not None:
        number = ""
        if "Measured" in example:
            unit = f" {example['Unit']}" if example["Unit"] else ""
            number = f" ({example['Measured']:.4g}{unit}, limit {example['Limit']:.4g}{unit})"
        yield "> " + _plain(example["Message"]) + number
        if "Hint" in example:
            first, *listed = example["Hint"].splitlines()
            yield from (">", f"> {_plain(first)}")
            if listed:  # what there is to choose from, as a table of columns
                yield from (">", "> ```text", *(f"> {line}" for line in listed), "> ```")
        yield ""


def _severities(code: Code, seen: list[str]) -> str:
    exit_code = refuse(code, "").exit
    words = {Severity.ERROR.value: f"error (exit {int(exit_code)}, {exit_code.name})"}
    return ", ".join(words.get(severity, severity) for severity in seen)


# ---------------------------------------------------------------------------------------------- record


def record_page() -> str:
    """Every key of the record, from its schema."""
    defs = schema()["$defs"]
    lines = [
        _MADE,
        "# The record",
        "",
        "Next to `liver.nii.gz` lies `liver.json`. This page lists its keys. It is made from the JSON Schema that is part of",
        "the package, `verimask/conversion/record_schema.json`; every record that a test makes is held against that schema.",
        "",
        "- Affines are RAS in mm unless the key says LPS. Indices are (i, j, k) = (column, row, plane).",
        "- `Affine` and `Shape` are those of the file. `GridShape`, `GridAffineLPS`, `CornersLPS`, `Slices` and `Planes` are",
        "  those of the planes as acquired.",
        "- Values of the DICOM header have the names of BIDS. A header without the attribute gives no key.",
        "- Files appear by name, without folders. There is no patient name, id or birth date.",
        "- A key in *italics* may be left out.",
        "",
        "To check a record in Python:",
        "",
        "```python",
        "import json",
        "from importlib.resources import files",
        "from jsonschema import validate",
        "",
        'path = files("verimask.conversion") / "record_schema.json"',
        'schema = json.loads(path.read_text("utf-8"))',
        'validate(json.load(open("liver.json", encoding="utf-8")), schema)',
        "```",
        "",
    ]
    for name, part in defs.items():
        if "properties" not in part:
            continue
        lines += [f"## {_heading(name)}", "", part["description"], "", "| key | type | meaning |", "|---|---|---|"]
        lines += list(_rows(part, ""))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _rows(part: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, given in part["properties"].items():
        whole = schema()["$defs"][given["$ref"].rsplit("/", 1)[1]] | given if "$ref" in given else given
        shown = f"`{prefix}{key}`" if key in part["required"] else f"*`{prefix}{key}`*"
        yield f"| {shown} | {_cell(_type(given))} | {_cell(whole.get('description', ''))} |"
        inner = _object_in(given)
        if inner:
            yield from _rows(inner, f"{prefix}{key}.")


def _object_in(given: dict[str, Any]) -> dict[str, Any] | None:
    """An object that is described in its place and not by a name of its own."""
    candidates = [given, given.get("items"), *given.get("anyOf", ())]
    return next((c for c in candidates if isinstance(c, dict) and "properties" in c), None)


def _heading(name: str) -> str:
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name)
    return "ROI" if words == "roi" else words.capitalize()


def _link(name: str) -> str:
    heading = _heading(name).lower()
    return f"[{heading}](#{heading.replace(' ', '-')})"


def _type(given: dict[str, Any]) -> str:
    """The type of a value in words."""
    if "$ref" in given:
        name = given["$ref"].rsplit("/", 1)[1]
        words = {"sha256": "SHA-256", "fileName": "file name", "vector": "3 numbers", "matrix": "4 × 4 numbers"}
        return words.get(name) or ("header value" if name == "header" else _link(name))
    if "const" in given:
        return f"`{given['const']}`"
    if "enum" in given:
        return ", ".join("null" if v is None else f"`{v}`" for v in given["enum"])
    if "anyOf" in given:
        return " or ".join(_type(option) for option in given["anyOf"])
    kinds = given["type"] if isinstance(given["type"], list) else [given["type"]]
    words = [_list_of(given) if kind == "array" else _KINDS[kind] for kind in kinds]
    return " or ".join(words)


_KINDS = {
    "object": "object",
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "null": "null",
}


def _list_of(given: dict[str, Any]) -> str:
    if "prefixItems" in given:
        return " and ".join(_type(item) for item in given["prefixItems"])
    size = f"{given['minItems']} × " if given.get("minItems") == given.get("maxItems") is not None else "list of "
    kind = _type(given["items"])
    return size + re.sub(r"^(number|whole number|text|file name)$", r"\1s", kind)


# ---------------------------------------------------------------------------------------------- command line


def cli_page() -> str:
    """The help of every command."""
    lines = [
        _MADE,
        "# The command line",
        "",
        "What `verimask --help` and `verimask COMMAND --help` print.",
        "",
        *_block("verimask --help"),
        "## verimask FOLDER",
        "",
        *_block("verimask ./FOLDER --help"),
    ]
    for command in commands():
        lines += [f"## verimask {command}", "", *_block(f"verimask {command} --help")]
    return "\n".join(lines).rstrip() + "\n"


def commands() -> list[str]:
    """The names of all commands, in the order of the help."""
    from pipeline.cli.run_command import _parser

    return [name for action in _parser()._actions if action.choices for name in action.choices]


def _block(line: str) -> list[str]:
    return ["```text", f"$ {line}", *help_of(line.split()[1:]).splitlines(), "```", ""]


def help_of(arguments: list[str]) -> str:
    """What a command prints, as wide as every page has it."""
    printed = io.StringIO()
    plain = {"COLUMNS": str(_WIDTH), "NO_COLOR": "1"}
    with mock.patch.dict(os.environ, plain), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        verimask(arguments)
    return printed.getvalue()


MADE: dict[str, Callable[[], str]] = {
    "findings": findings_page,
    "record": record_page,
    "cli": cli_page,
    "regression": regression_page,
    "hardening": hardening_page,
}


def path_of(name: str) -> Path:
    """The file of a page."""
    return ROOT / "docs" / f"{name}.md"


if __name__ == "__main__":
    for _name, _page in MADE.items():
        path_of(_name).write_text(_page(), "utf-8")
    man_page.PATH.write_text(man_page.man_page(), "utf-8")
    record_types.write()
    sys.exit()
