"""Make every value of a data set readable or refused: pydicom turns bytes into values when they are asked for, anywhere.

Rules:
- `encoding` returns data sets of this kind only, so that no caller has to think of what a damaged value makes a parser raise.
- What a value is follows from its keyword: a number is given as a number and a text as text, whatever VR they are written
  with; a sequence is a sequence. One value that is written several times over is one; texts of several values where there is
  to be one are kept as one, with their backslashes, which is no other instance's UID.
- A value that is nothing of the kind is an `UnreadableValue`: a refusal that names file, tag and what stands there. It is a
  ValueError too, so that whoever can do without the value does.
- An absent or empty value is as pydicom gives it. Private elements are given as they are, the items of their sequences guarded.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_description, dictionary_VM, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

from ..core.findings import Code, Finding, PipelineError
from ..core.memory import require
from ..core.numbers import is_finite_number
from ..core.plain_text import escape_controls

_NUMBERS = frozenset("DS IS FD FL US SS UL SL UV SV".split()) | {"US or SS"}
_TEXTS = frozenset("AE AS CS DA DT LO LT PN SH ST TM UC UI UR UT".split())
_BYTES = frozenset("OB OD OF OL OV OW".split()) | {"OB or OW"}
_AS_TEXT = frozenset("DS IS".split()) | _TEXTS  # VRs whose bytes are text, in which no number is infinite
_ITEM = {True: b"\xfe\xff\x00\xe0", False: b"\xff\xfe\xe0\x00"}
_FEW_BYTES = 1 << 20  # of a sequence, whose items are not counted then
_PER_ITEM = 1500  # bytes of memory: measured for an empty one
_SHOWN = 40  # characters of a value
_GUARD, _CHECKED, _PLAIN = "_verimask_file", "_verimask_checked", "_verimask_plain"


class UnreadableValue(PipelineError, ValueError):
    """A value that cannot be read, or is not of its kind; or a data set that cannot be. Its text is the sentence alone."""

    def __str__(self) -> str:
        return self.finding.message


class _Kind(NamedTuple):
    vr: str
    is_single: bool


@lru_cache(maxsize=2048)
def _kind_of(tag: int) -> _Kind | None:
    """What the dictionary says of a tag; None for private and unknown ones."""
    try:
        return _Kind(dictionary_VR(tag), dictionary_VM(tag) == "1")
    except KeyError:
        return None


def _tag_of(key: Any) -> BaseTag | None:
    """The tag that a key of a data set means; None where it means none."""
    try:
        return key if isinstance(key, BaseTag) else Tag(key)
    except Exception:  # pydicom says what is wrong with it
        return None


class _GuardedDataset(Dataset):
    """A data set, or an item of a sequence, whose values are checked when they are first asked for."""

    def __getitem__(self, key: Any) -> Any:
        if _PLAIN in self.__dict__:
            return super().__getitem__(key)
        if isinstance(key, slice):
            part = super().__getitem__(key)
            guard(part, self.__dict__.get(_GUARD, ""))
            return part
        tag = _tag_of(key)
        try:
            self._require_items(tag)
            element = plain_element(self, key)
        except (PipelineError, MemoryError):
            raise
        except Exception as error:
            if tag is None or tag not in self._dict:  # absent, or no key
                raise
            raise self._refusal(tag, str(error) or type(error).__name__) from error
        checked = self.__dict__.setdefault(_CHECKED, set())
        if element.tag not in checked:
            element = self._checked(element)
            checked.add(element.tag)
        return element

    def _require_items(self, tag: BaseTag | None) -> None:
        """Refuse a sequence of more items than memory may be taken for, before pydicom makes a data set of each."""
        raw = None if tag is None else self._dict.get(tag)
        if isinstance(raw, RawDataElement) and isinstance(raw.value, bytes) and len(raw.value) > _FEW_BYTES:
            kind = _kind_of(raw.tag)
            if raw.VR == "SQ" or (raw.VR is None and kind is not None and kind.vr == "SQ"):
                file, count = self.__dict__.get(_GUARD, ""), raw.value.count(_ITEM[raw.is_little_endian])
                require(count * _PER_ITEM, f"a sequence of {count} items in {file}", (file,))

    def _checked(self, element: DataElement) -> DataElement:
        """The element with a value of its kind, its items guarded."""
        value = element.value
        if isinstance(value, Sequence):
            for item in value:
                guard(item, self.__dict__.get(_GUARD, ""))
        kind = None if element.tag.is_private else _kind_of(element.tag)
        if kind is None or _is_empty(value):
            return element
        try:
            given = _as_kind(element, kind)
        except ValueError as error:
            raise self._refusal(element.tag, str(error)) from error
        if given is value:
            return element
        if kind.vr == "PN" and isinstance(given, str):
            given = PersonName(given)  # what pydicom can write again
        own = DataElement(element.tag, kind.vr.split()[0], given, already_converted=True)
        self._dict[element.tag] = own
        return own

    def _refusal(self, tag: BaseTag, why: str) -> UnreadableValue:
        file, kind = self.__dict__.get(_GUARD, ""), _kind_of(tag)
        name = "a private element" if kind is None else dictionary_description(tag)
        raw = self._dict.get(tag)
        shown = show(getattr(raw, "value", None))
        words = f"{name} ({tag.group:04X},{tag.element:04X}) of {file} cannot be read: {_short(why)}"
        is_number = kind is not None and kind.vr in _NUMBERS
        return unreadable(file, f"{words}. There stands {shown}" if shown not in words else words, is_number=is_number)


class _GuardedFile(_GuardedDataset, FileDataset):
    """The data set of a file, guarded."""


def guard(dataset: Dataset, file: str) -> None:
    """Make a data set one whose values are checked. file: its name, for refusals."""
    if isinstance(dataset, _GuardedDataset):
        return
    dataset.__dict__[_GUARD] = file
    if type(dataset) is FileDataset:
        dataset.__class__ = _GuardedFile
    elif type(dataset) is Dataset:
        dataset.__class__ = _GuardedDataset


def plain_element(dataset: Dataset, key: Any) -> DataElement:
    """The element of a keyword or tag as pydicom gives it, unguarded. Raises whatever it raises."""
    dataset.__dict__[_PLAIN] = (
        True  # pydicom asks for elements while it turns one into a value: its VR may follow from another
    )
    try:
        element: DataElement = dataset[key]
        return element
    finally:
        del dataset.__dict__[_PLAIN]


def unreadable(file: str, words: str, *, is_number: bool = False) -> UnreadableValue:
    """Make the refusal of a value, or of a data set.

    Args:
        file: its name.
        words: what cannot be read, and why; they name the file.
        is_number: whether a number was to stand there, which has a code of its own.

    Returns: UNREADABLE_NUMBER or CORRUPT_FILE.
    """
    hint = "The file was probably cut off, or changed by the program that wrote it; export or copy it again."
    code = Code.UNREADABLE_NUMBER if is_number else Code.CORRUPT_FILE
    return UnreadableValue(Finding(code, words, hint, where=(file,), clause="PS3.5 section 6.2"))


def show(value: Any) -> str:
    """What stands there, short and on one line; "nothing" where that is so."""
    if isinstance(value, bytes):
        value = value[: 2 * _SHOWN].decode("latin-1").rstrip("\0 ")
    return f"“{_short(str(value))}”" if value not in (None, "") else "nothing"


def _short(text: str) -> str:
    text = escape_controls(text[: 4 * _SHOWN])
    return text if len(text) <= 3 * _SHOWN else text[: 3 * _SHOWN] + "…"


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | bytes | MultiValue | Sequence | list) and len(value) == 0)


def _as_kind(element: DataElement, kind: _Kind) -> Any:
    """The value as one of its kind: the very same where it is. Raises ValueError with the reason."""
    value, vr = element.value, str(element.VR)
    if (kind.vr == "SQ") != isinstance(value, Sequence):
        raise ValueError(f"it is written with VR {vr}, and is {'a' if kind.vr == 'SQ' else 'no'} sequence")
    if kind.vr in _NUMBERS:
        value = _numbers(value, vr)
    elif kind.vr in _TEXTS:
        value = _texts(value)
    elif kind.vr in _BYTES and not isinstance(value, bytes):
        raise ValueError(f"it is written with VR {vr}, and holds bytes")
    return _single(value, kind) if kind.is_single and isinstance(value, MultiValue | list) else value


def _numbers(value: Any, vr: str) -> Any:
    several = value if isinstance(value, MultiValue | list) else [value]
    if all(isinstance(one, int | float) and (vr not in _AS_TEXT or is_finite_number(one)) for one in several):
        return value
    if isinstance(value, bytes):
        several = value.decode("ascii", "replace").rstrip("\0 ").split("\\")
    found = []
    for one in several:
        text = str(one).strip()
        try:
            number = float("" if "_" in text else text)
        except ValueError:
            raise ValueError(f"“{_short(text)}” is not a number") from None
        if not isfinite(number):
            raise ValueError(f"“{_short(text)}” is not a finite number")
        found.append(int(number) if number.is_integer() and "." not in text else number)
    return found if len(found) > 1 else found[0]


def _texts(value: Any) -> Any:
    several = value if isinstance(value, MultiValue | list) else [value]
    if all(isinstance(one, str | PersonName) for one in several):
        return value
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").rstrip("\0 ")
    return "\\".join(str(one) for one in several)


def _single(value: Any, kind: _Kind) -> Any:
    """The one value that there is to be, of several. Raises ValueError."""
    if kind.vr in _TEXTS:
        return "\\".join(str(one).strip() for one in value)
    if all(one == value[0] for one in value):
        return value[0]
    raise ValueError(f"it has {len(value)} different values, and is to have one")
