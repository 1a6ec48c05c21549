"""Run `verimask fetch`: get masks and the images they refer to from an archive (PACS), and convert them if that is asked.

Rules:
- Each series is shown when it is whole. With --convert the command goes on as `verimask convert` does, with what it fetched.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output
from .archive_options import ARCHIVE, add_archive_options

if TYPE_CHECKING:
    from ..pacs.fetch import Fetched, FetchedSeries, Lacking

_EPILOG = """\
who asks is told to a DICOMweb server by the environment, or by ~/.netrc; never by the URL
  VERIMASK_PACS_TOKEN                             a bearer token
  VERIMASK_PACS_USER, VERIMASK_PACS_PASSWORD      a user

examples
  verimask fetch http://localhost:8042/dicom-web --study 1.2.3 -o study
  verimask fetch ORTHANC@localhost:4242 --study 1.2.3 -o study --convert nifti
"""


def add(commands: Any) -> None:
    """Add the command. Its options are built when it is the one that was typed."""
    p = commands.add_parser(
        "fetch",
        help="masks and their images from an archive (PACS), by DICOMweb or DIMSE",
        description="Fetch a study from an archive into a folder: its masks (SEG, RTSTRUCT) and the images they refer to; all "
        "images\nwhere it has no masks. A series is complete by the archive's own number. What is there already is not "
        "fetched again.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    p.options = _add_options
    p.set_defaults(run=run)


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("archive", metavar=ARCHIVE, help="a DICOMweb server, or an Application Entity")
    p.add_argument("--study", required=True, metavar="UID", help="Study Instance UID")
    p.add_argument(
        "--series",
        action="append",
        default=[],
        metavar="UID",
        help="only this series and what it refers to; may be given several times",
    )
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="a folder for each series is made in it")
    p.add_argument(
        "--convert", metavar="DIR", help="convert what was fetched into this folder, as verimask convert does"
    )
    p.add_argument(
        "--move-to",
        metavar="AE:PORT",
        help="use C-MOVE instead of C-GET: a title that the archive knows this machine by, and its port here",
    )
    add_archive_options(p)
    output.add_common(p)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..core.findings import Exit
    from ..pacs.fetch import FetchedSeries, fetch
    from .archive_options import open_archive

    _check_uids([options.study, *options.series])
    folder = Path(options.output)
    progress = output.ProgressLine(options)
    whole: list[FetchedSeries] = []
    lacking: list[Lacking] = []
    with open_archive(options.archive, options) as archive:
        for result in fetch(archive, options.study, options.series, folder, progress):
            progress.clear()
            if isinstance(result, FetchedSeries):
                whole.append(result)
            else:
                lacking.append(result)
            if not options.json:
                output.print_lines([_describe(result)], options)
    progress.clear()
    if not options.json:
        output.print_lines([_describe_sum(whole, folder)], options)
    elif not options.convert:
        output.print_json(_as_json(options.study, whole, lacking))
    code = _convert(options, whole) if options.convert else int(Exit.VERIFIED)
    return code or int(Exit.PARTLY_DONE if lacking else Exit.VERIFIED)


def _check_uids(uids: Sequence[str]) -> None:
    from ..core.findings import Code, refuse
    from ..pacs.address import is_uid

    for uid in uids:
        if not is_uid(uid):
            hint = "UIDs are digits and points, up to 64 characters, as in 1.2.840.10008.1."
            raise refuse(Code.BAD_OPTION, f"{uid} is no UID", hint, where=("--study", "--series"))


def _convert(options: argparse.Namespace, whole: Sequence[FetchedSeries]) -> int:
    """Convert what was fetched, and only that: other things may lie in the folder."""
    from ..core.findings import Exit
    from ..pacs.fetch_needed import MASKS, shows_images_alone
    from . import convert
    from .convert_options import add_options
    from .parser import CommandParser

    if not whole:
        if options.json:
            output.print_json([])
        return int(Exit.VERIFIED)
    parser = CommandParser(prog="verimask convert")
    add_options(parser)
    has_masks = any(one.series.modality in MASKS for one in whole)
    if options.series and not has_masks:  # a mask may be a series of planes, as any image
        has_masks = not shows_images_alone(one.folder for one in whole)
    words = [str(one.folder) for one in whole] + ["-o", os.path.join(options.convert, "")]
    words += ([] if has_masks else ["--as", "image"]) + ["--json"] * options.json + ["--quiet"] * options.quiet
    converting = parser.parse_args(words)
    return convert.run(converting, ["convert", *words])


def _describe(result: Fetched) -> str:
    """One line for a series."""
    from ..pacs.fetch import EmptySeries, MissingImages, MissingSeries

    if isinstance(result, EmptySeries):
        return f"note: {result.series.modality or 'a'} series {result.series.uid} has no instances in the archive"
    if isinstance(result, MissingSeries):
        return f"note: a mask refers to series {result.uid}, which is not found in the archive"
    if isinstance(result, MissingImages):
        count = len(result.uids)
        what = f"image {result.uids[0]}" if count == 1 else f"{count:,} images, such as {result.uids[0]}"
        return f"note: a mask refers to {what}, not found in the archive"
    old = result.total - result.new
    how = "complete" if not old else "was there" if not result.new else f"complete, {old:,} were there"
    return f"{result.series.modality or '?':<10}{_instances(result.total):<16}{how:<26}{result.folder}"


def _describe_sum(whole: Sequence[FetchedSeries], folder: Path) -> str:
    count, new = sum(one.total for one in whole), sum(one.new for one in whole)
    return f"{len(whole)} series with {_instances(count)} in {folder}, {new:,} fetched now"


def _instances(count: int) -> str:
    return f"{count:,} instance{'' if count == 1 else 's'}"


def _as_json(study_uid: str, whole: Sequence[FetchedSeries], lacking: Sequence[Lacking]) -> dict[str, Any]:
    return {
        "Study": study_uid,
        "Series": [
            {
                "SeriesInstanceUID": one.series.uid,
                "Modality": one.series.modality,
                "Instances": one.total,
                "Fetched": one.new,
                "Folder": one.folder.name,
            }
            for one in whole
        ],
        "NotInArchive": [uid for one in lacking for uid in _uids_of(one)],
    }


def _uids_of(lacking: Lacking) -> list[str]:
    from ..pacs.fetch import EmptySeries, MissingImages

    if isinstance(lacking, MissingImages):
        return lacking.uids
    return [lacking.series.uid if isinstance(lacking, EmptySeries) else lacking.uid]
