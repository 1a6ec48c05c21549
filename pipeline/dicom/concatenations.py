"""Find what lacks of an instance that is spread over several files, a concatenation (PS3.3 C.7.6.16.2.2.4).

Rules:
- Its parts are numbered from 1 on. A number that is not there, or is there twice in different files, is a lost plane: those
  of a last part leave no gap.
- Where nothing says how many parts there are, the highest number does. Parts without any number prove nothing.
- A SEG that is spread is refused where it is read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from ..core.findings import Code, Finding
from .header import Header

_HINT = (
    "The planes of a part that is lost at an end leave no gap. Export the series again, with every file. convert "
    "--on-unread leave-out goes on without it, and the result stays unconfirmed."
)


def find_lost_parts(kind: str, headers: Iterable[Header]) -> list[Finding]:
    """Find the concatenations of a series that are not whole.

    Args:
        kind: of the series; only images are looked at.
        headers: of all its files.

    Returns:
        An error for each.
    """
    parts: defaultdict[str, list[Header]] = defaultdict(list)
    for header in headers if kind == "image" else ():
        if "ConcatenationUID" in header.values:
            parts[header.values["ConcatenationUID"]].append(header)
    return [_error(why, members) for members in parts.values() if (why := _why_not_whole(members))]


def _why_not_whole(parts: list[Header]) -> str:
    """Why the parts are no whole instance, in words; "" where they are."""
    numbers = Counter(_number(part, "InConcatenationNumber") for part in parts)
    totals = {_number(part, "InConcatenationTotalNumber") for part in parts} - {0}
    nameless = numbers.pop(0, 0)
    if len(totals) > 1:
        return f"In-concatenation Total Number (0020,9163) is {' and '.join(map(str, sorted(totals)))}"
    count = max([*numbers, *totals], default=0)
    twice = sorted(number for number, files in numbers.items() if files > 1)
    if twice:
        return f"{numbers[twice[0]]} different files are part {twice[0]} of it"
    if len(numbers) + nameless == count or not count:
        return ""
    if len(numbers) + nameless > count:
        return f"there are {len(parts)} parts, and In-concatenation Total Number (0020,9163) is {count}"
    lost = next(number for number in range(1, count + 1) if number not in numbers)
    which = f", and part {lost} is not here" if not nameless else ""
    return f"it has {count} parts, of which {len(parts)} are here{which}"


def _number(part: Header, keyword: str) -> int:
    """A number of a part, 0 where it has none that can be read."""
    value = part.get(keyword)
    return value if isinstance(value, int) and value > 0 else 0


def _error(why: str, parts: list[Header]) -> Finding:
    names = sorted(part.path.name for part in parts)
    message = f"the concatenation that {names[0]} is a part of is not whole: {why}"
    return Finding(Code.FILE_UNREAD, message, _HINT, where=tuple(names), clause="PS3.3 C.7.6.16.2.2.4")
