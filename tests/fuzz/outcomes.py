"""Name what became of an input, and count it: by parser and outcome, over any number of runs.

Rules:
- An outcome is one of `OUTCOMES`; those of `FAILURES` must never come of an input.
- A tally only grows: runs add up, whatever machine they were made on.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.child import Ended, Limits

PARSERS, COMMANDS = "parsers", "commands"  # kinds of runs
BUG = "an unexpected error stopped"  # how a bug is told of where others go on
REFUSED, READ, WRITTEN = "refused", "read", "written"
TRACEBACK, CRASH, HANG, MEMORY, WRONG, LEFTOVER = "traceback", "crash", "hang", "memory", "wrong file", "leftover"
FAILURES = (TRACEBACK, CRASH, HANG, MEMORY, WRONG, LEFTOVER)
OUTCOMES = (REFUSED, READ, WRITTEN, *FAILURES)
JUDGED, UNJUDGED = "judged", "unjudged"  # of what was written
_PLACE = re.compile(r'File "([^"]*)", line (\d+),? in (\S+)')
_IN_WORDS = re.compile(BUG + r".*?: (\w+): (.*?) \((\w+\.py), line (\d+)\)", re.IGNORECASE)


class Outcome(NamedTuple):
    """What became of one input. group: the kind and place of a failure, alike for those with one cause. words: more about it."""

    name: str
    group: str = ""
    words: str = ""
    judged: str = ""

    @property
    def is_failure(self) -> bool:
        return self.name in FAILURES


@dataclass
class Tally:
    """Counts. inputs: kind of run ("parsers", "commands") to parser to outcome. seeds: of every run, by kind."""

    inputs: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    seeds: dict[str, list[int]] = field(default_factory=dict)

    def count(self, kind: str, parser: str, outcome: Outcome) -> None:
        counter = self.inputs.setdefault(kind, {}).setdefault(parser, Counter())
        counter[outcome.name] += 1
        if outcome.judged:
            counter[outcome.judged] += 1

    def total(self, kind: str, *names: str) -> int:
        return sum(counter[name] for counter in self.inputs.get(kind, {}).values() for name in names or OUTCOMES)

    def as_json(self) -> dict[str, Any]:
        inputs = {k: {p: dict(sorted(c.items())) for p, c in v.items()} for k, v in self.inputs.items()}
        return {"inputs": inputs, "seeds": self.seeds}

    def add_to(self, path: Path) -> None:
        """Add these counts to those of a file, which is made where it is not there."""
        whole = Tally.read(path) if path.exists() else Tally()
        for kind, parsers in self.inputs.items():
            for parser, counter in parsers.items():
                whole.inputs.setdefault(kind, {}).setdefault(parser, Counter()).update(counter)
        for kind, seeds in self.seeds.items():
            whole.seeds[kind] = sorted({*whole.seeds.get(kind, []), *seeds})
        path.write_text(json.dumps(whole.as_json(), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Tally:
        found = json.loads(path.read_text("utf-8"))
        inputs = {k: {p: Counter(c) for p, c in v.items()} for k, v in found["inputs"].items()}
        return cls(inputs, {k: list(s) for k, s in found["seeds"].items()})


def of_child(ended: Ended, limits: Limits) -> Outcome | None:
    """The outcome of a child that did not end by itself, or used too much; None for any other."""
    trace = ended.words[-6000:]
    if ended.hung:
        return Outcome(HANG, f"hang at {first_place(ended.words)}", ended.words[:3000])
    if ended.code < 0:
        return Outcome(CRASH, f"signal {-ended.code} at {first_place(ended.words)}", trace)
    if ended.peak > limits.memory:
        return Outcome(MEMORY, "peak memory", f"{ended.peak >> 20} MiB")
    if ended.left:
        return Outcome(LEFTOVER, "a process", trace)
    return None


def of_words(words: str) -> Outcome | None:
    """The traceback or the bug that a command told of; None where it told of none."""
    line = " ".join(words.split())  # printed text is broken into lines
    told = _IN_WORDS.search(line)
    if told is not None:
        name = MEMORY if told[1] == "MemoryError" else TRACEBACK
        return Outcome(name, f"{told[1]} at {told[3]}", told[0][:2000])
    if "here is not enough memory" in line:
        return Outcome(MEMORY, "refused for want of memory", words[-2000:])
    if "Traceback (most recent call last)" in words:
        last = words[words.rindex("Traceback (most recent call last)") :]
        error = next(
            (
                one
                for one in reversed(last.splitlines())
                if re.match(r"[\w.]*(Error|Exception|Warning|\w+): ?|\w+Error$", one)
            ),
            "",
        )
        kind = error.split(":")[0].split(".")[-1]
        name = MEMORY if "MemoryError" in kind else TRACEBACK
        return Outcome(name, f"{kind} at {last_own_place(last)}", last[-4000:])
    return None


def of_error(error: BaseException) -> Outcome:
    """The outcome of an exception that should not have come."""
    import traceback

    words = "".join(traceback.format_exception(error))
    found = of_words(words)
    return found or Outcome(TRACEBACK, f"{type(error).__name__} at ?", words[-4000:])


def first_place(words: str) -> str:
    """The innermost place of a trace of faulthandler: the first of ours, else the first."""
    places = re.findall(r'File "([^"]*)", line (\d+) in (\S+)', words)
    ours = [p for p in places if "/pipeline/" in p[0] or "/verimask/" in p[0]] or places
    return f"{Path(ours[0][0]).name}:{ours[0][2]}" if ours else "?"


def last_own_place(words: str) -> str:
    """The innermost place of a traceback in our own code, else the innermost."""
    places = _PLACE.findall(words)
    ours = [p for p in places if "/pipeline/" in p[0] or "/verimask/" in p[0]] or places
    return f"{Path(ours[-1][0]).name}:{ours[-1][2]}" if ours else "?"
