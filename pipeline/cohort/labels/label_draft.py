"""Write a first labels.toml from the masks that the index knows of, with how often each name occurs.

Rules:
- Names that `label_map.fold` holds for the same are one label, with every spelling among its names; the most frequent first.
- A name that is nearly another's is said to be perhaps the same, in a comment: nothing is put together for being alike.
- What is read back has every mask of the cohort. The same facts, in any order, give the same bytes.
- The facts must be clean of what identifies a patient (see `privacy`): names are written as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, count
from typing import TypeVar

from ...core.plain_text import escape_bytes
from ...core.toml_file import toml_text
from ..facts import SeriesFacts
from .label_map import BACKGROUND, CODE, IGNORE, fold, fold_code

_LETTERS_FOR_ONE, _LETTERS_FOR_TWO = 4, 8  # of a name, from which one or two edits make it nearly another
_LETTERS_OF_WORDS = 24  # names longer than that are looked up by one edit: those by two are thousands
_Counted = TypeVar("_Counted", str, tuple[int, int, int])
_RESERVED = {BACKGROUND, IGNORE}
_HEAD = """\
# labels.toml, a first draft: {names} names of masks in {series} series of {patients} patients.
# Give each label the name it is to have in the data set; put names of one label together in its names; delete what is
# not wanted, or list it in [ignore]. regex = ["liver.*"] takes further names. A label without required = false makes every
# case incomplete that lacks it. See docs/cohort.md.

[options]
overlap = "refuse"  # "order": the label that stands first here gets voxels of two; "regions": see inside
"""


@dataclass(slots=True)
class _Entry:
    """One label of the draft. twice: series that hold it more than once."""

    spellings: Counter[str] = field(default_factory=Counter)
    patients: set[str] = field(default_factory=set)
    series: int = 0
    twice: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    colours: Counter[tuple[int, int, int]] = field(default_factory=Counter)


def draft_labels(facts: Iterable[SeriesFacts]) -> str:
    """Write the text of a labels.toml in which every mask of the facts has a label of its own name."""
    entries: dict[str, _Entry] = defaultdict(_Entry)
    images: Counter[str] = Counter()
    patients: set[str] = set()
    series = 0
    for one in facts:
        images.update([one.modality] if one.role == "image" and one.modality else [])
        if one.masks:
            series += 1
            patients.add(one.patient or one.key)
            _add(entries, one)
    ordered = sorted(entries, key=lambda key: (-len(entries[key].patients), -entries[key].series, key))
    names = _table_names(ordered, entries)
    shared = Counter(code for entry in entries.values() for code in entry.codes)
    nearly = _find_neighbours(ordered)
    head = _HEAD.format(names=len(ordered), series=series, patients=len(patients))
    tables = [
        _table(number, names[key], entries[key], len(patients), shared, [names[other] for other in nearly[key]])
        for number, key in enumerate(ordered, 1)
    ]
    return "\n".join([head, *tables, *_channels(images)])


def _add(entries: dict[str, _Entry], facts: SeriesFacts) -> None:
    """Count the masks of one series."""
    held: Counter[str] = Counter()
    for mask in facts.masks:
        key = fold(mask.name)
        held[key] += 1
        entry = entries[key]
        entry.spellings[escape_bytes(mask.name)] += 1
        entry.patients.add(facts.patient or facts.key)
        if CODE.fullmatch(mask.code):
            entry.codes[fold_code(mask.code)] += 1
        if mask.colour is not None:
            entry.colours[mask.colour] += 1
    for key, times in held.items():
        entries[key].series += 1
        entries[key].twice += times > 1


def _table(
    value: int, name: str, entry: _Entry, patients: int, shared: Mapping[str, int], nearly: Sequence[str]
) -> str:
    """One [labels.NAME]. shared: how many labels have a code. nearly: names of labels that it is perhaps the same as."""
    own = sorted(code for code in entry.codes if shared[code] == 1)
    others = sorted(code for code in entry.codes if shared[code] > 1)
    everywhere = len(entry.patients) == patients
    lines = [
        f"[labels.{name}]",
        f"# {len(entry.patients)} of {patients} patients, {entry.series} series",
        *([f"# more than once in {entry.twice} of them: join = true puts those together"] if entry.twice else []),
        *(f"# perhaps the same as {other}" for other in nearly),
        f"value = {value}",
        f"names = [{', '.join(map(toml_text, _most_frequent(entry.spellings)))}]",
        *([f"codes = [{', '.join(map(toml_text, own))}]"] if own else []),
        *(f"# the code {toml_text(code)} is that of {shared[code]} names" for code in others),
        *(['colour = "#{:02x}{:02x}{:02x}"'.format(*_most_frequent(entry.colours)[0])] if entry.colours else []),
        f"required = {'true' if everywhere else 'false'}",
    ]
    return "\n".join(lines) + "\n"


def _channels(images: Counter[str]) -> Iterator[str]:
    """The comment on channels: every modality of the images."""
    for modality in sorted(images, key=lambda m: (-images[m], m)):
        yield f"# [[channels]]  # {images[modality]} series\n# name = {toml_text(modality)}\n# modality = {toml_text(modality)}\n"


def _most_frequent(counts: Counter[_Counted]) -> list[_Counted]:
    return sorted(counts, key=lambda one: (-counts[one], str(one)))


def _table_names(keys: Sequence[str], entries: Mapping[str, _Entry]) -> dict[str, str]:
    """Name the table of each label: letters, digits and underscores, and never one of another label's names."""
    taken = {*keys, *_RESERVED}
    names: dict[str, str] = {}
    for key in keys:
        spelling = _most_frequent(entries[key].spellings)[0]
        ascii_text = unicodedata.normalize("NFKD", spelling).encode("ascii", "ignore").decode().lower()
        plain = re.sub("[^a-z0-9]+", "_", ascii_text).strip("_") or "label"
        tried = chain([plain], (f"{plain}_{n}" for n in count(2)))
        # Its own name is free, unless that means something else in a data set.
        names[key] = next(n for n in tried if fold(n) not in taken or (fold(n) == key and key not in _RESERVED))
        taken.add(fold(names[key]))
    return names


