"""How the code is written: lengths, names, docstrings, and what every refusal says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from radon.complexity import cc_rank, cc_visit

ROOT = Path(__file__).parents[1]
# Rooms on the way to these rules.
ROOM_NOT_YET = set(
    "cli conversion core crosscheck diagnosis dicom encode geometry mimics nifti report stacking volume".split()
)
INSIDE_MIMICS = {"export_masks.py", "import_masks.py"}  # scripts for old Pythons, read and run by hand in Mimics
MODULES = sorted(p for p in (ROOT / "pipeline").rglob("*.py") if p.name not in INSIDE_MIMICS)
Function = ast.FunctionDef | ast.AsyncFunctionDef

# Words that name an act or a place, not a thing: they made riddles of files, types and values.
_RIDDLES = {"told", "said", "laid", "placed", "beside", "testify", "tell", "says"}
_NO_VERB = {"What", "Whether", "Where", "How", "Which", "Who", "When", "All", "Everything", "One", "That", "Those"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "pipeline"))


modules = pytest.mark.parametrize(
    "path", [p for p in MODULES if name_of(p).split("/")[0] not in ROOM_NOT_YET], ids=name_of
)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public_functions(tree: ast.Module) -> Iterator[Function]:
    """Functions of a module and methods of its classes, without an underscore anywhere."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (n for n in node.body if isinstance(n, Function) and not n.name.startswith("_"))


@modules
def test_a_function_fits_one_look(path: Path) -> None:
    """40 lines of code, and no rank D of cyclomatic complexity."""
    for function in functions(tree_of(path)):
        first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
        header = function.body[0].lineno - function.lineno
        assert header + (function.end_lineno or 0) - first.lineno + 1 <= 40, function.name
    for block in cc_visit(path.read_text("utf-8")):
        for part in [block, *getattr(block, "methods", [])]:
            assert cc_rank(part.complexity) <= "C", (part.name, part.complexity)


@modules
def test_a_public_function_of_many_parameters_explains_each(path: Path) -> None:
    for function in public_functions(tree_of(path)):
        arguments = function.args
        names = [
            a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs if a.arg not in ("self", "cls")
        ]
        if len(names) <= 2:
            continue
        text = ast.get_docstring(function) or ""
        assert "Args:" in text, function.name
        described = text.split("Args:")[1]
        missing = [name for name in names if not re.search(rf"\b{name}\b[^:\n]*: ", described)]
        assert missing == [], (function.name, missing)
        if not (isinstance(function.returns, ast.Constant) and function.returns.value is None):
            assert re.search(r"Returns:|Yields:", text), function.name
        if any(isinstance(node, ast.Raise) for node in ast.walk(function)):
            assert "Raises:" in text, function.name


@modules
def test_nothing_is_asserted_that_python_may_leave_out(path: Path) -> None:
    assert [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)] == []


@modules
def test_a_name_is_no_riddle(path: Path) -> None:
    names = {path.stem}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    assert {name for name in names if name.lower().strip("_") in _RIDDLES} == set()


@modules
def test_a_module_opens_with_a_plain_sentence(path: Path) -> None:
    text = ast.get_docstring(tree_of(path))
    if path.name == "__main__.py":
        return
    assert text
    first = text.split("\n\n")[0].splitlines()[0]
    assert re.match(r"[A-Z]", first)
    assert first.split()[0].strip(",;:") not in _NO_VERB, first


def findings(tree: ast.Module) -> Iterator[ast.Call]:
    """The places where an ERROR is made: refuse(…), and Finding(…) that is no warning."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        keywords = {k.arg: k.value for k in node.keywords}
        if node.func.id == "refuse" or (
            node.func.id == "Finding" and "severity" not in keywords and len(node.args) < 4
        ):
            yield node


@modules
def test_a_refusal_says_where_and_what_to_do(path: Path) -> None:
    if path.name == "findings.py":
        return
    for call in findings(tree_of(path)):
        keywords = {k.arg for k in call.keywords}
        assert None in keywords or "hint" in keywords or len(call.args) > 2, f"line {call.lineno}: no hint"
        assert None in keywords or "where" in keywords, f"line {call.lineno}: no where"


def test_the_errors_are_found() -> None:
    """The two tests above would pass empty if nothing were found."""
    assert sum(len(list(findings(tree_of(path)))) for path in MODULES) > 150
    assert sum(len(list(public_functions(tree_of(path)))) for path in MODULES) > 300
