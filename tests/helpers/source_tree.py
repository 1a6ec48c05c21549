"""Copy the sources as a clone has them, and build a wheel of the copy without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
VIEWER = Path("pipeline", "report", "viewer", "niivue.js")
WITHOUT = "VERIMASK_WITHOUT_VIEWER"
_NEEDED = (
    "pipeline",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "MANIFEST.in",
    ".ci",
    "docs/verimask.1",
)


def copy(folder: Path) -> Path:
    """Copy what git knows, or would add, of what a build needs."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *_NEEDED],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def add_viewer(tree: Path) -> bool:
    """Add the viewer that is built in this checkout to a copy; whether there is one."""
    built = ROOT / VIEWER
    if built.exists():
        shutil.copy2(built, tree / VIEWER)
    return built.exists()


def run_pip(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the pip of the tests, which may reach no network."""
    given = {name: value for name, value in os.environ.items() if name != WITHOUT}
    return subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        cwd=folder, env={**given, "PIP_NO_INDEX": "1", **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def build_wheel(tree: Path, into: Path, *arguments: str, **environment: str) -> Path:
    """Build the wheel of a source tree or an sdist."""
    done = run_pip(
        "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(into), *arguments, str(tree),
        folder=into, **environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next(into.glob("*.whl"))
