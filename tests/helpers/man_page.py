"""Make the manual page verimask(1) from the parsers; `python -m tests.helpers.pages` writes it to docs/verimask.1.

Rules:
- Macros of man(7) only, which every man reads. What is preformatted in the help stays so.
- There is no date and no version in it, so that it changes only when a command does.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.cli import folder
from pipeline.cli.run_command import _parser

PATH = Path(__file__).parents[2] / "docs" / "verimask.1"
_WIDTH = 78  # columns of the source, which mandoc wants below 80
_COMMON = ("help", "json", "quiet")  # of every command: described once
_HEADINGS = {"exit codes": "EXIT STATUS", "examples": "EXAMPLES"}
_FILES = """\
Results of verimask FOLDER go to ./FOLDER-nifti/: NAME.nii.gz, its record NAME.json, its page NAME.html, and index.html over
several. Nothing that is there is overwritten."""


def man_page() -> str:
    """The page, as the source that man reads."""
    root = _parser()
    commands = next(action.choices for action in root._actions if isinstance(action.choices, dict))
    helps = {choice.dest: choice.help for action in root._actions for choice in getattr(action, "_choices_actions", ())}
    lone = folder.make_parser([])
    lines = [
        '.\\" Made by `python -m tests.helpers.pages`. Do not edit.',
        '.TH VERIMASK 1 "" "verimask" "User Commands"',
        ".SH NAME",
        *_text("verimask - DICOM masks to NIfTI, with a proof of where every voxel lies"),
        ".SH SYNOPSIS",
        "\n.br\n".join(f".B verimask\n{_escape(form)}" for form in ("FOLDER ...", "COMMAND ...", "[COMMAND] --help")),
        ".SH DESCRIPTION",
        *_text(lone.description or ""),
        ".SH COMMANDS",
        *_terms((f"verimask {name}", text or "") for name, text in helps.items()),
        ".SH OPTIONS OF EVERY COMMAND",
        *_terms([("-h, --help", "print the help of the command"), *_options_of(lone, _COMMON[1:])]),
    ]
    for name, parser in commands.items():
        parser.build()
        lines += [f".SH VERIMASK {name.upper()}", *_text(parser.description or ""), *_arguments(parser)]
    lines += [".SH FILES", *_text(_FILES)]
    for heading, section in re.findall(r"(?ms)^(\w[^\n]*)\n(.*?)(?:\n\n|\Z)", root.epilog or ""):
        lines += [f".SH {_HEADINGS[heading]}", *_text(section)]
    return "\n".join(lines) + "\n"


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The arguments and options of a command, in the groups of its help."""
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.dest not in _COMMON and a.help != argparse.SUPPRESS]
        if actions:
            yield f'.SS "{_escape((group.title or "").removeprefix("positional "))}"'
            yield from _terms((_name(action), action.help or "") for action in actions)


def _options_of(parser: argparse.ArgumentParser, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((_name(action), action.help or "") for action in parser._actions if action.dest in names)


def _name(action: argparse.Action) -> str:
    """-o, --output OUT; a choice as {a,b}."""
    value = f"{{{','.join(map(str, action.choices))}}}" if action.choices else str(action.metavar or action.dest)
    if not action.option_strings:
        return value
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")


def _terms(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in rows:
        yield ".TP"
        yield f".B {_escape(term)}"
        yield from _wrap(text.replace("%%", "%"))


def _text(text: str) -> Iterator[str]:
    """Paragraphs; lines that are indented, or are a table, stay as they are."""
    for number, block in enumerate(re.split(r"\n\s*\n", text.strip("\n"))):
        if number:
            yield ".PP"
        plain = [line for line in block.split("\n") if not line.startswith("  ")]
        fixed = [line for line in block.split("\n") if line.startswith("  ")]
        yield from _wrap(" ".join(plain))
        if fixed:
            yield from (".nf", *map(_escape, textwrap.dedent("\n".join(fixed)).split("\n")), ".fi")


def _wrap(text: str) -> list[str]:
    return [_escape(line) for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _escape(text: str) -> str:
    """Text that roff takes literally: no escape, no request, and a hyphen that can be searched and copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
