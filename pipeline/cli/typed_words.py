"""Read the words of a command line as they were meant, where the shell did not: quotation marks and patterns.

Rules:
- `"C:\\my export\\" -o out` comes as one word, since Windows reads \\" as a quotation mark that belongs to the text. It is
  taken apart again where only one reading is possible, with a note; else it is refused with the reason.
- A path that is there is what it is called, whatever signs it has. Else * and ? stand for what they match, ** for folders
  of any depth, in natural order; files whose names begin with a dot are left out, as shells do.
- A pattern that matches nothing is refused: it is never taken for a name.
- For what is written, an input is called by its part: input, source, clean, like. A word is known by its place: a folder
  called clean is no option, and no value of one.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence

_WINDOWS_PATH = re.compile(r"^(--?[a-z-]+=)?([A-Za-z]:|\\\\|\.{0,2}\\)|\\")
_PATH_OPTIONS = ("source", "clean", "dicom", "add", "mask_series")  # besides what is given without an option
_INPUT_OPTIONS = (*_PATH_OPTIONS, "like", "segments")  # whose values are no outputs
_WHY = 'Windows reads a backslash before a quotation mark as \\", a mark that belongs to the text'


def mend_words(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Take a word apart in which a path that ended in a backslash swallowed what came after it.

    Args:
        words: of the command line.
        parser: whose `error` ends the program where they cannot be taken apart in one way only.

    Returns: the words as they were meant; what was mended is noted on standard error.
    """
    found = next((n for n, word in enumerate(words) if _has_swallowed(word)), None)
    if found is None:
        return list(words)
    path, _, rest = words[found].partition('"')
    is_last = found == len(words) - 1  # else another quotation mark ended it: what stood between them cannot be known
    if '"' in rest or (rest and not is_last):
        parser.error(
            f"{words[found]} is no path: {_WHY}; leave out the backslash at the end of a path in quotation marks"
        )
    print(f"note: {_WHY}; the path is read as {path}", file=sys.stderr)
    return [*words[:found], f"{path}{os.sep}", *rest.split(), *words[found + 1 :]]


def _has_swallowed(word: str) -> bool:
    """Whether a word is a path, then a quotation mark, then nothing or further words; and there is no such file."""
    path, mark, rest = word.partition('"')
    if not mark or not path or (rest and not rest.startswith(" ")) or os.path.lexists(word):
        return False
    return sys.platform == "win32" or bool(_WINDOWS_PATH.search(path)) or os.path.isdir(path)


def expand_patterns(options: argparse.Namespace) -> None:
    """Replace the patterns among the inputs of a command by the paths that they match, in place.

    Raises: PipelineError NO_SUCH_INPUT where nothing matches, or several things where the command takes one.
    """
    for action in options.parser._actions:
        value = getattr(options, action.dest, None)
        if action.option_strings and action.dest not in _PATH_OPTIONS:
            continue
        if isinstance(value, str) and _is_pattern(value):
            setattr(options, action.dest, _the_only(value, _matches(value)))
        elif isinstance(value, list) and any(map(_is_pattern, value)):
            setattr(options, action.dest, list(_expand_all(value)))


def hide_inputs(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return the words of a command line with neutral words for its inputs.

    Args:
        words: as typed, after the command.
        parser: of the command.

    Returns: the words; options and their values stay, but for those that are paths of inputs.
    """
    kept: list[str] = []
    action: argparse.Action | None = None  # whose value comes next
    only_inputs = False
    for word in words:
        if action is not None:
            kept.append(_value_of(action, word))
            action = None
        elif only_inputs or not word.startswith("-") or word == "-":
            kept.append("input")
        elif word == "--":
            only_inputs = True
            kept.append(word)
        else:
            option, mark, value = _split_option(word, parser)
            found = _find_action(option, parser)
            kept.append(word if found is None or not value else f"{option}{mark}{_value_of(found, value)}")
            action = found if found is not None and not value and found.nargs != 0 else None
    return kept


def _value_of(action: argparse.Action, value: str) -> str:
    return action.dest if action.dest in _INPUT_OPTIONS else value


def _split_option(word: str, parser: argparse.ArgumentParser) -> tuple[str, str, str]:
    """Split --name=value and -nvalue into name, sign and value."""
    if word.startswith("--") or word in parser._option_string_actions:
        return word.partition("=")
    return word[:2], "", word[2:]


def _find_action(option: str, parser: argparse.ArgumentParser) -> argparse.Action | None:
    """Find the action of an option, which may be shortened."""
    known = parser._option_string_actions
    found = {id(action): action for name, action in known.items() if name == option}
    if not found and option.startswith("--"):
        found = {id(action): action for name, action in known.items() if name.startswith(option)}
    return next(iter(found.values())) if len(found) == 1 else None


def _expand_all(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        yield from _matches(word) if _is_pattern(word) else (word,)


def _is_pattern(word: object) -> bool:
    if not isinstance(word, str) or "://" in word:  # the address of an archive is no path
        return False
    return ("*" in word or "?" in word) and not os.path.lexists(word)


def _matches(pattern: str) -> list[str]:
    """What a pattern matches, in natural order. Brackets are part of names, as on Windows. Raises NO_SUCH_INPUT."""
    from glob import glob

    from ..core.findings import Code, refuse
    from ..core.natural_order import natural_order

    found = sorted(glob(pattern.replace("[", "[[]"), recursive=True), key=natural_order)
    if not found:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"nothing matches {pattern}",
            "Check the folder and the ending, or give the folder alone: all files below it are looked at.",
            where=(pattern,),
        )
    return found


def _the_only(pattern: str, found: Sequence[str]) -> str:
    from ..core.findings import Code, refuse

    if len(found) > 1:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{pattern} matches {len(found)} files or folders, and one is needed",
            f"Give one of them, such as {found[0]}.",
            where=(pattern,),
        )
    return found[0]
