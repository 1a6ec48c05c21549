"""Turn the words for the order of an array into one of the 48 orders of a grid, and back.

Rules:
- i, j and k are column, row and plane of the grid as acquired, planes ascending along the normal. "kji" is NumPy's stack of
  planes; a minus says that an axis runs backwards ("-kji": the planes descend).
- Three letters such as "LPS" say where the axes of the array increase to in the patient, as the axis nearest to each does.
- An order of planes by number or name counts where it is ascending or descending in space; another has no affine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..core import arguments
from ..core.arguments import bad_option
from ..core.findings import Code, PipelineError, refuse
from ..core.policy import checked_codes
from ..dicom.frame import Frame
from ..geometry.affine import Matrix
from ..geometry.axis_order import AXES, Order, order_for

Planes = Literal["position", "instance-number", "file-name"]
_PLANES = ("position", "instance-number", "file-name")
_WORDS = {"i": "column", "j": "row", "k": "plane"}
_INDEX_WORD = re.compile(r"(-?[ijk])(-?[ijk])(-?[ijk])")
_ALLOWED = 'a word such as "ijk" (column, row, plane), "kji" (plane, row, column), "-kji" (planes descending) or "LPS"'


def is_by_index(axes: str) -> bool:
    """Whether a word is one of i, j and k, and not of directions in the patient."""
    return _INDEX_WORD.fullmatch(axes) is not None


def order_of(axes: object, ras: Matrix) -> Order:
    """Find the order that a word means.

    Args:
        axes: the word.
        ras: 4 x 4, index to RAS mm, of the block that the array is of; it decides what "LPS" means.

    Returns: the order of the array against that block.

    Raises: PipelineError BAD_OPTION.
    """
    if not isinstance(axes, str):
        raise bad_option("axes", axes, _ALLOWED)
    found = _INDEX_WORD.fullmatch(axes)
    if found and len({part[-1] for part in found.groups()}) == len(AXES):
        first, second, third = (AXES.index(part[-1]) for part in found.groups())
        back = tuple(part.startswith("-") for part in found.groups())
        return Order((first, second, third), (back[0], back[1], back[2]))
    try:
        return order_for(ras, checked_codes(axes))
    except PipelineError as error:
        raise bad_option("axes", axes, _ALLOWED) from error


def word_of(order: Order) -> str:
    """The word for an order, such as "-kji"."""
    return "".join(("-" if flip else "") + AXES[axis] for axis, flip in zip(order.axes, order.flipped, strict=True))


def describe(order: Order) -> str:
    """The word and what it means: “-kji” (plane backwards, row, column)."""
    axes = zip(order.axes, order.flipped, strict=True)
    return (
        f"“{word_of(order)}” ({', '.join(_WORDS[AXES[axis]] + (' backwards' if flip else '') for axis, flip in axes)})"
    )


def with_planes(
    order: Order, planes: Planes | Sequence[str | Path], frames: Sequence[Frame | None], title: str
) -> Order:
    """Take into account in which order the planes of an array follow each other.

    Args:
        order: of an array whose planes are ascending along the normal.
        planes: "position" for that; "instance-number" or "file-name" for what they were sorted by; or the files in their order.
        frames: the plane at each k of the grid, or None.
        title: of the series, for messages.

    Returns: the order of the array.

    Raises: PipelineError BAD_OPTION for another word or for files that are not those of the planes, ARRAY_ORDER where planes in
    that order are neither ascending nor descending, or have no such order.
    """
    ks = _sequence(planes, frames, title)
    if ks in ([], sorted(ks)):
        return order
    if ks == sorted(ks, reverse=True):
        return Order(order.axes, _toggled(order))
    turn = next(n for n in range(1, len(ks)) if abs(ks[n] - ks[n - 1]) != 1)
    by = f"by {planes}" if isinstance(planes, str) else "of these files"
    raise refuse(
        Code.ARRAY_ORDER,
        f"the planes of {title} in the order {by} are not in the order of their positions: after {turn} planes comes the one "
        f"at k = {ks[turn]}, and before it the one at k = {ks[turn - 1]}; no affine describes such an array",
        "Sort the planes by position: Image Position (Patient) along the normal. verimask.read gives them so.",
        where=(title,),
        clause="PS3.3 C.7.6.2.1.1",
    )


def _toggled(order: Order) -> tuple[bool, bool, bool]:
    """The directions with the planes the other way round."""
    a, b, c = (flip != (axis == AXES.index("k")) for axis, flip in zip(order.axes, order.flipped, strict=True))
    return a, b, c


def _sequence(planes: Planes | Sequence[str | Path], frames: Sequence[Frame | None], title: str) -> list[int]:
    """The k of each plane of the array, in the array's order; [] for ascending."""
    if isinstance(planes, str) and planes == "position":
        return []
    there = [(k, frame) for k, frame in enumerate(frames) if frame is not None]
    if len(there) != len(frames):
        raise _no_sequence(title, "some planes of the grid have no file: they were filled or resampled")
    if not isinstance(planes, str):
        return _sequence_of_files(planes, there, title)
    arguments.check_choice("planes", planes, _PLANES)
    if planes == "file-name":
        return [k for k, _ in sorted(there, key=lambda pair: (pair[1].path.name, pair[1].number))]
    numbers = [frame.get("InstanceNumber") for _, frame in there]
    if len({frame.path for _, frame in there}) == 1:
        numbers = [frame.number for _, frame in there]
    if not all(isinstance(n, int | float) for n in numbers) or len(set(numbers)) < len(numbers):
        raise _no_sequence(title, "the Instance Numbers are missing or repeat")
    return sorted(range(len(there)), key=lambda k: numbers[k])


def _sequence_of_files(files: Sequence[str | Path], there: list[tuple[int, Frame]], title: str) -> list[int]:
    """The k of each of these files."""
    given = [os.path.realpath(path) for path in arguments.paths("planes", files)]
    at = {os.path.realpath(frame.path): k for k, frame in there}
    if len(at) < len(there):
        raise _no_sequence(title, "one file holds several planes")
    if sorted(given) != sorted(at):
        lacking = len(set(at) - set(given))
        raise bad_option(
            "planes", f"{len(given)} files", f"the {len(at)} files of {title} ({lacking} of them are missing)"
        )
    return [at[path] for path in given]


def _no_sequence(title: str, why: str) -> PipelineError:
    return refuse(
        Code.ARRAY_ORDER,
        f"the planes of {title} cannot be put in that order: {why}",
        'Say how they lie in space: axes="kji" where they ascend along the normal, "-kji" where they descend.',
        where=(title,),
    )
