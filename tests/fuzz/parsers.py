"""Give many inputs to the readers, a batch of them in each child: what ends the child costs the one input, and the rest go on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

from pipeline.core.findings import Code, PipelineError
from tests.fuzz.child import Limits, in_child, rearm
from tests.fuzz.mutate import drawn, laid, spoilt
from tests.fuzz.outcomes import PARSERS, READ, REFUSED, TRACEBACK, Outcome, of_child, of_error, of_words
from tests.fuzz.seeds import Seed
from tests.fuzz.targets import read

KIND = PARSERS
BATCH = 400  # inputs a child: a fork costs as much as a few of them


def run_parsers(
    seeds: Sequence[Seed], campaign: int, numbers: Sequence[int], work: Path, limits: Limits
) -> Iterator[tuple[int, Outcome]]:
    """Give inputs to the readers, and yield number and outcome of each. numbers: input n is spoilt from seed n modulo their count."""
    left = list(numbers)
    while left:
        told = work / "told"
        told.write_bytes(b"")
        batch = left[:BATCH]
        ended = in_child(partial(_read_batch, seeds, campaign, batch, work, told, limits), work, limits)
        done = [json.loads(line) for line in told.read_text("utf-8").splitlines()]
        for folder in work.glob("in*"):  # of the one that ended the child: what comes of it may be asked again at once
            shutil.rmtree(folder, ignore_errors=True)
        yield from ((number, Outcome(*outcome)) for number, outcome in done)
        left = left[len(done) :]
        if len(done) < len(batch):  # the next one ended the child
            outcome = of_child(ended, limits) or Outcome(
                TRACEBACK, f"the child ended with {ended.code}", ended.words[-3000:]
            )
            yield left[0], outcome
            left = left[1:]


def read_one(seed: Seed, campaign: int, number: int, folder: Path) -> Outcome:
    """Spoil one input, lay it into a folder that is not there yet, and read it, in this process."""
    files, _ = spoilt(dict(seed.files), drawn(seed.name, dict(seed.files), campaign, number))
    folder.mkdir()
    laid(files, folder)
    return read_laid(seed, folder, Random(f"{seed.name}:{campaign}:{number}:asked"))


def read_laid(seed: Seed, folder: Path, rng: Random) -> Outcome:
    """Read what lies in a folder."""
    try:
        read(seed, folder, rng)
    except PipelineError as error:
        if error.finding.code is Code.UNEXPECTED:
            return of_error(error.__cause__) if error.__cause__ else of_words(error.finding.message) or of_error(error)
        return Outcome(REFUSED, error.finding.code.name)
    except Exception as error:
        return of_error(error)
    return Outcome(READ)


def _read_batch(
    seeds: Sequence[Seed], campaign: int, numbers: Sequence[int], work: Path, told: Path, limits: Limits
) -> int:
    handle = os.open(told, os.O_WRONLY | os.O_APPEND)
    for number in numbers:
        rearm(limits)
        folder = work / f"in{number}"
        outcome = read_one(seeds[number % len(seeds)], campaign, number, folder)
        os.write(handle, (json.dumps([number, outcome]) + "\n").encode())
        shutil.rmtree(folder, ignore_errors=True)
    return 0
