"""A program of somebody else. Each `reveal_type` states what an editor shows; a line marked as an error must be one."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from typing_extensions import assert_type
from verimask import (
    ArrayAffine,
    ArrayProof,
    Code,
    ExportDescription,
    Finding,
    FindingRecord,
    GeometryRecord,
    Grid,
    Image,
    Label,
    LabelRecord,
    Mask,
    Outcome,
    PipelineError,
    Policy,
    Record,
    Request,
    SliceRecord,
    __version__,
    affine,
    convert,
    convert_all,
    read,
    read_all,
    scan,
    write,
)

assert_type(__version__, str)


def one(folder: Path) -> str:
    outcome = convert(folder, "liver.nii.gz", policy=Policy(crosscheck="voxels"), request=Request(wanted="liver"))
    assert_type(outcome, Outcome)
    assert_type(outcome.output, Path)
    assert_type(outcome.findings, tuple[Finding, ...])
    return outcome.verdict


def what_the_record_says(outcome: Outcome) -> float:
    assert_type(outcome.record, Record)
    assert_type(outcome.record["Geometry"], GeometryRecord)
    assert_type(outcome.record["Geometry"]["CornerResidualMm"], float)
    assert_type(outcome.record["Geometry"]["QformDeviationMm"], float | None)
    assert_type(outcome.record["Slices"][0], SliceRecord)
    assert_type(outcome.record["Findings"], list[FindingRecord])
    assert_type(outcome.findings[0].as_json(), FindingRecord)
    for label in outcome.record.get("Labels", []):
        assert_type(label, LabelRecord)
    for witness in outcome.record["CrossCheck"]:
        if witness["Status"] == "AGREE":  # error: comparison-overlap
            print(witness["Words"])
    print(outcome.record["Provenance"]["Inputs"][0]["SHA256"], outcome.record["Provenance"]["Versions"]["zlib-ng"])
    print(outcome.record["Geometry"]["CornerResidual"])  # error: typeddict-item
    print(outcome.record["Geometrie"]["CornerResidualMm"])  # error: typeddict-item
    return outcome.record["Geometry"]["CornerResidualMm"]


def arrays(folder: Path) -> Outcome:
    array = read(folder, policy=Policy(as_="image"), request=Request(series="3"))
    assert_type(array, Mask | Image)
    print(array.labels)  # error: union-attr
    assert isinstance(array, Mask)
    assert_type(array.labels, Mapping[int, Label])
    assert_type(array.labels[1].colour, tuple[int, int, int] | None)
    assert_type(array.spacing, tuple[float, float, float])
    assert_type(array.proof, ArrayProof)
    assert_type(array.proof.record, Record)
    array.affine = np.eye(4)  # error: misc
    for result in read_all([folder]):
        assert_type(result, Mask | Image | PipelineError)
    found = affine(folder, shape=array.shape, axes="kji", planes="instance-number")
    assert_type(found, ArrayAffine)
    assert_type(found.plane_uids, tuple[str | None, ...])
    affine(folder, planes="acquisition")
    write(array.array, np.eye(4), "a.nii", labels={1: "liver", 2: Label("tumour", (255, 0, 0))})
    write(array.array, array, "a.nii", labels=array.labels)
    write([[[1]]], [folder], "a.nii", labels={"liver": 1})  # error: dict-item
    return write(array.array, found, folder / "a.nii")


def many(folders: list[str]) -> list[Code]:
    done, refused = convert_all(folders, "out")
    assert_type(done, list[Outcome])
    assert_type(refused, list[PipelineError])
    return [error.finding.code for error in refused]


def look(folder: str) -> int:
    return sum(len(series.frames) for series in scan(folder).series)


def corner(grid: Grid) -> float:
    return float(grid.lps[0, 3])


Policy(crosscheck="often")  # error: arg-type
Request(export="burned")  # error: arg-type
Request(export=ExportDescription(kind="burned"))
convert("folder")  # error: call-arg
