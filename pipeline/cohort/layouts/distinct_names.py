"""Make names fit for a layout without making two of them one.

Rules:
- Names are compared regardless of case, as Windows and macOS compare them.
- Where two names would be the same, each gets a short hash of what it was made from; which one came first never matters.
- The same names give the same result in any order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import sha256

from ..case import Place

Fit = Callable[[str], str]  # a name that is valid in a layout; it may be empty, and two may become one
_DIGITS = (6, 16, 64)  # of a hash: no more than are needed


def distinct_names(names: Iterable[str], fit: Fit, taken: Collection[str] = (), mark: str = "-") -> dict[str, str]:
    """Give each name a valid one of its own.

    Args:
        names: any text; equal ones get one answer.
        fit: makes a text valid.
        taken: names that none may get, regardless of case.
        mark: what parts a name from the hash that is added; with letters and digits it must stay valid.

    Returns: the new name of each.
    """
    fitted = {name: fit(name) for name in names}
    forbidden = {name.casefold() for name in taken}
    for digits in _DIGITS:
        count = Counter(new.casefold() for new in fitted.values())
        for name, new in fitted.items():
            if not new or new.casefold() in forbidden or count[new.casefold()] > 1:
                fitted[name] = mark.join(part for part in (fit(name), _hash(name)[:digits]) if part)
    return fitted


def numbered_names(names: Sequence[str], fit: Fit, taken: Collection[str] = (), mark: str = "-") -> tuple[str, ...]:
    """Give each name of a list a valid one of its own, where equal names are different things.

    Args:
        names: in their order; the second and later ones of equal names get a number.
        fit: as for `distinct_names`.
        taken: as for `distinct_names`.
        mark: as for `distinct_names`; it parts a name from its number too.

    Returns: the new names, in order.
    """
    seen: Counter[str] = Counter()
    told_apart = []
    for name in names:
        seen[name] += 1
        told_apart.append(name if seen[name] == 1 else f"{name}{mark}{seen[name]}")
    if len(set(told_apart)) < len(told_apart):  # one is called as another is numbered
        told_apart = [f"{name}{mark}{index}" for index, name in enumerate(names, 1)]
    new = distinct_names(told_apart, fit, taken, mark)
    return tuple(new[name] for name in told_apart)


def distinct_places(
    places: Sequence[Place], fit: Fit, path: Callable[[Place], str], mark: str = "-"
) -> tuple[Place, ...]:
    """Give the places of all cases valid names.

    Args:
        places: of every case of the data set.
        fit: makes a name valid.
        path: of what names a case in the layout, without channel and ending.
        mark: as for `distinct_names`.

    Returns: the new places, in order: two subjects stay two, two sessions of a subject too, and no two cases share a path.
        Where names alone do not do it, the case is told from the others by its own name, with a hash.
    """
    subjects = distinct_names((place.subject for place in places), fit, mark=mark)
    sessions_of, names_of = defaultdict(set), defaultdict(set)
    for place in places:
        sessions_of[place.subject].add(place.session)
        names_of[place.subject, place.session].add(place.name)
    sessions = {subject: distinct_names(found - {""}, fit, mark=mark) for subject, found in sessions_of.items()}
    names = {key: distinct_names(found, fit, mark=mark) for key, found in names_of.items()}
    new = [
        Place(
            subjects[place.subject],
            sessions[place.subject].get(place.session, ""),
            names[place.subject, place.session][place.name],
            place.alone,
        )
        for place in places
    ]
    for digits in _DIGITS:
        count = Counter(path(place).casefold() for place in new)
        for index, place in enumerate(places):
            if count[path(new[index]).casefold()] > 1:
                name = f"{names[place.subject, place.session][place.name]}{mark}{_hash(*place[:3])[:digits]}"
                new[index] = new[index]._replace(name=name, alone=False)
    return tuple(new)


def _hash(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()
