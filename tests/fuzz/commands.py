"""Give inputs to whole commands, each in a child of its own, and look at everything they leave behind.

Rules:
- A command may write below {out}, and nothing where it refuses. Its inputs are what they were, its temporary folder is empty, and so
  is the folder it was started in.
- Exit 1 is a bug of ours, whatever the input; so is a bug that is told of as one thing among others.
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import verimask

from pipeline.cli.main import main
from tests.fuzz.child import Ended, Limits, in_child, rearm
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


def run_commands(
    seeds: Sequence[Seed], campaign: int, numbers: Sequence[int], work: Path, limits: Limits
) -> Iterator[tuple[int, Outcome]]:
    """Give inputs to commands, and yield number and outcome of each. numbers: input n is spoilt from seed n modulo their count."""
    for number in numbers:
        seed = seeds[number % len(seeds)]
        files: Files = dict(seed.files)
        yield (
            number,
            run_one(files, drawn(seed.name, files, campaign, number), chosen(seed, campaign, number), work, limits),
        )


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
    """Spoil files and give them to a command. work: a folder for everything, whose other contents are left alone."""
    files, _ = spoilt(files, mutations)
    for name in _OWN:
        (work / name).mkdir()
    try:
        laid(files, work / "in")
        before = _listing(work / "in")
        told = work / "told"
        told.write_bytes(b"")
        given = [word.replace("{in}", f"{work}/in").replace("{out}", f"{work}/out") for word in words.split()]
        ended = in_child(lambda: _command(given, work, told, limits), work, limits, output=str(work / "said"))
        outcome = _outcome(ended, told, work, limits)
        left = "" if outcome.is_failure else _left(work, before, files, ended.code)
        return Outcome(LEFTOVER, left.split(":")[0], left) if left else outcome
    finally:
        for name in _OWN:
            shutil.rmtree(work / name, ignore_errors=True)
        (work / "said").unlink(missing_ok=True)


def _command(given: Sequence[str], work: Path, told: Path, limits: Limits) -> int:
    """Run the command, tell of its end, and judge what it wrote."""
    os.chdir(work / "cwd")
    os.environ["TMPDIR"], tempfile.tempdir = str(work / "tmp"), None
    try:
        main(given)
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    with told.open("a") as file:
        file.write(json.dumps({"code": code}) + "\n")
        file.flush()
        if given[0] == "convert" and any((work / "out").rglob("*.nii.gz")):
            rearm(limits)
            said = "".join((work / name).read_text("utf-8", "replace") for name in ("said", "err"))
            found = judge(work / "in", work / "out", is_whole=code == 0, said=said)
            file.write(json.dumps({"judged": [tuple(one) for one in found]}) + "\n")
    return code


def _outcome(ended: Ended, told: Path, work: Path, limits: Limits) -> Outcome:
    """The outcome by what the child told and by how it ended."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in told.read_text("utf-8").splitlines()]
    written = any((work / "out").rglob("*.nii.gz"))
    if not lines:
        return (
            of_child(ended, limits)
            or of_words(ended.words)
            or Outcome(TRACEBACK, f"ended with {ended.code}", ended.words[-3000:])
        )
    code = lines[0]["code"]
    said = (work / "said").read_text("utf-8", "replace") if (work / "said").exists() else ""
    bug = of_words(said + ended.words)
    if bug is not None or code == 1:
        return bug or Outcome(TRACEBACK, "exit 1", (said + ended.words)[-3000:])
    if ended.peak > limits.memory or ended.left:
        return of_child(ended, limits) or Outcome(TRACEBACK)
    if len(lines) > 1:
        return _of_judgements([Judgement(*one) for one in lines[1]["judged"]])
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
