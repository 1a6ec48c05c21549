"""Every case of data/cases.toml through the whole pipeline with every witness, held against data/golden/*.json.

`python -m tests.helpers.regress` prints one line a case and a table last, and exits 1 when a case gives something else.
`--update` rewrites the golden files instead; the difference is then reviewed like code. `--root sample` leaves out the
real samples (../shared/samples, or the folder in VERIMASK_SAMPLES); where they are absent they are left out too, and the
last line says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline import PipelineError, Policy, Request, convert
from pipeline.conversion.record import as_text
from pipeline.geometry.affine import LPS_TO_RAS
from pipeline.geometry.grid import Grid
from pipeline.geometry.index_map import find_index_map
from pipeline.nifti.file import read_planes
from tests.helpers.cases import DATA, Case, cases, digest, has_samples, samples_folder

GOLDEN = DATA / "golden"
_TRUTH_MM = 1e-4  # how far from the truth of the headers a corner may lie, rounded cosines aside


def run(case: Case, folder: Path, crosscheck: Literal["voxels", "off"] = "voxels") -> dict[str, Any]:
    """What a case gives: verdict, grid, digest of the voxels and what each witness said; or the refusal's code."""
    target = folder / f"{case.id}.nii.gz"
    policy = Policy(as_="image" if case.as_ == "image" else "mask", crosscheck=crosscheck)
    try:
        outcome = convert([case.folder()], target, request=Request(series=case.series_uid), policy=policy)
    except PipelineError as error:
        if target.exists():
            raise AssertionError(f"{case.id}: refused, yet it left a file") from error
        return {
            "Verdict": "REFUSED",
            "Code": error.finding.code.name,
            "Also": [f.code.name for f in error.others if f.measured is not None],
        }
    record = outcome.record
    voxels = hashlib.sha256()
    for plane in read_planes(target):
        voxels.update(plane.tobytes())
    return {
        "Verdict": record["Verdict"],
        "Shape": record["Shape"],
        "DataType": record["DataType"],
        "Labels": _rounded(record.get("Labels")),
        "Affine": np.round(record["Geometry"]["Affine"], 9).tolist(),
        "CornerResidualMm": round(record["Geometry"]["CornerResidualMm"], 6),
        "QformCode": record["Geometry"]["QformCode"],
        "VoxelsSHA256": voxels.hexdigest(),
        "FirstPlane": record["Slices"][0]["SOPInstanceUID"],
        "Witnesses": {w["Witness"]: f"{w['Status']}: {w['Words']}" for w in record["CrossCheck"]},
        "Findings": sorted({f["Code"] for f in record["Findings"]} - {"FILE_LEFT_OUT"}),
    }


def _rounded(value: Any) -> Any:
    """Numbers to nine decimals: the last digits of a sum depend on the processor."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value


def truth_mm(case: Case, result: dict[str, Any]) -> float | None:
    """How far our grid lies from the truth of samples.json at its worst corner; None where there is no truth."""
    if case.root != "real" or "Affine" not in result:
        return None
    truth = _truths(case.folder()).get(result["Shape"][2])
    if truth is None:
        return None
    ours = Grid(tuple(result["Shape"]), LPS_TO_RAS @ np.array(result["Affine"]))
    mapped = find_index_map(LPS_TO_RAS @ np.array(truth["affine_ras"]), truth["shape"], ours.lps, ours.shape)
    return float("inf") if mapped is None or not mapped.is_onto else mapped.moved_mm


def compare(case: Case, result: dict[str, Any]) -> list[str]:
    """What is wrong with a result: against the case, the golden file and the truth."""
    said = "verified" if result["Verdict"] == "VERIFIED" else result.get("Code", result["Verdict"])
    wrong = [] if said in case.outcomes else [f"gives {said}, not {' or '.join(case.outcomes)}"]
    golden = GOLDEN / f"{case.id}.json"
    if not golden.exists():
        wrong.append("has no golden file")
    else:
        expected = json.loads(golden.read_text("utf-8"))
        wrong += [
            f"{key} is not what it was"
            for key in expected.keys() | result.keys()
            if not same(expected.get(key), result.get(key))
        ]
    off = truth_mm(case, result)
    if off is not None and off > _TRUTH_MM + result["CornerResidualMm"]:
        wrong.append(f"lies {off:.5f} mm from the truth")
    return wrong


def same(expected: Any, given: Any) -> bool:
    """Whether two JSON values are equal; numbers to 1e-9, since the last bits of a sum are the processor's."""
    if isinstance(expected, dict) and isinstance(given, dict):
        return expected.keys() == given.keys() and all(same(expected[key], given[key]) for key in expected)
    if isinstance(expected, list) and isinstance(given, list):
        return len(expected) == len(given) and all(map(same, expected, given))
    if isinstance(expected, float) and isinstance(given, float):
        return math.isclose(expected, given, rel_tol=1e-9, abs_tol=1e-9)
    return bool(expected == given)


def _truths(folder: Path) -> dict[int, dict[str, Any]]:
    """Number of planes to the truth of samples.json, for the 3-D series of one folder (one of a modality)."""
    root = next(p for p in folder.parents if (p / "samples.json").exists())
    place = folder.relative_to(root)
    owner, rest = place.parts[0], Path(*place.parts[1:])
    listed = json.loads((root / "samples.json").read_text("utf-8"))["entries"]
    series = [
        s
        for entry in listed
        if entry["repo"].replace("/", "+") == owner and rest.is_relative_to(entry["path"])
        for s in entry["series"]
        if s.get("truth") and s["desc"]["ndim"] == "3D"
    ]
    modalities = {"CT": "CT", "MR_T1": "MR", "PET": "PT"}
    named = [s for s in series if s["mod"] in {modalities.get(part) for part in rest.parts}] or series
    return {s["truth"]["shape"][2]: s["truth"] for s in named} if len(named) == 1 else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="rewrite the golden files")
    parser.add_argument("--root", choices=("sample", "real"), help="only these cases")
    options = parser.parse_args()
    left_out = [] if has_samples() or options.root == "sample" else cases("real")
    rows, failed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for case in (c for c in cases(options.root) if c not in left_out):
            if digest(case.folder()) != case.sha256:
                result, wrong = {"Verdict": "?"}, ["its files are not those the case was made of"]
            else:
                result = run(case, Path(folder))
                if options.update:
                    GOLDEN.mkdir(exist_ok=True)
                    (GOLDEN / f"{case.id}.json").write_text(as_text(result) + "\n", "utf-8")
                wrong = compare(case, result)
            failed += bool(wrong)
            off = truth_mm(case, result)
            rows.append((case, result, off, wrong))
            print(
                f"{'ok  ' if not wrong else 'FAIL'} {case.id:26} {'; '.join(wrong) or result.get('Code', result['Verdict'])}",
                flush=True,
            )
    print()
    for case, result, off, _ in rows:
        told = result.get("Witnesses", {})
        states = "  ".join(f"{name} {said.split(':')[0].lower()}" for name, said in told.items())
        where = "" if off is None else f"{off:.6f} mm from truth"
        print(f"{case.id:26} {result['Verdict']:12} {where:22} {result.get('Code', '') or states}")
    print(f"\n{len(rows) - failed} passed, {failed} failed")
    if left_out:
        print(f"{len(left_out)} cases were left out for want of the real samples, which would be at {samples_folder()}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
