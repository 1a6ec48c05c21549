"""The wheel is whole: a build of a clone has the live viewer in it, or refuses in one sentence; so has the sdist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.helpers import source_tree

ROOT = source_tree.ROOT
VIEWER = "verimask/report/viewer/niivue.js"
needs_viewer = pytest.mark.skipif(
    not os.environ.get("CI") and not (ROOT / source_tree.VIEWER).exists(), reason="NiiVue is not installed: make viewer"
)


def bin_of(folder: Path, npm: str = "") -> str:
    """A PATH with one program at most, an npm that does what is written here."""
    folder.mkdir()
    if npm:
        (folder / "npm").write_text(f"#!/bin/sh\n{npm}\n", "utf-8")
        (folder / "npm").chmod(0o755)
    return str(folder)


@pytest.fixture
def tree(tmp_path: Path, source_copy: Path) -> Path:
    return shutil.copytree(source_copy, tmp_path / "a clone")


def wheel_command(tree: Path, *more: str) -> tuple[str, ...]:
    return ("wheel", "--no-deps", "--no-build-isolation", "-w", str(tree.parent / "out"), *more, str(tree))


def names_in(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


@needs_viewer
def test_a_wheel_has_the_viewer_and_nothing_that_builds_it(tree: Path, tmp_path: Path) -> None:
    source_tree.add_viewer(tree)
    wheel = source_tree.build_wheel(tree, tmp_path)
    names = names_in(wheel)
    assert {VIEWER, "verimask/report/viewer/LICENSE-niivue"} <= names
    assert not [n for n in names if re.search(r"package.*\.json|bundle\.mjs|node_modules|build_backend|tests/", n)]
    with ZipFile(wheel) as archive:
        assert archive.read(VIEWER) == (ROOT / source_tree.VIEWER).read_bytes()


@needs_viewer
def test_a_wheel_of_the_sdist_is_the_same_without_npm(tree: Path, tmp_path: Path) -> None:
    source_tree.add_viewer(tree)
    command = [sys.executable, ".ci/build_backend.py", "dist"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    (direct,) = (tree / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {source_tree.VIEWER.as_posix(), ".ci/build_backend.py", "pipeline/report/viewer/bundle.mjs"} <= inside
    assert not [name for name in inside if name.startswith(("tests", ".ci/requirements")) or "node_modules" in name]
    again = source_tree.build_wheel(sdist, tmp_path, PATH=bin_of(tmp_path / "bin"))
    with ZipFile(again) as first, ZipFile(direct) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())
        for name in set(first.namelist()) - {n for n in first.namelist() if n.endswith("/RECORD")}:
            assert first.read(name) == second.read(name), name


def test_without_viewer_and_npm_a_build_refuses_and_says_what_to_do(tree: Path, tmp_path: Path) -> None:
    done = source_tree.run_pip(*wheel_command(tree), folder=tmp_path, PATH=bin_of(tmp_path / "bin"))
    assert done.returncode != 0
    words = " ".join(done.stderr.split())
    for part in (
        "niivue.js",
        "npm, which builds it, is not installed",
        "make viewer",
        source_tree.WITHOUT,
        "--interactive",
    ):
        assert part in words, words
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_an_npm_that_fails_is_quoted(tree: Path, tmp_path: Path) -> None:
    path = bin_of(tmp_path / "bin", "echo no such registry >&2; exit 1")
    done = source_tree.run_pip(*wheel_command(tree), folder=tmp_path, PATH=path)
    assert done.returncode != 0
    assert "npm ci failed: no such registry" in " ".join(done.stderr.split())


def test_where_there_is_npm_the_build_uses_it_as_make_does(tree: Path, tmp_path: Path) -> None:
    path = bin_of(tmp_path / "bin", f'echo "$@" >> "{tmp_path}/asked"; echo made > niivue.js')
    done = source_tree.run_pip(*wheel_command(tree), folder=tmp_path, PATH=path)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    assert VIEWER in names_in(wheel)
    recipe = re.search(r"^\tcd pipeline/report/viewer && (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert recipe
    assert (tmp_path / "asked").read_text("utf-8").splitlines() == [
        c.removeprefix("npm ") for c in recipe[1].split(" && ")
    ]


@pytest.mark.parametrize(
    ("more", "environment"),
    [((), {source_tree.WITHOUT: "1"}), (("--config-settings", "viewer=none"), {})],
    ids=["variable", "setting"],
)
def test_one_may_build_without_it_knowingly(
    tree: Path, tmp_path: Path, more: tuple[str, ...], environment: dict[str, str]
) -> None:
    path = bin_of(tmp_path / "bin")
    done = source_tree.run_pip("-v", *wheel_command(tree, *more), folder=tmp_path, PATH=path, **environment)
    assert done.returncode == 0, done.stderr
    assert "built without the live viewer, as asked for" in done.stdout + done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    assert VIEWER not in names_in(wheel)
    assert "verimask/report/page.py" in names_in(wheel)
