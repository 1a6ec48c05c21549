"""Parse the command line, run its command, and return its code.

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
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from ..core import stop_signals
from ..core.plain_text import OutputLostError, prepare_streams
from . import (
    check,
    cohort,
    completion,
    convert,
    describe,
    diagnose,
    doctor,
    explain,
    export,
    fetch,
    folder,
    listen,
    mimics,
    output,
    regress,
    report,
    selftest,
    send,
    series,
    verify,
)
from .parser import CommandParser, ask_whether, closest
from .typed_words import expand_patterns, mend_words

_USAGE = "verimask [-h] [--version] FOLDER\n       verimask [-h] [--version] COMMAND ..."
_DESCRIPTION = """\
DICOM masks to NIfTI, with a proof of where every voxel lies.

With a folder and no command: says what is there, converts what is plain into ./FOLDER-nifti/, and writes a page of it."""
_EPILOG = """\
exit codes
  0 verified or done      5 no such input      10 refused by a rule of geometry or values
  1 unexpected error      6 output path        11 disputed by a witness
  2 nothing to convert    7 cannot write       12 does not match, or not hold
  4 corrupt input         8 partly done        13 unconfirmed, under --strict     64 wrong command line

examples
  verimask EXPORT_DIR                                 what is there, converted, with a page that shows it
  verimask series EXPORT_DIR                          what is in the folder
  verimask convert EXPORT_DIR -o liver.nii.gz         the mask in it, as NIfTI, proven
  verimask convert MASK_DIR --source CT_DIR -o m.nii.gz    on the grid of the images it was drawn on
  verimask convert STUDY_DIR -o nifti/                everything in a study
  verimask cohort PATIENTS_DIR -o dataset/            everything of all patients, as pairs of image and masks
  verimask regress cases.toml --add EXPORT_DIR        a regression case of it; without --add, run all cases
"""


def run_command(given: list[str]) -> int:
    """Run the command that was typed, and return its exit code. Raises KeyboardInterrupt where it was stopped."""
    # Keeps numpy from starting threads, which costs 0.1 s: no large matrix is multiplied here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What libraries warn of becomes a finding where it matters; their own words are not for the user. The variable
    # reaches the processes that are started, which the filter below does not.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    prepare_streams()
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        try:
            code = _parse_and_run(given)
        except SystemExit as end:  # of --help, --version and a wrong command line
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except (BrokenPipeError, OutputLostError):
            code = 0  # The reader of a pipe had enough, which is no failure. What else keeps it from being written is said below.
        except KeyboardInterrupt:
            with suppress(OSError):
                sys.stdout.flush()
            raise
        return _settled(code)


def _settled(code: int) -> int:
    """The exit code, now that all is printed: CANNOT_WRITE where standard output did not take it."""
    with suppress(OutputLostError, BrokenPipeError):
        sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    if lost is None or isinstance(lost, BrokenPipeError):
        return code
    from ..core.write_refusals import refused_by_disk

    refusal = refused_by_disk(OutputLostError(*lost.args))
    if refusal is None:
        return code
    output.print_as_it_is(refusal)
    return int(refusal.exit)


def _parse_and_run(given: list[str]) -> int:
    parser = _parser()
    if not given:
        parser.print_help()
        return 0
    given = mend_words(given, parser)
    if not _names_command(given, parser):
        parser = folder.make_parser(given)
    options, unknown = parser.parse_known_args(given)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if any(value == "" or (isinstance(value, list) and "" in value) for value in vars(options).values()):
        # A variable of a script that was not set. An empty path would mean the current folder, and an empty name nothing.
        options.parser.error("an argument is empty")
    try:
        with output.showing_log(getattr(options, "verbose", 0)):
            expand_patterns(options)
            return int(options.run(options, given))
    except (BrokenPipeError, OutputLostError):
        raise
    except Exception as error:
        if stop_signals.has_come():
            raise KeyboardInterrupt from error
        with suppress(OutputLostError, BrokenPipeError):  # --json
            return _report_failure(error, options)
        return int(getattr(error, "exit", 1))


def _names_command(given: Sequence[str], parser: CommandParser) -> bool:
    """Whether a command was typed, and not a file or folder alone. A word that is neither is an error."""
    word = next((word for word in given if not word.startswith("-")), None)
    commands = _commands(parser)
    if word is None or word in commands:
        return True
    if not word:
        parser.error("an argument is empty")
    if os.path.lexists(word) or os.path.basename(word) != word or set(word) & set("*?"):
        return False
    near = closest(word, commands)
    here = closest(word, os.listdir())
    words = f"“{word}” is neither a command nor a file or folder that is here"
    meant = ask_whether(near and f"the command {near}", here and f"{os.path.join('.', here)}")
    return parser.error("\n".join([words, *meant]))


def _commands(parser: argparse.ArgumentParser) -> Collection[str]:
    return next(action.choices for action in parser._actions if isinstance(action.choices, dict))


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from .. import __version__

        print(f"verimask {__version__}")
        parser.exit()


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="verimask",
        usage=_USAGE,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", prog="verimask", parser_class=CommandParser
    )
    convert.add(commands, _EPILOG)
    for command in (
        cohort,
        series,
        report,
        verify,
        explain,
        describe,
        diagnose,
        check,
        regress,
        export,
        fetch,
        send,
        selftest,
        doctor,
        listen,
        mimics,
    ):
        command.add(commands)
    completion.add(commands, parser)
    return parser


def _report_failure(error: Exception, options: argparse.Namespace) -> int:
    """Print a refusal in words, or an unexpected error with its trace, since that is our bug; return the exit code."""
    from ..core.findings import Exit, PipelineError
    from ..core.given_path import refused_by_path
    from ..core.unexpected import as_refusal, lacks_resources
    from ..core.write_refusals import refused_by_disk

    if lacks_resources(error):
        error = as_refusal(error, "what was asked for")
    error = refused_by_disk(error) or refused_by_path(error) or error
    if isinstance(error, PipelineError):
        if options.json:
            output.print_json(output.refusal_as_json(error, options))
        else:
            output.print_refusal(error, options)
        return int(error.exit)
    import traceback

    traceback.print_exception(error)
    print(
        f"exit {int(Exit.INTERNAL_ERROR)} ({Exit.INTERNAL_ERROR.name}): this is a bug of verimask, not of your data; please report it",
        file=sys.stderr,
    )
    return int(Exit.INTERNAL_ERROR)
