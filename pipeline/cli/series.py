"""Run `verimask series`: list what is in a folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..core.findings import Finding
    from ..dicom.scan import Series


def add(commands: Any) -> None:
    """Add the command with its options."""
    p = commands.add_parser(
        "series",
        help="what is in a folder: series, ROIs, segments",
        description="List the series found below the inputs.",
    )
    p.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="folder of DICOM files (any depth), the files, a ZIP archive or a DICOMDIR",
    )
    p.add_argument("--left-out", action="store_true", help="also list every file left out, with its reason")
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from pathlib import Path

    from ..dicom.scan import scan, table

    progress = output.ProgressLine(options)
    found = scan([Path(p) for p in options.inputs], lambda n: progress("reading headers", n, 0))
    progress.clear()
    left_out = [left.finding for left in found.left_out]
    if options.json:
        series = [_as_json(s) for s in found.series]
        output.print_json({"Series": series, "LeftOut": output.findings_as_json(left_out, options)})
        return 0
    output.print_lines(table(found.series).split("\n"), options)
    lines = [*_describe_contents(found.series), *_describe_left_out(left_out, each=options.left_out)]
    output.print_prose(lines, options)
    return 0


def _describe_contents(series: Iterable[Series]) -> list[str]:
    """Describe the ROIs or segments of every series that has some."""
    named = [(one.title, _list_names(one)) for one in series]
    return [
        f"  {title} holds " + ", ".join(f"{number} “{name}”" for number, name in names)
        for title, names in named
        if names
    ]


def _describe_left_out(left_out: Sequence[Finding], *, each: bool) -> list[str]:
    """Describe the files left out: each of them, or those that may be missed in words and the others in number."""
    from ..core.findings import Severity
    from ..dicom.read_headers import few

    if each:
        return ["  " + finding.message for finding in left_out]
    lost = [finding for finding in left_out if finding.severity is Severity.ERROR]
    lines = ["  " + finding.message for finding in few(lost)]
    count = len(left_out) - len(lost)
    if count:
        lines.append(f"  {count} file{'s' * (count > 1)} left out (--left-out lists {'them' if count > 1 else 'it'})")
    return lines


def _as_json(series: Series) -> dict[str, Any]:
    return {
        "UID": series.uid,
        "Number": series.number,
        "Description": series.description,
        "Kind": series.kind,
        "Modality": series.modality,
        "Frames": len(series.frames),
        "Masks": [{"Number": number, "Name": name} for number, name in _list_names(series)],
    }


def _list_names(series: Series) -> list[tuple[int, str]]:
    """List number and name of the ROIs or segments of a series."""
    from ..conversion.products import names_in

    return names_in(series)
