"""The command line: parse, make a Policy, call the library, print what came of it. The only place that prints.

Rules:
- Results go to standard output, progress and refusals to standard error; --json prints one JSON document and nothing else.
- Nothing is imported before it is known to be needed: --help costs no more than argparse.
- Exit codes are those of `findings.Exit`; a wrong command line is 64.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pipeline.findings import PipelineError
    from pipeline.outcome import Outcome
    from pipeline.policy import Policy

_EPILOG = """\
exit codes
  0 verified or done      5 no such input      10 refused by a rule of geometry or values
  1 unexpected error      6 output path        11 disputed by a witness
  2 nothing to convert    7 cannot write       12 mask and source do not match
  4 corrupt input         8 partly done        13 unconfirmed, under --strict     64 wrong command line

examples
  verimask series EXPORT_DIR                       what is in the folder
  verimask convert EXPORT_DIR -o liver.nii.gz      the mask in it, as NIfTI, proven
  verimask convert STUDY_DIR -o nifti/             every series of a study
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `verimask` and `python -m pipeline`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        code = options.run(options, given)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        code = 0
    except Exception as error:
        code = _failed(error, options)
    sys.exit(code)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\nexit 64 (USAGE)\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from pipeline import __version__

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
    _add_convert(commands)
    _add_series(commands)
    return parser


def _add_convert(commands: Any) -> None:
    p = commands.add_parser(
        "convert",
        help="a DICOM series to NIfTI, proven and cross-checked",
        description="Convert a DICOM series to NIfTI. The affine is proven against every plane's own equation, the file "
        "is read back, and dicom2nifti is asked for its opinion, before the file is moved into place.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    p.add_argument("inputs", nargs="+", metavar="INPUT", help="folder of DICOM files (any depth), or the files")
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="liver.nii.gz or liver.nii; a folder (ending in /) for all series",
    )
    p.add_argument("--series", metavar="WHICH", help="UID, number or description, where there are several")
    p.add_argument(
        "--as",
        dest="as_",
        choices=("mask", "image"),
        default="mask",
        help="labels as stored (default), or grey values with their rescale",
    )
    p.add_argument("--part", metavar="WHICH", help="number or name of one volume, where the series holds several")
    p.add_argument(
        "--on-tilt",
        choices=("refuse", "shear", "resample"),
        default="refuse",
        help="gantry tilt: refuse, keep every voxel in a sheared affine, or resample upright",
    )
    p.add_argument(
        "--on-gap",
        choices=("refuse", "fill", "nearest", "resample"),
        default="refuse",
        help="missing or uneven planes: refuse, put empty planes, repeat the nearest, or resample evenly",
    )
    p.add_argument(
        "--on-duplicate",
        choices=("refuse", "drop", "first", "last"),
        default="refuse",
        help="planes at one place: refuse, drop those with the same pixels, or let the first or last Instance Number win",
    )
    p.add_argument(
        "--assume-spacing",
        action="store_true",
        help="multi-frame files that place their first frame only: lay the others by Spacing Between Slices",
    )
    p.add_argument(
        "--orient",
        default="source",
        metavar="CODE",
        help="order of the axes, such as RAS or LPS; no voxel is resampled",
    )
    p.add_argument("--keep-values", action="store_true", help="keep 0/255 instead of writing 0/1")
    p.add_argument("--allow-empty", action="store_true", help="write a mask that holds one value only")
    p.add_argument(
        "--crosscheck",
        choices=("affine", "voxels", "off"),
        default="affine",
        help="what dicom2nifti is asked: its affine (default), every voxel (and every other reader installed), nothing",
    )
    p.add_argument("--keep-disputed", action="store_true", help="keep a file that a witness disputes")
    p.add_argument("--strict", action="store_true", help="exit 13 when no witness could confirm the result")
    p.add_argument(
        "-w",
        "--write",
        choices=("refuse", "suffix", "skip", "overwrite"),
        default="refuse",
        help="where the output exists: refuse (default), write beside it, pass over, replace",
    )
    _add_common(p)
    p.set_defaults(run=_convert)


def _add_series(commands: Any) -> None:
    p = commands.add_parser(
        "series", help="list the series in a folder", description="List the series found below the inputs."
    )
    p.add_argument("inputs", nargs="+", metavar="INPUT", help="folder of DICOM files (any depth), or the files")
    p.add_argument("--left-out", action="store_true", help="also list every file left out, with its reason")
    _add_common(p)
    p.set_defaults(run=_series)


