"""Run `verimask verify`: replay the proof of results made earlier."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from . import output


def add(commands: Any) -> None:
    """Add the command with its options."""
    p = commands.add_parser(
        "verify",
        help="whether results made earlier are still what was proven",
        description="Replay the proof of results: every hash, the header, the labels, the affine against the recorded planes; with "
        "--dicom the inputs, found by their content, the planes in them, and the conversion made again. Exit 0 only where "
        "everything holds, else 12.",
    )
    p.add_argument("results", nargs="+", metavar="FILE|FOLDER", help="NIfTI files, records, or folders of them")
    p.add_argument("--dicom", nargs="+", default=(), metavar="DIR", help="folders, files or archives with the inputs")
    p.add_argument(
        "--crosscheck",
        choices=("affine", "voxels"),
        help="ask the witnesses again about what is made again (needs --dicom)",
    )
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..core.findings import Exit
    from ..diagnosis.verify import refuse_nothing, verify

    if not options.dicom:
        output.refuse_idle(options, only=("crosscheck",), why="witnesses read the DICOM files, and none were given")
    paths = [Path(given) for given in options.results]
    progress = output.ProgressLine(options)
    results = []
    for result in verify(paths, [Path(given) for given in options.dicom], options.crosscheck):
        results.append(result)
        progress("verifying", len(results), 0)
    progress.clear()
    if not results:
        raise refuse_nothing(paths)
    if options.json:
        holding = sum(result.status == "HOLDS" for result in results)
        output.print_json({"Results": [r.as_json() for r in results], "Holding": holding, "All": len(results)})
    else:
        _print(results, options)
    return int(Exit.VERIFIED if all(result.status == "HOLDS" for result in results) else Exit.MISMATCH)


def _print(results: list[Any], options: argparse.Namespace) -> None:
    from .verify_text import describe_counts, describe_result, find_shared

    shared = find_shared(results)
    for result in results:
        output.print_prose(describe_result(result, shared, colour=output.wants_colour(sys.stdout)), options)
    output.print_prose(["", *describe_counts(results, shared)], options)
