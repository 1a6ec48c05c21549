"""Spoil JSON and TOML by what they mean: keys gone, twice or unknown, values of other types, sizes and signs, deep nesting."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.spoilt_files import Files

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 255, 256, 65536, 1 << 31, 1 << 63, 1 << 64, -(1 << 63), 10**400, 0.5, -0.0, 1e308, -1e308, 1e-320,
    float("nan"), float("inf"), float("-inf"), "", " ", "x", "nan", "1", "../../../etc/passwd", "/", "a/b", "\0", "\x1b[2J", "\n",
    "\ud800", "x" * 5000, [], {}, [[]], [0], [1, 2, 3], [None], [1, "a"], {"": {}}, {"a": 1}, [[1, 0], [0, 1]], [0] * 300,
)  # fmt: skip
_TOML_VALUES = (
    "1", "-1", "0", "true", "nan", "inf", "-inf", "1e308", "[]", "{}",
    '""', '" "', '"x"', '["x"]', "[1, 2]", "[[]]",
    "99999999999999999999",    '"../.."', '"\\u0000"', "1979-05-27", "07:32:00", '"' + "x" * 5000 + '"', '"(a+)+$"',
    '"("', "[" * 1000 + "]" * 1000, "{ a = 1 }",
    "0x10",
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a value."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found += _places(one, (*path, key))
    return found


def _edited(edit: Callable[[Any, Any, Random], str]) -> Callable[[Files, Random], str]:
    """An edit of one value in one JSON file: it is given what holds the value, and its key."""

    def operate(files: Files, rng: Random) -> str:
        name = _pick(files, rng, ".json")
        content = files.get(name)
        try:
            value = json.loads(content) if isinstance(content, bytes) else None
        except (ValueError, RecursionError):
            return ""
        places = _places(value)
        if not places:
            return ""
        *path, key = rng.choice(places)
        holder = value
        for one in path:
            holder = holder[one]
        try:
            words = edit(holder, key, rng)
            files[name] = json.dumps(value).encode("utf-8", "replace")
        except (RecursionError, OverflowError, ValueError):  # spoilt too far to be written
            return ""
        return f"{name}: {'.'.join(map(str, (*path, key)))} {words}"

    return operate


def _pick(files: Files, rng: Random, ending: str) -> str:
    names = sorted(name for name in files if name.endswith(ending))
    return rng.choice(names) if names else ""


def _delete(holder: Any, key: Any, rng: Random) -> str:
    del holder[key]
    return "deleted"


def _set(holder: Any, key: Any, rng: Random) -> str:
    holder[key] = rng.choice(_VALUES)
    return f"is {str(holder[key])[:40]!r}"


def _nudge(holder: Any, key: Any, rng: Random) -> str:
    """A value of the same type that is another one."""
    old = holder[key]
    if isinstance(old, bool) or old is None:
        holder[key] = not old
    elif isinstance(old, int | float):
        holder[key] = rng.choice(
            (-old, old + 1, old - 1, old * 1000, old * 2**31, old + 0.5, old * 1e300 if abs(old) < 1e8 else 0)
        )
    elif isinstance(old, str):
        holder[key] = rng.choice((old + "x", old[:-1], old.upper(), old * 50, old[::-1], f"{old}\n", f"../{old}"))
    elif isinstance(old, list):
        holder[key] = rng.choice((old * 2, old[:-1], old[::-1], [old], old * 200))
    else:
        holder[key] = rng.choice(([old], dict(list(old.items())[:-1]), {**old, "Unknown": old}, list(old)))
    return f"is {str(holder[key])[:40]!r}"


def _deepen(holder: Any, key: Any, rng: Random) -> str:
    value: Any = holder[key]
    depth = rng.choice((2, 20, 500))
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"a": value}
    holder[key] = value
    return f"is {depth} deeper"


def _json_text(files: Files, rng: Random) -> str:
    """Text that no writer of JSON writes."""
    name = _pick(files, rng, ".json")
    content = files.get(name)
    if not isinstance(content, bytes) or not content:
        return ""
    kind = rng.choice(("deep", "key twice", "BOM", "UTF-16", "comma", "bad UTF-8", "long number", "two documents"))
    at = content.find(b"{") + 1
    files[name] = {
        "deep": b"[" * 100_000,
        "key twice": content[:at] + b'"Verdict": 1, "format": 1, ' + content[at:],
        "BOM": b"\xef\xbb\xbf" + content,
        "UTF-16": content.decode("utf-8", "replace").encode("utf-16"),
        "comma": content.replace(b"]", b",]", 1),
        "bad UTF-8": content[:at] + b'"\xff\xfe": 1, ' + content[at:],
        "long number": re.sub(rb"\d+", b"9" * 6000, content, count=1),
        "two documents": content * 2,
    }[kind]
    return f"{name}: {kind}"


def _toml_lines(files: Files, rng: Random) -> str:
    name = _pick(files, rng, ".toml")
    content = files.get(name)
    if not isinstance(content, bytes) or not content:
        return ""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    kind = rng.choice(("delete", "twice", "swap", "value", "value", "value", "key", "table"))
    if kind == "delete":
        del lines[at]
    elif kind == "twice":
        lines.insert(rng.randrange(len(lines)), lines[at])
    elif kind == "swap":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "table":
        lines.insert(
            at,
            rng.choice(
                (
                    b"[a]",
                    b"[[case]]",
                    b"[labels]",
                    b"[labels.x]",
                    b"[[segment]]",
                    b"[options]",
                    b"[[roots]]",
                    b"[channels]",
                )
            ),
        )
    else:
        with_value = [n for n, line in enumerate(lines) if b" = " in line]
        if not with_value:
            return ""
        at = rng.choice(with_value)
        key, _, value = lines[at].partition(b" = ")
        new = rng.choice(_TOML_VALUES).encode()
        lines[at] = (
            key + b" = " + new
            if kind == "value"
            else rng.choice((b"unknown", b'""', b'"a.b"', b"a.b", b"\xff")) + b" = " + value
        )
    files[name] = b"\n".join(lines)
    return f"{name}: line {at + 1}: {kind}: {lines[at][:60]!r}" if at < len(lines) else f"{name}: {kind}"


OPERATIONS: dict[str, Callable[[Files, Random], str]] = {
    "json delete": _edited(_delete),
    "json set": _edited(_set),
    "json nudge": _edited(_nudge),
    "json deepen": _edited(_deepen),
    "json text": _json_text,
    "toml line": _toml_lines,
    "toml another line": _toml_lines,
    "toml third line": _toml_lines,
}
