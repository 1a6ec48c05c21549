"""How commands speak: results on standard output, progress and refusals on standard error, JSON alone when asked."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, TextIO

from ..core.plain_text import silence_output

if TYPE_CHECKING:
    from ..conversion.record import Outcome
    from ..core.findings import Finding, PipelineError


def add_common(p: argparse.ArgumentParser) -> None:
    """The options every command has."""
    p.add_argument("--json", action="store_true", help="print the facts as JSON on standard output, and nothing else")
    p.add_argument("-q", "--quiet", action="store_true", help="print refusals only")


def given(options: argparse.Namespace) -> dict[str, str]:
    """Every option that is not at its default: its field, and how it is typed."""
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
    """Refuse what was given and can have no effect: of the fields `only`, or of all, those not in `but`. Raises IDLE_OPTION."""
    told = given(options).items()
    idle = [option for field, option in told if field not in but and (only is None or field in only)]
    if idle:
        from ..core.findings import Code, refuse

        raise refuse(
            Code.IDLE_OPTION, f"{', '.join(idle)} has no effect here: {why}", "Leave it out.", where=tuple(idle)
        )


def lines(text: Iterable[str], options: argparse.Namespace | None = None) -> None:
    """Print lines, unless --quiet."""
    text = list(text)
    if text and (options is None or not options.quiet):
        _write("\n".join(text))


def prose(text: Iterable[str], options: argparse.Namespace) -> None:
    """Print lines that may be long, each wrapped under where it begins, unless --quiet."""
    from .text import wrapped

    columns = width()
    lines((short for long in text for line in long.split("\n") for short in wrapped(line, columns)), options)


def hint(text: str, options: argparse.Namespace) -> str:
    """A hint without the sentences that name options this command does not have; another command's are its own."""
    known = options.parser._option_string_actions
    kept = []
    for line in text.split("\n"):
        sentences = re.split(r"(?<=[.?!]) +(?=[^a-z])", line)
        kept.append(" ".join(s for s in sentences if _names_only(s, known)))
    return "\n".join(kept).strip("\n")


def _names_only(sentence: str, known: Collection[str]) -> bool:
    named = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", sentence)
    return all(option in known for option in named) or re.search(r"\b(verimask [a-z]|pip )", sentence) is not None


def json(record: Any) -> None:
    """Print one JSON document."""
    from ..conversion.record import as_text

    _write(as_text(record))


def _write(text: str) -> None:
    """Print at once, so that what keeps standard output from being written is known here. Raises CANNOT_WRITE."""
    try:
        print(text, flush=True)
    except OSError as error:
        silence_output()  # or the interpreter would try again as it ends
        if isinstance(error, BrokenPipeError):
            raise
        from ..core.findings import Code, refuse

        said = f"standard output cannot be written: {error.strerror or error}"
        raise refuse(Code.CANNOT_WRITE, said, "Files that were written before stay as they are.") from error


def outcome(made: Outcome, options: argparse.Namespace) -> None:
    """Print what came of a conversion, unless --quiet."""
    from .text import outcome_lines

    lines(outcome_lines(made, colour=colour(sys.stdout), width=width()), options)


def refusal(error: PipelineError, options: argparse.Namespace) -> None:
    """Print a refusal on standard error."""
    from dataclasses import replace

    from ..core.findings import PipelineError
    from .text import refusal_lines

    error = PipelineError(replace(error.finding, hint=hint(error.finding.hint, options)), error.others)
    print("\n".join(refusal_lines(error, colour=colour(sys.stderr), width=width())), file=sys.stderr)


def refusal_record(error: PipelineError, options: argparse.Namespace) -> dict[str, Any]:
    """A refusal as JSON."""
    return {
        "Verdict": "REFUSED",
        "Exit": int(error.exit),
        "Findings": findings_json((error.finding, *error.others), options),
    }


def findings_json(findings: Iterable[Finding], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Findings as JSON, with the hints that the command has options for."""
    from dataclasses import replace

    return [replace(found, hint=hint(found.hint, options)).as_json() for found in findings]


def colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that wants colour (NO_COLOR is honoured)."""
    import os

    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns to wrap to."""
    import shutil

    return min(shutil.get_terminal_size((100, 24)).columns, 120)


class ProgressLine:
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
        """Take the line away."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
