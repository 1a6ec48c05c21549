"""Make a failing input smaller, and keep it: `python -m tests.fuzz.minimise PARSER:SEED:NUMBER [--commands] [--name NAME]`.

Rules:
- Smaller is fewer mutations, then fewer files; what remains must fail in the same way at the same place.
- It is kept as its bytes in `found/NAME.json`, since the seeds may change; `tests/test_fuzz.py` holds that it fails no more.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import commands, parsers
from tests.fuzz.child import Limits, in_child
from tests.fuzz.mutate import Mutation, drawn, laid, spoilt
from tests.fuzz.outcomes import TRACEBACK, Outcome, of_child
from tests.fuzz.seeds import Seed, seeds
from tests.fuzz.spoilt_files import Files, Special

FOUND = Path(__file__).parent / "found"


@dataclass(frozen=True)
class Found:
    """One input that failed. kind: of the run. parser: of the seed. asked: the command, or what the reader draws its choice from.
    was: how it failed. did: what was done to the seed, in words."""

    kind: str
    parser: str
    asked: str
    was: str
    did: tuple[str, ...]
    files: Files

    def run(self, work: Path, limits: Limits) -> Outcome:
        """Give it to what it failed in, in a child."""
        if self.kind == commands.KIND:
            return commands.run_one(self.files, (), self.asked, work, limits)
        (seed,) = seeds({self.parser})
        folder, told = work / "in0", work / "told"
        folder.mkdir()
        laid(self.files, folder)
        told.write_bytes(b"")
        ended = in_child(lambda: _tell(parsers.read_laid(seed, folder, Random(self.asked)), told), work, limits)
        said = told.read_text("utf-8")
        if said:
            return Outcome(*json.loads(said))
        return of_child(ended, limits) or Outcome(TRACEBACK, f"the child ended with {ended.code}", ended.words)

    def keep(self, path: Path) -> None:
        """Write it as JSON."""
        files: dict[str, Any] = {
            name: {"special": content.kind}
            if isinstance(content, Special)
            else base64.b64encode(zlib.compress(content, 9)).decode()
            for name, content in self.files.items()
        }
        kept = {
            "kind": self.kind,
            "parser": self.parser,
            "asked": self.asked,
            "was": self.was,
            "did": self.did,
            "files": files,
        }
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(kept, indent=1, ensure_ascii=True) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Found:
        kept = json.loads(path.read_text("utf-8"))
        files: Files = {
            name: Special(content["special"])
            if isinstance(content, dict)
            else zlib.decompress(base64.b64decode(content))
            for name, content in kept["files"].items()
        }
        return cls(kept["kind"], kept["parser"], kept["asked"], kept["was"], tuple(kept["did"]), files)


def _tell(outcome: Outcome, told: Path) -> int:
    told.write_text(json.dumps(outcome), "utf-8")
    return 0


def minimise(seed: Seed, campaign: int, number: int, kind: str, work: Path, limits: Limits) -> Found | None:
    """Reduce one input; None where it does not fail.

    Args:
        seed: it was spoilt from.
        campaign: the seed of the run.
        number: of the input.
        kind: of the run.
        work: an empty folder for everything.
        limits: of every try.
    """
    asked = (
        f"{seed.name}:{campaign}:{number}:asked" if kind == parsers.KIND else commands.chosen(seed, campaign, number)
    )
    tries = iter(range(1 << 30))

    def fails_as(mutations: Sequence[Mutation], dropped: Sequence[str]) -> tuple[str, Found]:
        files, did = spoilt(dict(seed.files), mutations)
        left = {name: content for name, content in files.items() if name not in dropped}
        place = work / str(next(tries))
        place.mkdir()
        found = Found(kind, seed.name, asked, "", tuple(filter(None, did)), left)
        outcome = found.run(place, limits)
        return (f"{outcome.name}: {outcome.group}" if outcome.is_failure else ""), found

    mutations = drawn(seed.name, dict(seed.files), campaign, number)
    was, found = fails_as(mutations, ())
    if not was:
        return None
    mutations = _fewest(mutations, lambda some: fails_as(some, ())[0] == was)
    names = list(spoilt(dict(seed.files), mutations)[0])
    kept = _fewest(names, lambda some: fails_as(mutations, [n for n in names if n not in some])[0] == was)
    _, found = fails_as(mutations, [n for n in names if n not in kept])
    return Found(found.kind, found.parser, found.asked, was, found.did, found.files)


def _fewest(things: list[Any], holds: Callable[[list[Any]], bool]) -> list[Any]:
    """As few of the things, in their order, as still hold: each is left out in turn, until none can be."""
    again = True
    while again:
        again = False
        for n in range(len(things) - 1, -1, -1):
            fewer = things[:n] + things[n + 1 :]
            if holds(fewer):
                things, again = fewer, True
    return things


def main(given: Sequence[str] | None = None) -> int:
    """Minimise one input and keep it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.minimise", description="the smallest input that still fails"
    )
    parser.add_argument("input", metavar="PARSER:SEED:NUMBER")
    parser.add_argument("--commands", action="store_true", help="it failed in a command")
    parser.add_argument("--name", help="of the file in found/; by default made of how it failed")
    parser.add_argument("--limit", type=float, default=Limits().seconds, metavar="SECONDS")
    options = parser.parse_args(given)
    warnings.simplefilter("ignore")
    name, campaign, number = options.input.rsplit(":", 2)
    (seed,) = seeds({name})
    kind = commands.KIND if options.commands else parsers.KIND
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        found = minimise(seed, int(campaign), int(number), kind, Path(folder), Limits(seconds=options.limit))
    if found is None:
        print("it does not fail")
        return 1
    path = FOUND / f"{options.name or re.sub(r'[^a-z0-9]+', '-', f'{name} {found.was}'.lower()).strip('-')}.json"
    found.keep(path)
    print(f"{path.name}: {found.was}\n" + "\n".join(found.did))
    return 0


if __name__ == "__main__":
    sys.exit(main())
