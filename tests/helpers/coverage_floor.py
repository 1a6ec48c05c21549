"""Hold the coverage of the tests, of lines and branches, against its floor: of the package, and of the rooms that prove.

Rules:
- What runs in processes of their own (witnesses, decoders, commands started by tests) is not measured: it would take half as
  long again, and a witness that a test kills could not report.
- A floor is what was reached, rounded down. It is raised when more is covered, and lowered by a decision only: that of core is
  lower since it holds what happens to processes that are stopped or killed, which tests start as processes of their own
  (`test_stops`, `test_leftovers`, `test_kills`); that of the package, since decoders serve in such processes too.
- `python -m tests.helpers.coverage_floor build/coverage.json` ends with 1 and names the lines where a floor is missed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FLOORS = {"": 94.5, "geometry": 98.0, "stacking": 97.0, "crosscheck": 82.0, "core": 91.0, "nifti": 98.0}  # percent
_COUNTED = ("covered_lines", "num_statements", "covered_branches", "num_branches")


def reached(files: dict[str, Any], room: str) -> tuple[float, list[str]]:
    """Percent of lines and branches of a room ("" for all) that were run; and where the others are, by file."""
    sums, missing = dict.fromkeys(_COUNTED, 0), []
    for name, file in sorted(files.items()):
        if not Path(name).is_relative_to(Path("pipeline") / room):
            continue
        for key in _COUNTED:
            sums[key] += file["summary"][key]
        places = [str(line) for line in file["missing_lines"]]
        places += [f"{a}->{b}" for a, b in file["missing_branches"]]
        if places:
            missing.append(f"{name}: {', '.join(places)}")
    whole = sums["num_statements"] + sums["num_branches"]
    return 100 * (sums["covered_lines"] + sums["covered_branches"]) / whole, missing


def main(path: str) -> int:
    """Print a line a room; the exit code."""
    files = json.loads(Path(path).read_text("utf-8"))["files"]
    low = 0
    for room, floor in FLOORS.items():
        percent, missing = reached(files, room)
        print(f"{room or 'pipeline':12} {percent:6.2f} % of lines and branches; the floor is {floor:.1f} %")
        if percent < floor:
            low += 1
            print("\n".join(f"  {line}" for line in missing))
    return int(low > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
