"""Take the identifiers of patients out of texts: names, messages, descriptions, paths and JSON records.

Rules:
- An identifier is found regardless of case and accents, and of underscores, carets, hyphens, commas and spaces in it: STS_008
  is STS-008 and sts008 too. Whatever else is written in another way (a nickname, a number with other zeros) is not found.
- Three and four letters and digits are found where no letter or digit goes on around them, more of them everywhere.
- One and two are found where they are a whole component of a path, or stand between its ends, hyphens and underscores: 42 in
  a/42/CT and pat_42-b. They stay everywhere else, as in “Lung 42”, CT42 and 42.dcm: they are in every other number. They stay
  in the paths of our own files too (`Output`), which are made of clean names and of numbers of our own.
- What names two patients is replaced by a word that is neither's: `NEUTRAL`.
- UIDs and digests in a text are left as they are, unless the whole of one is an identifier. JSON numbers are no texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from ..core.plain_text import escape_controls
from .facts import SeriesFacts

NEUTRAL = "patient"
_FEWEST = 3  # letters and digits of an identifier that is searched for within texts
_FEW = 32  # identifiers that are looked for one by one
_FREE = 5  # letters and digits from which an identifier is found within a word
_COMPONENT, _WORD = re.compile(r"[^/\\]+"), re.compile(r"[^/\\_-]+")
_OUR_PATHS = frozenset(["Output"])
_SEPARATORS = re.compile(r"[\s_^,-]+")
_KEPT = re.compile(r"(?<![0-9A-Za-z.])(?:[0-2](?:\.\d+){4,}|[0-9a-f]{40}|[0-9a-f]{64})(?![0-9A-Za-z])")
# Members of a record whose texts are words of our own, as its schema lists them: a patient called Mask changes none. Prov as a
# whole holds no others (`conversion.prov`).
OWN_WORDS = frozenset(
    "As AxisCodes Code Combine ConversionSoftware Crosscheck DataType Direction Exit FoundBy Fractional Frame Handedness Kind LabelsFile "
    "OnDuplicate OnGap OnLossy OnTilt OnUnread OrderBy Overlap Palette Prov Recorded Resample Role Saw Schema Severity SourceFrame Stage "
    "Status Strip Type Undecided Verdict Witness Write".split()
)


class _Sign(NamedTuple):
    """A letter, digit or mark of a text, folded. at: where it stands. joined: whether nothing but itself precedes it."""

    text: str
    at: int
    joined: bool


class _Identifier(NamedTuple):
    """text: folded, without separators. breaks: where those were. name: what replaces it."""

    text: str
    breaks: frozenset[int]
    name: str


class Cleaner:
    """Replaces identifiers of patients by the names of their subjects.

    It takes a time in proportion to the text, however many identifiers there are: one serves a patient or a whole cohort.
    """

    def __init__(self, identifiers: Mapping[str, str]) -> None:
        """identifiers: what names a patient, each with the name of the subject that replaces it."""
        found: dict[str, _Identifier] = {}
        self._short: dict[str, str] = {}
        for text, name in identifiers.items():
            for part, whole in (
                form for written in dict.fromkeys((text, escape_controls(text))) for form in _forms(written)
            ):
                made = _identifier(part, name)
                if made is not None:
                    known = found.get(made.text)
                    if known is not None and known.name != name:
                        found[made.text] = known._replace(name=NEUTRAL)
                    elif known is None or whole:
                        found[made.text] = made
                elif whole and (short := plain(text)):
                    self._short[short] = name if self._short.get(short, name) == name else NEUTRAL
        lengths: dict[str, set[int]] = defaultdict(set)
        for text in found:
            lengths[text[:_FEWEST]].add(len(text))
        self._found = found
        self._by_start = {start: sorted(own, reverse=True) for start, own in lengths.items()}
        self._few = tuple(found) if len(found) <= _FEW else ()

    def clean(self, text: str) -> str:
        """Replace every identifier in a text."""
        return self._clean(text, self._short)

    def _clean(self, text: str, short: Mapping[str, str]) -> str:
        parts, done = [], 0
        for start, end, name in self._places(text, short):
            parts += [text[done:start], name]
            done = end
        return "".join([*parts, text[done:]])

    def finds(self, text: str) -> bool:
        """Whether a text holds an identifier."""
        return bool(self._places(text, self._short))

    def clean_record(self, value: Any) -> Any:
        """Clean every text in a record, however deep; names of members, words of our own, UIDs, digests and numbers stay."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, Mapping):
            return {key: self._clean_member(key, entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean_record(entry) for entry in value]
        return value

    def _clean_member(self, key: str, value: Any) -> Any:
        if key in OWN_WORDS:
            return value
        return self._clean(value, {}) if key in _OUR_PATHS and isinstance(value, str) else self.clean_record(value)

    def _may_hold(self, stream: str) -> bool:
        """Whether a folded text may hold an identifier: nearly every text does not, and is soon done with."""
        if self._few:
            return any(text in stream for text in self._few)
        return any(stream[at : at + _FEWEST] in self._by_start for at in range(len(stream) - _FEWEST + 1))

    def _places(self, text: str, short: Mapping[str, str]) -> list[tuple[int, int, str]]:
        """Where identifiers begin and end in a text, in order and apart, with what replaces each. short: those of few signs."""
        places = self._long_places(text) if self._by_start else []
        for start, end, name in _short_places(text, short) if short else ():
            if all(end <= first or start >= last for first, last, _ in places):
                places.append((start, end, name))
        return sorted(places)

    def _long_places(self, text: str) -> list[tuple[int, int, str]]:
        """Where identifiers begin and end that are searched for within texts."""
        if not self._may_hold(plain(text)):
            return []
        kept = [(found.start(), found.end()) for found in _KEPT.finditer(text)]
        signs = _signs(text)
        stream = "".join(sign.text for sign in signs)
        places: list[tuple[int, int, str]] = []
        at = 0
        while at <= len(stream) - _FEWEST:
            lengths = self._by_start.get(stream[at : at + _FEWEST], ())
            entries = (self._found.get(stream[at : at + length]) for length in lengths)
            entry = next((entry for entry in entries if entry and _stands(entry, stream, signs, at)), None)
            if entry is None:
                at += 1
                continue
            start, end = signs[at].at, signs[at + len(entry.text) - 1].at + 1
            end += sum(1 for _ in _marks(text, end))
            if all(end <= first or start >= last or (start <= first and end >= last) for first, last in kept):
                places.append((start, end, entry.name))
                at += len(entry.text)
            else:
                at += 1
        return places


def identifies(text: str, identifiers: Iterable[str]) -> bool:
    """Whether a text is to be taken for one of these identifiers, however short, or holds one.

    Args:
        text: such as the name of a folder.
        identifiers: of the patients.
    """
    own, names = plain(text), list(identifiers)
    if own and any(own == plain(name) for name in names):
        return True
    parts = ((name, plain(part)) for name in names for part, _ in _forms(name))
    near = {name for name, part in parts if part and part in own}
    return bool(near) and Cleaner(dict.fromkeys(near, "")).finds(text)


def cohort_cleaner(facts: Iterable[SeriesFacts], subjects: Mapping[str, tuple[str, str]]) -> Cleaner:
    """Make what cleans texts that may name any patient of a cohort. It is made once, and cleans as fast as that of one patient.

    Args:
        facts: every series of the cohort.
        subjects: subject and session by key of a series; a series without one counts as unnamed.

    Returns: the cleaner. It replaces what names several subjects, or none, by `NEUTRAL`.
    """
    names: dict[str, str] = {}
    for fact in facts:
        subject = subjects.get(fact.key, ("", ""))[0] or NEUTRAL
        for text in fact.identifiers:
            names[text] = subject if names.get(text, subject) == subject else NEUTRAL
    return Cleaner(names)


def _short_places(text: str, short: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    """Where identifiers of one or two signs are a whole component of a path, or a word between hyphens and underscores."""
    for component in _COMPONENT.finditer(text):
        whole = short.get(plain(component[0]))
        if whole is not None:
            yield component.start(), component.end(), whole
            continue
        for word in _WORD.finditer(text, component.start(), component.end()):
            name = short.get(plain(word[0]))
            if name is not None:
                yield word.start(), word.end(), name


def plain(text: str) -> str:
    """Fold a text to its letters, digits and marks, without separators and accents."""
    if text.isascii():
        return _SEPARATORS.sub("", text.lower())
    return "".join(sign.text for sign in _signs(text))


def _forms(text: str) -> Iterable[tuple[str, bool]]:
    """An identifier, and the parts of a name (PS3.5 6.2.1: family, given and middle name); whether it is the whole."""
    yield text, True
    if "^" in text or "=" in text:
        for group in text.split("="):
            yield group, False
            yield from ((part, False) for part in group.split("^")[:3])


def _identifier(text: str, name: str) -> _Identifier | None:
    """None for what is too short to be searched for."""
    parts = [folded for part in _SEPARATORS.split(text) if (folded := plain(part))]
    whole = "".join(parts)
    if sum(sign.isalnum() for sign in whole) < _FEWEST:
        return None
    return _Identifier(whole, frozenset(accumulate(len(part) for part in parts[:-1])), name)


def _stands(entry: _Identifier, stream: str, signs: list[_Sign], at: int) -> bool:
    """Whether an identifier that a text has at a place stands there: separated only where it is, and a short one alone."""
    end = at + len(entry.text)
    if any(not signs[n].joined and n - at not in entry.breaks for n in range(at + 1, end)):
        return False
    if len(entry.text) >= _FREE:
        return True
    goes_on_before = at > 0 and signs[at].joined and stream[at - 1].isalnum()
    return not (goes_on_before or (end < len(stream) and signs[end].joined and stream[end].isalnum()))


def _signs(text: str) -> list[_Sign]:
    """The letters, digits and marks of a text, folded one by one, without separators and accents."""
    signs: list[_Sign] = []
    joined = True
    for at, sign in enumerate(text):
        if _SEPARATORS.match(sign):
            joined = False
            continue
        folded = sign.lower() if sign.isascii() else _folded(sign)
        for one in folded:
            signs.append(_Sign(one, at, joined))
            joined = True
    return signs


def _folded(sign: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", sign).casefold())
    return "".join(one for one in plain if not unicodedata.combining(one) and not _SEPARATORS.match(one))


def _marks(text: str, start: int) -> Iterable[str]:
    """The combining accents that follow a place of a text."""
    for sign in text[start:]:
        if not unicodedata.combining(sign):
            return
        yield sign
