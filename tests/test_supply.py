"""What is installed is what was locked, and an audit that asked nobody does not pass."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "lowest.lock", "clients.lock")
AUDIT = ROOT / ".ci" / "audit.py"
PIP_AUDIT = "import os, sys; sys.stderr.write(os.environ['SAYS']); print(os.environ['GIVES']); sys.exit(int(os.environ['ENDS']))"


def blocks(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Every package of a lock file, with its hashes."""
    lines = (ROOT / ".ci" / lock).read_text("utf-8").splitlines()
    found: list[tuple[Requirement, list[str]]] = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("    --hash="):
            found[-1][1].append(line.strip(" \\").removeprefix("--hash="))
        else:
            found.append((Requirement(line.rstrip(" \\")), []))
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_one_version_and_hashes(lock: str) -> None:
    found = blocks(lock)
    assert len(found) > 20
    for requirement, hashes in found:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


def test_the_lock_has_every_package_that_is_asked_for() -> None:
    """Of the project, of its extras, and of the tools of `make setup`; the list of parts is held in tests/test_release.py."""
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    asked = [*project["project"]["dependencies"], *(line for name in extras if name != "all" for line in extras[name])]
    asked += [line for group in ("dev", "docs", "release") for line in project["dependency-groups"][group]]
    locked: dict[str, list[Requirement]] = {}
    for requirement, _ in blocks("requirements.lock"):
        locked.setdefault(_normal(requirement.name), []).append(requirement)
    for wanted in map(Requirement, asked):
        versions = [str(one.specifier).removeprefix("==") for one in locked.get(_normal(wanted.name), [])]
        assert versions, f"{wanted} is not in requirements.lock"
        assert all(wanted.specifier.contains(version, prereleases=True) for version in versions), wanted


def test_nothing_is_installed_without_hashes() -> None:
    """Everywhere that pip is called to install something of others."""
    for path in (ROOT / "Makefile", *(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".ci" / "run"):
        for line in path.read_text("utf-8").splitlines():
            if "pip install" in line:
                assert "--require-hashes" in line or "--no-deps" in line, f"{path.name}: {line}"


def audited(tmp_path: Path, gives: object, says: str = "", ends: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the audit with a stand-in for pip-audit, which gives an answer and asks nobody."""
    (tmp_path / "pip_audit").mkdir(exist_ok=True)
    (tmp_path / "pip_audit" / "__init__.py").touch()
    (tmp_path / "pip_audit" / "__main__.py").write_text(PIP_AUDIT, "utf-8")
    answer = gives if isinstance(gives, str) else json.dumps({"dependencies": gives})
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "GIVES": answer, "SAYS": says, "ENDS": str(ends)}
    given = [sys.executable, str(AUDIT), str(ROOT / ".ci" / "requirements.lock")]
    return subprocess.run(given, capture_output=True, text=True, check=False, env=environment)


def test_an_audit_says_what_is_known(tmp_path: Path) -> None:
    clean = {"name": "numpy", "version": "2.0.2", "vulns": []}
    bad = {"name": "jinja2", "version": "3.1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["3.1.6"]}]}
    done = audited(tmp_path, [clean])
    assert (done.returncode, done.stdout) == (0, "requirements.lock: 0 of 1 packages are known to be vulnerable\n")
    done = audited(tmp_path, [clean, bad], ends=1)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "jinja2 3.1.0: CVE-1 (mended in 3.1.6)")


def test_an_audit_that_could_not_ask_fails(tmp_path: Path) -> None:
    """pip-audit itself ends with 0 where the index knew none of the packages."""
    skipped = [{"name": f"p{n}", "skip_reason": "Dependency not found"} for n in range(7)]
    for gives, says, why in (
        (skipped, "", "7 of 7 packages could not be looked up: p0, p1, p2, p3, p4 and 2 more"),
        ([], "", "0 of 0 packages could not be looked up: there is none"),
        ("", "Traceback\nConnectionError: no route\n", "pip-audit gave no answer: ConnectionError: no route"),
    ):
        done = audited(tmp_path, gives, says)
        assert done.returncode == 2
        assert done.stderr.splitlines()[0] == f"requirements.lock was not audited: {why}"
        assert "over the network" in done.stderr


def test_the_audit_is_asked_for_every_week_and_by_no_test() -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "audit.yml").read_text("utf-8"))
    assert workflow[True]["schedule"]  # YAML 1.1 reads the key `on` so
    assert [step["run"] for step in workflow["jobs"]["audit"]["steps"] if "run" in step] == ["make audit"]
    assert workflow["permissions"] == {"contents": "read"}
    assert "audit.py .ci/requirements.lock" in (ROOT / "Makefile").read_text("utf-8")
    assert "audit" not in (ROOT / ".ci" / "run").read_text("utf-8")


def test_the_workflow_fits_its_schema() -> None:
    pytest.importorskip("check_jsonschema")
    given = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*given, str(ROOT / ".github" / "workflows" / "audit.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
