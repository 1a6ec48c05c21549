"""Build the options of a case, which are those of convert, and read the words of a case as convert reads them.

Rules:
- A case asks every witness for every voxel, unless its words say otherwise.
- Options that say where files go, and how they are shown, are none of a case's.
- Paths in the words are relative to CASES.toml; {inputs} is what was made of the archive or recipe, {root} the case's root.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .convert_options import add_case_options
from .convert_request import read_policy, read_request

if TYPE_CHECKING:
    from ..conversion.request import Request
    from ..core.policy import Policy
    from ..regression.run_case import CaseFolders

_PATHS = ("source", "clean", "like")  # fields that are paths
_PLACES = ("{inputs}", "{root}")  # what a path may begin with


def add_options(p: argparse.ArgumentParser) -> list[str]:
    """Add the options of a case, and return the fields that they have."""
    before = len(p._actions)
    add_case_options(p)
    p.set_defaults(crosscheck="voxels")
    return [action.dest for action in p._actions[before:]]


def read_words(words: Sequence[str], folders: CaseFolders) -> tuple[Request, Policy]:
    """Read the words of a case. Raises BAD_CASES for what is no option of convert, and what refuses a value."""
    parser = _CaseParser(prog="options", add_help=False, allow_abbrev=False)
    add_options(parser)
    options = parser.parse_args(words)
    for field in _PATHS:
        given = getattr(options, field)
        if given:
            several = [_path_of(one, folders) for one in ([given] if isinstance(given, str) else given)]
            setattr(options, field, several[0] if isinstance(given, str) else several)
    return read_request(options), read_policy(options)


def words_of(options: argparse.Namespace, fields: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Write the options of a case that were typed as its words.

    Args:
        options: as parsed.
        fields: of a case.
        folder: of CASES.toml, which paths are made relative to.

    Returns: the words.
    """
    words: list[str] = []
    for action in options.parser._actions:
        value: Any = getattr(options, action.dest, None)
        if action.dest not in fields or value == action.default:
            continue
        name = action.option_strings[-1]
        if value is True:
            words.append(name)
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [name, _relative(one, folder) if action.dest in _PATHS else str(one)]
    return tuple(words)


def _relative(path: str, folder: Path) -> str:
    from ..regression.edit_cases import relative_path

    return path if path.startswith(_PLACES) else relative_path(Path(path), folder)


def _path_of(word: str, folders: CaseFolders) -> Path:
    made = folders.made if folders.made is not None else folders.case
    for place, folder in zip(_PLACES, (made, folders.root), strict=True):
        if word.startswith(place):
            return folder / word.removeprefix(place).lstrip("/")
    return folders.case / word


class _CaseParser(argparse.ArgumentParser):
    """A parser that refuses instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        from ..core.findings import Code, refuse

        raise refuse(
            Code.BAD_CASES,
            f"the options of the case are not understood: {message}",
            "Give words that verimask convert takes, other than those of its output, its page and its processes.",
            where=("options",),
        )
