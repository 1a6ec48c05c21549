"""Parse the options of a command, and say what was probably meant where a word is mistyped.

Rules:
- The options of a command are built when it is the one that was typed.
- Every error of a command line is made here, and ends with code 64. A suggestion is one line, and nothing is done by it.
- A long option with one dash is an error: `-output OUT` would mean `-o utput` and an input OUT.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NoReturn

_LIKENESS = 0.6  # of difflib, from 0 to 1: --crosschek is 0.96 of --crosscheck, and --sauce 0.67 of --source
_CHOICE = re.compile(r"invalid choice: '(?P<given>[^']*)' \(choose from (?P<choices>.*)\)")
_ONE_DASH = re.compile(r"-[A-Za-z][\w-]+(=.*)?")


class CommandParser(argparse.ArgumentParser):
    """A parser whose options are built when its command is the one that was typed. advice: a line for every error."""

    options: Callable[[argparse.ArgumentParser], None] | None = None
    advice = ""
    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.build()
        self._words = list(_before_end(args or ()))
        for word in self._words:
            if _ONE_DASH.fullmatch(word) and "-" + _name(word) in self._option_string_actions:
                self.error(f"unrecognized arguments: {word}")
        return super().parse_known_args(args, namespace)

    def build(self) -> None:
        """Add the options, once."""
        options, self.options = self.options, None
        if options is not None:
            options(self)
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        from ..core.findings import Exit

        code = Exit.USAGE
        lines = [f"{self.prog}: {message}", *self._suggestions(message), *([self.advice] if self.advice else [])]
        self.exit(int(code), "\n".join([*lines, f"see {self.prog} --help", f"exit {int(code)} ({code.name})\n"]))

    def _suggestions(self, message: str) -> Iterator[str]:
        """What was probably meant by options, a choice, or the name of the command."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        for word in map(_name, self._words):
            is_option = word.startswith("-") and len(word.lstrip("-")) > 1
            if is_option and not any(option.startswith(word) for option in known):
                yield from ask_whether(closest("--" + word.lstrip("-"), known))
        found = _CHOICE.search(message)
        if found:
            yield from ask_whether(closest(found["given"], re.findall(r"[\w.-]+", found["choices"])))
        command = self.prog.split()[-1]
        if not self._words and command != self.prog and os.path.isdir(command):
            yield f"{command} is a command; the folder of that name is written {os.path.join('.', command)}"


def closest(word: str, known: Iterable[str]) -> str:
    """Find what a mistyped word probably stands for.

    Args:
        word: as it was typed, in whatever case.
        known: what it may stand for.

    Returns: the likeliest of those; "" where none is like it.
    """
    from difflib import get_close_matches  # which --help does not need

    by_folded = {other.casefold(): other for other in known}
    near = get_close_matches(word.casefold(), by_folded, 1, _LIKENESS)
    return by_folded[near[0]] if near else ""


def ask_whether(*meant: str) -> list[str]:
    """The line that asks whether something else was meant; none where all of it is ""."""
    named = [what for what in meant if what]
    return [f"did you mean {' or '.join(named)}?"] if named else []


def _before_end(words: Collection[str]) -> Iterator[str]:
    """The words before "--", behind which nothing is an option."""
    for word in words:
        if word == "--":
            return
        yield word


def _name(word: str) -> str:
    """--source=DIR -> --source"""
    return word.partition("=")[0]
