"""Run a campaign: `python -m tests.fuzz.run --parsers|--commands [--seconds N | --count N] [--seed S] [--tally FILE.json]`.

Rules:
- The parent has everything imported; inputs are read in forked children, whose end costs one input.
- Every failure can be made again alone: `--again PARSER:SEED:NUMBER`, with `--commands` where it was one. `--keep DIR` keeps its files.
- An input that hangs is tried once more, and what it does then is counted.
- Ends with 1 where an input failed, else with 0.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz import commands, parsers
from tests.fuzz.child import Limits
from tests.fuzz.mutate import drawn, laid, spoilt
from tests.fuzz.outcomes import HANG, JUDGED, OUTCOMES, UNJUDGED, Outcome, Tally
from tests.fuzz.seeds import Seed, seeds

_AT_ONCE = 5000  # numbers that are handed to a run before the clock is looked at again
_KEPT = 5  # examples of each group of failures in the list of failures


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return the exit code."""
    options = _options(given)
    warnings.simplefilter("ignore")
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "COLUMNS": "100", "NO_COLOR": "1"}
    limits = Limits(seconds=options.limit)
    if options.commands:
        commands.import_commands()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        if options.again:
            return _again(options, Path(folder), limits)
        found = [seed for seed in seeds(set(options.only) or None) if options.parsers or seed.commands]
        tally = Tally(seeds={_kind(options): [options.seed]})
        print(f"{_kind(options)}: seed {options.seed}", flush=True)
        groups = _campaign(options, found, Path(folder), limits, tally)
    _print(tally, groups, _kind(options))
    if options.tally:
        tally.add_to(options.tally)
    return 1 if groups else 0


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.run", description="spoilt files to every reader or command"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--parsers", action="store_true", help="the readers, in process (the default)")
    which.add_argument("--commands", action="store_true", help="whole commands, each in a child")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--seconds", type=float, help="for so long (default 60)")
    end.add_argument("--count", type=int, help="so many inputs")
    parser.add_argument("--seed", type=int, help="of the campaign; a random one is drawn and printed")
    parser.add_argument("--only", nargs="+", default=[], metavar="PARSER", help="inputs of these kinds only")
    parser.add_argument(
        "--limit", type=float, default=Limits().seconds, metavar="SECONDS", help="an input may take (10)"
    )
    parser.add_argument("--tally", type=Path, metavar="FILE.json", help="counts are added to this file")
    parser.add_argument("--failures", type=Path, metavar="FILE.jsonl", help="every kind of failure, with examples")
    parser.add_argument("--again", metavar="PARSER:SEED:NUMBER", help="one input, with everything that is known of it")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="with --again: its files, into this new folder")
    options = parser.parse_args(given)
    options.parsers = not options.commands
    if options.seconds is None and options.count is None:
        options.seconds = 60.0
    if options.seed is None:
        options.seed = secrets.randbelow(1 << 31)
    return options


def _kind(options: argparse.Namespace) -> str:
    return parsers.KIND if options.parsers else commands.KIND


def _campaign(
    options: argparse.Namespace, found: Sequence[Seed], work: Path, limits: Limits, tally: Tally
) -> Counter[tuple[str, str]]:
    """Run until the count or the clock ends it; count outcomes, and return how many failures each group has."""
    groups: Counter[tuple[str, str]] = Counter()
    for number, outcome in _outcomes(options, found, work, limits):
        name = found[number % len(found)].name
        tally.count(_kind(options), name, outcome)
        if outcome.is_failure:
            key = (outcome.name, outcome.group)
            groups[key] += 1
            if groups[key] <= _KEPT:
                _keep(options, name, number, outcome, first=groups[key] == 1)
    return groups


def _outcomes(
    options: argparse.Namespace, found: Sequence[Seed], work: Path, limits: Limits
) -> Iterator[tuple[int, Outcome]]:
    run = parsers.run_parsers if options.parsers else commands.run_commands
    began, done = time.monotonic(), 0
    while True:
        size = min(_AT_ONCE, options.count - done) if options.count else _AT_ONCE
        for number, outcome in run(found, options.seed, range(done, done + size), work, limits):
            if outcome.name == HANG:  # on a busy machine an input may only have waited for its turn
                ((_, outcome),) = run(found, options.seed, [number], work, limits)
            yield number, outcome
            if options.seconds and time.monotonic() - began > options.seconds:
                return
        done += size
        if options.count and done >= options.count:
            return


def _keep(options: argparse.Namespace, parser: str, number: int, outcome: Outcome, *, first: bool) -> None:
    """Print the first failure of its group, and add it to the list of failures."""
    name = f"{parser}:{options.seed}:{number}"
    if first:
        last = outcome.words.strip().splitlines()[-1:] or [""]
        print(f"{outcome.name.upper()}  {outcome.group}  {name}\n    {last[0][:200]}", flush=True)
    if options.failures:
        line = {
            "input": name,
            "kind": _kind(options),
            "outcome": outcome.name,
            "group": outcome.group,
            "words": outcome.words,
        }
        with options.failures.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _again(options: argparse.Namespace, work: Path, limits: Limits) -> int:
    """Make one input again and say everything about it."""
    name, campaign, number = options.again.rsplit(":", 2)
    (seed,) = seeds({name})
    mutations = drawn(seed.name, dict(seed.files), int(campaign), int(number))
    files, words = spoilt(dict(seed.files), mutations)
    print("\n".join(f"{m.operation}:{m.number}  {w}" for m, w in zip(mutations, words, strict=True)))
    if options.keep:
        options.keep.mkdir(parents=True)
        laid(files, options.keep)
    if options.parsers:
        ((_, outcome),) = parsers.run_parsers([seed], int(campaign), [int(number)], work, limits)
    else:
        command = commands.chosen(seed, int(campaign), int(number))
        print(f"verimask {command}")
        outcome = commands.run_one(dict(seed.files), mutations, command, work, limits)
    print(f"{outcome.name}: {outcome.group}\n{outcome.words}")
    return 1 if outcome.is_failure else 0


def _print(tally: Tally, groups: Counter[tuple[str, str]], kind: str) -> None:
    for (name, group), count in sorted(groups.items(), key=lambda pair: -pair[1]):
        print(f"{count:6}  {name}: {group}")
    counts = ", ".join(f"{tally.total(kind, name)} {name}" for name in OUTCOMES)
    print(f"{tally.total(kind)} inputs: {counts}")
    if kind == commands.KIND:
        print(f"files written: {tally.total(kind, JUDGED)} judged, {tally.total(kind, UNJUDGED)} unjudged")


if __name__ == "__main__":
    sys.exit(main())
