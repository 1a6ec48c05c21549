"""Run command lines in processes that lack one package each, as if it had never been installed.

Rules:
- Each package has a process of its own, forked from one that has run the lines of the first: a line costs what it does.
- The processes that a command starts lack the package too, by a sitecustomize, unless they run isolated.

`python -m tests.helpers.absent_packages FOLDER < cases.json` is how `run_without` starts them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers.every_command import run_line

_HOOK = """
import os, sys

class _Without:
    def __init__(self, finder, name):
        self._finder, self._name = finder, name
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self._name:
            return None
        return self._finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self._finder, name)

def hide(name):
    sys.meta_path[:] = [_Without(finder, name) for finder in sys.meta_path]

if os.environ.get("ABSENT_PACKAGE"):
    hide(os.environ["ABSENT_PACKAGE"])
"""


class Answer(NamedTuple):
    """What came of one line. new: the files that it wrote, below the folder of its package."""

    words: list[str]
    exit: int
    stdout: str
    stderr: str
    new: list[str]


def run_without(folder: Path, cases: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, list[Answer]]:
    """Run lines without a package.

    Args:
        folder: each package gets a folder in it, in which its lines are run.
        cases: the lines of each package, by how it is imported.

    Returns: what came of them, in their order.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder)],
        input=json.dumps(cases), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: [Answer(*one) for one in json.loads((folder / f"{name}.json").read_text("utf-8"))] for name in cases}


def _run_all(folder: Path, cases: Mapping[str, Sequence[Sequence[str]]]) -> int:
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(_HOOK, "utf-8")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder / "hook"), os.environ.get("PYTHONPATH", "")])
    (folder / "warm").mkdir()
    for words in next(iter(cases.values())):  # imports what all lines need, once
        run_line(words, folder / "warm")
    failed = 0
    for name, lines in cases.items():
        child = os.fork()
        if not child:
            try:
                _run_lines(folder, name, lines)
            except BaseException as error:
                print(f"{name}: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        failed |= os.waitpid(child, 0)[1]
    return int(failed != 0)


def _run_lines(folder: Path, name: str, lines: Sequence[Sequence[str]]) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]
    os.environ["ABSENT_PACKAGE"] = name
    exec(_HOOK, {})
    own = folder / name
    own.mkdir()
    answers: list[Any] = []
    for words in lines:
        before = set(own.rglob("*"))
        code, stdout, stderr = run_line(words, own)
        new = sorted(str(path.relative_to(own)) for path in set(own.rglob("*")) - before)
        answers.append([words, code, stdout.decode(), stderr.decode(), new])
    (folder / f"{name}.json").write_text(json.dumps(answers), "utf-8")


if __name__ == "__main__":
    sys.exit(_run_all(Path(sys.argv[1]), json.load(sys.stdin)))
