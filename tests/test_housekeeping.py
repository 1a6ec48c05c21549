"""What people look for beside the code: how to cite it, to report a problem, and what they are asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.toml_file import parse_toml
from pipeline.core.version import __version__

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
COMMANDS = re.compile(r"`verimask (\w+)")


def holds(schema: str, path: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("check_jsonschema")
    given = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run(given, capture_output=True, text=True, check=False)


def test_how_to_cite_it() -> None:
    cff = ROOT / "CITATION.cff"
    done = holds("vendor.citation-file-format", cff)
    assert done.returncode == 0, done.stdout
    project = parse_toml((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    values = dict(re.findall(r"^(\w[\w-]*): (.+)$", cff.read_text("utf-8"), re.M))
    assert (values["version"], values["license"]) == (__version__, project["license"])
    assert values["title"] == f'"{project["name"]}: {project["description"]}"'
    listed = re.findall(r"^  - ([\w ]+)$", cff.read_text("utf-8").partition("keywords:")[2], re.M)
    assert listed == project["keywords"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms(path: Path) -> None:
    done = holds("vendor.github-issue-forms", path)
    assert done.returncode == 0, done.stdout


def test_the_forms_are_all_there_and_their_commands_exist() -> None:
    assert {form.name for form in FORMS} == {"bug.yml", "wrong-place.yml", "refusal.yml", "question.yml"}
    done = holds("vendor.github-issue-config", ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml")
    assert done.returncode == 0, done.stdout
    texts = [path.read_text("utf-8") for path in [*FORMS, ROOT / ".github" / "SECURITY.md"]]
    there = {path.stem for path in (ROOT / "pipeline" / "cli").glob("*.py")}
    assert {word for text in texts for word in COMMANDS.findall(text)} - {"doctor"} <= there
    for form in FORMS:
        text = form.read_text("utf-8")
        assert "verimask doctor" in text
        assert form.name == "question.yml" or "describe DIR --anonymous" in text
