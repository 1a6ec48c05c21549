"""Show a data set by the values that may be shown: numbers, known words, and numbers in place of everything that may identify.

Rules:
- Numbers keep the digits that stand in the file. UIDs, texts, dates and times become numbers that are the same for the same
  value within a description, and tell nothing else of it.
- An attribute that is not listed, or is private, is counted with its VR and length.
- What cannot be read as its VR is shown by its length. Nothing is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .contour_outline import outline
from .shown_attributes import COUNTERS, LARGEST_COUNTER, MAKERS, SHOWN, WORDS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_DECIMALS, _TIMES = ("DS", "IS"), ("DA", "TM", "DT")
_BINARY = ("US", "SS", "UL", "SL", "FD", "FL", "SV", "UV", "US or SS")
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}


class Hidden:
    """Counts the elements that are not shown. by_name: of (tags from the outside in, VR): smallest and largest length, how many."""

    def __init__(self) -> None:
        self.by_name: dict[tuple[str, str], list[int]] = {}

    def count(self, name: str, vr: str, length: int) -> None:
        """Count one element.

        Args:
            name: its tag, below those of the sequences that hold it.
            vr: as it stands in the file.
            length: of its value in bytes; the items of a sequence.
        """
        found = self.by_name.setdefault((name, vr), [length, length, 0])
        found[:] = min(found[0], length), max(found[1], length), found[2] + 1

    def as_json(self) -> list[dict[str, Any]]:
        """Make the JSON of all that were counted."""
        return [
            {"Tag": name, "VR": vr, "Bytes": least if least == most else [least, most], "Count": count}
            for (name, vr), (least, most, count) in sorted(self.by_name.items())
        ]


class Numbering:
    """The numbers that stand for UIDs, texts and times of one description."""

    def __init__(self) -> None:
        self._uids: dict[str, int] = {}
        self._texts: dict[str, int] = {}
        self._ranked: dict[str, list[dict[str, Any]]] = {}

    def uid(self, value: str) -> Any:
        """The keyword of a UID of the standard; a number for any other."""
        from pydicom.uid import UID_dictionary

        known = UID_dictionary.get(value)
        if known:
            return known[4] or value
        return {"UID": self._uids.setdefault(value, len(self._uids) + 1)}

    def text(self, value: str) -> dict[str, int]:
        """A number for a text."""
        return {"Text": self._texts.setdefault(value, len(self._texts) + 1)}

    def rank(self, keyword: str, value: str) -> dict[str, Any]:
        """What becomes the rank of a value among those of its attribute, once `finish` was called."""
        made: dict[str, Any] = {"Rank": value}
        self._ranked.setdefault(keyword, []).append(made)
        return made

    def finish(self) -> None:
        """Replace what was ranked by its rank, from 1."""
        for keyword, ranked in self._ranked.items():
            by_value = sorted({made["Rank"] for made in ranked}, key=float if keyword in COUNTERS else str)
            ranks = {value: n for n, value in enumerate(by_value, 1)}
            for made in ranked:
                made["Rank"] = ranks[made["Rank"]]
        self._ranked.clear()


class Describer:
    """Describes data sets, with one numbering for all. hidden: counts what is not shown; to be replaced for each series."""

    def __init__(self) -> None:
        self.numbering = Numbering()
        self.hidden = Hidden()

    def describe(self, dataset: Dataset, above: str = "") -> dict[str, Any]:
        """Describe a data set, but for its pixels.

        Args:
            dataset: as pydicom reads it.
            above: the tags of the sequences that hold it.

        Returns: keyword to value, in the order of the tags.
        """
        from pydicom.datadict import dictionary_VR, keyword_for_tag

        found: dict[str, Any] = {}
        for tag in sorted(dataset.keys()):
            name = f"{above}({tag.group:04x},{tag.element:04x})"
            keyword = keyword_for_tag(tag)
            if tag in _PIXELS or tag.element == 0:
                continue
            if keyword == "ContourData":
                found[keyword] = self._contour(dataset)
            elif keyword in SHOWN and not tag.is_private:
                found[keyword] = self._value(dataset, keyword, dictionary_VR(tag), name)
            else:
                raw = dataset.get_item(tag)
                self.hidden.count(name, str(raw.VR or "UN"), _length_of(raw))
        return found

    def _value(self, dataset: Dataset, keyword: str, vr: str, name: str) -> Any:
        raw = dataset.get_item(keyword)
        try:
            value = dataset[keyword].value
        except Exception:  # a damaged value makes a parser stumble in more ways than can be listed
            return {"Unreadable": _length_of(raw)}
        if vr == "SQ":
            items = value if not isinstance(value, bytes | str | None) else ()
            return [self.describe(item, f"{name}>") for item in items]
        if value is None or (isinstance(value, str | bytes | list) and not len(value)):
            return None
        several = list(value) if _is_many(value) else [value]
        shown = [self._one(keyword, vr, one) for one in several]
        return shown[0] if len(shown) == 1 else shown or None

    def _one(self, keyword: str, vr: str, value: Any) -> Any:
        text = str(value).strip(" \0")
        if isinstance(value, bytes):
            return {"Unreadable": len(value)}
        if vr == "UI":
            return self.numbering.uid(text)
        if vr in _TIMES:
            return self.numbering.rank(keyword, text)
        if keyword in COUNTERS and _NUMBER.fullmatch(text) and abs(float(text)) > LARGEST_COUNTER:
            return self.numbering.rank(keyword, text)
        if vr in _BINARY:
            return value if isinstance(value, int | float) else {"Unreadable": len(text)}
        if vr in _DECIMALS:
            text = str(getattr(value, "original_string", text)).strip(" \0")
            return text if _NUMBER.fullmatch(text) else {"Unreadable": len(text)}
        if vr == "AT":
            return f"{int(value):08x}" if not value.is_private else {"Unreadable": 4}
        if keyword == "Manufacturer":
            maker = next((maker for maker in MAKERS if re.search(rf"\b{maker}\b", text.upper())), "")
            return maker or self.numbering.text(text)
        return text if text in WORDS else self.numbering.text(text)

    def _contour(self, dataset: Dataset) -> dict[str, Any]:
        """Describe Contour Data: how many numbers it has, and its outermost points as they are written."""
        raw = dataset.get_item("ContourData")
        try:
            value = dataset["ContourData"].value
            texts = [str(getattr(v, "original_string", v)).strip() for v in (value if _is_many(value) else [value])]
        except Exception:  # as above
            return {"Unreadable": _length_of(raw)}
        if not all(map(_NUMBER.fullmatch, texts)):
            return {"Unreadable": _length_of(raw)}
        return {"Numbers": len(texts), "Outline": outline(texts)}


def _is_many(value: Any) -> bool:
    return (
        isinstance(value, Iterable)
        and not isinstance(value, str | bytes)
        and hasattr(value, "__len__")
        and _is_plain(value)
    )


def _is_plain(value: Any) -> bool:
    """Whether an iterable is a list of values; a person's name is one value, of several components."""
    return type(value).__name__ != "PersonName"


def _length_of(element: Any) -> int:
    """How many bytes the value of an element has, or items a sequence."""
    length = getattr(element, "length", None)
    if length is not None and length != 0xFFFFFFFF:
        return int(length)
    value = element.value
    if isinstance(value, bytes | str):
        return len(value)
    return len(value) if hasattr(value, "__len__") else len(str(value or ""))
