"""Run `verimask selftest`: try the readers and writers of this installation on masks made for it."""

from __future__ import annotations

import argparse
from typing import Any

from . import output


def add(commands: Any) -> None:
    """Add the command with its options."""
    p = commands.add_parser(
        "selftest",
        help="try this installation: masks out as DICOM and back, voxel for voxel",
        description="Write masks as DICOM series and SEG, convert them back with every reader installed, and compare.",
    )
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..conversion.record import versions
    from ..core.findings import Exit
    from ..diagnosis.selftest import run_selftest

    checks = []
    for check in run_selftest():
        checks.append(check)
        if not options.json:
            state = {True: "ok    ", False: "FAILED", None: "absent"}[check.passed]
            output.print_prose([f"{state}  {check.grid:14}  {check.route:31}  {check.words}"], options)
    failed = sum(c.passed is False for c in checks)
    if options.json:
        rows = [{"Grid": c.grid, "Route": c.route, "Passed": c.passed, "Said": c.words} for c in checks]
        output.print_json({"Checks": rows, "Failed": failed, "Versions": versions()})
    else:
        passed = sum(c.passed is True for c in checks)
        output.print_lines(["", ", ".join(f"{name} {version}" for name, version in versions().items())], options)
        output.print_lines([f"{passed} passed, {failed} failed, {len(checks) - passed - failed} absent"], options)
    return int(Exit.REFUSED if failed else Exit.VERIFIED)
