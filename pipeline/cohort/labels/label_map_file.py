"""Read labels.toml and check it: every key, value, name and pattern, before a case is looked at.

Rules:
- What is wrong is refused as BAD_LABELS with the line of the TOML, or with the table it stands in.
- No name and no code may belong to two labels, or to a label and to `[ignore]`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from ...core.findings import Code, PipelineError, refuse
from ...core.text_file import read_text
from ...core.toml_file import parse_toml
from .label_map import (
    BACKGROUND,
    CODE,
    IGNORE,
    LARGEST_VALUE,
    ChannelRule,
    LabelMap,
    LabelRule,
    MaskRule,
    OverlapRule,
    digest_of,
    fold,
    fold_code,
)

_MASK_KEYS = {"names", "regex", "codes"}
_LABEL_KEYS = {*_MASK_KEYS, "value", "colour", "required", "join", "inside"}
_KEYS_OF_FILE = {"labels", "ignore", "options", "channels"}
_CHANNEL_KEYS = {"name", "modality", "description"}
_OVERLAPS: dict[str, OverlapRule] = {"order": "order", "refuse": "refuse", "regions": "regions"}
_COLOUR = re.compile("#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", re.IGNORECASE)


def read_label_text(path: Path) -> str:
    """Read the text of labels.toml, for `CohortOptions.labels`; what it says is not checked.

    Args:
        path: of the file.

    Returns: its text.

    Raises: PipelineError NO_SUCH_INPUT where it cannot be read, BAD_LABELS where it is no UTF-8.
    """
    try:
        return read_text(path)
    except OSError as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        hint = "Check the path of --labels; nothing was written."
        raise refuse(Code.NO_SUCH_INPUT, f"{path} {why}", hint, where=(str(path),)) from error
    except ValueError as error:
        raise _refusal(path.name, "is no text in UTF-8") from error


def parse_label_map(text: str, file: str = "labels.toml") -> LabelMap:
    """Read what labels.toml says, and check it.

    Args:
        text: of the file, as `read_label_text` gives it.
        file: its name, for messages.

    Returns: the label map, with the SHA-256 of the text.

    Raises: PipelineError BAD_LABELS for the first thing that is wrong in it.
    """
    try:
        given = parse_toml(text)
    except ValueError as error:
        raise _refusal(file, f"is not TOML: {error}") from error
    _refuse_unknown(file, "at its top", given, _KEYS_OF_FILE)
    tables = given.get("labels")
    if not isinstance(tables, dict) or not tables:
        raise _refusal(file, "has no [labels.NAME]", "--labels-draft writes a first one from the names that are there.")
    labels = tuple(_label(file, name, table) for name, table in tables.items())
    label_map = LabelMap(
        labels,
        _ignored(file, given.get("ignore", {})),
        _overlap(file, given.get("options", {})),
        _channels(file, given.get("channels", [])),
        digest_of(text),
    )
    _refuse_double(file, "value", ((f"[labels.{label.name}]", str(label.value)) for label in labels))
    _refuse_double(file, "name", _names(label_map))
    _refuse_double(file, "code", _codes(label_map))
    _refuse_bad_regions(file, label_map)
    return label_map


def _label(file: str, name: str, table: Any) -> LabelRule:
    """One [labels.NAME]."""
    where = f"[labels.{name}]"
    _refuse_unknown(file, where, table, _LABEL_KEYS)
    if not fold(name) or not name.isprintable() or fold(name) == BACKGROUND:
        raise _refusal(file, f"has {where}; a label needs a name that can be read, and “{BACKGROUND}” is the value 0")
    value = table.get("value")
    if type(value) is not int or not 1 <= value <= LARGEST_VALUE:
        given = "no value" if value is None else f"the value {value!r}"
        raise _refusal(file, f"has {given} in {where}; it is a whole number from 1 to {LARGEST_VALUE}")
    return LabelRule(
        name,
        value,
        _masks(file, where, table),
        _colour(file, where, table.get("colour")),
        _flag(file, where, table, "required", default=True),
        _flag(file, where, table, "join", default=False),
        _text(file, where, table, "inside"),
    )


def _masks(file: str, where: str, table: Mapping[str, Any]) -> MaskRule:
    """The names, regular expressions and codes of a table."""
    codes = _texts(file, where, table, "codes")
    odd = [code for code in codes if not CODE.fullmatch(code)]
    if odd:
        raise _refusal(file, f"has the code “{odd[0]}” in {where}; a code is SCHEME:VALUE, such as SCT:10200004")
    patterns = tuple(_pattern(file, where, text) for text in _texts(file, where, table, "regex"))
    return MaskRule(_texts(file, where, table, "names"), patterns, codes)


def _ignored(file: str, table: Any) -> MaskRule:
    """The [ignore]."""
    _refuse_unknown(file, "[ignore]", table, _MASK_KEYS)
    return _masks(file, "[ignore]", table)


def _overlap(file: str, table: Any) -> OverlapRule:
    """The overlap of [options]."""
    _refuse_unknown(file, "[options]", table, {"overlap"})
    given = table.get("overlap", "order")
    if not isinstance(given, str) or given not in _OVERLAPS:
        raise _refusal(file, f"has overlap = {given!r} in [options]; it is one of {', '.join(_OVERLAPS)}")
    return _OVERLAPS[given]


def _channels(file: str, tables: Any) -> tuple[ChannelRule, ...]:
    """Every [[channels]]."""
    if not isinstance(tables, list):
        raise _refusal(file, "has [channels]; each channel is a table of a list, [[channels]]")
    channels = []
    for number, table in enumerate(tables):
        where = f"[[channels]] number {number}"
        _refuse_unknown(file, where, table, _CHANNEL_KEYS)
        name, modality, words = (_text(file, where, table, key) for key in ("name", "modality", "description"))
        if not name or not (modality or words):
            raise _refusal(file, f"has {where} without {'modality or description' if name else 'name'}")
        channels.append(ChannelRule(name, modality, _pattern(file, where, words) if words else None))
    _refuse_double(file, "name", ((f"[[channels]] number {n}", fold(c.name)) for n, c in enumerate(channels)))
    return tuple(channels)


def _refuse_bad_regions(file: str, label_map: LabelMap) -> None:
    """Refuse regions that are none, or inside of nothing or of themselves, and `inside` where it has no effect."""
    outer = {label.name: label.inside for label in label_map.labels if label.inside}
    if label_map.overlap != "regions" and outer:
        hint = "Set overlap = “regions” in [options], or leave inside out."
        raise _refusal(file, f"has inside in [labels.{next(iter(outer))}], and its overlap is no “regions”", hint)
    if label_map.overlap == "regions" and not outer:
        hint = "Write inside = “OTHER” in the table of a label that is a part of another; or set overlap = “order”."
        raise _refusal(file, "has overlap = “regions”, and no label is inside of another", hint)
    names = {label.name for label in label_map.labels}
    if IGNORE in outer or IGNORE in outer.values():
        hint = "Leave inside out of it; or call it something else."
        raise _refusal(file, f"has [labels.{IGNORE}] among the regions; nnU-Net leaves it out of the training", hint)
    for name in outer:
        if outer[name] not in names:
            raise _refusal(file, f"has inside = “{outer[name]}” in [labels.{name}], and there is no such label")
        seen = {name}
        at = name
        while at in outer:
            at = outer[at]
            if at in seen:
                raise _refusal(file, f"has [labels.{name}] inside of itself ({' in '.join([*sorted(seen)])})")
            seen.add(at)


def _names(label_map: LabelMap) -> Iterable[tuple[str, str]]:
    """Every name with the table that has it; once for a table, however often it spells it."""
    for label in label_map.labels:
        yield from ((f"[labels.{label.name}]", key) for key in {*map(fold, chain([label.name], label.masks.names))})
    yield from (("[ignore]", key) for key in {*map(fold, label_map.ignored.names)})


def _codes(label_map: LabelMap) -> Iterable[tuple[str, str]]:
    """Every code with the table that has it."""
    for label in label_map.labels:
        yield from ((f"[labels.{label.name}]", key) for key in {*map(fold_code, label.masks.codes)})
    yield from (("[ignore]", key) for key in {*map(fold_code, label_map.ignored.codes)})


def _refuse_double(file: str, what: str, given: Iterable[tuple[str, str]]) -> None:
    """Refuse what two tables have. given: (table, value) each. Raises BAD_LABELS with the names of both."""
    held: dict[str, str] = {}
    for table, value in given:
        if held.setdefault(value, table) != table:
            raise _refusal(file, f"has the {what} “{value}” in {held[value]} and in {table}")


def _refuse_unknown(file: str, where: str, table: Any, known: Collection[str]) -> None:
    """Refuse what is no table, and a key that nobody reads. Raises BAD_LABELS."""
    if not isinstance(table, dict):
        raise _refusal(file, f"has {where} as something else than a table")
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise _refusal(file, f"has the unknown “{unknown[0]}” {where}", f"Known are {', '.join(sorted(known))}.")


def _texts(file: str, where: str, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    given = table.get(key, [])
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise _refusal(file, f"has {key} in {where} that are no list of texts, such as [“Liver”]")
    return tuple(given)


def _text(file: str, where: str, table: Mapping[str, Any], key: str) -> str:
    given = table.get(key, "")
    if not isinstance(given, str) or (key in table and not given.strip()):
        raise _refusal(file, f"has {key} in {where} that is no text")
    return given


def _flag(file: str, where: str, table: Mapping[str, Any], key: str, *, default: bool) -> bool:
    given = table.get(key, default)
    if not isinstance(given, bool):
        raise _refusal(file, f"has {key} = {given!r} in {where}; it is true or false")
    return given


def _pattern(file: str, where: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except (re.error, RecursionError, OverflowError) as error:
        raise _refusal(file, f"has “{text}” in {where}, which is no regular expression: {error}") from error


def _colour(file: str, where: str, given: Any) -> tuple[int, int, int] | None:
    if given is None:
        return None
    found = _COLOUR.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise _refusal(file, f"has the colour {given!r} in {where}; a colour is “#rrggbb”, such as “#dd8265”")
    red, green, blue = (int(part, 16) for part in found.groups())
    return red, green, blue


def _refusal(file: str, what: str, hint: str = "") -> PipelineError:
    """The refusal of something the file says."""
    return refuse(
        Code.BAD_LABELS,
        f"{file} {what}",
        hint or "Nothing was written. The format is one [labels.NAME] table for each label, with value and names.",
        where=(file,),
    )
