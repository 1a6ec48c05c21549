"""Give the inputs of a run neutral names, for everything that is written.

Rules:
- A file of the inputs is called by its part and number: input-0001 is that of the first plane, source-0001 one of its source.
  The numbers follow from planes and digests, never from names, so that the same bytes have the same names anywhere.
- In sentences a name is replaced where it stands as a whole word, a path as a whole. What is no input keeps its place: the
  words of an option, a label, an output.
- A name that is a word of our own sentences, such as mask or CT, and a number of up to four digits stay in a sentence: they
  are in every other one without any file of that name. As the name of a file alone they are replaced.
- Where names are to be kept they are as on disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..core.findings import Finding
from ..core.plain_text import escape_bytes

INPUT, FILE, FOLDER = "input", "other-file", "folder"
# Patterns as text: they are compiled where there is a sentence.
_WORD = r"[^\s“”\"'‘’(),;:|=<>\[\]{}]+"
_END = ".…!?"  # of a sentence, which no name ends with here
_PLAIN = r"\d{1,4}|[a-z]+"


class KnownNames(NamedTuple):
    """Names of files and folders, each with what stands for it. odd: those that are more than a word."""

    words: Mapping[str, str]
    odd: Sequence[str]


NOTHING = KnownNames({}, ())


def names_of(paths: Collection[Path]) -> KnownNames:
    """List the names of files that were looked at and are no input of a result, and of all folders that they lie in."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for folder, path in {os.path.dirname(path): path for path in paths}.items():
        folders.update(_folders(path) if folder else {})
    files.update((escape_bytes(path.name), FILE) for path in paths)
    return _known(folders | files)


class NeutralNames:
    """The names of the inputs of one result, and what stands for each in what is written."""

    def __init__(
        self,
        files: Iterable[tuple[str, Path]],
        others: Callable[[], KnownNames] = lambda: NOTHING,
        *,
        keep: bool = False,
    ) -> None:
        """Number the files.

        Args:
            files: each with its part, "" for those of the mask or image itself; in the order of the numbers.
            others: gives what else was looked at in this run, once a sentence is read.
            keep: whether names stay as they are.
        """
        self._keep, self._others, self._own = keep, others, NOTHING
        self._public: frozenset[str] = frozenset()
        self._by_path: dict[Path, str] = {}
        count: dict[str, int] = {}
        for role, path in files:
            if path not in self._by_path:
                part = role or INPUT
                count[part] = count.get(part, 0) + 1
                self._by_path[path] = f"{part}-{count[part]:04}"

    def with_public(self, words: Iterable[str]) -> NeutralNames:
        """Return these names for sentences in which some words stay, such as labels, whatever else has that name."""
        made = copy(self)
        made._public = frozenset(words)
        return made

    def of(self, path: Path) -> str:
        """Name a file of the inputs.

        Args:
            path: of the file, as it was read.

        Returns: its neutral name, or its own without its folder.
        """
        return path.name if self._keep else self._by_path.get(path, FILE)

    def finding(self, finding: Finding) -> Finding:
        """Return a finding as it may be written."""
        if self._keep:
            return finding
        where = tuple(self._place(place) for place in finding.where)
        return replace(finding, message=self.text(finding.message), hint=self.text(finding.hint), where=where)

    def text(self, text: str) -> str:
        """Replace the names of inputs in a sentence.

        Args:
            text: of a finding, or words of another program.

        Returns: the text with neutral names.
        """
        if self._keep or not text:
            return text
        for name in sorted({*self._mine().odd, *self._others().odd}, key=len, reverse=True):
            if name in text and name not in self._public:
                neutral = self._find(name)
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda _, to=neutral: to, text)  # type: ignore[misc]
        return re.sub(_WORD, lambda found: self._word(found[0]), text)

    def _place(self, place: str) -> str:
        """The place of a finding: the name of a file or folder alone, else a sentence."""
        found = "" if place in self._public else self._find(place)
        return found or self.text(place)

    def _word(self, word: str) -> str:
        core = word.rstrip(_END)
        parts = [part for part in re.split(r"[/\\]", core) if part]
        neutral = next((found for found in map(self._within, reversed(parts)) if found), "")
        return word if not neutral or word.startswith("--") else neutral + word[len(core) :]

    def _within(self, name: str) -> str:
        """What stands for a name within a sentence; "" where it stays."""
        found = self._find(name)
        if not found or name in self._public:
            return ""
        return (
            ""
            if re.fullmatch(_PLAIN, name, re.IGNORECASE) and (name.isdigit() or name.casefold() in _own_words())
            else found
        )

    def _find(self, name: str) -> str:
        return self._mine().words.get(name, "") or self._others().words.get(name, "")

    def _mine(self) -> KnownNames:
        """The names of the inputs; of two files of one name it is not said which it is."""
        if self._own is NOTHING and self._by_path:
            words: dict[str, str] = {}
            for path, name in self._by_path.items():
                own = escape_bytes(path.name)
                words[own] = name if words.get(own, name) == name else INPUT
            folders = {os.path.dirname(path): path for path in self._by_path}.values()
            self._own = _known({name: FOLDER for path in folders for name in _folders(path)} | words)
        return self._own


def _known(words: Mapping[str, str]) -> KnownNames:
    return KnownNames(words, [name for name in words if not re.fullmatch(_WORD, name)])


def _folders(path: Path) -> dict[str, str]:
    return dict.fromkeys(map(escape_bytes, Path(os.path.abspath(path)).parts[1:-1]), FOLDER)


@cache
def _own_words() -> frozenset[str]:
    """The words of our own sentences, by the meaning and remedy of every finding."""
    from ..core.finding_help import HELP

    text = " ".join(f"{row.meaning} {row.remedy}" for row in HELP.values())
    return frozenset(re.findall(r"[a-z]+", text.casefold()))
