"""Print what commands have to say: results on standard output, progress and refusals on standard error.

Rules:
- With --json one JSON document is printed and no more; with --quiet nothing but refusals.
- What comes from files reaches no terminal as a command to it.
- A hint names only options that the command has, so that nobody is sent to one that is not there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..core.hints import keep_known_options
from ..core.plain_text import escape_line, obeyed
from .console import obeys_escapes, wants_colour

if TYPE_CHECKING:
    from pathlib import Path

    from ..conversion.record import Outcome
    from ..conversion.unwritten_images import UnwrittenImage
    from ..core.findings import Finding, PipelineError
    from ..core.record_types import FindingRecord

_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
_NARROW, _WIDE = 100, 120  # columns: without a terminal, and at most, since longer lines are hard to read
_PATIENCE_S = 1.0  # before a progress line appears: a quick command shows none
_REWRITE = obeyed("\r\033[K")
_BETWEEN_S = 0.1  # from one rewriting of the progress line to the next, so that it does not flicker


def add_common(p: argparse.ArgumentParser) -> None:
    """Add the options every command has."""
    p.add_argument("--json", action="store_true", help="print the facts as JSON on standard output, and nothing else")
    p.add_argument("-q", "--quiet", action="store_true", help="print refusals only")


def add_series_choice(p: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options that choose one series, and one volume of it."""
    p.add_argument("--series", metavar="WHICH", help="UID, number or description, where there are several")
    p.add_argument("--part", metavar="WHICH", help="number or name of one volume, where the series holds several")


def list_given(options: argparse.Namespace) -> dict[str, str]:
    """List every option that is not at its default: its field, and how it is typed."""
    values = vars(options)
    actions = (a for a in options.parser._actions if a.dest in values)
    return {
        a.dest: a.option_strings[-1] if a.option_strings else str(a.metavar)
        for a in actions
        if values[a.dest] != a.default
    }


def refuse_idle(
    options: argparse.Namespace, *, only: Collection[str] | None = None, but: Collection[str] = (), why: str
) -> None:
    """Refuse options that were given and can have no effect, so that none is ignored in silence.

    Args:
        options: as parsed, with the parser that made them.
        only: fields of `options` to look at; all when None.
        but: fields that do have an effect.
        why: what keeps the others from having one, for the message.

    Raises:
        PipelineError: IDLE_OPTION.
    """
    given = list_given(options).items()
    idle = [option for field, option in given if field not in but and (only is None or field in only)]
    if idle:
        from ..core.findings import Code, refuse

        raise refuse(
            Code.IDLE_OPTION, f"{', '.join(idle)} has no effect here: {why}", "Leave it out.", where=tuple(idle)
        )


def print_lines(text: Iterable[str], options: argparse.Namespace | None = None) -> None:
    """Print lines, unless --quiet. A line break within one of them is from outside, and is shown as an escape."""
    text = list(text)
    if text and (options is None or not options.quiet):
        _write("\n".join(map(escape_line, text)))


def print_prose(text: Iterable[str], options: argparse.Namespace) -> None:
    """Print lines that may be long, each wrapped under where it begins, unless --quiet. For line breaks see `print_lines`."""
    from .text import wrap_line

    columns = measure_width()
    print_lines((short for line in text for short in wrap_line(escape_line(line), columns)), options)


def print_json(record: Any) -> None:
    """Print one JSON document. Where standard output is not UTF-8, signs beyond ASCII are escaped, as JSON has it."""
    import codecs
    import json

    from ..conversion.record_text import as_text

    text = as_text(record)
    if codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name != "utf-8":
        text = _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)  # they occur within strings alone
    _write(text)


def print_aside(text: Iterable[str]) -> None:
    """Print lines that may be long on standard error: refusals, and prose where standard output is for something else."""
    from .text import wrap_line

    columns = measure_width()
    for line in text:
        print("\n".join(wrap_line(escape_line(line), columns)), file=sys.stderr)


def _write(text: str) -> None:
    """Print at once, so that what keeps standard output from being written is known here. Raises as `FencedStream`."""
    print(text, flush=True)


def print_outcome(made: Outcome, options: argparse.Namespace) -> None:
    """Print what came of a conversion, unless --quiet."""
    from .text import describe_outcome

    print_lines(describe_outcome(made, colour=wants_colour(sys.stdout), width=measure_width()), options)


