"""Take from the lock file what a person installs: verimask's own packages and those of its extras, and no tool of ours.

Rules:
- Which packages those are is read from the metadata of this environment, which `make setup` made from the same lock file.
- Markers are decided for the system that is asked for, and left out: pip would decide them for the one it runs on.
- Every version and hash is that of the lock file.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

LOCK = Path(__file__).parent / "requirements.lock"
EXTRAS = ("report", "seg", "witnesses")  # of a release; the others are for few
_SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}
Environment = dict[str, str]


def environment_of(system: str, python: str) -> Environment:
    """What markers are decided by. python: its version, such as 3.11."""
    return {**_SYSTEMS[system], "python_version": python, "python_full_version": f"{python}.0"}


def select(environment: Environment, pyproject: Path) -> str:
    """The lines of the lock file for what is needed there.

    Args:
        environment: of the system that it is for.
        pyproject: where the packages that are needed directly stand.

    Returns: a requirements file with hashes, every package once.

    Raises: SystemExit where something that is needed is not in the lock file.
    """
    wanted = _closure(_direct(pyproject), environment)
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", LOCK.read_text("utf-8").rstrip()):
        line, _, hashes = block.partition("\n")
        requirement = Requirement(line.rstrip(" \\"))
        applies = requirement.marker is None or requirement.marker.evaluate(environment)
        if applies and (name := _normal(requirement.name)) in wanted:
            found[name] = f"{name}{requirement.specifier} \\\n{hashes}\n"
    if missing := sorted(wanted - set(found)):
        raise SystemExit(f"not in {LOCK.name}: {', '.join(missing)}")
    return "".join(found[name] for name in sorted(found))


def _direct(pyproject: Path) -> list[str]:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]


def _closure(lines: Iterable[str], environment: Environment) -> set[str]:
    """The names of what these need in an environment, and of what that needs."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(line), "") for line in lines]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({**environment, "extra": extra}):
            continue
        for wanted in ("", *sorted(requirement.extras)):
            one = (_normal(requirement.name), wanted)
            if one not in found:
                found.add(one)
                waiting += [(Requirement(line), wanted) for line in _needs(requirement.name)]
    return {name for name, _ in found}


def _needs(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # what only the other system needs
        return []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", choices=sorted(_SYSTEMS))
    parser.add_argument("--python", default=".".join(map(str, sys.version_info[:2])), metavar="3.X")
    given = parser.parse_args()
    print(select(environment_of(given.system, given.python), LOCK.parents[1] / "pyproject.toml"), end="")