def _add_common(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print the facts as JSON on standard output, and nothing else")
    p.add_argument("-q", "--quiet", action="store_true", help="print refusals only")


def _convert(options: argparse.Namespace, given: list[str]) -> int:
    from pathlib import Path

    from pipeline.conversion import convert, convert_all

    policy = _policy(options)
    progress = _Progress(options)
    command = ["verimask", *given]
    if options.output.endswith(("/", "\\")) or Path(options.output).is_dir():
        done, refused = convert_all(options.inputs, options.output, policy=policy, progress=progress, command=command)
        return _report_many(done, refused, options)
    outcome = convert(
        options.inputs,
        options.output,
        series=options.series,
        part=options.part,
        policy=policy,
        progress=progress,
        command=command,
    )
    progress.clear()
    if options.json:
        _print_json(outcome.record)
    elif not options.quiet:
        _print_outcome(outcome)
    return _exit_of(outcome, options)


def _series(options: argparse.Namespace, _: list[str]) -> int:
    from pathlib import Path

    from pipeline.series import scan, table

    progress = _Progress(options)
    found = scan([Path(p) for p in options.inputs], lambda n: progress("reading headers", n, 0))
    progress.clear()
    if options.json:
        series = [
            {
                "UID": s.uid,
                "Number": s.number,
                "Description": s.description,
                "Kind": s.kind,
                "Modality": s.modality,
                "Frames": len(s.frames),
            }
            for s in found.series
        ]
        _print_json({"Series": series, "LeftOut": [f.as_json() for f in found.left_out]})
        return 0
    if not options.quiet:
        print(table(found.series))
        if options.left_out:
            for finding in found.left_out:
                print("  " + finding.message)
        elif found.left_out:
            print(f"  {len(found.left_out)} files left out (--left-out lists them)")
    return 0


def _policy(options: argparse.Namespace) -> Policy:
    from dataclasses import fields

    from pipeline.policy import Policy

    names = {f.name for f in fields(Policy)}
    return Policy(**{name: value for name, value in vars(options).items() if name in names})


def _report_many(done: Sequence[Outcome], refused: Sequence[PipelineError], options: argparse.Namespace) -> int:
    from pipeline.findings import Exit
    from pipeline.render import refusal_lines, summary_lines

    if options.json:
        _print_json([*(o.record for o in done), *(_refusal_record(e) for e in refused)])
    else:
        for outcome in done:
            if not options.quiet:
                _print_outcome(outcome)
        for error in refused:
            print("\n".join(refusal_lines(error, colour=_colour(sys.stderr), width=_width())), file=sys.stderr)
        if not options.quiet:
            print("\n".join(summary_lines(done, refused)))
    if not refused:
        return max((_exit_of(o, options) for o in done), default=int(Exit.NOTHING_TO_CONVERT))
    return int(Exit.PARTLY_DONE if done else refused[0].exit)


def _exit_of(outcome: Outcome, options: argparse.Namespace) -> int:
    from pipeline.findings import Exit

    if options.strict and outcome.verdict == "UNCONFIRMED":
        return int(Exit.UNCONFIRMED)
    return int(outcome.exit)


def _failed(error: Exception, options: argparse.Namespace) -> int:
    """A refusal in words, or an unexpected error with its trace: the second is our bug."""
    from pipeline.findings import Exit, PipelineError

    if isinstance(error, PipelineError):
        from pipeline.render import refusal_lines

        if options.json:
            _print_json(_refusal_record(error))
        else:
            print("\n".join(refusal_lines(error, colour=_colour(sys.stderr), width=_width())), file=sys.stderr)
        return int(error.exit)
    import traceback

    traceback.print_exception(error)
    print(
        f"exit 1 ({Exit.INTERNAL_ERROR.name}): this is a bug of verimask, not of your data; please report it",
        file=sys.stderr,
    )
    return int(Exit.INTERNAL_ERROR)


def _refusal_record(error: PipelineError) -> dict[str, Any]:
    return {
        "Verdict": "REFUSED",
        "Exit": int(error.exit),
        "Findings": [error.finding.as_json(), *(f.as_json() for f in error.others)],
    }


def _print_outcome(outcome: Outcome) -> None:
    from pipeline.render import outcome_lines

    print("\n".join(outcome_lines(outcome, colour=_colour(sys.stdout), width=_width())))


def _print_json(record: Any) -> None:
    from pipeline.outcome import as_text

    print(as_text(record))


def _colour(stream: Any) -> bool:
    import os

    return bool(stream.isatty()) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _width() -> int:
    import shutil

    return min(shutil.get_terminal_size((100, 24)).columns, 120)


class _Progress:
    """One line on a terminal that rewrites itself, for work that takes over a second; nothing when piped."""

    def __init__(self, options: argparse.Namespace) -> None:
        from time import monotonic

        self._now = monotonic
        self._start = self._last = monotonic()
        self._on = sys.stderr.isatty() and not (options.quiet or options.json)
        self._shown = False

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._now()
        if not self._on or now - self._start < 1 or now - self._last < 0.1:
            return
        self._last, self._shown = now, True
        count = f" {done} of {total}" if total else f" {done}" if done else ""
        print(f"\r\033[K{stage}{count}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
