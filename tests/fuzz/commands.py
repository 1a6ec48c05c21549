"""Give inputs to whole commands, a batch of them in each child, and look at everything they leave behind.

Rules:
- A command may write below {out}, and nothing where it refuses. Its inputs are what they were, its temporary folder is empty, and so
  is the folder it was started in.
- Exit 1 is a bug of ours, whatever the input; so is a bug that is told of as one thing among others.
- What fails is run again in a child of its own, and that outcome is told; one that fails among others only has failed too.
- What was written is held against the input by `oracle`, within the same limits; a judge that fails has not judged.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

import verimask

from pipeline.cli.main import main
from tests.fuzz.child import Limits, in_child, rearm
from tests.fuzz.mutate import Mutation, drawn, laid, spoilt
from tests.fuzz.oracle import Judgement, judge
from tests.fuzz.outcomes import (
    COMMANDS,
    JUDGED,
    LEFTOVER,
    READ,
    REFUSED,
    TRACEBACK,
    UNJUDGED,
    WRITTEN,
    WRONG,
    Outcome,
    of_child,
    of_words,
)
from tests.fuzz.seeds import Seed
from tests.fuzz.spoilt_files import Files, Special

KIND = COMMANDS
_DONE = (0, 8, 12)  # exit codes of commands that may have written something
_OWN = ("in", "out", "tmp", "cwd")
BATCH = 40  # commands a child: a fork, and what is new to its memory, costs as much as two of them
_Given = tuple[Files, Sequence[Mutation], str]


def run_commands(
    seeds: Sequence[Seed], campaign: int, numbers: Sequence[int], work: Path, limits: Limits
) -> Iterator[tuple[int, Outcome]]:
    """Give inputs to commands, and yield number and outcome of each. numbers: input n is spoilt from seed n modulo their count."""

    def given(number: int) -> _Given:
        seed = seeds[number % len(seeds)]
        files: Files = dict(seed.files)
        return files, drawn(seed.name, files, campaign, number), chosen(seed, campaign, number)

    left = list(numbers)
    while left:
        batch = left[:BATCH]
        ended = in_child(partial(_run_batch, map(given, batch), work, limits), work, limits, output=str(work / "said"))
        told = [] if ended.left else _told(work)
        for number, outcome in zip(batch, told, strict=False):
            alone = run_one(*given(number), work, limits) if outcome.is_failure else outcome
            yield number, alone if alone.is_failure else outcome
        left = left[len(told) :]
        if len(told) < len(batch):  # the next one ended the child, or one of them left a process
            yield left[0], run_one(*given(left[0]), work, limits)
            left = left[1:]
            _clear(work)


def import_commands() -> None:
    """Import what any command would, which is a third of a child's time; what needs an extra that is absent is left."""
    for module in pkgutil.walk_packages(verimask.__path__, "verimask."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)


def chosen(seed: Seed, campaign: int, number: int) -> str:
    """The words of the command that an input is given to."""
    return Random(f"{seed.name}:{campaign}:{number}:command").choice(seed.commands)


def run_one(files: Files, mutations: Sequence[Mutation], words: str, work: Path, limits: Limits) -> Outcome:
    """Spoil files and give them to a command in a child of its own. work: a folder for everything, whose other contents stay."""
    one = [(files, mutations, words)]
    ended = in_child(partial(_run_batch, one, work, limits), work, limits, output=str(work / "said"))
    told = _told(work)
    _clear(work)
    if not told:
        words = ended.words[-3000:]
        return of_child(ended, limits) or of_words(ended.words) or Outcome(TRACEBACK, f"ended with {ended.code}", words)
    if not told[0].is_failure and (ended.peak > limits.memory or ended.left):
        return of_child(ended, limits) or Outcome(TRACEBACK)
    return told[0]


def _told(work: Path) -> list[Outcome]:
    return [Outcome(*json.loads(line)) for line in (work / "told").read_text("utf-8").splitlines()]


def _clear(work: Path) -> None:
    for name in _OWN:
        shutil.rmtree(work / name, ignore_errors=True)


