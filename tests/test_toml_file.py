"""TOML that anybody may have written is refused before it costs more than it is worth."""

from __future__ import annotations

import tracemalloc

import pytest

from pipeline.core import toml_file
from pipeline.core.toml_file import parse_toml

UID = "1.2.840.10008.5.1.4.1.1.66.4.1.2.3.4.5.6.7.8.9.10"
LONG = ".".join("abcdefghijklmnopq")  # 17 parts
MOST = ".".join("abcdefghijklmnop")


@pytest.mark.parametrize(
    "text",
    [
        f"{LONG} = 1",
        f"x = 1\n\n[{LONG}]",
        f"[[{LONG}]]",
        "x = {" + LONG + " = 1}",
        " . ".join(['"a.b"', "'c'", *LONG.split(".")]) + " = 1",
        "a" + ".a" * 20_000 + " = 1",
        f'x = """a""""\n{LONG} = 1',
        f"x = '''a'''''\n{LONG} = 1",
    ],
)
def test_a_key_of_too_many_parts_is_refused(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"a key has more than 16 parts \(at line \d\)"):
            parse_toml(text)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f'x = "{UID}" # {UID}', UID),
        (f"x = '{UID}'", UID),
        (f'x = """\n{UID} "{LONG}" \\"""{LONG}"""', f'{UID} "{LONG}" """{LONG}'),
        (f"x = '''{LONG}'''", LONG),
        (f'# """ {LONG}\nx = 1', 1),
        ("x = [" + "1.5, " * 40 + "]", [1.5] * 40),
        ('x = "\\\\"' + f" # {LONG}", "\\"),
    ],
)
def test_dots_in_values_and_comments_are_no_keys(text: str, value: object) -> None:
    assert parse_toml(text) == {"x": value}


def test_a_key_of_as_many_parts_as_may_be_is_read() -> None:
    found = parse_toml(f"{MOST} = 1\n['{LONG}'.'x']\ny = 2")
    assert found[LONG] == {"x": {"y": 2}}


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = " + "{a=" * 100_000, "#" * ((1 << 22) + 1)])
def test_what_nests_too_deep_or_is_too_long_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nests too deep|TOML is read up to 4194304"):
        parse_toml(text)


@pytest.mark.parametrize("part", ['"""\\', "'''", '"', "a-", '"\\', ".", "\\", '"" '])
def test_what_is_looked_at_before_takes_no_longer_than_its_length(part: str) -> None:
    """A pattern that tried every place anew would take minutes over it."""
    toml_file._refuse_long_keys("." * 20 + "\n" + part * (60_000 // len(part)) + "\n")
