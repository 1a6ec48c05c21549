"""The manual page: it is what the parsers give, every reader of manual pages takes it, and the wheel carries it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from pipeline.cli.run_command import _parser
from tests.helpers.man_page import PATH, man_page

try:
    import tomllib
except ImportError:
    import tomli as tomllib  # type: ignore[no-redef]

_NO_DATE = 'WARNING: missing date, using "": TH'  # a page without a date changes only when a command does


def run(*command: str) -> str:
    """What a reader of manual pages prints, on either stream."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([*command, str(PATH)], capture_output=True, text=True, check=False)
    return done.stderr + done.stdout


def test_it_is_what_the_parsers_give() -> None:
    assert PATH.read_text("utf-8") == man_page(), "run python -m tests.helpers.pages"


def test_groff_warns_of_nothing() -> None:
    assert run("groff", "-man", "-ww", "-Kutf8", "-Tutf8", "-z") == ""


def test_mandoc_warns_of_nothing() -> None:
    assert [line for line in run("mandoc", "-Tlint").splitlines() if not line.endswith(_NO_DATE)] == []


def test_every_command_and_option_is_shown() -> None:
    plain = run("mandoc", "-Tascii", "-O", "width=200")
    text = "".join(c for n, c in enumerate(plain) if c != "\b" and plain[n + 1 : n + 2] != "\b")  # without overstrikes
    commands = next(action.choices for action in _parser()._actions if isinstance(action.choices, dict))
    for name, parser in commands.items():
        assert f"verimask {name}" in text
        parser.build()
        section = text.split(f"\nVERIMASK {name.upper()}\n")[1].split("\nVERIMASK ")[0]
        for action in parser._actions:
            for option in action.option_strings:
                assert option in (text if action.dest in ("help", "json", "quiet") else section), (name, option)
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "FILES", "EXIT STATUS", "EXAMPLES"):
        assert f"\n{heading}\n" in text


def test_the_wheel_carries_it() -> None:
    """Where pip installs it, `man verimask` finds it: beside the bin/ that the command is in."""
    settings = tomllib.loads((PATH.parents[1] / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert settings["data-files"] == {"share/man/man1": [str(PATH.relative_to(PATH.parents[1]))]}
