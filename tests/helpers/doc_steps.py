"""Do what a page of docs/ tells its reader to do, as it stands there.

Rules:
- A block that is run or saved follows a comment: `<!-- run: name -->` or `<!-- file: name -->`.
- `verimask` and `python` in a block are this checkout and this Python. `pip` installs nothing: it writes down what it was
  given, into the file `installed`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_STEP = re.compile(r"<!-- (run|file): ([\w.]+) -->\n```\w+\n(.*?)```\n", re.S)


def steps(page: str) -> dict[str, tuple[str, str]]:
    """What a page does, in its order: kind and content, by name."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return {name: (kind, content) for kind, name, content in _STEP.findall(text)}


def do(page: str, name: str, folder: Path) -> str:
    """Do one step of a page in a folder; what it printed."""
    kind, content = steps(page)[name]
    if kind == "file":
        (folder / name).write_text(content, "utf-8")
        return ""
    programs = folder / "bin"
    if not programs.exists():
        programs.mkdir()
        for program, module in (("verimask", "-m pipeline "), ("python", "")):
            (programs / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore {module}"$@"\n', "utf-8")
            (programs / program).chmod(0o755)
        (programs / "pip").write_text(f'#!/bin/sh\necho "$@" >> "{folder}/installed"\n', "utf-8")
        (programs / "pip").chmod(0o755)
        (folder / "tmp").mkdir()
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": python_path,
        "TMPDIR": str(folder / "tmp"),
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["sh", "-ec", content], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return done.stdout
