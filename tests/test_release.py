"""What makes a release: its workflow, the tag, the lock of what is shipped, the list of parts, and the Windows folder."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.helpers import source_tree
from tests.helpers.environments import normal

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
HEADING = re.compile(r"^([a-z0-9-]+)==(\S+) \\$", re.M)


def run(script: str, *arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a script of .ci/ of a copy of the sources."""
    command = [sys.executable, f".ci/{script}", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_workflow_is_what_its_published_schema_wants(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    given = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*given, str(WORKFLOW)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    spoiled = tmp_path / "release.yml"
    spoiled.write_text(WORKFLOW.read_text("utf-8").replace("runs-on:", "runs:"), "utf-8")
    assert subprocess.run([*given, str(spoiled)], capture_output=True, check=False).returncode != 0


def test_the_workflow_runs_what_is_there_and_names_no_host() -> None:
    yaml = pytest.importorskip("yaml")
    text = WORKFLOW.read_text("utf-8")
    assert not re.search(r"https?://|\b[\w-]+\.(?:org|com|io|net|dev)\b", text)
    jobs = yaml.safe_load(text)["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@(?:v\d+|release/v1)", step["uses"]) for step in steps if "uses" in step)
    commands = "\n".join(step["run"] for step in steps if "run" in step)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert set(re.search(r"make (.+)", commands)[1].split()) <= targets  # type: ignore[index]
    scripts = set(re.findall(r"\.ci/(\w+\.\w+)", commands))
    assert {"check_tag.py", "windows.py"} <= scripts
    assert all((ROOT / ".ci" / name).is_file() for name in scripts)
    assert {"doctor", "selftest"} <= set(re.findall(r"bin/verimask (\w+)", commands))
    writers = {name for name, job in jobs.items() if "write" in str(job.get("permissions", ""))}
    assert writers == {"github", "index"}  # what builds may write nothing


def test_a_tag_that_is_not_the_version_is_refused(tmp_path: Path) -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)[1]  # type: ignore[index]
    assert run("check_tag.py", f"v{version}").returncode == 0
    other = run("check_tag.py", "v99.0.0")
    assert (other.returncode, other.stderr.strip()) == (
        1, f"the tag v99.0.0 is not v{version}, the version in pyproject.toml: correct one of them",
    )  # fmt: skip
    copy = shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", copy.parent)
    (tmp_path / "pipeline" / "core").mkdir(parents=True)
    (tmp_path / "pipeline" / "core" / "version.py").write_text('__version__ = "0.0.1"\n', "utf-8")
    assert "the package says 0.0.1" in run("check_tag.py", f"v{version}", folder=tmp_path).stderr


@pytest.mark.parametrize("system", ["linux", "windows"])
def test_the_lock_of_what_is_shipped_has_no_tool_of_ours(system: str) -> None:
    done = run("runtime_lock.py", system, "--python", "3.12")
    assert done.returncode == 0, done.stderr
    shipped = dict(HEADING.findall(done.stdout))
    assert {"numpy", "pydicom", "simpleitk", "dcm2niix", "highdicom", "jinja2"} <= set(shipped)
    assert not {"pytest", "mypy", "hypothesis", "distributed", "setuptools"} & set(shipped)
    whole = (ROOT / ".ci" / "requirements.lock").read_text("utf-8")
    assert all(re.search(rf"^{name}=={re.escape(version)}\b", whole, re.M | re.I) for name, version in shipped.items())
    assert done.stdout.count("--hash=sha256:") > len(shipped)
    assert ";" not in done.stdout  # no marker is left to the system that pip runs on


