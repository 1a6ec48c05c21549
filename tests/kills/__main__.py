"""python -m tests.kills --count 300 --seed 1: kills over all commands, in turn; exit 1 where one did harm."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import NamedTuple

from . import forked
from .commands import COMMANDS, Bench, KilledCommand
from .kill import Kill, Undisturbed, kill, undisturbed

_OF_ITS_OWN = 8  # every so many rounds the commands run in a Python of their own, which may be killed as it starts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many kills")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and signals")
    parser.add_argument("--only", default="", help="commands whose name holds this")
    parser.add_argument("--tally", type=Path, help="JSON file for the counts of command, signal and outcome")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    options = parser.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in the background a shell has it ignored, and commands would too
    forked.load_all()
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as made:
        for found in _run(Path(made), options):
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


class _Campaign(NamedTuple):
    """What every kill needs. plain: of each command, in the same order."""

    folder: Path
    bench: Bench
    chosen: list[KilledCommand]
    plain: list[Undisturbed]
    seed: int

    def kill(self, number: int) -> Kill:
        """Do one of the kills."""
        at = number % len(self.chosen)
        work = self.folder / f"kill-{number}"
        is_forked = number // len(self.chosen) % _OF_ITS_OWN != 0
        random = Random(f"{self.seed} {number}")
        found = kill(self.bench, self.chosen[at], self.plain[at], work / "out", random, fork=is_forked)
        shutil.rmtree(work)
        return found


def _run(folder: Path, options: argparse.Namespace) -> Iterator[Kill]:
    (folder / "bench").mkdir()
    chosen = [command for command in COMMANDS if options.only in command.name]
    bench = Bench(folder / "bench", chosen)
    plain = [undisturbed(bench, command, folder / f"plain-{n}", fork=True) for n, command in enumerate(chosen)]
    campaign = _Campaign(folder, bench, chosen, plain, options.seed)
    with get_context("fork").Pool(options.jobs) as pool:
        yield from pool.imap(campaign.kill, range(options.count))


if __name__ == "__main__":
    sys.exit(main())
