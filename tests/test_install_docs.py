"""docs/install.md: its commands run, its table is that of pyproject.toml, and its programs are there."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

from pipeline.core.installation import COSTS
from tests.helpers import doc_steps
from tests.helpers.environments import PROJECT

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "install.md").read_text("utf-8")
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def test_the_commands_run(tmp_path: Path) -> None:
    doc_steps.do("install.md", "install", tmp_path)
    assert (tmp_path / "installed").read_text("utf-8") == "install verimask[all]\n"
    assert "Everything that is installed works." in doc_steps.do("install.md", "doctor", tmp_path)


def test_the_table_of_extras_is_that_of_the_project() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, re.M))
    (everything,) = map(Requirement, EXTRAS["all"])
    expected = {"all": f"{', '.join(sorted(everything.extras))} | "}
    for extra in set(EXTRAS) - {"all"}:
        expected[extra] = f"{', '.join(Requirement(line).name for line in EXTRAS[extra])} | {COSTS[extra]}"
    assert rows == {name: row.rstrip() if name == "all" else row for name, row in expected.items()}
    assert everything.extras == set(EXTRAS) - {"all", "cluster", "notebook"}


def test_what_the_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert set(re.findall(r"`make ([a-z]+)", TEXT)) == {"setup", "windows", "wheel"} <= targets
    scripts = re.findall(r"`(\.ci/\w+)`", TEXT)
    assert scripts
    assert all((ROOT / name).is_file() for name in scripts)
    windows = (ROOT / ".ci" / "windows.py").read_text("utf-8")
    for name in (*re.findall(r"([\w-]+\.cmd)", TEXT), "PYTHON_EMBED_SHA256"):
        assert name in windows
    longest = re.findall(r"^LONGEST = (\d+)", windows, re.M)[0]
    assert f"have {longest} at most" in TEXT.replace("\n", " ")
    assert "VERIMASK_WITHOUT_VIEWER" in (ROOT / ".ci" / "build_backend.py").read_text("utf-8")
