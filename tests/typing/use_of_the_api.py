"""A program of somebody else. Each `reveal_type` states what an editor shows; a line marked as an error must be one."""

from pathlib import Path

from typing_extensions import assert_type
from verimask import (
    Code,
    ExportDescription,
    Finding,
    FindingRecord,
    GeometryRecord,
    Grid,
    LabelRecord,
    Outcome,
    PipelineError,
    Policy,
    Record,
    Request,
    SliceRecord,
    __version__,
    convert,
    convert_all,
    scan,
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
