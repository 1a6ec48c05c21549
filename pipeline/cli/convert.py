"""Run `verimask convert`: write masks and images as NIfTI, with their records and pages.

Rules:
- What refuses one of many keeps no other from being converted, written or shown. Each is shown as soon as it is there, in
  the order of the inputs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from . import output
from .convert_request import read_policy, read_request
from .typed_words import hide_inputs

if TYPE_CHECKING:
    from ..conversion.convert_entry import Result
    from ..conversion.record import Outcome
    from ..core.findings import PipelineError
    from ..core.policy import Policy
    from ..crosscheck.panel import Panel


def add(commands: Any, epilog: str) -> None:
    """Add the command. Its options are built when it is the one that was typed."""
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


# The options that may stand with --list-values. -o may, since the help of --list-values says that nothing is written.
_LISTING = "inputs output list_values series part on_tilt on_gap on_duplicate assume_spacing max_memory json quiet verbose".split()


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Run the command and return its exit code."""
    if options.max_memory:
        from ..core.memory import set_limit

        set_limit(options.max_memory)
    if options.list_values:
        return _list_values(options)
    if not options.output:
        options.parser.error("the following arguments are required: -o/--output")
    from ..core.arguments import check_whole
    from ..crosscheck.panel import Panel

    if options.jobs is not None:
        check_whole("jobs", options.jobs, 1)
    several = (options.jobs or 1) > 1
    if several and not _is_folder(options.output):
        output.refuse_idle(
            options, only=["jobs"], why="one file is made by one process; -o a folder (ending in /) is for many"
        )
    policy = read_policy(options)
    if several:  # They have witnesses of their own.
        return _convert(options, given, policy, None)
    with Panel(policy) as panel:  # Comes first: its processes start while the rest is imported.
        return _convert(options, given, policy, panel)


def _convert(options: argparse.Namespace, given: list[str], policy: Policy, panel: Panel | None) -> int:
    from ..conversion.convert import convert, convert_each

    progress = output.ProgressLine(options)
    common: dict[str, Any] = {
        "request": read_request(options),
        "policy": policy,
        "progress": progress,
        "command": ["verimask", "convert", *hide_inputs(_without_jobs(given[1:]), options.parser)],
        "panel": panel,
        "page": options.report,
    }
    if _is_folder(options.output):
        with closing(convert_each(options.inputs, options.output, jobs=options.jobs, **common)) as results:
            return _report_many(results, progress, options)
    made = convert(options.inputs, options.output, **common)
    progress.clear()
    _write_page(made, options)
    if options.json:
        output.print_json(output.outcome_as_json(made))
    else:
        output.print_outcome(made, options)
    return _exit_of(made, options)


def _is_folder(path: str) -> bool:
    """Whether an output is a folder for many files: it says so, or it is there."""
    from ..core.given_path import look_at_output

    return path.endswith(("/", "\\")) or look_at_output(path).is_folder


def _without_jobs(given: Sequence[str]) -> list[str]:
    """What was typed without --jobs, however it was written: the record is the same whatever it is."""
    kept = []
    words = iter(given)
    for word in words:
        name, _, value = word.partition("=")
        if len(name) < len("--jo") or not "--jobs".startswith(name):
            kept.append(word)
        elif not value:
            next(words, None)
    return kept


def _try_to_write_page(made: Outcome, options: argparse.Namespace) -> PipelineError | None:
    """Write the page of one of many, and return its refusal, so that it keeps no other from being written."""
    from ..core.unexpected import as_refusal

    try:
        _write_page(made, options)
    except Exception as error:
        return as_refusal(error)
    return None


def _write_page(made: Outcome, options: argparse.Namespace) -> None:
    """Write the report next to the file, if one was asked for; the mask is shown over the first of its sources."""
    if not options.report:
        return
    from pathlib import Path

    from ..conversion.page_file import page_of, write_page
    from ..conversion.record import sidecar_of

    page = page_of(made.output)
    if made.verdict == "SKIPPED" and page.exists():
        return
    from ..report import make_page

    source = Path(options.source[0]) if options.source else None
    write_page(page, make_page(sidecar_of(made.output), source=source))


def _list_values(options: argparse.Namespace) -> int:
    from dataclasses import asdict
    from pathlib import Path

    from ..conversion.one_series import read_laid_series
    from ..decode.embedded.value_table import as_table, list_values, require_small_integers
    from ..dicom.pixels import stored_voxels

    output.refuse_idle(options, but=_LISTING, why="--list-values shows values and writes nothing")
    _, laid_frames = read_laid_series(
        [Path(p) for p in options.inputs], options.series, options.part, read_policy(options)
    )
    voxels = stored_voxels(laid_frames.frames)
    require_small_integers(voxels, tuple(f.name for f in laid_frames.frames[:1]))
    rows = list_values(voxels)
    if options.json:
        output.print_json([asdict(row) for row in rows])
    else:
        output.print_lines(as_table(rows).split("\n"), options)
    return 0


def _report_many(results: Iterable[Result], progress: output.ProgressLine, options: argparse.Namespace) -> int:
    """Print what comes of many conversions as it comes, and return the exit code of all."""
    from ..conversion.record import Outcome
    from ..conversion.unwritten_images import UnwrittenImage
    from ..core.findings import PipelineError
    from .text import describe_summary

    done: list[Outcome] = []
    images: list[UnwrittenImage] = []
    refused: list[PipelineError] = []
    for result in results:
        error = result if isinstance(result, PipelineError) else None
        if isinstance(result, Outcome):
            done.append(result)
            error = _try_to_write_page(result, options)
        elif isinstance(result, UnwrittenImage):
            images.append(result)
        if error is not None:
            refused.append(error)
        progress.clear()
        if not options.json:
            _print_result(result, error, options)
    progress.clear()
    if options.json:
        output.print_json(
            [
                *map(output.outcome_as_json, done),
                *(image.as_json() for image in images),
                *(output.refusal_as_json(e, options) for e in refused),
            ]
        )
    else:
        output.print_lines(describe_summary(done, images, refused), options)
    return output.exit_of_many([_exit_of(made, options) for made in done], refused)


def _print_result(result: Result, error: PipelineError | None, options: argparse.Namespace) -> None:
    """Print a result, and what kept its page from being written."""
    from ..conversion.record import Outcome
    from ..conversion.unwritten_images import UnwrittenImage

    if isinstance(result, Outcome):
        output.print_outcome(result, options)
    elif isinstance(result, UnwrittenImage):
        output.print_unwritten(result, options)
    if error is not None:
        output.print_refusal(error, options)


def _exit_of(made: Outcome, options: argparse.Namespace) -> int:
    from ..core.findings import Exit

    if options.strict and "UNCONFIRMED" in (made.verdict, made.record.get("Recorded")):
        return int(Exit.UNCONFIRMED)
    return int(made.exit)
