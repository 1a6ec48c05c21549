"""verimask series"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..dicom.scan import Series


def add(commands: Any) -> None:
    """Its options."""
    p = commands.add_parser(
        "series",
        help="what is in a folder: series, ROIs, segments",
        description="List the series found below the inputs.",
    )
    p.add_argument("inputs", nargs="+", metavar="INPUT", help="folder of DICOM files (any depth), or the files")
    p.add_argument("--left-out", action="store_true", help="also list every file left out, with its reason")
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run it; the exit code."""
    from pathlib import Path

    from ..core.findings import Severity
    from ..dicom.read_headers import few
    from ..dicom.scan import scan, table

    progress = output.ProgressLine(options)
    found = scan([Path(p) for p in options.inputs], lambda n: progress("reading headers", n, 0))
    progress.clear()
    left_out = [left.finding for left in found.left_out]
    if options.json:
        output.json({"Series": [_record(s) for s in found.series], "LeftOut": output.findings_json(left_out, options)})
        return 0
    output.lines([table(found.series)], options)
    lines = []
    for series in found.series:
        names = _names(series)
        if names:
            lines.append(f"  {series.title} holds " + ", ".join(f"{number} “{name}”" for number, name in names))
    lost = [f for f in left_out if f.severity is Severity.ERROR]
    if options.left_out:
        lines += ["  " + finding.message for finding in left_out]
    else:
        lines += ["  " + finding.message for finding in few(lost)]
    count = len(left_out) - len(lost)
    if count and not options.left_out:
        lines.append(f"  {count} file{'s' * (count > 1)} left out (--left-out lists {'them' if count > 1 else 'it'})")
    output.prose(lines, options)
    return 0


def _record(series: Series) -> dict[str, Any]:
    return {
        "UID": series.uid,
        "Number": series.number,
        "Description": series.description,
        "Kind": series.kind,
        "Modality": series.modality,
        "Frames": len(series.frames),
        "Masks": [{"Number": number, "Name": name} for number, name in _names(series)],
    }


def _names(series: Series) -> list[tuple[int, str]]:
    """Number and name of the ROIs or segments of a series."""
    from ..conversion.products import names_in

    return names_in(series)