def print_written(out: Path, what: str, findings: Sequence[Finding], options: argparse.Namespace) -> None:
    """Print what a command wrote, with what it found on the way.

    Args:
        out: the folder that was written.
        what: the same in words.
        findings: of what was written; they become notes.
        options: of the command.
    """
    if options.json:
        print_json({"Written": out.name, "Findings": findings_as_json(findings, options)})
    else:
        print_prose([what, *(f"note: {f.message}" for f in findings)], options)


def print_refusal(error: PipelineError, options: argparse.Namespace) -> None:
    """Print a refusal on standard error."""
    from dataclasses import replace

    from ..core.findings import PipelineError

    hint = keep_known_options(error.finding.hint, options.parser._option_string_actions)
    error = PipelineError(replace(error.finding, hint=hint), error.others, error.folder)
    print_as_it_is(error)


def print_as_it_is(error: PipelineError) -> None:
    """Print a refusal on standard error with the hint it has."""
    from .text import describe_refusal

    lines = describe_refusal(error, colour=wants_colour(sys.stderr), width=measure_width())
    print("\n".join(map(escape_line, lines)), file=sys.stderr)


def print_unwritten(image: UnwrittenImage, options: argparse.Namespace) -> None:
    """Print the line of an image that was not written, unless --quiet."""
    from .text import describe_unwritten

    print_lines([describe_unwritten(image, colour=wants_colour(sys.stdout))], options)


def outcome_as_json(made: Outcome) -> dict[str, Any]:
    """Make the JSON of a conversion: its record, with the folder as whoever gave the inputs knows it, and what it removed."""
    folder = {"Folder": made.folder} if made.folder else {}
    removed = {"Removed": list(made.removed)} if made.removed else {}
    return {**made.record, **folder, **removed}


def refusal_as_json(error: PipelineError, options: argparse.Namespace) -> dict[str, Any]:
    """Make the JSON of a refusal."""
    return {
        "Verdict": "REFUSED",
        "Exit": int(error.exit),
        **({"Folder": error.folder} if error.folder else {}),
        "Findings": findings_as_json((error.finding, *error.others), options),
    }


def findings_as_json(findings: Iterable[Finding], options: argparse.Namespace) -> list[FindingRecord]:
    """Make the JSON of findings, with the hints that the command has options for."""
    from dataclasses import replace

    return [
        replace(found, hint=keep_known_options(found.hint, options.parser._option_string_actions)).as_json()
        for found in findings
    ]


def exit_of_many(done: Collection[int], refused: Sequence[PipelineError]) -> int:
    """Choose the exit code of work on many things. done: the codes of those that succeeded.

    A bug of ours outweighs everything, so that it is not lost among refusals.
    """
    from ..core.findings import Exit

    if any(error.exit is Exit.INTERNAL_ERROR for error in refused):
        return int(Exit.INTERNAL_ERROR)
    if not refused:
        return max(done, default=int(Exit.NOTHING_TO_CONVERT))
    return int(Exit.PARTLY_DONE if done else refused[0].exit)


def measure_width() -> int:
    """Measure how many columns to wrap to."""
    import shutil

    return min(shutil.get_terminal_size((_NARROW, 24)).columns, _WIDE)


@contextmanager
def showing_log(verbose: int) -> Iterator[None]:
    """Print what is logged meanwhile on standard error: results and warnings; more than once, stages and witnesses too."""
    if not verbose:
        yield
        return
    import logging

    class _Shown(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return escape_line(super().format(record))

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Shown("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("verimask")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class ProgressLine:
    """One line on a terminal that rewrites itself, for work that takes over a second; nothing when piped."""

    def __init__(self, options: argparse.Namespace) -> None:
        from time import monotonic

        self._now = monotonic
        self._start = self._last = monotonic()
        verbose = getattr(options, "verbose", 0)  # lines of the log would break it
        self._on = not (options.quiet or options.json or verbose) and obeys_escapes(sys.stderr)
        self._shown = False

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._now()
        if not self._on or now - self._start < _PATIENCE_S or now - self._last < _BETWEEN_S:
            return
        self._last, self._shown = now, True
        count = f" {done} of {total}" if total else f" {done}" if done else ""
        print(f"{_REWRITE}{escape_line(stage)}{count}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            print(_REWRITE, end="", file=sys.stderr, flush=True)
