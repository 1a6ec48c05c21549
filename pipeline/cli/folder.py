"""Run `verimask FOLDER`: say what is there, convert what is plain, and write a page that shows it.

Rules:
- Nothing is asked and nothing is overwritten: results go to ./NAME-nifti/, and what is there and proven is passed over.
- Plain is what `verimask convert` does without options, masks on the grids of their images and these with them; where there
  is no mask at all, images are what is wanted. What is not plain is listed with its reason and the command to type.
- The folder of several patients is left to `verimask cohort`.
- Exit codes are those of convert.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.shell_words import join_words
from . import output
from .parser import CommandParser
from .typed_words import hide_inputs

if TYPE_CHECKING:
    from ..conversion.convert_entry import Result
    from ..conversion.looks import Looks
    from ..conversion.option_effects import Asked
    from ..conversion.products import RunPlan
    from ..conversion.record import Outcome
    from ..conversion.unwritten_images import UnwrittenImage
    from ..core.findings import PipelineError
    from ..core.policy import Policy
    from ..crosscheck.panel import Panel
    from .folder_text import ConvertedFile

_DESCRIPTION = """\
Say what is in a folder, convert what is plain into ./NAME-nifti/, and write a page that shows it.

Plain is what needs no decision: masks, on the grids of their images, with these images; or the images alone. What is not
plain is listed with its reason and the command to type. Nothing is asked, nothing is overwritten, and a second run passes
over what is proven already."""

_PAGE_NAMES = ("index", "index_of_all", "index_of_all_results")  # of the page over all: none may be that of a result


def make_parser(given: Sequence[str]) -> CommandParser:
    """Make the parser of a command line without a command. given: all that was typed."""
    from .convert_options import add_privacy

    parser = CommandParser(
        prog="verimask",
        usage="verimask FOLDER [FOLDER ...] [-h] [--keep-names] [--strip WHAT] [--json] [-q]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="FOLDER",
        help="folder of DICOM files (any depth), the files, a ZIP archive of them, a DICOMDIR, or a bundle",
    )
    add_privacy(parser)
    output.add_common(parser)
    parser.set_defaults(run=run)
    parser.advice = "with options of its own: " + join_words(["verimask", "convert", *given])
    return parser


class Results(NamedTuple):
    """What came of a run. unwritten: images that are not plain. refused: what a rule kept from being written."""

    done: list[ConvertedFile]
    unwritten: list[UnwrittenImage]
    refused: list[PipelineError]


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Run it and return its exit code."""
    from ..conversion.looks import Looks
    from ..conversion.option_effects import Asked
    from ..conversion.request import Request
    from ..crosscheck.panel import Panel

    policy, looks = _policy(options), Looks()
    with Panel(policy) as panel:  # Comes first: its processes start while the rest is imported.
        asked = Asked(Request(images=True), policy, gzipped=True, in_one=False, looks=looks, lone_images=True)
        return _run(options, given, asked, panel)


def _policy(options: argparse.Namespace) -> Policy:
    from ..core.policy import Policy

    return Policy(write="skip", keep_names=options.keep_names, strip=options.strip)


def _run(options: argparse.Namespace, given: list[str], asked: Asked, panel: Panel) -> int:
    from ..conversion.patients import group_by_patient
    from ..conversion.products import find_entries
    from ..core.findings import Exit, PipelineError
    from . import folder_text

    inputs = [Path(p) for p in options.inputs]
    progress = output.ProgressLine(options)
    try:
        plan = find_entries(inputs, asked, progress)
    except PipelineError as error:
        progress.clear()
        nifti = [] if options.json else _find_nifti(inputs)
        if not nifti:
            raise
        _print(folder_text.describe_nifti(nifti), options)
        return int(error.exit)
    progress.clear()
    patients = group_by_patient(plan.found.series)
    name = name_of(inputs)
    if not options.json:
        _print(folder_text.describe_contents(options.inputs, plan, len(patients)), options)
    if len(patients) > 1:
        _print(folder_text.describe_cohort(options.inputs, name, patients), options)
        return int(Exit.NOTHING_TO_CONVERT)
    return _convert(options, given, asked.looks, panel, plan)


def _convert(options: argparse.Namespace, given: list[str], looks: Looks, panel: Panel, plan: RunPlan) -> int:
    """Convert what is plain, write its pages, and say what is not plain."""
    from . import folder_text
    from .folder_commands import Typed
    from .text import describe_unnamed

    inputs = [Path(p) for p in options.inputs]
    out = Path(f"{name_of(inputs)}-nifti")
    lack = _find_lack()
    results = _convert_each(options, given, looks, panel, out, page=lack is None)
    page = None
    if results.done and lack is None:
        page, refused = _write_pages(results.done, out)
        results.refused.extend(refused)
    if options.json:
        output.print_json(_as_json(results, out, page, options))
    else:
        typed = Typed(tuple(options.inputs), out, plan)
        if results.done and not any(written.is_mask for written in results.done):
            from ..conversion.clean_images import find_drawn_mask

            images = [entry.series for entry in plan.entries if entry.series.kind == "image"]
            _print(folder_text.describe_lone_images(find_drawn_mask(images), typed), options)
        _print(folder_text.describe_rest(results.unwritten, results.refused, typed), options)
        _print(describe_unnamed([written.made for written in results.done]), options)
        _print(folder_text.describe_end(results.done, page, lack), options)
    return output.exit_of_many([int(written.made.exit) for written in results.done], results.refused)


