"""Spoil the files of a seed: so many mutations, each drawn from its own number, so that any part of them can be made again.

Rules:
- A mutation is the name of an operation and a number; it does the same to the same files, whatever came before it.
- Nothing is drawn from anything but `random.Random` of a text: the same seed gives the same input on every machine.
- An operation that finds nothing to act on does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz import mutate_dicom, mutate_nifti, mutate_packed, mutate_text
from tests.fuzz.spoilt_files import Files, Special, spoil_bytes

Operation = Callable[[Files, Random], str]


class Mutation(NamedTuple):
    """One change: the name of its operation, and the number that everything about it is drawn from."""

    operation: str
    number: int


def drawn(seed_name: str, files: Files, campaign: int, number: int) -> list[Mutation]:
    """Draw the mutations of one input: mostly one to three, at times many."""
    rng = Random(f"{seed_name}:{campaign}:{number}")
    names = _fitting(files)
    count = rng.choice((1, 1, 1, 2, 2, 3, 5, 9))
    return [Mutation(rng.choice(names), rng.getrandbits(48)) for _ in range(count)]


def spoilt(files: Files, mutations: Sequence[Mutation]) -> tuple[Files, list[str]]:
    """Apply mutations in their order. Returns the files, and what each did in words ("" for nothing)."""
    found, words = dict(files), []
    for mutation in mutations:
        words.append(OPERATIONS[mutation.operation](found, Random(f"{mutation.operation}:{mutation.number}")))
    return found, words


def laid(files: Files, folder: Path) -> None:
    """Write the files below an empty folder."""
    made = set()
    for name, content in files.items():
        path = os.path.join(folder, name)
        parent = os.path.dirname(path)
        if parent not in made:
            os.makedirs(parent, exist_ok=True)
            made.add(parent)
        if isinstance(content, Special):
            content.make(Path(path))
        else:
            handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644)
            os.write(handle, content)
            os.close(handle)


# ------------------------------------------------------------------------------------------------ whole files


def _pick(files: Files, rng: Random) -> str:
    return rng.choice(sorted(files)) if files else ""


def _drop(files: Files, rng: Random) -> str:
    name = _pick(files, rng)
    files.pop(name, None)
    return f"{name} is gone"


def _special(files: Files, rng: Random) -> str:
    name, kind = _pick(files, rng), rng.choice(("link to nothing", "link to itself", "pipe", "folder", "socket"))
    if name:
        files[name] = Special(kind)
    return f"{name} is a {kind}"


def _copy(files: Files, rng: Random) -> str:
    name = _pick(files, rng)
    folder, _, last = name.rpartition("/")
    other = rng.choice(
        (f"copy of {last}", f"{last}.bak", f"sub/{last}", f".{last}", "DICOMDIR", "\x1b[31m\n", "x" * 200)
    )
    other = f"{folder}/{other}" if folder else other
    if name and other not in files:
        files[other] = files[name]
    return f"{name} is there again as {other!r}"


def _swap(files: Files, rng: Random) -> str:
    one, two = _pick(files, rng), _pick(files, rng)
    if one:
        files[one], files[two] = files[two], files[one]
    return f"{one} and {two} have each other's content"


def _fill(files: Files, rng: Random) -> str:
    name = _pick(files, rng)
    content = files.get(name)
    if not isinstance(content, bytes):
        return ""
    cut = rng.randrange(len(content) + 1)
    filled, words = rng.choice(
        (
            (b"", "empty"),
            (bytes(len(content)), "all zero"),
            (content[:cut], f"cut off after {cut} bytes"),
            (content[:cut] + bytes(len(content) - cut), f"zero from byte {cut} on"),
            (content * 2, "there twice in a row"),
        )
    )
    files[name] = filled
    return f"{name} is {words}"


def _splice(files: Files, rng: Random) -> str:
    """The end of one file follows the start of another."""
    one, two = _pick(files, rng), _pick(files, rng)
    first, second = files.get(one), files.get(two)
    if not isinstance(first, bytes) or not isinstance(second, bytes):
        return ""
    at, on = rng.randrange(len(first) + 1), rng.randrange(len(second) + 1)
    files[one] = first[:at] + second[on:]
    return f"{one} goes on after {at} bytes with those of {two} from {on} on"


def _bytes(files: Files, rng: Random) -> str:
    name = _pick(files, rng)
    content = files.get(name)
    if not isinstance(content, bytes):
        return ""
    files[name], words = spoil_bytes(content, rng)
    return f"{name}: {words}"


OPERATIONS: dict[str, Operation] = {
    "drop": _drop,
    "special": _special,
    "copy": _copy,
    "swap": _swap,
    "fill": _fill,
    "splice": _splice,
    "bytes": _bytes,
    **mutate_dicom.OPERATIONS,
    **mutate_text.OPERATIONS,
    **mutate_nifti.OPERATIONS,
    **mutate_packed.OPERATIONS,
}
_FILES = ("drop", "special", "copy", "swap", "fill", "splice")
_ENDINGS = {
    ".json": tuple(name for name in mutate_text.OPERATIONS if name.startswith("json")),
    ".toml": tuple(name for name in mutate_text.OPERATIONS if name.startswith("toml")),
    ".nii": tuple(mutate_nifti.OPERATIONS),
    ".gz": tuple(name for name in mutate_packed.OPERATIONS if name.startswith("gzip")),
    ".zip": tuple(name for name in mutate_packed.OPERATIONS if name.startswith("zip")),
}


def _fitting(files: Files) -> list[str]:
    """Names of operations for files of these kinds, each as often as it is to be drawn."""
    kinds = [operations for ending, operations in _ENDINGS.items() if any(name.endswith(ending) for name in files)]
    if any(isinstance(content, bytes) and content[128:132] == b"DICM" for content in files.values()):
        kinds.append(tuple(mutate_dicom.OPERATIONS))
    special = [name for operations in kinds for name in operations]
    return [*special, *_FILES, *["bytes"] * max(4, len(special) // 4)]
