"""Check what a caller gives: a choice, a number, one name or path or many of them.

Rules:
- A refusal names the field, the value and what is allowed, and is a `PipelineError` like every other.
- One str or Path counts as a list of one: iterating over its letters is never what was meant.
- An empty name or path is refused: an empty path would mean the current folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `--help` comes past here: what only checks need is imported by them
    from pathlib import Path

    from .findings import PipelineError

    OneOrManyPaths = str | Path | Iterable[str | Path]
    OneOrManyNames = str | Iterable[str]


def bad_option(field: str, value: object, allowed: str) -> PipelineError:
    """Make the refusal of one value of one field.

    Args:
        field: with its type, such as "Policy.orient".
        value: that was given.
        allowed: what it may be, in words.

    Returns: BAD_OPTION, to be raised.
    """
    from .findings import Code, refuse

    return refuse(
        Code.BAD_OPTION, f"{field} is {allowed}, not {value!r}", f"Give {field} such a value.", where=(field,)
    )


def check_choice(field: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse what is not one of the choices; True is not 1.

    Args:
        field: with its type, such as "Policy.on_tilt".
        value: that was given.
        choices: what it may be.

    Raises: PipelineError BAD_OPTION.
    """
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise bad_option(field, value, "one of " + ", ".join(str(c) for c in choices))


def check_flag(field: str, value: object) -> None:
    """Refuse what is neither True nor False."""
    if type(value) is not bool:
        raise bad_option(field, value, "True or False")


def check_number(field: str, value: object, *, above: float = 0.0, most: float | None = None) -> None:
    """Refuse what is not a finite number above one bound and up to another.

    Args:
        field: with its type, such as "Policy.corner_limit_mm".
        value: that was given.
        above: the bound that it must exceed.
        most: the bound that it may reach; None for none.

    Raises: PipelineError BAD_OPTION.
    """
    from .numbers import is_finite_number

    if not is_finite_number(value) or not above < value or not (most is None or value <= most):
        raise bad_option(field, value, f"a number above {above:g}" + ("" if most is None else f" and up to {most:g}"))


def check_whole(field: str, value: object, first: int | None = None, last: int | None = None) -> None:
    """Refuse what is not a whole number within its bounds.

    Args:
        field: with its type, such as "Policy.gzip_level".
        value: that was given.
        first: the lower bound, itself allowed; None for none.
        last: the upper bound, itself allowed; None for none.

    Raises: PipelineError BAD_OPTION.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not (first is None or first <= value) or not (last is None or value <= last):  # type: ignore[operator]
        bounds = "" if first is None else f" from {first} up" if last is None else f" from {first} to {last}"
        raise bad_option(field, value, "a whole number" + bounds)


def check_text(field: str, value: object) -> None:
    """Refuse what is not a text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise bad_option(field, value, "a text that is not empty")


def names(field: str, given: Any) -> tuple[str, ...]:
    """One name or several, as a tuple; numbers count as names."""
    several = (given,) if isinstance(given, str | int) else given
    if not isinstance(several, Iterable):
        raise bad_option(field, given, "a name, or a list of names")
    found = [str(n) if isinstance(n, int) and not isinstance(n, bool) else n for n in several]
    for name in found:
        check_text(field, name)
    return tuple(map(str, found))


def path(field: str, given: Any) -> Path:
    """One path."""
    from pathlib import Path

    if not isinstance(given, str | Path) or given == "" or "\0" in str(given):
        raise bad_option(field, given, "a path")
    return Path(given)


def paths(field: str, given: Any) -> tuple[Path, ...]:
    """One path or several, as a tuple."""
    from pathlib import Path

    several = (given,) if isinstance(given, str | Path) else given
    if not isinstance(several, Iterable) or isinstance(several, bytes):
        raise bad_option(field, given, "a path, or a list of paths")
    return tuple(path(field, one) for one in several)


def inputs(given: Any) -> tuple[Path, ...]:
    """What is to be read: one path or several. Raises BAD_OPTION for none at all."""
    found = paths("inputs", given)
    if not found:
        raise bad_option("inputs", given, "a folder or file, or a list of them, with something in it")
    return found