def _convert_each(
    options: argparse.Namespace, given: list[str], looks: Looks, panel: Panel, out: Path, *, page: bool
) -> Results:
    """Convert, and print a line for each result as it comes."""
    from ..conversion.convert import convert_each
    from ..conversion.request import Request

    progress = output.ProgressLine(options)
    results = Results([], [], [])
    made = convert_each(
        options.inputs,
        out,
        request=Request(images=True),
        policy=_policy(options),
        progress=progress,
        command=["verimask", *hide_inputs(given, options.parser)],
        panel=panel,
        page=page,
        jobs=None,
        lone_images=True,
        looks=looks,
    )
    with closing(made):
        for result in made:
            progress.clear()
            _add(results, result, out, options)
    progress.clear()
    return results


def _add(results: Results, result: Result, out: Path, options: argparse.Namespace) -> None:
    """Put a result to those of its kind, and print the line of a file."""
    from ..conversion.record import Outcome
    from ..conversion.unwritten_images import UnwrittenImage
    from . import folder_text

    if isinstance(result, UnwrittenImage):
        results.unwritten.append(result)
    elif isinstance(result, Outcome):
        results.done.append(_with_record(result))
        if not options.json:
            head = ["", f"Converted, in {os.path.join(out, '')}:"] if len(results.done) == 1 else []
            line = folder_text.describe_result(results.done[-1], colour=output.wants_colour(sys.stdout))
            _print([*head, *line], options)
    else:
        results.refused.append(result)


def _print(lines: Iterable[str], options: argparse.Namespace) -> None:
    """Print lines, all wrapped but the commands among them."""
    from .folder_text import COMMAND

    for line in lines:
        (output.print_lines if line.startswith(COMMAND) else output.print_prose)([line], options)


def _with_record(made: Outcome) -> ConvertedFile:
    """An outcome with its record, which one that was passed over has beside its file only."""
    from ..conversion.record import sidecar_of
    from ..core.json_file import read_json
    from .folder_text import ConvertedFile

    record = made.record if made.verdict != "SKIPPED" else read_json(sidecar_of(made.output))
    return ConvertedFile(made, record)


def name_of(inputs: Sequence[Path]) -> str:
    """Find what the results of inputs are called: by the folder, the archive, or the folder that holds all of several."""
    from ..conversion.file_names import plain_name
    from ..core.given_path import look_at_input

    folders = [
        path.parent if look_at_input(path).is_file and path.suffix.casefold() != ".zip" else path for path in inputs
    ]
    only = len({os.path.abspath(folder) for folder in folders}) == 1
    path = Path(os.path.abspath(folders[0] if only else os.path.commonpath(map(os.path.abspath, folders))))
    name = path.stem if look_at_input(path).is_file else path.name
    return plain_name(name) or "dicom"


def _find_nifti(inputs: Sequence[Path]) -> list[Path]:
    """Find the NIfTI files among the inputs, or the folders that hold some."""
    from ..core.given_path import look_at_input
    from ..nifti.file import is_named_nifti

    return [
        path
        for path in inputs
        if is_named_nifti(path) or (look_at_input(path).is_folder and any(map(is_named_nifti, path.rglob("*"))))
    ]


def _find_lack() -> PipelineError | None:
    """What keeps a page from being made; None where nothing does."""
    from ..core.extras import require_extra
    from ..core.findings import PipelineError

    try:
        require_extra("report")
    except PipelineError as error:
        return error
    return None


def _write_pages(done: Sequence[ConvertedFile], out: Path) -> tuple[Path | None, list[PipelineError]]:
    """Write the page of every result, and one over all of several.

    Returns: the page to open, None where there is none; and what keeps a page from being written.
    """
    from ..conversion.page_file import page_of, write_page
    from ..conversion.record import sidecar_of
    from ..core.unexpected import as_refusal
    from ..report import make_group_page, make_page

    refused = []
    for written in done:
        page, record = page_of(written.made.output), sidecar_of(written.made.output)
        try:
            if written.made.verdict != "SKIPPED" or not page.exists():
                write_page(page, make_page(record, source=_image_under(written, done)))
        except Exception as error:
            refused.append(as_refusal(error))
    pages = [page_of(written.made.output) for written in done]
    if len(done) == 1:
        return (None if refused else pages[0]), refused
    over_all = next(path for name in _PAGE_NAMES if (path := out / f"{name}.html") not in pages)
    try:
        records = [sidecar_of(written.made.output) for written in done]
        write_page(over_all, make_group_page(records, folder=out))
    except Exception as error:
        return None, [*refused, as_refusal(error)]
    return over_all, refused


def _image_under(mask: ConvertedFile, done: Sequence[ConvertedFile]) -> Path | None:
    """The image that a mask is shown over: of those on its grid, the one it was drawn on before others."""
    if not mask.is_mask:
        return None
    uid = mask.record.get("SourceSeriesInstanceUID")
    same = [written for written in done if not written.is_mask and _grid_of(written) == _grid_of(mask)]
    drawn_on = [written for written in same if uid and written.record.get("SeriesInstanceUID") == uid]
    return next((image.made.output for image in [*drawn_on, *same]), None)


def _grid_of(written: ConvertedFile) -> tuple[Any, ...]:
    record = written.record
    return record.get("Shape"), record["Geometry"]["Affine"], record.get("FrameOfReferenceUID")


def _as_json(results: Results, out: Path, page: Path | None, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "Folder": str(out),
        "Page": None if page is None else page.name,
        "Results": [
            *(output.outcome_as_json(written.made) for written in results.done),
            *(image.as_json() for image in results.unwritten),
            *(output.refusal_as_json(error, options) for error in results.refused),
        ],
    }
