"""python -m tests.kills --count 300 --seed 1: kills over all commands, in turn; exit 1 where one did harm."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from .commands import COMMANDS, Bench
from .kill import Kill, kill, undisturbed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many kills")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and signals")
    parser.add_argument("--only", default="", help="commands whose name holds this")
    parser.add_argument("--tally", type=Path, help="JSON file for the counts of command, signal and outcome")
    options = parser.parse_args()
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as made:
        for found in _run(Path(made), options.count, options.seed, options.only):
            kills.append(found)
            if found.faults:
                print(f"{len(kills) - 1}: {found}", file=sys.stderr, flush=True)
            if options.tally:  # as it grows: it may be stopped at any time
                options.tally.write_text(_tally(kills), "utf-8")
    print(_tally(kills), end="")
    return int(any(k.faults for k in kills))


def _tally(kills: list[Kill]) -> str:
    """How often each command came to each end by each signal, as JSON."""
    counts = Counter((k.command, k.signal, "fault" if k.faults else k.outcome) for k in kills)
    rows = [{"Command": c, "Signal": s, "Outcome": o, "Count": n} for (c, s, o), n in sorted(counts.items())]
    return (
        json.dumps({"Kills": len(kills), "Faults": sum(bool(k.faults) for k in kills), "Rows": rows}, indent=1) + "\n"
    )


def _run(folder: Path, count: int, seed: int, only: str) -> Iterator[Kill]:
    (folder / "bench").mkdir()
    bench = Bench(folder / "bench")
    chosen = [command for command in COMMANDS if only in command.name]
    plain = {command.name: undisturbed(bench, command, folder / f"plain-{n}") for n, command in enumerate(chosen)}
    for number in range(count):
        command = chosen[number % len(chosen)]
        work = folder / f"kill-{number}"
        yield kill(bench, command, plain[command.name], work / "out", Random(f"{seed} {number}"))
        shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
