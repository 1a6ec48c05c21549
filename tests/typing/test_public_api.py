"""The type checker accepts what a user may write, and rejects what he may not, on the installed package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "use_of_the_api.py"
_MARK = re.compile(r"# error: ([a-z-]+)$")


def test_the_public_api_is_typed(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", PROGRAM]
    checked = subprocess.run(
        [*command, "--config-file=", f"--cache-dir={tmp_path}"],
        env={"MYPYPATH": str(installed), "PATH": "/usr/bin:/bin"}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {
        (int(line), code)
        for line, code in re.findall(rf"{re.escape(PROGRAM.name)}:(\d+): error: .*\[([a-z-]+)\]", checked.stdout)
    }
    lines = PROGRAM.read_text("utf-8").splitlines()
    marked = {(n, match[1]) for n, line in enumerate(lines, 1) if (match := _MARK.search(line))}
    assert len(marked) > 2
    assert found == marked, checked.stdout + checked.stderr
