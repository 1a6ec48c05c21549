"""Read the records that lie beside NIfTI files, and check the one file each of them proves.

Rules:
- A record is believed in its shape only; whatever it says is text to be escaped.
- The file is looked for beside the record, by its name, and must have the digest of the record.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..conversion.record import SCHEMA
from ..core.findings import Code, PipelineError, refuse
from ..core.json_file import read_json
from ..core.plain_text import escape_bytes
from ..core.regular_file import is_file
from ..diagnosis.verify_record import check_numbers
from ..diagnosis.verify_result import Broken, show
from ..diagnosis.verify_schema import check_schema
from ..dicom.source_file import sha256

VERDICTS = ("REFUSED", "DISPUTED", "UNCONFIRMED", "VERIFIED")

_BLOCKS = ("Geometry", "Planes", "Provenance", "Policy", "Request")
_GIVE_THE_RECORD = "Give the JSON file that verimask convert wrote beside the NIfTI file."
_CONVERT_AGAIN = "Convert the series again with this verimask."


@dataclass(frozen=True, slots=True, eq=False)
class RecordFile:
    """One record. path: of the JSON file. file: the NIfTI file it proves; None for a refusal, which left none."""

    path: Path
    values: dict[str, Any]
    file: Path | None

    @property
    def verdict(self) -> str:
        return str(self.values["Verdict"])

    @property
    def name(self) -> str:
        return self.path.stem if self.file is None else self.file.name

    @property
    def is_mask(self) -> bool:
        return self.values.get("Type") in ("ROI", "Mask")  # Mask: of verimask before cohorts

    @property
    def noun(self) -> str:
        return "mask" if self.is_mask or self.file is None else "image"

    @property
    def findings(self) -> list[dict[str, Any]]:
        return list(self.values.get("Findings", []))

    @property
    def warnings(self) -> list[dict[str, Any]]:
        return [f for f in self.findings if f.get("Severity") != "info"]

    @property
    def first_message(self) -> str:
        """What a refusal says first; "" where nothing was recorded."""
        return str(self.findings[0].get("Message", "")) if self.findings else ""


def read_record(path: Path) -> RecordFile:
    """Read the record of a conversion, without its NIfTI file. Raises NO_SUCH_INPUT, NOT_AN_OUTCOME, UNSUPPORTED_VERSION."""
    try:
        values = read_json(path)
    except OSError as error:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{path.name} cannot be read: {error.strerror or error}",
            _GIVE_THE_RECORD,
            where=(path.name,),
        ) from error
    except ValueError as error:
        raise not_an_outcome(path, "it is not JSON") from error
    if not isinstance(values, dict) or values.get("Verdict") not in VERDICTS:
        raise not_an_outcome(path, "it has no verdict")
    _require_blocks(path, values)
    if values["Verdict"] == "REFUSED":
        return RecordFile(path, values, None)
    if values.get("Schema") != SCHEMA:
        raise _another_version(path, f"its schema is {values.get('Schema')}, not {SCHEMA}")
    if "Planes" not in values or "GridAffineLPS" not in values.get("Geometry", {}):
        why = "it was written before records held the planes and grid as acquired"
        raise _another_version(path, why)
    name = str(values.get("Output", ""))
    if not name or name != Path(name).name:
        raise not_an_outcome(path, f"it names no file beside itself: “{name}”")
    return RecordFile(path, values, path.with_name(_as_on_disk(name, path)))


def _require_blocks(path: Path, values: dict[str, Any]) -> None:
    """Refuse blocks that are none: everything else asks what is in them. Raises NOT_AN_OUTCOME."""
    odd = next((key for key in _BLOCKS if not isinstance(values.get(key, {}), dict)), "")
    findings = values.get("Findings", [])
    if not odd and not (isinstance(findings, list) and all(isinstance(finding, dict) for finding in findings)):
        odd = "Findings"
    if odd:
        raise not_an_outcome(path, f"{odd} is not what a record has there")


@contextmanager
def explain_damage(records: Sequence[RecordFile]) -> Iterator[None]:
    """Say of a record that no conversion can have written what is wrong with it, where it keeps a page from being made.

    Records are not held against the schema before, nor computed again: a page needs little of either. An error over records
    in which nothing is wrong is a bug, and stays what it is. Raises NOT_AN_OUTCOME.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        for record in records:
            wrong = next(_find_damage(record.values), None) if record.file is not None else None
            if wrong is not None:
                why = f"{wrong.where or 'all of it'} is {wrong.found}, and was to be {wrong.was}"
                raise not_an_outcome(record.path, why) from error
        raise


