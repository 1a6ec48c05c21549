"""Kill one command at one moment, look at what stays, and let the same command run again.

What must hold, whatever the moment: each output is whole and as nobody disturbed it, or absent; one that was there before is as
it was, or as the run makes it; the exit code is the signal's, or the command's own where it had ended; no process is left; and
after the same command ran again everything is as if nothing had happened, with nothing temporary left.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from random import Random
from signal import Signals
from typing import NamedTuple

from .at_move import Moment
from .commands import MINE, Bench, Ended, KilledCommand, outputs_of, unfinished_in
from .forked import ForkedCommand

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_KINDS = ("time", "time", "move", "place")  # of moments
_LATE = 0.4  # of all kills come in the last third, where files are moved
_GONE_S = {signal.SIGKILL: 30.0, signal.SIGTERM: 10.0, signal.SIGINT: 10.0}  # for every process to be gone
_END_S = 90.0  # for the command to end once it was stopped, and before, where the stop comes at a move
_OUTPUT_EXISTS = 6


class Undisturbed(NamedTuple):
    """What a command gives. before: what lay there. after: its outputs, by path. moves: how often it moves files, of each kind."""

    ended: Ended
    before: dict[str, str]
    after: dict[str, str]
    moves: dict[str, int]


class Kill(NamedTuple):
    """What came of one. moment: in s, or the kind and number of a move. outcome: what stood there. faults: what does not hold."""

    command: str
    signal: str
    moment: str
    outcome: str
    faults: tuple[str, ...]


def undisturbed(bench: Bench, command: KilledCommand, folder: Path, *, fork: bool = False) -> Undisturbed:
    """Run a command to its end, twice, since what differs by itself cannot be compared. fork: as of `kill`."""
    found = []
    for name in ("first", "second"):
        place = folder.with_name(f"{folder.name}-{name}") / "out"  # as deep as those of kills: some outputs say a way
        bench.lay_out(command, place)
        before = outputs_of(place)
        counts = place.with_name("moves")
        counting = Moment("none", 0, 0, str(counts))
        ended = bench.run_command(command, place, counting, fork=fork and name == "second")
        letters = counts.read_text() if counts.exists() else ""
        moves = {"move": len(letters), "place": letters.count("p")}
        found.append(Undisturbed(ended, before, outputs_of(place), moves))
        assert ended.code in (0, 8), (command.name, ended.errors)
        assert unfinished_in(place.parent) == [], command.name
    assert found[0].after == found[1].after, command.name
    return found[1]


def kill(
    bench: Bench, command: KilledCommand, plain: Undisturbed, place: Path, random: Random, *, fork: bool = False
) -> Kill:
    """Kill it once. place: the folder for its outputs, which is made. fork: whether it runs in a fork of this process."""
    sent = random.choice(SIGNALS)
    kind = random.choice(_KINDS)
    bench.lay_out(command, place)
    if plain.moves.get(kind):
        return kill_at(
            bench, command, plain, place, Moment(kind, random.randint(1, plain.moves[kind]), sent), fork=fork
        )
    whole_s = plain.ended.seconds
    after_s = random.uniform(0.66, 1.02) * whole_s if random.random() < _LATE else random.uniform(0.0, 1.0) * whole_s
    process = bench.start(command, place, f"{place}", fork=fork)
    time.sleep(after_s)
    was_over = process.poll() is not None
    is_starting = not was_over and not _takes_signals(process.pid)  # Python itself, which takes them as it always does
    process.send_signal(sent)
    outcome, faults = _look(bench, command, plain, place, process, sent, fork=fork, is_starting=is_starting)
    return Kill(command.name, sent.name, f"{after_s:.3f} s", "over" if was_over else outcome, faults)


def kill_at(
    bench: Bench, command: KilledCommand, plain: Undisturbed, place: Path, moment: Moment, *, fork: bool = False
) -> Kill:
    """Have it send itself a signal at a move. place: as it was laid out. fork: as of `kill`."""
    process = bench.start(command, place, f"{place}", moment, fork=fork)
    sent = Signals(moment.signum)
    outcome, faults = _look(bench, command, plain, place, process, sent, fork=fork)
    return Kill(command.name, sent.name, f"{moment.kind} {moment.number}", outcome, faults)


def _look(
    bench: Bench,
    command: KilledCommand,
    plain: Undisturbed,
    place: Path,
    process: subprocess.Popen[bytes] | ForkedCommand,
    sent: Signals,
    *,
    fork: bool,
    is_starting: bool = False,
) -> tuple[str, tuple[str, ...]]:
    """Wait for its end; what stands there then, and what does not hold of it and of the next run."""
    faults = []
    try:
        _, errors = process.communicate(timeout=_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
        faults.append(f"did not end within {_END_S:g} s: {errors[-3000:].decode('utf-8', 'replace')}")
    faults += _left_running(f"{place}", _GONE_S[sent])
    outcome, wrong = _judge(plain, place)
    faults += wrong
    if not is_starting or outcome != "untouched":
        faults += _wrong_end(plain, process.returncode or 0, sent, errors.decode("utf-8", "replace"))
    if sent is not signal.SIGKILL and (left := unfinished_in(place.parent)):
        faults.append(f"left {left}")
    faults += _again(bench, command, plain, place, fork=fork, is_whole=outcome == "whole")
    return outcome, tuple(faults)


def _takes_signals(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM, or ignores it: verimask has taken over."""
    try:
        lines = (Path("/proc") / f"{pid}" / "status").read_text().splitlines()
    except OSError:
        return True
    bits = [int(line.split()[1], 16) for line in lines if line.startswith(("SigCgt", "SigIgn"))]
    return any(mask >> (signal.SIGTERM - 1) & 1 for mask in bits)