def test_a_lock_that_lacks_something_is_refused(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    lock = (copy / "requirements.lock").read_text("utf-8")
    (copy / "requirements.lock").write_text(re.sub(r"^isal==", "other==", lock, flags=re.M), "utf-8")
    done = run("runtime_lock.py", "linux", folder=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (1, "not in requirements.lock: isal")


def test_the_list_of_parts_names_every_package_that_is_shipped(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py")
    recipe = re.findall(r"^sbom:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)[0]
    # a folder may have a space in its name
    tools, build = shlex.quote(str(Path(sys.executable).parent)), shlex.quote(str(tmp_path))
    commands = recipe.replace("\t", "").replace("$(RUN)/", f"{tools}/").replace("build", build)
    subprocess.run(["bash", "-ec", commands], cwd=ROOT, check=True, capture_output=True)
    made = json.loads((tmp_path / "sbom.json").read_text("utf-8"))
    shipped = dict(HEADING.findall((tmp_path / "runtime.lock").read_text("utf-8")))
    assert made["bomFormat"] == "CycloneDX"
    assert {normal(part["name"]): part["version"] for part in made["components"]} == shipped
    assert made["metadata"]["component"]["name"] == "verimask"


@pytest.fixture(scope="module")
def embed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip laid out as Python's embeddable build; what is in its files does not matter to how the folder is made."""
    path = tmp_path_factory.mktemp("embed") / "python-3.12.9-embed-amd64.zip"
    with ZipFile(path, "w") as archive:
        for name in ("python.exe", "pythonw.exe", "python312.dll", "python312.zip", "LICENSE.txt"):
            archive.writestr(name, name)
        archive.writestr("python312._pth", "python312.zip\r\n.\r\n\r\n#import site\r\n")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, embed: Path, wheel: Path) -> Path:
    """The Windows folder of our own wheel alone: the other packages come from a registry."""
    target = tmp_path_factory.mktemp("windows")
    call = (
        "import sys; sys.path.insert(0, '.ci'); from pathlib import Path; import windows; "
        f"windows.make_folder(Path({str(embed)!r}), {sha256(embed)!r}, Path({str(wheel)!r}), Path({str(target)!r}), '')"
    )
    subprocess.run([sys.executable, "-c", call], cwd=ROOT, check=True)
    return target


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, source_copy: Path) -> Path:
    tree = shutil.copytree(source_copy, tmp_path_factory.mktemp("tree") / "source")
    return source_tree.build_wheel(tree, tree.parent, **{source_tree.WITHOUT: "1"})


def test_the_windows_folder_is_laid_out_as_its_python_wants_it(made: Path) -> None:
    (folder,) = (path for path in made.iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == {
        *("drop-a-folder-here.cmd", "packages", "python", "README.txt", "verimask.cmd")
    }
    assert (folder / "python" / "python312._pth").read_bytes() == b"python312.zip\r\n.\r\n..\\packages\r\n"
    assert (folder / "packages" / "verimask" / "cli" / "main.py").is_file()
    assert {path.name.split("-")[0] for path in (folder / "packages").iterdir()} == {"share", "verimask"}


def test_what_windows_reads_has_its_line_ends_and_plain_letters(made: Path) -> None:
    for path in (*made.glob("*/*.cmd"), *made.glob("*/README.txt")):
        data = path.read_bytes()
        assert data.isascii()
        assert data.count(b"\n") == data.count(b"\r\n") >= 4
    for path in made.glob("*/*.cmd"):
        text = path.read_text("ascii")
        assert '"%~dp0python\\python.exe" -m verimask' in text  # its own Python, wherever the folder lies
        assert set(re.findall(r"goto (\w+)", text)) == set(re.findall(r"^:(\w+)", text, re.M))


def test_the_zip_holds_the_folder_and_is_the_same_again(made: Path, embed: Path, wheel: Path, tmp_path: Path) -> None:
    (archive,) = made.glob("*.zip")
    with ZipFile(archive) as given:
        names = given.namelist()
        assert {name.split("/")[0] for name in names} == {archive.stem}
        assert {entry.date_time[0] for entry in given.infolist()} == {1980}
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()} - {archive.name}
    assert files == set(names)


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder" / ("a" * 170)).mkdir(parents=True)
    (tmp_path / "folder" / ("a" * 170) / "bcd").touch()
    call = (
        "import sys; sys.path.insert(0, '.ci'); import windows, pathlib; windows.check_paths(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", call, tmp_path / "folder"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "longer than 180 characters: folder/aaa" in done.stderr


def test_another_zip_than_the_one_that_was_asked_for_is_refused(embed: Path, wheel: Path, tmp_path: Path) -> None:
    given = ("--embed", embed, "--wheel", wheel, "--out", tmp_path, "--sha256")
    done = run("windows.py", *given, "0" * 64)
    assert (done.returncode, done.stderr.strip()) == (
        1, f"{embed.name} is not what was asked for: its SHA-256 is {sha256(embed)}",
    )  # fmt: skip
    other = tmp_path / "other.zip"
    with ZipFile(other, "w") as archive:
        archive.writestr("python.exe", "")
    done = run("windows.py", "--embed", other, "--wheel", wheel, "--out", tmp_path, "--sha256", sha256(other))
    assert "no embeddable Python" in done.stderr
    assert "on no package registry" in run("windows.py", "--out", tmp_path).stderr
