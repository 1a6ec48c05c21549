"""verimask report"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.commands import say


def add(commands: Any) -> None:
    """Its options."""
    p = commands.add_parser(
        "report",
        help="a page that shows where the mask lies, and why it can be trusted",
        description="Write one self-contained HTML page for an outcome; for a folder, a page each and one over all.",
    )
    p.add_argument(
        "outcome", metavar="OUTCOME.json|DIR", help="the record beside a converted file, or a folder of them"
    )
    p.add_argument("-o", "--output", required=True, metavar="PAGE.html")
    p.add_argument("--source", metavar="IMAGE", help="the image the mask was drawn on: NIfTI file or DICOM folder")
    p.add_argument("--source-series", metavar="WHICH", help="which series of the DICOM folder")
    p.add_argument("--interactive", action="store_true", help="with a live viewer in the page")
    p.add_argument(
        "--convention",
        choices=("radiological", "neurological"),
        default="radiological",
        help="which side the patient's left is shown on (radiological: on the right)",
    )
    p.add_argument("--show-phi", action="store_true", help="do not hold back what may identify the patient")
    say.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run it; the exit code."""
    from pipeline.report import find_outcomes, group_page

    _refuse_idle(options)
    given, out = Path(options.outcome), Path(options.output)
    written = []
    if given.is_dir():
        outcomes = find_outcomes(given)
        for outcome in outcomes:
            if (outcome.parent / f"{outcome.stem}.nii.gz").exists() or (
                outcome.parent / f"{outcome.stem}.nii"
            ).exists():
                page = outcome.with_suffix(".html")
                page.write_text(_page(outcome, options), "utf-8")
                written.append(page)
        out.write_text(group_page(outcomes, folder=out.resolve().parent), "utf-8")
    else:
        out.write_text(_page(given, options), "utf-8")
    written.append(out)
    if options.json:
        say.json({"Written": [p.name for p in written]})
    else:
        say.lines([f"wrote {p}" for p in written], options)
    return 0


def _refuse_idle(options: argparse.Namespace) -> None:
    """Refuse what the page cannot show, so that it is not left out in silence."""
    from pipeline.report.record import read_record

    if not options.source or options.source.endswith((".nii", ".nii.gz")):
        say.refuse_idle(
            options,
            only=("source_series", "show_phi"),
            why="there is no --source folder of DICOM images to take it from",
        )
    outcome = Path(options.outcome)
    if outcome.is_file() and read_record(outcome).file is None:
        only = ("source", "source_series", "show_phi", "interactive", "convention")
        say.refuse_idle(options, only=only, why=f"{outcome.name} is the record of a refusal, which has no pictures")


def _page(outcome: Path, options: argparse.Namespace) -> str:
    from pipeline.report import report

    return report(
        outcome,
        source=Path(options.source) if options.source else None,
        source_series=options.source_series,
        convention=options.convention,
        show_phi=options.show_phi,
        interactive=options.interactive,
    )
