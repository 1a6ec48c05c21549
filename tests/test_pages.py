"""The pages of docs/ that are made from code are what the code gives, and every finding is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import verimask

from pipeline.core.finding_help import HELP
from pipeline.core.findings import Code
from tests.helpers.finding_examples import examples
from tests.helpers.pages import MADE, ROOT, STAGES, commands, help_of, path_of


def as_any_python_writes(text: str) -> str:
    """Without what differs between versions of argparse: line breaks, and a metavar that is repeated for a long option."""
    return " ".join(re.sub(r"(-\w) (\S+), (--[\w-]+) \2", r"\1, \3 \2", text).split())


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_page_is_what_the_code_gives(name: str) -> None:
    shown, made = (as_any_python_writes(text) for text in (path_of(name).read_text("utf-8"), MADE[name]()))
    assert shown == made, "run python -m tests.helpers.pages"


def test_every_code_is_explained() -> None:
    assert list(HELP) == list(Code)
    for code, row in HELP.items():
        for sentence in (row.meaning, row.remedy):
            assert re.fullmatch(r"[A-Z-].*[.]", sentence), code.name
        assert row.meaning.count(". ") == 0, f"{code.name}: one sentence says what it means"
        assert re.fullmatch(r"|PS3\.\d+ [A-Z\d.]+|NIfTI-1( \w+(\[\])?)?", row.clause), code.name


def test_no_explanation_names_an_option_that_is_not_there() -> None:
    there = set(re.findall(r"(?<![\w-])--[a-z-]+", " ".join(help_of([c, "--help"]) for c in commands())))
    assert len(there) > 40
    named = {(code.name, option) for code, row in HELP.items() for option in re.findall(r"--[a-z-]+", " ".join(row))}
    assert {(code, option) for code, option in named if option not in there} == set()


def test_every_code_has_an_example() -> None:
    assert list(examples()) == [code.name for code in Code]


def test_an_example_names_a_test_that_is_there() -> None:
    for code, example in examples().items():
        path, name = example["Test"].split("::", 1)
        assert re.search(rf"def {re.escape(name.split('[')[0])}\b", (ROOT / path).read_text("utf-8")), code


def test_every_stage_has_a_title() -> None:
    assert list(STAGES) == list(dict.fromkeys(code.stage for code in Code))


def test_no_command_imports_the_explanations() -> None:
    here = ROOT / "pipeline"
    users = {p.name for p in here.rglob("*.py") if "finding_help" in p.read_text("utf-8")} - {"finding_help.py"}
    # once a sentence holds a name, or is stripped of it
    assert users == {"neutral_names.py", "public_record.py", "public_rows.py"}


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    text = path_of("api").read_text("utf-8")
    shown = set(re.findall(r"^::: verimask\.(\w+)$", text, re.M))
    records = {name for name in verimask.__all__ if name.endswith("Record")}  # their keys have a page of their own
    assert shown == {name for name in verimask.__all__ if not name.startswith("__")} - records
    assert {name for name in records if f"`{name}`" not in text} == set()


PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_a_link_leads_somewhere(path: Path) -> None:
    """To files as GitHub shows them; `make docs` holds the links of the site."""
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / ".ci" / "mkdocs.yml").read_text("utf-8")
    assert [p.name for p in (ROOT / "docs").glob("*.md") if f": {p.name}\n" not in navigation] == []
