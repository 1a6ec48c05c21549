"""How far a result on the real samples lies from the truth of samples.json, which is read off the headers by other code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.geometry.affine import LPS_TO_RAS
from pipeline.geometry.index_map import find_index_map
from tests.helpers.cases import samples_folder

LIMIT_MM = 1e-4  # how far from the truth of the headers a corner may lie, rounded cosines aside


def truth_mm(folder: Path, result: dict[str, Any]) -> float | None:
    """How far a grid lies from the truth at its worst corner; None where there is no truth.

    folder: of the sample. result: a file of a golden record, with Shape and Affine (RAS mm).
    """
    truth = _truths(folder).get(result["Shape"][2])
    if truth is None:
        return None
    ours, theirs = (LPS_TO_RAS @ np.array(affine) for affine in (result["Affine"], truth["affine_ras"]))
    mapped = find_index_map(theirs, truth["shape"], ours, result["Shape"][:3])
    return float("inf") if mapped is None or not mapped.is_onto else mapped.moved_mm


def _truths(folder: Path) -> dict[int, dict[str, Any]]:
    """Number of planes to the truth of samples.json, for the 3-D series of one folder (one of a modality)."""
    root = samples_folder()
    place = folder.resolve().relative_to(root.resolve())
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
