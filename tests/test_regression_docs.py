"""docs/regression.md runs as it stands there: its commands, its cases, and the jobs of a CI that it shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.findings import Exit
from pipeline.regression.case_list import RegressionCase, parse_case_list, read_case_list
from tests.helpers.cases import DATA
from tests.helpers.pages import help_of
from tests.helpers.regression_page import PAGE

ROOT = Path(__file__).parents[1]
TEXT = PAGE.read_text("utf-8")
_BLOCK = re.compile(r"<!-- ([a-z ]+): ([\w.-]+) -->\n```\w+\n(.*?)```\n", re.S)
BLOCKS = {(kind, name): content for kind, name, content in _BLOCK.findall(TEXT)}
_VERSION = re.compile(r"(dicom2nifti|SimpleITK|dcm2niix) [\d.]+\d")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


class Shell:
    """A home with a `verimask` and a `pip` that installs nothing, and a folder to work in. installed: what pip was given."""

    def __init__(self, home: Path) -> None:
        self.home, self.bin = home, home / "bin"
        self.bin.mkdir()
        program(self.bin / "verimask", f'exec "{sys.executable}" -W ignore -m pipeline "$@"')
        program(self.bin / "pip", f'echo "$@" >> "{home}/installed"')
        (home / "tmp").mkdir()
        python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        identity = {f"GIT_{who}_{what}": "a@b.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.environment = {
            **{k: v for k, v in os.environ.items() if k != "CI"},
            **identity,
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": python_path,
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def run(self, words: str, folder: Path, code: int = Exit.VERIFIED) -> str:
        """Run words as a CI does, each line a command that must not fail but the last; what they printed."""
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", words],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    @property
    def installed(self) -> str:
        return (self.home / "installed").read_text("utf-8")


def program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    path.chmod(0o755)


def write_template(folder: Path) -> Path:
    """The repository of the page, as it describes it."""
    folder.mkdir()
    for (kind, name), content in BLOCKS.items():
        if kind == "file":
            (folder / name).write_text(content, "utf-8")
    (folder / ".github" / "workflows").mkdir(parents=True)
    (folder / ".github" / "workflows" / "regress.yml").write_text(BLOCKS["workflow", "github"], "utf-8")
    (folder / ".gitlab-ci.yml").write_text(BLOCKS["workflow", "gitlab"], "utf-8")
    shutil.copytree(DATA / "samples" / "axial", folder / "phantom")
    return folder


@pytest.fixture
def checkout(shell: Shell) -> Path:
    """A clone of the repository of the page, as a CI has it."""
    made = write_template(shell.home / "cases")
    shell.run("git init --quiet .", made)
    shell.run(BLOCKS["run", "template"], made)
    shell.run('git clone --quiet "$HOME/cases" "$HOME/clone"', shell.home)
    return shell.home / "clone"


def spoil(folder: Path) -> None:
    """Change one byte of one file."""
    path = folder / "phantom" / "IM0003.dcm"
    data = bytearray(path.read_bytes())
    data[-700] ^= 1
    path.write_bytes(data)


def test_three_commands_make_a_ci_that_fails_on_a_changed_byte(shell: Shell) -> None:
    work = shell.home / "work"
    shutil.copytree(DATA / "samples" / "axial", work / "DICOM")
    for name in ("install", "add", "regress"):
        shell.run(BLOCKS["run", name], work)
    assert shell.installed == "install verimask[witnesses]\n"
    assert (work / "golden" / "phantom.json").is_file()

    printed = shell.run(BLOCKS["fails", "changed"], work, Exit.MISMATCH)
    shown, given = (" ".join(_VERSION.sub(r"\1", text).split()) for text in (BLOCKS["printed by", "changed"], printed))
    assert shown == given

    shell.run(BLOCKS["run", "update"], work)
    shell.run(BLOCKS["run", "regress"], work)

    with (work / "cases.toml").open("a", encoding="utf-8") as file:
        file.write("\n" + BLOCKS["recipe", "two-missing"])
    shell.run(BLOCKS["run", "regress"], work, Exit.MISMATCH)  # it has no golden record yet
    shell.run(BLOCKS["run", "update-recipe"], work)
    shell.run(BLOCKS["run", "regress"], work)


def test_every_command_of_the_page_is_run() -> None:
    lines = re.findall(r"^verimask .*|^pip .*", TEXT, re.M)
    run = "".join(content for (kind, _), content in BLOCKS.items() if kind in ("run", "fails"))
    assert len(lines) >= 7
    assert [line for line in lines if line not in run] == []
    assert {name for kind, name in BLOCKS if kind == "run"} == {
        *("install", "add", "regress", "update", "update-recipe", "template")
    }


def test_the_repository_is_the_one_that_is_drawn(checkout: Path) -> None:
    drawn = [line.strip() for line in BLOCKS["layout", "template"].splitlines()[1:]]
    files = [
        p.relative_to(checkout).as_posix() for p in sorted(checkout.rglob("*")) if p.is_file() and ".git/" not in str(p)
    ]
    assert sorted({"phantom/" if name.startswith("phantom/") else name for name in files}) == sorted(drawn)


def test_the_github_workflow_runs_and_fails_on_a_changed_byte(shell: Shell, checkout: Path) -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((checkout / ".github" / "workflows" / "regress.yml").read_text("utf-8"))
    assert set(workflow[True]) == {"push", "pull_request", "schedule"}  # YAML 1.1 reads `on` as true
    assert all(is_cron(one["cron"]) for one in workflow[True]["schedule"])
    steps = workflow["jobs"]["regress"]["steps"]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    kept = next(step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", ""))
    run_job(shell, checkout, [step["run"] for step in steps if "run" in step], kept)


def test_the_gitlab_job_runs_and_fails_on_a_changed_byte(shell: Shell, checkout: Path) -> None:
    yaml = pytest.importorskip("yaml")
    (job,) = yaml.safe_load((checkout / ".gitlab-ci.yml").read_text("utf-8")).values()
    assert job["artifacts"]["when"] == "always"
    run_job(shell, checkout, [*job["before_script"], *job["script"]], job["artifacts"]["reports"]["junit"])


def run_job(shell: Shell, checkout: Path, steps: list[str], kept: str) -> None:
    """Run the steps of a job on good files and on a changed one. kept: the file of results that the job keeps."""
    for step in steps:
        shell.run(step, checkout)
    assert shell.installed == "install -r requirements.txt\n"
    assert '<testcase classname="cases.toml" name="phantom"' in (checkout / kept).read_text("utf-8")
    assert shell.run("git status --porcelain", checkout) == ""  # nothing that a commit would take
    spoil(checkout)
    (checkout / kept).unlink()
    shell.run(steps[-1], checkout, Exit.MISMATCH)
    assert "IM0003.dcm changed" in (checkout / kept).read_text("utf-8")


def test_the_cron_line_is_silent_while_all_is_well_and_says_what_differs(shell: Shell, checkout: Path) -> None:
    *variables, line = BLOCKS["workflow", "cron"].splitlines()
    assert [v.split("=")[0] for v in variables] == ["MAILTO"]
    *when, command = line.split(maxsplit=5)
    assert is_cron(" ".join(when))
    assert "%" not in command  # cron makes it a new line
    program(shell.home / "cases" / ".venv" / "bin" / "verimask", f'exec "{shell.bin}/verimask" "$@"')
    assert shell.run(f"sh -c '{command}'", shell.home) == ""
    spoil(shell.home / "cases")
    assert "IM0003.dcm changed" in shell.run(f"sh -c '{command}'", shell.home)


def is_cron(when: str) -> bool:
    """Whether a text is five fields of numbers in their ranges, or stars."""
    ranges = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    found = when.split()
    return len(found) == 5 and all(
        field == "*" or (field.isdigit() and low <= int(field) <= high)
        for field, (low, high) in zip(found, ranges, strict=True)
    )


@pytest.mark.parametrize(("name", "schema"), [("github", "vendor.github-workflows"), ("gitlab", "vendor.gitlab-ci")])
def test_a_workflow_is_what_its_published_schema_wants(tmp_path: Path, name: str, schema: str) -> None:
    pytest.importorskip("check_jsonschema")
    path = tmp_path / f"{name}.yml"
    path.write_text(BLOCKS["workflow", name], "utf-8")
    given = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    path.write_text(BLOCKS["workflow", name].replace("script:", "scripts:").replace("runs-on:", "runs:"), "utf-8")
    assert subprocess.run(given, capture_output=True, check=False).returncode != 0


def test_the_example_has_every_key_of_a_case_and_can_be_read(tmp_path: Path) -> None:
    example = BLOCKS["example", "cases.toml"]
    cases = parse_case_list(tmp_path / "cases.toml", example)
    assert [case.id for case in cases.cases] == ["knee", "liver", "spine", "tilt"]
    keys = set(re.findall(r"^(\w+) = ", example, re.M)) | set(re.findall(r"^\[case\.(\w+)\]", example, re.M))
    assert {field.name for field in fields(RegressionCase)} <= keys
    assert cases.roots["archive"].environment == "OUR_ARCHIVE"


def test_every_option_of_the_page_is_there() -> None:
    there = set(re.findall(r"--[a-z-]+", help_of(["regress", "--help"])))
    of_others = {"--quiet"}  # of git
    named = set(re.findall(r"(?<![\w<-])--[a-z][a-z-]*", TEXT)) - of_others
    assert len(named) > 8
    assert named - there == set()


def test_the_projects_own_cases_can_be_read_by_anybody() -> None:
    cases = read_case_list(DATA / "cases.toml")
    assert cases.roots == {}
    assert not any(case.root or case.fetch for case in cases.cases)
    golden: set[Any] = {path.stem for path in (DATA / "golden").iterdir()}
    assert golden == {case.id for case in cases.cases}
