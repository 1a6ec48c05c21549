"""The command line: parse, run a command, exit with its code.

Rules:
- Results go to standard output, progress and refusals to standard error; --json prints one JSON document and no more.
- Nothing is imported, and no option built, before it is known to be needed: --help costs no more than argparse.
- What the standard streams cannot hold is written plainly; no warning of a library reaches them.
- Exit codes are those of `findings.Exit`; a wrong command line is 64.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..core.plain_text import prepare_streams
from . import check, convert, diagnose, explain, export, mimics, output, report, selftest, series

_EPILOG = """\
exit codes
  0 verified or done      5 no such input      10 refused by a rule of geometry or values
  1 unexpected error      6 output path        11 disputed by a witness
  2 nothing to convert    7 cannot write       12 mask and source do not match
  4 corrupt input         8 partly done        13 unconfirmed, under --strict     64 wrong command line

examples
  verimask series EXPORT_DIR                          what is in the folder
  verimask convert EXPORT_DIR -o liver.nii.gz         the mask in it, as NIfTI, proven
  verimask convert MASK_DIR --source CT_DIR -o m.nii.gz    on the grid of the images it was drawn on
  verimask convert STUDY_DIR -o nifti/                everything in a study
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `verimask` and `python -m pipeline`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Of numpy: no large matrix is multiplied here, and starting threads costs 0.1 s.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What libraries find odd is said as a finding where it matters; their own words are not for the user. The variable
    # is for the processes that are started.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    prepare_streams()
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        sys.exit(_run(given))


def _run(given: list[str]) -> int:
    """Run the command that was typed; its exit code."""
    options = _parser().parse_args(given)
    if any(value == "" or (isinstance(value, list) and "" in value) for value in vars(options).values()):
        # An empty path would mean the current folder, and an empty name nothing: a script's variable is not set.
        options.parser.error("an argument is empty")
    try:
        return int(options.run(options, given))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        return _failed(error, options)


class _Parser(argparse.ArgumentParser):
    """A parser whose options are built when its command is the one that was typed."""

    options: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, *given: Any, **more: Any) -> Any:
        self.build()
        return super().parse_known_args(*given, **more)

    def build(self) -> None:
        """Add the options, once."""
        options, self.options = self.options, None
        if options is not None:
            options(self)
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\nexit 64 (USAGE)\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from .. import __version__

        print(f"verimask {__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="verimask",
        description="DICOM masks to NIfTI, with a proof of where every voxel lies.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    convert.add(commands, _EPILOG)
    for command in (series, report, explain, diagnose, check, export, selftest, mimics):
        command.add(commands)
    return parser


def _failed(error: Exception, options: argparse.Namespace) -> int:
    """A refusal in words, or an unexpected error with its trace: the second is our bug."""
    from ..core.findings import Exit, PipelineError

    if isinstance(error, PipelineError):
        if options.json:
            output.json(output.refusal_record(error, options))
        else:
            output.refusal(error, options)
        return int(error.exit)
    import traceback

    traceback.print_exception(error)
    print(
        f"exit 1 ({Exit.INTERNAL_ERROR.name}): this is a bug of verimask, not of your data; please report it",
        file=sys.stderr,
    )
    return int(Exit.INTERNAL_ERROR)