def _find_damage(values: dict[str, Any]) -> Iterator[Broken]:
    """Find what is not as the schema says; where all of it is, the numbers that do not follow from each other."""
    wrong = check_schema(values)
    if wrong:
        yield from wrong
        return
    yield from (note for note in check_numbers(values) if isinstance(note, Broken))
    for n, witness in enumerate(values["CrossCheck"]):
        if witness["Status"] in ("AGREES", "REORDERED") and witness["MaxCornerMm"] is None:
            yield Broken("witness", f"CrossCheck[{n}].MaxCornerMm", "how far it agrees, in mm", "null")
        matrix = (witness.get("IndexMap") or {}).get("Matrix")
        if matrix is not None and not abs(np.linalg.det(np.array(matrix, np.float64))) > 0:
            where = f"CrossCheck[{n}].IndexMap.Matrix"
            yield Broken("witness", where, "a map between indices, with an inverse", show(matrix))


def _as_on_disk(name: str, record: Path) -> str:
    """Find the name of a record's file as the disk has it: where bytes of it are no text, the record escapes them."""
    stem = record.name.removesuffix(".json")
    return next((stem + e for e in (".nii.gz", ".nii") if escape_bytes(stem + e) == name), name)


def check_file(record: RecordFile) -> Path:
    """Check that the NIfTI file of a record is there and is the one it proves; return its path.

    Raises NO_SUCH_INPUT where it is gone or the record is a refusal's, NOT_THE_PROVEN_FILE where it is another.
    """
    if record.file is None:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{record.path.name} is the record of a refusal, which left no NIfTI file",
            _CONVERT_AGAIN,
            where=(record.path.name,),
        )
    if not is_file(record.file):
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{record.file.name} is not beside {record.path.name}",
            "A report shows the file the record proves; keep both in one folder, under the names they were given.",
            where=(record.file.name,),
        )
    proven = record.values.get("Provenance", {}).get("OutputSHA256")
    if sha256(record.file) != proven:
        raise refuse(
            Code.NOT_THE_PROVEN_FILE,
            f"{record.file.name} is not the file {record.path.name} proves: its SHA-256 is another",
            "It was changed, replaced or damaged after the conversion. Convert the series again.",
            where=(record.file.name,),
        )
    return record.file


def find_outcomes(folder: Path) -> list[Path]:
    """Find every record below a folder, by path; other JSON files are passed over."""
    found, folders = [], [str(folder)]
    while folders:  # A loop, since folders can be nested deeper than a function may call itself.
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(".json"):
                    found.append(Path(entry.path))
    return sorted(path for path in found if _is_outcome(path))


def sort_odd_first(records: Iterable[RecordFile]) -> list[RecordFile]:
    """Sort records: refused, disputed, unconfirmed, verified with warnings, verified; by name within each."""
    return sorted(records, key=lambda r: (VERDICTS.index(r.verdict), not r.warnings, r.name))


def _is_outcome(path: Path) -> bool:
    try:
        values = read_json(path)
    except (OSError, ValueError):
        return False
    if not isinstance(values, dict):
        return False
    return values.get("Schema") == SCHEMA or (values.get("Verdict") == "REFUSED" and "Findings" in values)


def not_an_outcome(path: Path, why: str) -> PipelineError:
    """Make the refusal NOT_AN_OUTCOME. path: of the record."""
    words = f"{path.name} is not the record of a conversion: {why}"
    return refuse(Code.NOT_AN_OUTCOME, words, _GIVE_THE_RECORD, where=(path.name,))


def _another_version(path: Path, why: str) -> PipelineError:
    words = f"{path.name} is the record of another version: {why}"
    return refuse(Code.UNSUPPORTED_VERSION, words, _CONVERT_AGAIN, where=(path.name,))
