"""The package has one name and one copy in one process, installed or in a checkout; `pipeline` is installed nowhere."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.phantom import Spec, write

ROOT = Path(__file__).parents[1]


def python(*arguments: str, folder: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the Python of the tests in another folder, with one more entry before the installed packages if asked."""
    start = f"import sys; sys.path[0] = {str(path)!r}\n" if path else "import sys; del sys.path[0]\n"
    return subprocess.run(
        [sys.executable, "-c", start + arguments[0], *arguments[1:]],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_wheel_holds_verimask_whole_and_nothing_else(installed: Path) -> None:
    assert {p.name.split("-")[0] for p in installed.iterdir()} == {"verimask"}
    ours = {p.relative_to(ROOT / "pipeline") for p in (ROOT / "pipeline").rglob("*.py")}
    assert {p.relative_to(installed / "verimask") for p in (installed / "verimask").rglob("*.py")} == ours
    data = {p.name for p in (installed / "verimask").rglob("*") if p.suffix not in (".py", "")}
    assert {"py.typed", "style.css", "page.html", "group.js"} <= data


def test_a_wheel_beside_a_pipeline_folder_of_somebody_else(installed: Path, tmp_path: Path) -> None:
    """Converts with the witness's child process, and the user's own `pipeline` stays the user's own."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("MINE = 1\n")
    write(tmp_path / "in", Spec(), content="mask", radius_mm=4)
    code = f"""
sys.path.insert(1, {str(tmp_path)!r})
import pipeline, verimask
assert pipeline.MINE == 1
assert verimask.__file__.startswith({str(installed)!r}), verimask.__file__
outcome = verimask.convert(["in"], "out.nii.gz")
print(outcome.verdict, outcome.record["Proofs"] if "Proofs" in outcome.record else "")
"""
    done = python(code, folder=tmp_path, path=installed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VERIFIED")


def test_the_environment_holds_nothing_called_pipeline(tmp_path: Path) -> None:
    done = python(
        "from importlib.util import find_spec; print(find_spec('pipeline'), find_spec('verimask').name)",
        folder=tmp_path,
    )
    assert done.stdout.split() == ["None", "verimask"], done.stderr


@pytest.mark.parametrize("first", ["pipeline", "verimask"])
def test_both_names_are_one_copy(first: str, tmp_path: Path) -> None:
    code = f"""
import {first}
import pipeline, verimask, pipeline.core.findings, verimask.core.policy, pickle
from pipeline.core.findings import Finding
from verimask.core import findings
assert pipeline is verimask and pipeline.core.findings is findings and findings.Finding is Finding
assert pickle.loads(b'cpipeline.core.findings\\nFinding\\n.') is Finding
assert findings.__spec__.name == findings.__name__ == Finding.__module__ == "verimask.core.findings"
files = [m.__file__ for n, m in list(sys.modules.items()) if n.split(".")[0] == "verimask" and m.__file__]
assert len(files) == len(set(files)) > 3
for missing in ("pipeline.nobody", "pipeline.core.nobody"):
    try:
        __import__(missing)
    except ModuleNotFoundError as error:
        assert missing in str(error)
    else:
        raise AssertionError(missing)
"""
    done = python(code, folder=tmp_path, path=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_second_copy_is_refused(installed: Path, tmp_path: Path) -> None:
    done = python(
        f"import verimask; sys.path.insert(0, {str(ROOT)!r}); import pipeline", folder=tmp_path, path=installed
    )
    assert done.returncode == 1
    assert "would be a second copy" in done.stderr


def test_what_a_child_pickles_is_of_our_types() -> None:
    from verimask.core.policy import Policy

    from pipeline.core.policy import Policy as Folder

    assert Folder is Policy
    assert pickle.loads(pickle.dumps(Policy())) == Policy()


def test_a_module_is_run_by_both_names(tmp_path: Path) -> None:
    """`python -m pipeline` in the checkout, `python -m verimask` anywhere."""
    for name, folder in (("pipeline", ROOT), ("verimask", tmp_path)):
        done = subprocess.run(
            [sys.executable, "-m", name, "--version"], cwd=folder, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("verimask "), name


def test_help_shows_the_public_names() -> None:
    import pydoc

    import verimask

    text = pydoc.plain(pydoc.render_doc(verimask))
    for name in ("class Policy", "class Request", "convert(", "convert_all(", "scan("):
        assert name in text
