"""Run `verimask send`: give a mask or series in DICOM to an archive (PACS), validated before, with its answer written down."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import output
from .archive_options import ARCHIVE, add_archive_options

if TYPE_CHECKING:
    from ..pacs.send import Sending
    from ..pacs.send_validation import Validation

_EPILOG = """\
credentials are those of `verimask fetch --help`

examples
  verimask export mask.nii.gz --source CT_DIR --to seg -o seg
  verimask send seg --to http://localhost:8042/dicom-web
  verimask send seg --to ORTHANC@localhost:4242
"""


def add(commands: Any) -> None:
    """Add the command. Its options are built when it is the one that was typed."""
    p = commands.add_parser(
        "send",
        help="a mask or series in DICOM to an archive (PACS), validated first",
        description="Send a DICOM file, or a folder of them, to an archive by STOW-RS or C-STORE. dciodvfy judges it before; "
        "what the\narchive answers is written beside it, into RESULT.sent.json.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    p.options = _add_options
    p.set_defaults(run=run)


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("result", metavar="RESULT", help="a DICOM file or a folder of them, as verimask export writes")
    p.add_argument("--to", required=True, metavar=ARCHIVE, help="a DICOMweb server, or an Application Entity")
    p.add_argument("--allow-invalid", action="store_true", help="send it although dciodvfy finds errors")
    add_archive_options(p)
    output.add_common(p)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..pacs import send as sending
    from ..pacs.send_files import find_outgoing
    from ..pacs.send_validation import validate
    from .archive_options import open_archive

    result = Path(options.result)
    progress = output.ProgressLine(options)
    with open_archive(options.to, options) as archive:
        files = find_outgoing(result)
        earlier = sending.read_sendings(result)
        validation = validate(files)
        if not options.allow_invalid:
            sending.refuse_invalid(validation, result.name)
        sending.refuse_unwritable(result)
        made = sending.send(archive, files, progress)
        progress.clear()
        if made.failure is not None and not made.answers:
            raise made.failure
        entry = sending.describe_sending(archive.shown, files, validation, made)
        sent = sending.write_sending(result, earlier, entry)
    sending.refuse_unstored(made, files, sent)
    if options.json:
        output.print_json(entry)
    else:
        output.print_prose(_describe(archive.shown, made, validation, sent), options)
    return 0


def _describe(shown: str, made: Sending, validation: Validation, sent: Path) -> list[str]:
    count = len(made.answers)
    what = f"{count:,} instance{'' if count == 1 else 's'}"
    lines = [f"sent {what} to {shown}; all stored"]
    if made.listed is None:
        lines.append("note: the archive does not say what it lists now")
    elif made.listed < count:
        lines.append(f"note: the archive lists {made.listed:,} of them by now")
    else:
        lines[0] += " and listed"
    warned = sum(answer.status != "0000" for answer in made.answers)
    if warned:
        lines.append(f"note: {warned:,} stored with a warning; see the statuses in {sent.name}")
    if not validation.is_there:
        lines.append("note: not validated, since dciodvfy (dicom3tools) is not installed")
    elif validation.judged < count:
        lines.append(f"note: dciodvfy knows the class of {validation.judged:,} of them")
    if validation.errors:
        lines.append(f"note: dciodvfy finds {len(validation.errors)} errors, allowed by --allow-invalid")
    return [*lines, f"the archive's answers are in {sent.name}"]
