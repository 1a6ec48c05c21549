"""Cases that write what their line of a plan says, or hang, or end their process: to see who does what, and what is left."""

from __future__ import annotations

import json
import os
import signal
import time
from hashlib import sha256
from pathlib import Path

from pipeline.cohort.private_folder import RESULT, new_work_folder, put_done

from pipeline.cohort.case import CaseOutput, CaseResult, Place
from pipeline.core.findings import Code, refuse


def make(plan: Path, number: int, out: Path) -> CaseResult:
    """Make a case: write its file, in the way that its line says."""
    row = json.loads(plan.read_text("utf-8").splitlines()[number])
    place = Place(*row["Place"])
    folder = new_work_folder(out)
    with (out / "made.log").open("a", encoding="utf-8") as log:
        log.write(f"{number} {os.getpid()}\n")
    (folder / f"{place.name}.txt").write_text(f"{number}\n", "utf-8")
    _misbehave(row, number, out)
    text = (folder / f"{place.name}.txt").read_bytes()
    output = CaseOutput(f"{place.name}.txt", len(text), sha256(text).hexdigest())
    result = CaseResult(row["Key"], place, "DONE", ({"subject": place.subject},), (output,), {})
    (folder / RESULT).write_text(json.dumps(result.as_json()), "utf-8")
    put_done(folder, out, row["Key"])
    return result


def _misbehave(row: dict[str, object], number: int, out: Path) -> None:
    """What a line asks for: to be refused, to end the process always or once, or to wait until the file `go` is there."""
    tried = out / f"tried-{number}"
    first = not tried.exists()
    tried.touch()
    does = row.get("Does")
    if does == "refuse":
        raise refuse(Code.CANNOT_WRITE, "the disk is full", "Make room.", where=("disk",))
    if does == "bug":
        raise ValueError("a bug")
    if does == "die" or (does == "die once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    while does == "wait" and not (out / "go").exists():
        time.sleep(0.01)
    if does == "sleep":
        time.sleep(0.3)