def _find_neighbours(keys: Sequence[str]) -> dict[str, list[str]]:
    """Find for each name the more frequent ones that it nearly is. keys: the most frequent first."""
    rank = {key: n for n, key in enumerate(keys)}
    alike: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        for shorter in _without_letters(key, _edits(key)):
            alike[shorter].add(key)
    found: dict[str, set[str]] = {key: set() for key in keys}
    for group in alike.values():
        for first, second in combinations(sorted(group, key=rank.__getitem__), 2):
            if first not in found[second] and _is_nearly(first, second):
                found[second].add(first)
    return {key: sorted(others, key=rank.__getitem__) for key, others in found.items()}


def _edits(name: str) -> int:
    """How many letters may be wrong in a name."""
    return (len(name) >= _LETTERS_FOR_ONE) + (_LETTERS_FOR_TWO <= len(name) <= _LETTERS_OF_WORDS)


def _without_letters(name: str, most: int) -> set[str]:
    """The name without up to so many of its letters: two names so many edits apart have one of these in common."""
    found = {name}
    for _ in range(most):
        found |= {text[:n] + text[n + 1 :] for text in found for n in range(len(text))}
    return found if most else set()


def _is_nearly(first: str, second: str) -> bool:
    """Whether one may be a slip for the other; never where digits differ, or left and right."""
    if re.sub(r"\D", "", first) != re.sub(r"\D", "", second):
        return False
    differing = [{a, b} for a, b in zip(first, second, strict=False) if a != b]
    if len(first) == len(second) and differing == [{"l", "r"}]:
        return False
    return _distance(first, second) <= min(_edits(first), _edits(second))


def _distance(first: str, second: str) -> int:
    """How many letters must be put in, left out, changed, or changed with the next, to make one of the other."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        last, before, row = before, row, [i]
        for j, b in enumerate(second, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                best = min(best, last[j - 2] + 1)
            row.append(best)
    return row[-1]
