"""Run `verimask report`: write a page for one record, or a page for each and one over all."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..core.findings import PipelineError


def add(commands: Any) -> None:
    """Add the command with its options."""
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
    p.add_argument(
        "--ratings",
        action="append",
        default=[],
        metavar="FILE",
        help="a table of ratings that a page saved; those beside the records are found without",
    )
    p.add_argument("--show-phi", action="store_true", help="do not hold back what may identify the patient")
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..conversion.page_file import check_page_place, write_page
    from ..core.extras import require_extra
    from ..core.findings import Exit
    from ..core.given_path import look_at_input

    require_extra("report")
    _refuse_idle(options)
    given, out = Path(options.outcome), Path(options.output)
    check_page_place(out)
    if look_at_input(given).is_folder:
        written, refused = _write_all(given, out, options)
    else:
        write_page(out, _make_page(given, options))
        written, refused = [out], []
    if options.json:
        refusals = [output.refusal_as_json(error, options) for error in refused]
        output.print_json({"Written": [p.name for p in written], "Refused": refusals})
    else:
        for error in refused:
            output.print_refusal(error, options)
        output.print_prose([f"wrote {p}" for p in written], options)
    return output.exit_of_many([Exit.VERIFIED], refused)


def _write_all(folder: Path, out: Path, options: argparse.Namespace) -> tuple[list[Path], list[PipelineError]]:
    """Write a page for every record below a folder, and one over all. Returns what was written, and what was refused."""
    from ..conversion.page_file import page_of, write_page
    from ..core.regular_file import is_file
    from ..core.unexpected import as_refusal
    from ..report import make_group_page
    from ..report.record import read_record

    written, refused, readable = [], [], []
    for outcome in _find_records(folder, out):
        try:
            record = read_record(outcome)
            readable.append(outcome)
            if record.file is not None and is_file(record.file):
                write_page(page_of(outcome), _make_page(outcome, options))
                written.append(page_of(outcome))
        except Exception as error:
            refused.append(as_refusal(error))
    write_page(out, make_group_page(readable, folder=Path(os.path.realpath(out)).parent, rated=_list_ratings(options)))
    return [*written, out], refused


def _find_records(folder: Path, out: Path) -> list[Path]:
    """Find every record below a folder. Raises NO_SUCH_INPUT for none, OUTPUT_NAME where `out` is the page of one."""
    from ..conversion.page_file import page_of
    from ..core.findings import Code, refuse
    from ..report import find_outcomes

    outcomes = find_outcomes(folder)
    if not outcomes:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"there is no record of a conversion below {folder}",
            "Make one first with verimask convert, which writes its record beside the NIfTI file.",
            where=(str(folder),),
        )
    if os.path.realpath(out) in {os.path.realpath(page_of(outcome)) for outcome in outcomes}:
        raise refuse(
            Code.OUTPUT_NAME,
            f"{out.name} is the place of one record's page, and the page over all needs another",
            "Give -o another name.",
            where=(out.name,),
        )
    return outcomes


def _refuse_idle(options: argparse.Namespace) -> None:
    """Refuse what the page cannot show, so that it is not left out in silence."""
    from ..core.given_path import look_at_input
    from ..report.record import read_record

    if not options.source or options.source.endswith((".nii", ".nii.gz")):
        output.refuse_idle(
            options,
            only=("source_series", "show_phi"),
            why="there is no --source folder of DICOM images to take it from",
        )
    outcome = Path(options.outcome)
    if look_at_input(outcome).is_file and read_record(outcome).file is None:
        only = ("source", "source_series", "show_phi", "interactive", "convention", "ratings")
        output.refuse_idle(options, only=only, why=f"{outcome.name} is the record of a refusal, which has no pictures")


def _make_page(outcome: Path, options: argparse.Namespace) -> str:
    from ..report import make_page

    return make_page(
        outcome,
        source=Path(options.source) if options.source else None,
        source_series=options.source_series,
        convention=options.convention,
        show_phi=options.show_phi,
        interactive=options.interactive,
        rated=_list_ratings(options),
    )


def _list_ratings(options: argparse.Namespace) -> list[Path]:
    """List the tables of ratings: those given, and for a folder the one that the page over all saved beside itself."""
    from ..core.given_path import look_at_input, look_at_output
    from ..report.ratings import RATINGS

    given = [Path(table) for table in options.ratings]
    saved = Path(os.path.realpath(options.output)).parent / RATINGS
    return (
        [*given, saved] if look_at_input(Path(options.outcome)).is_folder and look_at_output(saved).is_file else given
    )
