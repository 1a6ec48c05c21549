"""Choose names that stay apart where a data set keeps letters and digits alone.

Rules:
- Two names are one where their letters and digits are, regardless of case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


def folded(name: str) -> str:
    """What is left of a name to compare it by."""
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def first_free(names: Iterable[str], taken: Collection[str]) -> str:
    """The first of an endless row of names that is not taken. taken: folded names."""
    return next(name for name in names if folded(name) and folded(name) not in taken)
