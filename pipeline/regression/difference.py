"""Say what differs between two golden records: what it was and what it is, in mm, voxels and words.

Rules:
- Input files come first, since a changed file explains what follows.
- Affines are compared by the place of the corners; the same grid in another order of its axes is said to be that.
- Numbers may differ by 1e-9: the last bits of a sum are the processor's.
- A witness of another version that says the same is a note, and no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..geometry.affine import axis_codes, corner_distance
from ..geometry.index_map import find_index_map
from .golden import Golden
from .label_difference import compare_labels, is_same

_SHOWN_DIGITS = 12  # of a SHA-256, which tell it from any other here
_SAME_GRID_MM = 1e-6
_HANDLED = ("Message", "Witnesses", "Findings", "Labels", "Affine", "VoxelsSHA256", "PlanesCRC32")


class Difference(NamedTuple):
    """One thing that is not what it was. kind: of what. subject: the file or result. was, now: as recorded."""

    kind: str
    subject: str
    words: str
    was: Any = None
    now: Any = None

    @property
    def names_result(self) -> bool:
        """Whether its words do not name what it is about."""
        return self.subject not in ("", self.words[: len(self.subject)])


def find_differences(was: Golden, now: Golden) -> list[Difference]:
    """List what differs between two golden records of one case. was: the one that was written. now: of this run."""
    found = [*_compare_inputs(was["Inputs"], now["Inputs"])]
    if was["Options"] != now["Options"]:
        words = f"the options were {' '.join(was['Options']) or 'none'}, and are {' '.join(now['Options']) or 'none'}"
        found.append(Difference("options", "", words, was["Options"], now["Options"]))
    before, after = _by_name(was["Results"]), _by_name(now["Results"])
    for name in [*before, *(name for name in after if name not in before)]:
        found += _compare_results(name, before.get(name), after.get(name))
    return found


def find_notes(was: Golden, now: Golden) -> list[str]:
    """List what is to be known though nothing differs: witnesses of another version that say the same."""
    before, after = _by_name(was["Results"]), _by_name(now["Results"])
    notes = []
    for name in before.keys() & after.keys():
        for witness, then, today in _witnesses(before[name], after[name]):
            if then and today and then["Version"] != today["Version"] and _mind(then) == _mind(today):
                notes.append(f"{witness} says the same in version {today['Version']} as in {then['Version']}")
    return sorted(set(notes))


def _compare_inputs(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    """Compare SHA-256 by name."""
    gone = {name: digest for name, digest in before.items() if name not in after}
    new = {name: digest for name, digest in after.items() if name not in before}
    for name, digest in before.items():
        if name in after and after[name] != digest:
            words = f"{name} changed: its SHA-256 was {_short(digest)}, and is {_short(after[name])}"
            yield Difference("input", name, words, digest, after[name])
    for name, digest in gone.items():
        other = next((one for one, its in new.items() if its == digest), None)
        if other is None:
            yield Difference("input", name, f"{name} is gone (SHA-256 {_short(digest)})", digest)
        else:
            del new[other]
            yield Difference("input", name, f"{name} is now called {other}", name, other)
    for name, digest in new.items():
        yield Difference("input", name, f"{name} is new (SHA-256 {_short(digest)})", None, digest)


def _short(digest: str) -> str:
    return digest[:_SHOWN_DIGITS] + "…"


def _by_name(results: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Results by what names them: a file by its name, others by what they are, and their folder where there is one."""
    named: dict[str, Mapping[str, Any]] = {}
    for result in results:
        what = "refusal" if result["Verdict"] == "REFUSED" else "image"
        place = result.get("Series") or result.get("Folder", ".")
        name = result.get("File") or (what if place == "." else f"{what} {place}")
        count = sum(other.split("#")[0].strip() == name for other in named)
        named[f"{name} #{count + 1}" if count else name] = result
    return named


