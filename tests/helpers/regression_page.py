"""The part of docs/regression.md that is made from code: the recipes, with every parameter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.regression.recipes import RECIPES
from pipeline.regression.recipes.parameters import Parameter
from pipeline.regression.recipes.series import FILES, GRID, PIXELS

PAGE = Path(__file__).parents[2] / "docs" / "regression.md"
_MADE = re.compile(r"(?<=<!-- made by: recipes -->\n).*?(?=<!-- end -->)", re.S)
_GROUPS = (("The grid", GRID), ("The files", FILES), ("The pixels", PIXELS))


def regression_page() -> str:
    """The page with the recipes made anew."""
    return _MADE.sub(lambda _: "\n".join(_recipes()), PAGE.read_text("utf-8"))


def _recipes() -> Iterator[str]:
    yield "\n| kind | writes |\n|---|---|"
    for name, kind in RECIPES.items():
        yield f"| `{name}` | {kind.words} |"
    for title, group in _GROUPS:
        kinds = [name for name, kind in RECIPES.items() if group.keys() <= kind.parameters.keys()]
        of = "every kind" if len(kinds) == len(RECIPES) else ", ".join(f"`{name}`" for name in kinds)
        yield f"\n**{title}**, of {of}:\n"
        yield from _table(group)
    for name, kind in RECIPES.items():
        known = {**GRID, **FILES, **PIXELS}
        own = {key: p for key, p in kind.parameters.items() if p != known.get(key)}
        if own:
            yield f"\n**`{name}`**:\n"
            yield from _table(own)
    yield ""


def _table(parameters: Mapping[str, Parameter]) -> Iterator[str]:
    yield "| parameter | default | may be | what it is |\n|---|---|---|---|"
    for name, parameter in parameters.items():
        yield f"| `{name}` | `{json.dumps(parameter.default)}` | {_allowed(parameter)} | {parameter.words} |"


def _allowed(parameter: Parameter) -> str:
    """What a value may be, as the refusal of another says it."""
    try:
        parameter.read(object())
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{parameter} takes anything")
