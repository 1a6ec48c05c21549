"""The shape of the code: floors, what may lean on what, sizes, and words where a reader needs them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
WITNESSES = {"dicom2nifti", "SimpleITK", "dcm2niix"}
JUDGES = {"dcm2niix", "dcmqi", "dicom2nifti", "drawn_contours", "highdicom", "polygons", "printed_grid"}
READERS = {"pydicom", "nibabel", "highdicom"}
INSIDE_MIMICS = {"export_masks.py", "import_masks.py"}  # scripts of one file each, read and run by hand in Mimics


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """The whole names of all modules a file imports, in functions too. Ours begin with `pipeline`."""
    names = set()
    room = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = room[: len(room) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_package_does_not_know_the_name_of_its_folder(path: Path) -> None:
    """Every import of our own is relative: installed, the package is called verimask."""
    absolute = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "pipeline")
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "pipeline" for alias in node.names))
    ]
    assert absolute == []
    if path.parts[-2] == "cli" and path.stem in ("convert", "check"):  # see that relative imports are understood
        assert any(name.startswith("pipeline.core.") for name in imported(path))


def test_the_floors_hold() -> None:
    """The contract of .importlinter, a module without a floor among its failures."""
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports_command as c; sys.argv=['lint-imports']; c()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_is_judged_does_not_lean_on_its_judge(path: Path) -> None:
    if "crosscheck" in path.parts:
        assert not packages(path) & READERS or path.stem in JUDGES
        return
    assert not packages(path) & WITNESSES
    # The CSA header of a mosaic is read by nibabel, and a user is given its image; no NIfTI file of ours is read or written by it.
    if name_of(path) not in ("pipeline.dicom.siemens_header", "pipeline.arrays.other_libraries"):
        assert not packages(path) & {"nibabel"}, "nibabel judges our files; it does not write or read them here"


@pytest.mark.parametrize("name", ["geometry", "volume", "core", "stacking", "nifti"])
def test_the_ground_floor_knows_no_dicom(name: str) -> None:
    modules = sorted((ROOT / "pipeline" / name).glob("*.py"))
    assert len(modules) > 3
    for path in modules:
        assert not packages(path) & (READERS | WITNESSES), path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_and_opens_with_what_it_is(path: Path) -> None:
    text = path.read_text("utf-8")
    assert path.name in INSIDE_MIMICS or len(text.splitlines()) <= 350
    assert path.name == "__main__.py" or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_is_public_is_explained(path: Path) -> None:
    """Functions and classes of the library, but for the two that start a witness's process, and enumerations."""
    tree = ast.parse(path.read_text("utf-8"))
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
        and not (isinstance(node, ast.ClassDef) and any(getattr(b, "id", "") in ("str", "IntEnum") for b in node.bases))
        and node.name not in ("start", "main")
    ]
    assert path.name in INSIDE_MIMICS or silent == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "print" not in calls or path.name in INSIDE_MIMICS or path.parent.name == "cli"


def test_a_type_has_a_name_of_its_own() -> None:
    """Classes and aliases of the whole package: who looks for one finds one."""
    where: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
                names = [n for n in targets if n[0].isupper() and not n.isupper() and len(n) > 1]
            else:
                continue
            for name in names:
                where.setdefault(name, []).append(name_of(path))
    assert len(where) > 100
    assert {name: modules for name, modules in where.items() if len(modules) > 1} == {}


def test_no_module_is_flat_and_no_limit_stands_twice() -> None:
    assert {p.name for p in (ROOT / "pipeline").glob("*.py")} == {"__init__.py", "__main__.py"}
    limits = set()
    for node in ast.parse((ROOT / "pipeline" / "core" / "limits.py").read_text("utf-8")).body:
        limits |= {t.id for t in node.targets if isinstance(t, ast.Name)} if isinstance(node, ast.Assign) else set()
    assert limits
    for path in MODULES:
        if path.name == "limits.py":
            continue
        assigned = {
            target.id.lstrip("_")
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert not limits & assigned, path


def test_the_public_names_are_there() -> None:
    import verimask

    assert dir(verimask) == sorted(verimask.__all__)
    for name in verimask.__all__:
        assert getattr(verimask, name).__doc__
    with pytest.raises(AttributeError, match="nonsense"):
        verimask.nonsense  # noqa: B018
