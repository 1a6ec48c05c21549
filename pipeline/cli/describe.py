"""Run `verimask describe`: the geometry of all files of a folder, as text, as JSON, or as a phantom made of that JSON.

Rules:
- With --anonymous nothing of the output identifies: it can be sent to strangers. Read it before you do.
- With --rebuild the input is a description, and what is written is made up but for its geometry.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import output

_DESCRIPTION = """\
Describe the geometry of every DICOM file below the inputs, so that a phantom of the same kind can be made of it: for a
report of a problem, without the patient.

  verimask describe DIR --anonymous                        as text
  verimask describe DIR --anonymous --json -o x.json       as JSON, for a report
  verimask describe x.json --rebuild phantom/              a phantom of the same geometry
"""


def add(commands: Any) -> None:
    """Add the command with its options."""
    p = commands.add_parser(
        "describe",
        help="the geometry of a folder without the patient, for a report of a problem",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("inputs", nargs="+", metavar="INPUT", help="folder of DICOM files, files or a ZIP; or a description")
    p.add_argument("--anonymous", action="store_true", help="leave out the names of series and folders")
    p.add_argument("-o", "--output", metavar="FILE", help="write it to this new file; by default it is printed")
    p.add_argument("--rebuild", metavar="DIR", help="write the phantom of a description into this new folder")
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    if options.rebuild is not None:
        return _rebuild(options)
    from ..diagnosis.describe import describe
    from .describe_text import describe_in_words

    progress = output.ProgressLine(options)
    inputs = [Path(p) for p in options.inputs]
    found = describe(inputs, names=not options.anonymous, progress=lambda n: progress("reading files", n, 0))
    progress.clear()
    if options.output is not None:
        _write(found, options)
    elif options.json:
        output.print_json(found)
    else:
        output.print_prose(describe_in_words(found), options)
    return 0


def _write(found: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the description to a new file, in UTF-8 whatever the shell takes for the encoding of text."""
    from ..conversion.record_text import as_text
    from ..core.atomic_file import in_place
    from ..core.plain_text import escape_controls
    from .describe_text import describe_in_words

    target = Path(options.output)
    text = as_text(found) if options.json else "\n".join(map(escape_controls, describe_in_words(found)))
    with in_place(target, overwrite=False) as temporary:
        temporary.write_bytes(text.encode("utf-8") + b"\n")
    if not options.json:
        output.print_prose([f"wrote {target}"], options)


def _rebuild(options: argparse.Namespace) -> int:
    from ..core.atomic_file import folder_in_place
    from ..regression.recipes.described import read_description, write_described

    output.refuse_idle(options, only=("anonymous", "output"), why="--rebuild writes files, and describes none")
    if len(options.inputs) > 1:
        options.parser.error("--rebuild takes one description")
    description = read_description(Path(options.inputs[0]))
    target = Path(options.rebuild)
    with folder_in_place(target) as temporary:
        write_described(temporary, description)
    count = sum(len(series["Files"]) for series in description["Series"])
    output.print_written(target, f"wrote {count} file{'s' * (count != 1)} to {target}", [], options)
    return 0
