"""Hold every record that the tests make against the published schema.

Rules:
- A record is checked where it is written and where it is printed, so that no test has to ask for it.
- A violation is kept and fails the test at its end: an exception inside a conversion could be caught as a refusal.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.conversion.record_text import as_text

PATH = Path(__file__).parents[2] / "pipeline" / "conversion" / "record_schema.json"
VERDICTS = ("VERIFIED", "UNCONFIRMED", "DISPUTED", "SKIPPED", "REFUSED", "PARTNER", "PASSED")
violations: list[str] = []


@cache
def schema() -> dict[str, Any]:
    """The schema as it is shipped."""
    return dict(json.loads(PATH.read_text("utf-8")))


def errors_of(document: Any) -> list[str]:
    """What is wrong with a document, each with its place; it is taken as it reads back from JSON."""
    found = Draft202012Validator(schema()).iter_errors(json.loads(as_text(document)))
    return [f"{error.json_path}: {error.message[:300]}" for error in found]


def is_record(document: Any) -> bool:
    """Whether a printed document is a record, or a list of them: other commands print other documents."""
    documents = document if isinstance(document, list) else [document]
    return bool(documents) and all(isinstance(d, dict) and d.get("Verdict") in VERDICTS for d in documents)


def watch(patch: pytest.MonkeyPatch) -> None:
    """Check what `convert` writes, what commands print with --json, and every refusal as JSON."""
    from pipeline.cli import output
    from pipeline.conversion import write

    write_record, print_json, refusal_record = write.write_record, output.print_json, output.refusal_as_json

    def writing(path: Path, record: dict[str, Any]) -> dict[str, Any]:
        written = write_record(path, record)
        violations.extend(errors_of(written))
        return written

    def printing(document: Any) -> None:
        if is_record(document):
            violations.extend(errors_of(document))
        print_json(document)

    def refusing(*given: Any) -> dict[str, Any]:
        record = refusal_record(*given)
        violations.extend(errors_of(record))
        return record

    patch.setattr(write, "write_record", writing)
    patch.setattr(output, "print_json", printing)
    patch.setattr(output, "refusal_as_json", refusing)