def _run_batch(batch: Iterable[_Given], work: Path, limits: Limits) -> int:
    """Run commands one after the other in this process, and tell the outcome of each."""
    environment = dict(os.environ)
    with (work / "told").open("w", encoding="utf-8") as told:
        for files, mutations, words in batch:
            rearm(limits)
            _clear(work)
            for stream in (1, 2):
                os.lseek(stream, 0, os.SEEK_SET)
                os.ftruncate(stream, 0)
            outcome = _run(spoilt(files, mutations)[0], words, work, limits)
            told.write(json.dumps(outcome) + "\n")
            told.flush()
            os.environ.clear()
            os.environ.update(environment)
    os.chdir(work)
    _clear(work)
    return 0


def _run(files: Files, words: str, work: Path, limits: Limits) -> Outcome:
    """Run one command on files that are laid for it, judge what it wrote, and look at what it left."""
    for name in _OWN:
        (work / name).mkdir()
    laid(files, work / "in")
    before = _listing(work / "in")
    os.chdir(work / "cwd")
    os.environ["TMPDIR"], tempfile.tempdir = str(work / "tmp"), None
    given = [word.replace("{in}", f"{work}/in").replace("{out}", f"{work}/out") for word in words.split()]
    try:
        main(given)
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    outcome = _outcome(code, given, work, limits)
    left = "" if outcome.is_failure else _left(work, before, files, code)
    return Outcome(LEFTOVER, left.split(":")[0], left) if left else outcome


def _outcome(code: int, given: Sequence[str], work: Path, limits: Limits) -> Outcome:
    """The outcome of a command that ended by itself."""
    said = "".join((work / name).read_text("utf-8", "replace") for name in ("said", "err"))
    bug = of_words(said)
    if bug is not None or code == 1:
        return bug or Outcome(TRACEBACK, "exit 1", said[-3000:])
    written = any((work / "out").rglob("*.nii.gz"))
    if written and given[0] == "convert":
        rearm(limits)
        found = judge(work / "in", work / "out", is_whole=code == 0, said=said, given=Path(given[1]))
        return _of_judgements(found)
    if written:
        return Outcome(WRITTEN, judged=UNJUDGED)
    return Outcome(READ if code in (0, 8) else REFUSED, f"exit {code}")


def _of_judgements(found: Sequence[Judgement]) -> Outcome:
    wrong = [one for one in found if one.verdict == "wrong"]
    if wrong:
        return Outcome(WRONG, wrong[0].kind, "\n".join(one.words for one in wrong), JUDGED)
    whole = all(one.verdict == "right" for one in found)
    return Outcome(
        WRITTEN, words="; ".join(one.words for one in found if one.words), judged=JUDGED if whole else UNJUDGED
    )


def _listing(folder: Path) -> list[tuple[str, int]]:
    """Every name below a folder and its size; of what is no file, -1."""
    found = []
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(root, name)
            is_file = os.path.isfile(path) and not os.path.islink(path)
            found.append((path, os.path.getsize(path) if is_file else -1))
    return sorted(found)


def _left(work: Path, before: list[tuple[str, int]], files: Files, code: int) -> str:
    """What a command left that it should not have, in words; "" for nothing."""
    if _listing(work / "in") != before:
        return f"input changed: {sorted({*_listing(work / 'in')} ^ {*before})[:3]}"
    for name, content in files.items():
        if not isinstance(content, Special) and (work / "in" / name).read_bytes() != content:
            return f"input changed: {name}"
    for other in ("tmp", "cwd"):
        if found := sorted(p.name for p in (work / other).iterdir()):
            return f"left in {other}: {found[:3]}"
    out = list((work / "out").rglob("*"))
    if odd := [p.name for p in out if p.name.startswith(".") or p.name.endswith((".partial", ".tmp"))]:
        return f"half a file: {odd[:3]}"
    if code not in _DONE and [p for p in out if p.is_file()]:
        return f"exit {code} with files: {[p.name for p in out][:3]}"
    alone = [p.name for p in out if p.name.endswith(".nii.gz") and not p.with_name(p.name[:-7] + ".json").exists()]
    return f"a file without record: {alone[:3]}" if alone and code == 8 else ""
