"""A program of somebody else. Each `reveal_type` states what an editor shows; a line marked as an error must be one."""

from pathlib import Path

from typing_extensions import assert_type
from verimask import (
    Code,
    ExportDescription,
    Finding,
    Grid,
    Outcome,
    PipelineError,
    Policy,
    Request,
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