def _wrong_end(plain: Undisturbed, code: int, sent: signal.Signals, errors: str) -> list[str]:
    faults = []
    if code not in (plain.ended.code, -sent if sent is signal.SIGKILL else 128 + sent):
        faults.append(f"ended with {code}: {errors[-300:]}")
    if "Traceback" in errors:
        faults.append(f"printed a traceback: {errors[-300:]}")
    if code == 128 + sent and len(errors.strip().splitlines()) != 1:
        faults.append(f"said not one line: {errors[-300:]}")
    return faults


def _left_running(token: str, limit_s: float) -> list[str]:
    """Wait until none of its processes is there; name those that are."""
    end = time.monotonic() + limit_s
    while left := _with(token):
        if time.monotonic() > end:
            return [f"left running {left}"]
        time.sleep(0.02)
    return []


def _with(token: str) -> list[str]:
    """The command lines of the processes with a token in their environment."""
    mark = f"{MINE}={token}\0".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[-80:])
        except OSError:
            continue
    return found


def _judge(plain: Undisturbed, place: Path) -> tuple[str, list[str]]:
    """What stands there, in a word, and what of it is neither as before nor as nobody disturbed it."""
    found = outputs_of(place)
    wrong = [
        f"{path} is neither whole nor as before"
        for path, digest in found.items()
        if digest not in (plain.after.get(path), plain.before.get(path)) and not _is_whole_table(place / path)
    ]
    wrong += [f"{path} was there and is gone" for path in plain.before if path not in found]
    made = {path for path, digest in found.items() if digest == plain.after.get(path) != plain.before.get(path)}
    if found == plain.after:
        return "whole", wrong
    return ("untouched" if not made else "part of the files"), wrong


def _is_whole_table(path: Path) -> bool:
    """Whether it is the table of a cohort as it stands in the middle of the work: whole rows, of fewer cases."""
    lines = path.read_text("utf-8", "replace").split("\n")
    return path.name == "cohort.tsv" and lines[-1] == "" and len({line.count("\t") for line in lines[:-1]}) == 1


def _again(
    bench: Bench, command: KilledCommand, plain: Undisturbed, place: Path, *, fork: bool, is_whole: bool
) -> list[str]:
    ended = bench.run_command(command, place, fork=fork)
    faults = []
    allowed = {plain.ended.code} | ({_OUTPUT_EXISTS} if is_whole or outputs_of(place) == plain.after else set())
    if ended.code not in allowed:
        faults.append(f"the next run ended with {ended.code}: {ended.errors[-300:]}")
    if (found := outputs_of(place)) != plain.after:
        differing = sorted(path for path, _ in found.items() ^ plain.after.items())
        faults.append(f"after the next run differs: {differing}")
    if left := unfinished_in(place.parent):
        faults.append(f"after the next run is left: {left}")
    return faults
