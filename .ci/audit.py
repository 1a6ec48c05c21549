"""Hold a lock file against the known vulnerabilities of its packages, by pip-audit.

Rules:
- It needs a network, so it is no part of the tests: `make audit` runs it, and a workflow every week.
- Every package has to be looked up. pip-audit says that nothing is known of a package that it could not ask about; here that
  is a failure, since an audit that asked nobody would pass.
- Exit 0: every package was looked up, and none is known to be vulnerable. 1: one is. 2: it could not be found out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_TIMEOUT_S = "15"  # for each answer of the service
_MOST = 5  # packages that are named where many could not be looked up
_UNKNOWN = 2


def audit(lock: Path) -> int:
    """Audit a lock file, print what was found, and return the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    done = subprocess.run(
        [*command, "--timeout", _TIMEOUT_S, "--format", "json", "--requirement", str(lock)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = done.stderr.strip().splitlines()
        return _fail(lock, f"pip-audit gave no answer: {lines[-1] if lines else f'it ended with {done.returncode}'}")
    return _judge(lock, found)


def _judge(lock: Path, found: list[dict[str, Any]]) -> int:
    bad = [f"{one['name']} {one['version']}: {_ids(one)}" for one in found if one.get("vulns")]
    unknown = [one["name"] for one in found if "skip_reason" in one]
    for line in bad:
        print(line)
    if unknown or not found:
        few = ", ".join(unknown[:_MOST]) + (f" and {len(unknown) - _MOST} more" if len(unknown) > _MOST else "")
        return _fail(lock, f"{len(unknown)} of {len(found)} packages could not be looked up: {few or 'there is none'}")
    print(f"{lock.name}: {len(bad)} of {len(found)} packages are known to be vulnerable")
    return int(bool(bad))


def _ids(one: dict[str, Any]) -> str:
    """The vulnerabilities of one package, with the versions that mend them."""
    return "; ".join(
        f"{v['id']} (mended in {', '.join(v.get('fix_versions', ())) or 'no version'})" for v in one["vulns"]
    )


def _fail(lock: Path, why: str) -> int:
    print(f"{lock.name} was not audited: {why}", file=sys.stderr)
    print("The audit asks the package index over the network; without one, run it where there is one.", file=sys.stderr)
    return _UNKNOWN


if __name__ == "__main__":
    sys.exit(max(audit(Path(given)) for given in sys.argv[1:]))
