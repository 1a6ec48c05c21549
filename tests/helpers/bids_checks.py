"""The BIDS validator (bids-validator-deno, with the schema that is built into it), on a data set and its derivatives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def errors_of(folder: Path) -> list[str]:
    """Each error of the validator: code, subcode and place; of the derivatives too, which must be seen by it."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    found = subprocess.run(
        [program, "--recursive", "--format", "json", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if found.returncode not in (0, 16):  # 16: there are errors
        raise RuntimeError(f"the validator ended with {found.returncode}: {found.stderr}")
    answer = json.loads(found.stdout)
    errors = _errors(answer, "")
    derivatives = answer.get("derivativesSummary", {})
    if bool(derivatives) != (folder / "derivatives").is_dir():
        raise RuntimeError("the validator did not look at the derivatives")
    for place, summary in derivatives.items():
        errors += _errors(summary, place.rstrip("/"))
    if bool(errors) != (found.returncode == 16):
        raise RuntimeError(f"the validator ended with {found.returncode}, and lists {errors}")
    return errors


def _errors(answer: dict[str, Any], place: str) -> list[str]:
    issues = answer["issues"]["issues"]
    return [
        f"{issue['code']} {issue.get('subCode', '')} {place}{issue.get('location', '')}"
        for issue in issues
        if issue["severity"] == "error"
    ]