def _compare_results(name: str, was: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[Difference]:
    if was is None or now is None:
        result = was or now or {}
        words = f"{name} is {'new' if was is None else 'gone'} ({_outline(result)})"
        yield Difference("result", name, words, was, now)
        return
    for key in [*was, *(key for key in now if key not in was)]:
        if key not in _HANDLED and not is_same(was.get(key), now.get(key)):
            words = f"{key} was {_written(key, was.get(key))}, and is {_written(key, now.get(key))}{_message(key, now)}"
            yield Difference(key, name, words, was.get(key), now.get(key))
    yield from _compare_affines(name, was, now)
    for words, then, today in compare_labels(was.get("Labels", []), now.get("Labels", [])):
        yield Difference("label", name, words, then, today)
    yield from _compare_voxels(name, was, now)
    yield from _compare_witnesses(name, was, now)
    for code in sorted({*was.get("Findings", [])} ^ {*now.get("Findings", [])}):
        is_gone = code in was.get("Findings", [])
        yield Difference("finding", name, f"the finding {code} is {'gone' if is_gone else 'new'}", is_gone, not is_gone)


def _outline(result: Mapping[str, Any]) -> str:
    message = f": {result['Message']}" if "Message" in result else ""
    return f"{result['Verdict']} {result.get('Code', '')}".strip() + message


def _message(key: str, now: Mapping[str, Any]) -> str:
    return f": {now['Message']}" if key == "Code" and "Message" in now else ""


def _written(key: str, value: Any) -> str:
    if value is None:
        return "not there"
    if key == "Shape":
        return " × ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(
            f"{name} {one:g}" if isinstance(one, float) else f"{name} {one}" for name, one in value.items()
        )
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _compare_affines(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    if is_same(was.get("Affine"), now.get("Affine")) or "Affine" not in was or "Affine" not in now:
        return
    before, after = np.array(was["Affine"]), np.array(now["Affine"])
    mapped = find_index_map(after, now["Shape"][:3], before, was["Shape"][:3])
    if mapped is not None and mapped.is_onto and mapped.moved_mm < _SAME_GRID_MM:
        words = f"the axes are stored in another order: they were {axis_codes(before)}, and are {axis_codes(after)}"
    else:
        moved = corner_distance(before, after, was["Shape"][:3])
        shift = ", ".join(f"{x:+.4f}" for x in after[:3, 3] - before[:3, 3])
        words = f"the affine moved by {moved:.4f} mm at its farthest corner (its first voxel by {shift} mm in RAS)"
    yield Difference("affine", name, words, was["Affine"], now["Affine"])


def _compare_voxels(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    if was.get("VoxelsSHA256") == now.get("VoxelsSHA256") or "VoxelsSHA256" not in was or "VoxelsSHA256" not in now:
        return
    before, after = was["PlanesCRC32"], now["PlanesCRC32"]
    words = f"the voxels are others ({len(before)} planes were, {len(after)} are)"
    if len(before) == len(after):
        planes = [k for k, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
        words = f"voxels differ in {len(planes)} of {len(before)} planes: k = {_ranges(planes)}"
    yield Difference("voxels", name, words, was["VoxelsSHA256"], now["VoxelsSHA256"])


def _ranges(numbers: Sequence[int]) -> str:
    """[1, 2, 3, 7] -> 1-3, 7"""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _compare_witnesses(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for witness, then, today in _witnesses(was, now):
        if (then is None or today is None) or _mind(then) != _mind(today):
            words = f"{witness} {_judgement(then)} then, and {_judgement(today)} now"
            yield Difference("witness", name, words, then, today)


WitnessWords = Mapping[str, str]


def _witnesses(
    was: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, WitnessWords | None, WitnessWords | None]]:
    before, after = was.get("Witnesses", {}), now.get("Witnesses", {})
    for name in [*before, *(name for name in after if name not in before)]:
        yield name, before.get(name), after.get(name)


def _mind(one: WitnessWords) -> dict[str, str]:
    """What a witness says, whatever version it is of."""
    return {key: value for key, value in one.items() if key != "Version"}


def _judgement(one: WitnessWords | None) -> str:
    if one is None:
        return "was not asked"
    return f"{one['Version']} {one['Status']}: {one['Words']}".strip()
