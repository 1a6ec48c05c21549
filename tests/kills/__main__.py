"""python -m tests.kills --count 300 --seed 1: kills over all commands, in turn; exit 1 where one did harm."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
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
    with tempfile.TemporaryDirectory(prefix="kills-") as made:
        kills = _run(Path(made), options.count, options.seed, options.only)
    counts = Counter((k.command, k.signal, "fault" if k.faults else k.outcome) for k in kills)
    rows = [{"Command": c, "Signal": s, "Outcome": o, "Count": n} for (c, s, o), n in sorted(counts.items())]
    text = json.dumps({"Kills": len(kills), "Faults": sum(bool(k.faults) for k in kills), "Rows": rows}, indent=1)
    if options.tally:
        options.tally.write_text(text + "\n", "utf-8")
    print(text)
    return int(any(k.faults for k in kills))


def _run(folder: Path, count: int, seed: int, only: str) -> list[Kill]:
    (folder / "bench").mkdir()
    bench = Bench(folder / "bench")
    chosen = [command for command in COMMANDS if only in command.name]
    plain = {command.name: undisturbed(bench, command, folder / f"plain-{n}") for n, command in enumerate(chosen)}
    kills = []
    for number in range(count):
        command = chosen[number % len(chosen)]
        work = folder / f"kill-{number}"
        found = kill(bench, command, plain[command.name], work / "out", Random(f"{seed} {number}"))
        kills.append(found)
        if found.faults:
            print(f"{number}: {found}", file=sys.stderr, flush=True)
        else:
            shutil.rmtree(work)
    return kills


if __name__ == "__main__":
    sys.exit(main())
