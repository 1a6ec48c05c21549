"""Build, write and read golden records: what a case gave, without a time, a path or a name of the machine.

Rules:
- A golden record lists every input file with its SHA-256, and every result: file, refusal, or image that was not written.
- Voxels are one digest, and one CRC-32 a plane, so that a difference can name the planes.
- Numbers are rounded to nine decimals: the last digits of a sum depend on the processor.
- `Message` of a refusal is for whoever reads it now; it is not part of the golden record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from ..conversion.record import Outcome
from ..conversion.record_text import as_text
from ..conversion.unwritten_images import UnwrittenImage
from ..core.codes import Code
from ..core.findings import PipelineError, refuse
from ..core.json_file import read_json
from ..nifti.file import read_planes
from .golden_form import find_odd

Golden = dict[str, Any]
SCHEMA = "verimask golden 1"
_DECIMALS = 9
_ONLY_SHOWN = "Message"


def build_golden(
    options: Sequence[str], inputs: Mapping[str, str], results: Sequence[Outcome | PipelineError | UnwrittenImage]
) -> Golden:
    """Build the golden record of a case.

    Args:
        options: the words that `convert` was given, as they stand in CASES.toml.
        inputs: SHA-256 of every input file, by its name.
        results: of the conversion, in their order; the files of outcomes are still there.

    Returns: the record, with the messages of refusals.
    """
    return {
        "Schema": SCHEMA,
        "Options": list(options),
        "Inputs": {name: inputs[name] for name in sorted(inputs)},
        "Results": [_describe(result) for result in results],
    }


def golden_text(golden: Golden) -> str:
    """The text of the file of a golden record."""
    results = [{key: value for key, value in one.items() if key != _ONLY_SHOWN} for one in golden["Results"]]
    return as_text(golden | {"Results": results}) + "\n"


def read_golden(path: Path) -> Golden | None:
    """Read a golden record; None where there is none. Raises BAD_CASES where the file is something else."""
    if not path.exists():
        return None
    try:
        golden = read_json(path)
    except (OSError, ValueError) as error:
        raise _no_golden(path, f"cannot be read: {error}") from error
    if not isinstance(golden, dict) or golden.get("Schema") != SCHEMA:
        raise _no_golden(path, "is no golden record of this version")
    odd = find_odd(golden)
    if odd:
        raise _no_golden(path, f"is damaged: {odd} is not what a golden record has there")
    return golden


def words_of(golden: Golden) -> list[str]:
    """What a case gives in the words of `expected`, each once: verdicts in lower case, and the codes of refusals."""
    words = [_word(result) for result in golden["Results"] if result["Verdict"] not in ("PARTNER", "PASSED")]
    return list(dict.fromkeys(words))


def _word(result: Mapping[str, Any]) -> str:
    return str(result["Code"] if result["Verdict"] == "REFUSED" else result["Verdict"].lower())


def _describe(result: Outcome | PipelineError | UnwrittenImage) -> dict[str, Any]:
    if isinstance(result, Outcome):
        return _describe_outcome(result)
    if isinstance(result, UnwrittenImage):
        return {
            "Verdict": result.verdict,
            **({"Folder": result.folder} if result.folder else {}),
            "Series": result.series,
        }
    finding = result.finding
    measured = {"Measured": _rounded(finding.measured), "Unit": finding.unit} if finding.measured is not None else {}
    return {
        "Verdict": "REFUSED",
        **({"Folder": result.folder} if result.folder else {}),
        "Code": finding.code.name,
        **measured,
        "Also": [other.code.name for other in result.others if other.measured is not None],
        _ONLY_SHOWN: finding.message,
    }


def _describe_outcome(outcome: Outcome) -> dict[str, Any]:
    record = outcome.record
    geometry = record["Geometry"]
    digest, planes, values = _read_voxels(outcome.output)
    first = next((s["SOPInstanceUID"] for s in record["Slices"]), None)
    return {
        "File": outcome.output.name,
        "Verdict": record["Verdict"],
        "Series": record.get("SeriesInstanceUID"),
        "Shape": record["Shape"],
        "DataType": record["DataType"],
        **({"Labels": _rounded(record["Labels"])} if "Labels" in record else {"Values": _rounded(values)}),
        "Affine": _rounded(geometry["Affine"]),
        "CornerResidualMm": round(geometry["CornerResidualMm"], 6),
        "QformCode": geometry["QformCode"],
        "VoxelsSHA256": digest,
        "PlanesCRC32": planes,
        "FirstPlane": first,
        "Witnesses": {
            one["Witness"]: {key: one[key] for key in ("Version", "Status", "Saw", "Words") if key in one}
            for one in record["CrossCheck"]
        },
        "Findings": sorted({f["Code"] for f in record["Findings"]} - {Code.FILE_LEFT_OUT.name}),
    }


def _read_voxels(path: Path) -> tuple[str, list[str], dict[str, float]]:
    """SHA-256 of all voxels, the CRC-32 of each plane, and the least, the greatest and the mean value."""
    digest, planes = hashlib.sha256(), []
    least, greatest, total, count = np.inf, -np.inf, 0.0, 0
    for plane in read_planes(path):
        stored = plane.tobytes()
        digest.update(stored)
        planes.append(f"{crc32(stored):08x}")
        numbers = plane.view(np.uint8).reshape(-1) if plane.dtype.names else plane[np.isfinite(plane)]
        if numbers.size:
            least, greatest = min(least, float(numbers.min())), max(greatest, float(numbers.max()))
            total, count = total + float(numbers.sum(dtype=np.float64)), count + numbers.size
    values = {"Least": least, "Greatest": greatest, "Mean": total / count} if count else {}
    return digest.hexdigest(), planes, values


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS) + 0.0
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value


def _no_golden(path: Path, what: str) -> PipelineError:
    return refuse(
        Code.BAD_CASES,
        f"{path.parent.name}/{path.name} {what}",
        "Put it back from a copy, or remove it and make it anew with --update.",
        where=(path.name,),
    )
