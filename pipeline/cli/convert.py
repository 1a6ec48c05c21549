"""verimask convert"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import output

if TYPE_CHECKING:
    from ..conversion.record import Outcome
    from ..conversion.request import ExportDescription, Request
    from ..core.findings import PipelineError
    from ..core.policy import Policy
    from ..crosscheck.panel import Panel


def add(commands: Any, epilog: str) -> None:
    """Its options."""
    p = commands.add_parser(
        "convert",
        help="a mask or image series to NIfTI, proven and cross-checked",
        description="Convert a DICOM series, SEG, structure set or Mimics bundle to NIfTI. The affine is proven against "
        "every plane's own\nequation, the file is read back, and dicom2nifti is asked for its opinion, before the file "
        "is moved into place.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=epilog,
    )
    p.options = _add_options
    p.set_defaults(run=run)


def _add_options(p: argparse.ArgumentParser) -> None:
    from .convert_options import add_options

    add_options(p)


# What --list-values looks at; it says itself that there will be no output.
_LISTING = "inputs output list_values series part on_tilt on_gap on_duplicate assume_spacing json quiet".split()


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Run it; the exit code."""
    if options.list_values:
        return _list_values(options)
    if not options.output:
        options.parser.error("the following arguments are required: -o/--output")
    from ..crosscheck.panel import Panel

    policy = _policy(options)
    with Panel(policy) as panel:  # first of all: its processes start while the rest is imported
        return _converted(options, given, policy, panel)


def _converted(options: argparse.Namespace, given: list[str], policy: Policy, panel: Panel) -> int:
    from pathlib import Path

    from ..conversion.convert import convert, convert_all

    progress = output.ProgressLine(options)
    common: dict[str, Any] = {
        "request": _request(options),
        "policy": policy,
        "progress": progress,
        "command": ["verimask", *given],
        "panel": panel,
        "page": options.report,
    }
    if options.output.endswith(("/", "\\")) or Path(options.output).is_dir():
        done, refused = convert_all(options.inputs, options.output, **common)
        progress.clear()
        refused += [error for one in done if (error := _page_refused(one, options))]
        return _report_many(done, refused, options)
    made = convert(options.inputs, options.output, **common)
    progress.clear()
    _write_page(made, options)
    if options.json:
        output.json(made.record)
    else:
        output.outcome(made, options)
    return _exit_of(made, options)


def _page_refused(made: Outcome, options: argparse.Namespace) -> PipelineError | None:
    """Write the page of one of many; what refuses it keeps no other from being written."""
    from ..core.unexpected import as_refusal

    try:
        _write_page(made, options)
    except Exception as error:
        return as_refusal(error)
    return None


def _write_page(made: Outcome, options: argparse.Namespace) -> None:
    """The report beside the file, with the first source over which the mask can be shown."""
    if not options.report or made.output is None:
        return
    from pathlib import Path

    from ..conversion.page_file import page_of, write_page
    from ..conversion.record import sidecar_of

    page = page_of(made.output)
    if made.verdict == "SKIPPED" and page.exists():
        return
    from ..report import report

    source = Path(options.source[0]) if options.source else None
    write_page(page, report(sidecar_of(made.output), source=source))


def _request(options: argparse.Namespace) -> Request:
    from ..conversion.request import Request

    return Request(
        series=options.series,
        part=options.part,
        source=options.source,
        like=options.like,
        wanted=_names(options.rois),
        export=_told(options),
        clean=options.clean,
        merge=options.merge,
        order=_names(options.order) or (),
    )


def _told(options: argparse.Namespace) -> ExportDescription:
    from ..conversion.request import ExportDescription
    from ..decode.embedded.labelled import Named, parse_labels

    named = () if options.labels is None else parse_labels(options.labels)
    if options.inside is not None:
        named = (*named, Named("", options.inside))
    return ExportDescription(named, options.outside, options.kind, options.undecided)


def _names(text: str | None) -> tuple[str, ...] | None:
    """None where nothing was said; an empty name, which is refused, where nothing is named."""
    return None if text is None else tuple(n.strip() for n in text.split(",") if n.strip()) or ("",)


def _list_values(options: argparse.Namespace) -> int:
    from dataclasses import asdict
    from pathlib import Path

    from ..conversion.one_series import laid_series
    from ..decode.embedded.value_table import as_table, list_values
    from ..dicom.pixels import stored_voxels

    output.refuse_idle(options, but=_LISTING, why="--list-values shows values and writes nothing")
    _, laid = laid_series([Path(p) for p in options.inputs], options.series, options.part, _policy(options))
    rows = list_values(stored_voxels(laid.frames))
    if options.json:
        output.json([asdict(row) for row in rows])
    else:
        output.lines([as_table(rows)], options)
    return 0


def _policy(options: argparse.Namespace) -> Policy:
    from dataclasses import fields

    from ..core.policy import Policy

    names = {f.name for f in fields(Policy)}
    return Policy(**{name: value for name, value in vars(options).items() if name in names})


def _report_many(done: Sequence[Outcome], refused: Sequence[PipelineError], options: argparse.Namespace) -> int:
    from ..core.findings import Exit
    from .text import summary_lines

    if options.json:
        output.json([*(o.record for o in done), *(output.refusal_record(e, options) for e in refused)])
    else:
        for made in done:
            output.outcome(made, options)
        for error in refused:
            output.refusal(error, options)
        output.lines(summary_lines(done, refused), options)
    if any(error.exit is Exit.INTERNAL_ERROR for error in refused):
        return int(Exit.INTERNAL_ERROR)
    if not refused:
        return max((_exit_of(o, options) for o in done), default=int(Exit.NOTHING_TO_CONVERT))
    return int(Exit.PARTLY_DONE if done else refused[0].exit)


def _exit_of(made: Outcome, options: argparse.Namespace) -> int:
    from ..core.findings import Exit

    if options.strict and "UNCONFIRMED" in (made.verdict, made.record.get("Recorded")):
        return int(Exit.UNCONFIRMED)
    return int(made.exit)
