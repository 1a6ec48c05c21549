"""Run `verimask doctor`: say what is installed, whether it works, and what a missing part costs.

Rules:
- It is pasted into bug reports: no user, machine or folder is named, unless by --verbose.
- It says what it can even where numpy or pydicom is broken; what could not be looked at is broken too.
- What is absent is no fault. What is installed and does not work is one, and so is what is needed and absent.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import output

if TYPE_CHECKING:
    from ..core.installation import Extra, Installation, Package
    from ..regression.ask_witnesses import Answer

_NAME = 24  # columns of a name with its version
_STATE = 9
_COLOUR = {"there": 32, "answers": 32, "built in": 32, "partly": 33, "absent": 36, "too old": 31, "broken": 31}
_ABOUT = {"mask": "planes", "seg": "SEG", "rtstruct": "RTSTRUCT", "overlay": "overlays"}


class _Surroundings(NamedTuple):
    """temporary: why no temporary file can be written, "" where one can. plain: whether signs are written plainly."""

    cores: int
    console: str
    plain: bool
    temporary: str


def add(commands: Any) -> None:
    """Add the command with its options."""
    p = commands.add_parser(
        "doctor",
        help="what is installed, which witness answers, and what a missing part costs",
        description="Look at this installation: every package it needs or can use, and every witness, asked about a small "
        "input made for it. Put what it prints into a bug report: it names no user and no folder.",
    )
    p.add_argument(
        "--verbose", action="store_true", help="also name the folders of Python, of verimask and of temporary files"
    )
    output.add_common(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace, _: list[str]) -> int:
    """Run the command and return its exit code."""
    from ..core.exits import Exit
    from ..core.installation import inspect_installation

    progress = output.ProgressLine(options)
    found = inspect_installation(progress)
    progress.clear()
    around = _look_around()
    if not options.json:
        _print_lines(_describe_base(found, around), options)
        if options.verbose:
            _print_lines([f"{name}: {place}" for name, place in _folders().items()], options)
        _print_lines(
            ["", *_describe_parts(found), "", "Witnesses, each asked about a small input made for it"], options
        )
    answers, failure = _ask(options)
    broken = _list_broken(found, around, answers, failure)
    if options.json:
        _print_json(found, around, answers, broken, options)
    else:
        _print_lines(["", *_describe_end(found, broken)], options)
    return int(Exit.REFUSED if broken else Exit.VERIFIED)


def _look_around() -> _Surroundings:
    import sys

    from ..core.installation import describe_folder
    from ..core.workers import count_cores

    encoding = sys.stdout.encoding or "no encoding"
    try:
        "×°²".encode(encoding)
        plain = False
    except (LookupError, UnicodeError):
        plain = True
    return _Surroundings(count_cores(), encoding, plain, describe_folder(""))


def _folders() -> dict[str, str]:
    import sys
    from pathlib import Path
    from tempfile import gettempdir

    return {"Python": sys.executable, "verimask": str(Path(__file__).parents[1]), "temporary files": gettempdir()}


def _ask(options: argparse.Namespace) -> tuple[list[Answer], str]:
    """Ask the witnesses, and print each as it answers. Returns the answers, and why not all could be asked, or ""."""
    answers: list[Answer] = []
    try:
        from ..regression.ask_witnesses import ask_witnesses

        for answer in ask_witnesses():
            answers.append(answer)
            if not options.json:
                _print_lines([_describe_answer(answer)], options)
    except Exception as error:  # of whatever is broken here: what is known is still to be shown
        from ..core.plain_text import strip_folders

        words = f"they cannot be asked: {type(error).__name__}: {strip_folders(str(error))}"
        if not options.json:
            _print_lines([_row("", "broken", words)], options)
        return answers, words
    return answers, ""


def _describe_base(found: Installation, around: _Surroundings) -> list[str]:
    console = around.console + (", with signs such as × written plainly" if around.plain else "")
    temporary = f"cannot be written: {around.temporary}" if around.temporary else "can be written"
    return [
        f"verimask {found.version} on {found.python}, {found.system}",
        f"cores: {around.cores}; console: {console}; temporary files {temporary}",
    ]


def _describe_parts(found: Installation) -> list[str]:
    """Describe what is needed, the extras, and the viewer."""
    from ..core.installation import NO_VIEWER

    lines = []
    if found.unknown:
        lines += [f"Needed: {found.unknown}"]
    else:
        bad = [package for package in found.required if package.state != "there"]
        good = [f"{package.name} {package.version}" for package in found.required if package.state == "there"]
        lines += [f"Needed, all there: {', '.join(good)}"] if not bad else [f"Needed: {', '.join(good)}"]
        lines += [_row(package.name, package.state, _describe_package(package)) for package in bad]
    lines += ["", "Optional", *(line for extra in found.extras for line in _describe_extra(extra))]
    viewer = _row("live viewer", *(("built in", "") if found.has_viewer else ("absent", NO_VIEWER)))
    return [*lines, viewer]


def _describe_extra(extra: Extra) -> list[str]:
    there = ", ".join(f"{p.name} {p.version}" for p in extra.packages if p.state == "there")
    words = "; ".join(filter(None, (extra.cost, there)))
    bad = [package for package in extra.packages if package.state in ("too old", "broken")]
    return [
        _row(extra.name, extra.state, words),
        *(_row(f"  {package.name}", package.state, _describe_package(package)) for package in bad),
    ]


def _describe_package(package: Package) -> str:
    return package.words or f"{package.name} {package.needs} is needed"


def _describe_answer(answer: Answer) -> str:
    words = answer.words if answer.state != "answers" else f"{answer.seconds:.1f} s, about {_ABOUT[answer.reads]}"
    return _row(f"{answer.witness} {answer.version}".strip(), answer.state, words)


def _row(name: str, state: str, words: str) -> str:
    """One line of a table."""
    return f"  {name:{_NAME}}  {state:{_STATE}}  {words}".rstrip()


def _print_lines(lines: Sequence[str], options: argparse.Namespace) -> None:
    """Print lines, each wrapped under its last column, and the states of rows painted on a terminal.

    Not by `text`, which needs numpy.
    """
    import sys
    import textwrap

    from ..core.plain_text import paint_bold

    width, colour = output.measure_width(), output.wants_colour(sys.stdout)
    for line in lines:
        hang = " " * (_NAME + _STATE + 6 if line.startswith("  ") else 2)
        wrapped = textwrap.wrap(  # a path is to be copied: it is longer than a line rather than in two
            line, width, subsequent_indent=hang, break_on_hyphens=False, break_long_words=False
        ) or [""]
        state = line[_NAME + 4 : _NAME + 4 + _STATE].strip()
        if colour and line.startswith("  ") and state in _COLOUR:
            head, tail = wrapped[0][: _NAME + 4], wrapped[0][_NAME + 4 :]
            wrapped[0] = head + tail.replace(state, paint_bold(state, str(_COLOUR[state])), 1)
        output.print_lines(wrapped, options)


def _list_broken(found: Installation, around: _Surroundings, answers: Sequence[Answer], failure: str) -> dict[str, str]:
    """List what does not work, with its reason."""
    broken = {package.name: _describe_package(package) for package in found.broken}
    if found.unknown:
        broken["verimask's own packages"] = found.unknown
    if around.temporary:
        broken["temporary files"] = f"cannot be written: {around.temporary}"
    broken.update({answer.witness: answer.words for answer in answers if answer.state == "broken"})
    if failure:
        broken["witnesses"] = failure
    return broken


def _describe_end(found: Installation, broken: dict[str, str]) -> list[str]:
    absent = ",".join(extra.name for extra in found.extras if extra.state != "there")
    lines = [f"Broken: {', '.join(broken)}."] if broken else ["Everything that is installed works."]
    return [*lines, *([f"To add what is absent: pip install 'verimask[{absent}]'"] if absent else [])]


def _print_json(
    found: Installation,
    around: _Surroundings,
    answers: Sequence[Answer],
    broken: dict[str, str],
    options: argparse.Namespace,
) -> None:
    """Print one JSON document; by the standard library alone, since more may be broken."""
    import json

    record = {
        "Version": found.version,
        "Python": found.python,
        "System": found.system,
        "Cores": around.cores,
        "Console": around.console,
        "TemporaryFiles": around.temporary or "can be written",
        **({"Folders": _folders()} if options.verbose else {}),
        **({"Unknown": found.unknown} if found.unknown else {}),
        "Needed": [_package_as_json(package) for package in found.required],
        "Extras": {
            extra.name: {
                "State": extra.state,
                "Cost": extra.cost,
                "Packages": [_package_as_json(p) for p in extra.packages],
            }
            for extra in found.extras
        },
        "Viewer": found.has_viewer,
        "Witnesses": [
            {"Witness": a.witness, "Reads": a.reads, "State": a.state, "Version": a.version}
            | {"Seconds": round(a.seconds, 2), "Words": a.words}
            for a in answers
        ],
        "Broken": broken,
    }
    output.print_lines(json.dumps(record, indent=1).split("\n"))


def _package_as_json(package: Package) -> dict[str, str]:
    return {
        "Name": package.name,
        "Version": package.version,
        "Needs": package.needs,
        "State": package.state,
        "Words": package.words,
    }
