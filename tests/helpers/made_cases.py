"""Cases that write what their line of a plan says, or hang, or end their process: to see who does what, and what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from pipeline.cohort.case import CaseOutput, CaseResult, Place
from pipeline.core.findings import Code, refuse
from pipeline.core.leftovers import own_mark


def places_of(count: int, a_subject: int = 3) -> list[Place]:
    """Places of so many cases, some of them of one subject."""
    return [Place(f"sub-{n // a_subject:02}", "", f"case-{n:03}", alone=False) for n in range(count)]


def planned(out: Path, places: Sequence[Place], does: Mapping[int, str] | None = None) -> Path:
    """A plan of cases that do what is asked of them by number, and else write a file."""
    lines = []
    for number, place in enumerate(places):
        row = {"Place": list(place), "Does": (does or {}).get(number, "")}
        lines.append(json.dumps({"Key": sha256(json.dumps(row).encode()).hexdigest(), **row}))
    text = "".join(f"{line}\n" for line in lines)
    plan = out / ".verimask" / "plans" / f"{sha256(text.encode()).hexdigest()}.jsonl"
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_text(text, "utf-8")
    return plan


def made_by(out: Path) -> dict[int, list[int]]:
    """The processes that began a case, by its number."""
    by: dict[int, list[int]] = {}
    for line in (out / "made.log").read_text("utf-8").splitlines():
        number, process = map(int, line.split())
        by.setdefault(number, []).append(process)
    return by


def work_left(out: Path) -> list[Path]:
    """What is left of cases that were being made."""
    return list((out / ".verimask" / "work" / "run").iterdir())


def make(plan: Path, number: int, out: Path) -> CaseResult:
    """Make a case: write its file, in the way that its line says."""
    row = json.loads(plan.read_text("utf-8").splitlines()[number])
    place = Place(*row["Place"])
    work = out / ".verimask" / "work" / "run" / f"{own_mark()}{os.urandom(4).hex()}"
    done = out / ".verimask" / "done" / row["Key"]
    try:
        (work / "tree").mkdir(parents=True)
        with (out / "made.log").open("a", encoding="utf-8") as log:
            log.write(f"{number} {os.getpid()}\n")
        text = f"{number}\n".encode()
        (work / "tree" / f"{place.name}.txt").write_bytes(text)
        _misbehave(row["Does"], number, out)
        output = CaseOutput(f"{place.name}.txt", len(text), sha256(text).hexdigest())
        result = CaseResult(row["Key"], place, "DONE", ({"subject": place.subject},), (output,), {})
        (work / "result.json").write_text(json.dumps(result.as_json()), "utf-8")
        done.parent.mkdir(exist_ok=True)
        with suppress(OSError):  # another process has made it
            work.rename(done)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return result


def _misbehave(does: str, number: int, out: Path) -> None:
    """Be refused, end the process always or once, or wait for the file `go`."""
    tried = out / f"tried-{number}"
    first = not tried.exists()
    tried.touch()
    if does == "refuse":
        raise refuse(Code.CANNOT_WRITE, "the disk is full", "Make room.", where=("disk",))
    if does == "bug":
        raise ValueError("a bug")
    if does == "die" or (does == "die once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "end the worker":  # of Dask, whose process we are
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    while does == "wait" and not (out / "go").exists():
        time.sleep(0.01)
