"""Build wheels and sdists by setuptools, with the live viewer of the page in them.

Rules:
- A wheel or sdist is whole: where `niivue.js` is not built yet, npm builds it, and where that cannot be done the build
  refuses in one sentence. Nobody gets less than everybody else without having asked for it.
- VERIMASK_WITHOUT_VIEWER=1, or the config setting `viewer=none`, asks for it. `verimask doctor` then says what is missing.
- An editable installation is a checkout, in which `make viewer` builds it at any time: it only says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

VIEWER = Path("pipeline", "report", "viewer")  # a backend is run where pyproject.toml lies
SCRIPT = VIEWER / "niivue.js"
# As `make viewer` does it.
COMMANDS = (
    ("npm", "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"),
    ("npm", "run", "--silent", "build"),
)
WITHOUT = "VERIMASK_WITHOUT_VIEWER"
_COST = "verimask report has no --interactive then, and everything else works"
_KNOWINGLY = f"to build without it knowingly, set {WITHOUT}=1 or give --config-settings viewer=none"

Settings = dict[str, Any] | None


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build a wheel, with the viewer in it."""
    _have_viewer(config_settings)
    return build_meta.build_wheel(wheel_directory, _rest_of(config_settings), metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build an sdist, with the viewer in it, so that a wheel of it needs no npm."""
    _have_viewer(config_settings)
    return build_meta.build_sdist(sdist_directory, _rest_of(config_settings))


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Install a checkout as it lies there."""
    if not SCRIPT.exists():
        _print("the live viewer is not built yet (make viewer): until then there is no --interactive")
    return build_meta.build_editable(wheel_directory, _rest_of(config_settings), metadata_directory)


def _have_viewer(settings: Settings) -> None:
    """Build the viewer where it is missing. Raises SystemExit where that cannot be done and nobody asked for less."""
    if SCRIPT.exists():
        return
    wanted = (settings or {}).get("viewer", "built")
    if wanted not in ("built", "none"):
        raise SystemExit(f"verimask: the config setting viewer is built or none, and not {wanted!r}")
    if wanted == "none" or os.environ.get(WITHOUT, "") not in ("", "0"):
        _print(f"built without the live viewer, as asked for: {_COST}")
        return
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(_refusal("npm, which builds it, is not installed"))
    _print("building the live viewer with npm")
    for _, *arguments in COMMANDS:
        done = subprocess.run([npm, *arguments], cwd=VIEWER, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise SystemExit(_refusal(f"npm {arguments[0]} failed: {lines[0].strip() if lines else done.returncode}"))


def _refusal(why: str) -> str:
    return (
        f"verimask: the live viewer is missing ({SCRIPT.as_posix()}), and {why}. Install Node.js and run `make viewer`, or "
        f"install a released wheel, which has it; {_KNOWINGLY} ({_COST})."
    )


def _rest_of(settings: Settings) -> Settings:
    """The settings that are setuptools' own."""
    return {name: value for name, value in settings.items() if name != "viewer"} if settings else settings


def _print(text: str) -> None:
    print(f"verimask: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":  # python .ci/build_backend.py dist: what `make wheel` runs
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for made in (build_sdist(str(target)), build_wheel(str(target))):
        print(target / made)
