"""verimask convert"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.cli import output

if TYPE_CHECKING:
    from pipeline.conversion.embedded_masks import Told
    from pipeline.conversion.record import Outcome
    from pipeline.conversion.request import Request
    from pipeline.core.findings import PipelineError
    from pipeline.core.policy import Policy
    from pipeline.crosscheck.panel import Panel


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
    p.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="folder of DICOM files (any depth), the files, or a bundle"
    )
    p.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="liver.nii.gz or liver.nii; a folder (ending in /) for everything",
    )
    _add_which(p)
    _add_export(p)
    _add_where(p)
    _add_irregular(p)
    _add_checks(p)
    output.add_common(p)


def _add_choice(g: argparse._ArgumentGroup, *option: str, help: str, dest: str | None = None) -> None:
    """An option whose choices and default are those of the Policy."""
    from pipeline.core.policy import choices, default

    name = dest or option[-1].lstrip("-").replace("-", "_")
    g.add_argument(*option, dest=name, choices=choices(name), default=default(name), help=help)


def _add_which(p: argparse.ArgumentParser) -> None:
    from pipeline.core.policy import default

    g = p.add_argument_group("which, and what of it")
    g.add_argument("--series", metavar="WHICH", help="UID, number or description, where there are several")
    g.add_argument("--part", metavar="WHICH", help="number or name of one volume, where the series holds several")
    g.add_argument("--rois", metavar="NAME,…", help="names or numbers of ROIs, segments or masks; all by default")
    _add_choice(g, "--as", dest="as_", help="labels as stored (default), or grey values with their rescale")
    g.add_argument("--keep-values", action="store_true", help="keep 0/255 instead of writing 0/1")
    g.add_argument(
        "--on-lossy",
        choices=("refuse", "threshold", "keep"),
        default="refuse",
        help="a mask smeared by lossy compression: refuse, cut it at half of its range, or keep the values as they came",
    )
    g.add_argument("--allow-empty", action="store_true", help="write a mask that holds one value only")
    g.add_argument(
        "--fractional",
        type=_fractional,
        default=default("fractional"),
        metavar="PART|keep",
        help="fractional SEG: from which part of its maximum a voxel is inside (0.5), or keep the values",
    )
    _add_choice(
        g,
        "--combine",
        help="segments: one file where none overlap (default), one file each, or one file or refuse",
    )
    g.add_argument("--merge", action="store_true", help="all masks as one file of several labels; overlaps are refused")
    g.add_argument(
        "--order",
        metavar="NAME,…",
        help="with --merge: what lies on top, the first of all others: labels, or series by UID, number, folder or file",
    )
    g.add_argument("--interpolate", action="store_true", help="RTSTRUCT: fill between contours that lie between planes")
    g.add_argument(
        "--mm-per-unit", type=float, metavar="MM", help="Mimics bundle: length of its unit, where it does not say"
    )


def _add_export(p: argparse.ArgumentParser) -> None:
    from pipeline.core.policy import EXPORT_KINDS, UNDECIDED

    g = p.add_argument_group("an export with the mask in its image (burned in, masked, colour, overlay)")
    g.add_argument("--clean", action="append", default=[], metavar="DIR", help="the same export with masks hidden")
    g.add_argument("--inside", type=int, metavar="VALUE", help="the constant that is mask")
    g.add_argument("--outside", type=int, metavar="VALUE", help="the constant outside of a masked original")
    g.add_argument("--labels", metavar="NAME=VALUE,…", help="several masks, each its own constant or colour (#ff8000)")
    g.add_argument("--kind", choices=EXPORT_KINDS, help="what the export is")
    g.add_argument(
        "--undecided",
        choices=UNDECIDED,
        default=UNDECIDED[0],
        help="voxels whose image has the mask's own value: mask where mask is all around (default), always, never",
    )
    g.add_argument("--list-values", action="store_true", help="show the values that stand out, and write nothing")


def _add_where(p: argparse.ArgumentParser) -> None:
    from pipeline.core.policy import default

    g = p.add_argument_group("on which grid")
    g.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="DIR",
        help="the images the mask was drawn on: it is put on their grid",
    )
    g.add_argument(
        "--like", metavar="IMAGE.nii.gz", help="write on this file's grid, voxel for voxel and header bit for bit"
    )
    g.add_argument(
        "--grey-values",
        action="store_true",
        help="with --source: its values under the mask and its mirror images, as a hint",
    )
    _add_choice(
        g,
        "--resample",
        help="where --source or --like do not fit in whole voxels: refuse, or take the nearest voxels",
    )
    g.add_argument(
        "--orient",
        default=default("orient"),
        metavar="CODE",
        help="order of the axes, such as RAS or LPS; no voxel is resampled",
    )


def _add_irregular(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("where the planes are not regular")
    _add_choice(
        g,
        "--on-tilt",
        help="gantry tilt: refuse, keep every voxel in a sheared affine, or resample upright",
    )
    _add_choice(
        g,
        "--on-gap",
        help="missing or uneven planes: refuse, put empty planes, repeat the nearest, or resample evenly",
    )
    _add_choice(
        g,
        "--on-duplicate",
        help="planes at one place: refuse, drop those with the same pixels, or let the first or last Instance Number win",
    )
    g.add_argument(
        "--on-unread",
        choices=("refuse", "leave-out"),
        default="refuse",
        help="files that may be planes and cannot be read: refuse, or go on without them; then the result stays unconfirmed",
    )
    g.add_argument(
        "--assume-spacing",
        action="store_true",
        help="multi-frame files that place their first frame only: lay the others by Spacing Between Slices",
    )


def _add_checks(p: argparse.ArgumentParser) -> None:
    from pipeline.core.policy import default

    g = p.add_argument_group("proof and output")
    _add_choice(
        g,
        "--crosscheck",
        help="what dicom2nifti is asked: its affine (default), every voxel (and every other reader installed), nothing",
    )
    g.add_argument(
        "--witness-limit",
        dest="witness_limit_s",
        type=float,
        default=default("witness_limit_s"),
        metavar="SECONDS",
        help="how long to wait for another reader, once for every GiB of input (600); one that takes longer has FAILED",
    )
    _add_choice(
        g,
        "--labels-file",
        help="also write the names and colours of the labels as this program reads them",
    )
    g.add_argument(
        "--gzip-level",
        type=int,
        metavar="0-9",
        help="of .nii.gz: 0 to 3 fast (ISA-L), 4 to 9 small (zlib-ng); by default 2 for images, runs for masks",
    )
    g.add_argument("--keep-disputed", action="store_true", help="keep a file that a witness disputes")
    g.add_argument(
        "--report", action="store_true", help="also write a page (liver.html) that shows it, see verimask report"
    )
    g.add_argument("--strict", action="store_true", help="exit 13 when no witness could confirm the result")
    _add_choice(
        g,
        "-w",
        "--write",
        help="where the output exists: refuse (default), write beside it, pass over what is proven the same, replace",
    )


# What --list-values looks at; it says itself that there will be no output.
_LISTING = "inputs output list_values series part on_tilt on_gap on_duplicate assume_spacing json quiet".split()


def run(options: argparse.Namespace, given: list[str]) -> int:
    """Run it; the exit code."""
    if options.list_values:
        return _list_values(options)
    if not options.output:
        options.parser.error("the following arguments are required: -o/--output")
    from pipeline.crosscheck.panel import Panel

    policy = _policy(options)
    with Panel(policy) as panel:  # first of all: its processes start while the rest is imported
        return _converted(options, given, policy, panel)


def _converted(options: argparse.Namespace, given: list[str], policy: Policy, panel: Panel) -> int:
    from pathlib import Path

    from pipeline.conversion.convert import convert, convert_all

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
    from pipeline.core.unexpected import as_refusal

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

    from pipeline.conversion.page_file import page_of, write_page
    from pipeline.conversion.record import sidecar_of

    page = page_of(made.output)
    if made.verdict == "SKIPPED" and page.exists():
        return
    from pipeline.report import report

    source = Path(options.source[0]) if options.source else None
    write_page(page, report(sidecar_of(made.output), source=source))


def _request(options: argparse.Namespace) -> Request:
    from pipeline.conversion.request import Request

    return Request(
        series=options.series,
        part=options.part,
        source=options.source,
        like=options.like,
        wanted=_names(options.rois),
        told=_told(options),
        clean=options.clean,
        merge=options.merge,
        order=_names(options.order) or (),
    )


def _told(options: argparse.Namespace) -> Told:
    from pipeline.conversion.embedded_masks import Told
    from pipeline.decode.embedded.labelled import Named, parse_labels

    named = () if options.labels is None else parse_labels(options.labels)
    if options.inside is not None:
        named = (*named, Named("", options.inside))
    return Told(named, options.outside, options.kind, options.undecided)


def _names(text: str | None) -> tuple[str, ...] | None:
    """None where nothing was said; an empty name, which is refused, where nothing is named."""
    return None if text is None else tuple(n.strip() for n in text.split(",") if n.strip()) or ("",)


def _list_values(options: argparse.Namespace) -> int:
    from dataclasses import asdict
    from pathlib import Path

    from pipeline.conversion.one_series import laid_series
    from pipeline.decode.embedded.value_table import as_table, list_values
    from pipeline.dicom.pixels import stored_voxels

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

    from pipeline.core.policy import Policy

    names = {f.name for f in fields(Policy)}
    return Policy(**{name: value for name, value in vars(options).items() if name in names})


def _report_many(done: Sequence[Outcome], refused: Sequence[PipelineError], options: argparse.Namespace) -> int:
    from pipeline.cli.text import summary_lines
    from pipeline.core.findings import Exit

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
    from pipeline.core.findings import Exit

    if options.strict and "UNCONFIRMED" in (made.verdict, made.record.get("Recorded")):
        return int(Exit.UNCONFIRMED)
    return int(made.exit)


def _fractional(text: str) -> float | str:
    return text if text == "keep" else float(text)
