"""Measures how many instances a second `verimask listen` receives, beside DCMTK's storescp and a plain receiver of pynetdicom.

Rules:
- All are sent the same instances of 512 x 512 x 16 bit by one storescu on loopback, one receiver after the other in turns: what
  the machine does meanwhile happens to all.
- Processor time is of the receiver alone, so that a machine that does other things too shifts it less than the clock.
- Ours is measured as it is, and without fsync as the others are, which have none (VERIMASK_NO_FSYNC=1).

`python -m tests.helpers.bench_receivers` prints the table; `--memory 10000` the memory of ours while it takes so many.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from pydicom import dcmread

from tests.helpers.phantom import Spec, write

ROOT = Path(__file__).parents[2]
_PLAIN = """import sys
from pynetdicom import AE, AllStoragePresentationContexts, evt
def store(event):
    dataset = event.dataset
    dataset.file_meta = event.file_meta
    dataset.save_as(sys.argv[2] + "/" + dataset.SOPInstanceUID + ".dcm", enforce_file_format=True)
    return 0
entity = AE("VERIMASK")
entity.supported_contexts = AllStoragePresentationContexts
entity.add_supported_context("1.2.840.10008.1.1")
entity.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, store)])"""
_OURS = [sys.executable, "-m", "verimask", "listen", "--port", "{port}", "-o", "{out}", "--quiet-time", "100000"]
RECEIVERS = {
    "verimask listen": _OURS,
    "verimask listen, no fsync": _OURS,
    "storescp (DCMTK)": ["storescp", "-od", "{out}", "{port}"],
    "storescp, TCP_NODELAY=1": ["env", "TCP_NODELAY=1", "storescp", "-od", "{out}", "{port}"],  # env becomes it
    "pynetdicom, plain": [sys.executable, "-c", _PLAIN, "{port}", "{out}"],
}
_START_S, _LOOK_EVERY_S = 60.0, 10.0


class Taken(NamedTuple):
    """seconds: until the last instance was acknowledged. processor_s: of the receiver in that time."""

    seconds: float
    processor_s: float


@contextmanager
def receiving(name: str, out: Path, port: int) -> Iterator[psutil.Process]:
    """A receiver that answers."""
    environment = {**os.environ, "VERIMASK_NO_FSYNC": "1" if "no fsync" in name else ""}
    command = [
        word.format(port=port, out=out) if "{" in word and "\n" not in word else word for word in RECEIVERS[name]
    ]
    out.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _START_S
        while _run("echoscu", port):
            if time.monotonic() > end:
                raise TimeoutError(f"{name} does not answer")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def _run(program: str, port: int, *words: str) -> int:
    command = [program, "-aec", "VERIMASK", "127.0.0.1", str(port), *words]
    return subprocess.run(command, check=False, capture_output=True).returncode


def measure(name: str, folder: Path, work: Path, port: int) -> Taken:
    """Send a folder to a receiver once."""
    with tempfile.TemporaryDirectory(dir=work) as out, receiving(name, Path(out), port) as process:
        before, start = sum(process.cpu_times()[:2]), time.perf_counter()
        if _run("storescu", port, "+sd", str(folder)):
            raise RuntimeError(f"{name} did not take all")
        seconds = time.perf_counter() - start
        taken = Taken(seconds, sum(process.cpu_times()[:2]) - before)
        expected, found = len(list(folder.iterdir())), sum(path.stat().st_size > 1 << 19 for path in _files(Path(out)))
        if found != expected:
            raise RuntimeError(f"{name} has {found} of {expected}")
        return taken


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def instances_in(folder: Path, count: int) -> Path:
    """A folder of so many instances: of one plane, each with a UID of its own."""
    folder.mkdir()
    (plane,) = write(folder / "plane", Spec(shape=(512, 512, 1), content="grey")).paths
    dataset = dcmread(plane)
    uid = dataset.SeriesInstanceUID[:50]
    for number in range(count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{number}"
        dataset.save_as(folder / f"{number:05d}.dcm")
    plane.unlink()
    plane.parent.rmdir()
    return folder


def compare(work: Path, instances: int, rounds: int, port: int) -> list[str]:
    """Measure all in turns. Returns the lines of the table."""
    folder = instances_in(work / "in", instances)
    runs: dict[str, list[Taken]] = {name: [] for name in RECEIVERS}
    for _ in range(rounds):
        for name in RECEIVERS:
            runs[name].append(measure(name, folder, work, port))
            print(f"{name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    base = statistics.median(taken.seconds for taken in runs["pynetdicom, plain"])
    lines = ["| receiver | instances/s | times plain | processor, ms each |", "|---|---|---|---|"]
    for name, taken in runs.items():
        seconds = statistics.median(one.seconds for one in taken)
        processor = statistics.median(one.processor_s for one in taken) / instances * 1000
        lines.append(f"| {name} | {instances / seconds:.0f} | {base / seconds:.2f} | {processor:.1f} |")
    return lines


def memory(work: Path, instances: int, port: int) -> None:
    """Send so many to ours over one association: 100 files again and again, with new UIDs. Prints its memory meanwhile."""
    folder, name = instances_in(work / "in", 100), "verimask listen, no fsync"
    command = ["storescu", "-aec", "VERIMASK", "+II", "--repeat", str(instances // 100), "127.0.0.1", str(port), "+sd"]
    with tempfile.TemporaryDirectory(dir=work) as out, receiving(name, Path(out), port) as process:
        sending = subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        count, start = 0, time.perf_counter()
        while sending.poll() is None:
            time.sleep(_LOOK_EVERY_S)
            received = list((Path(out) / "received").glob("*/*/*.dcm"))
            for path in received[:-1]:
                if path.stat().st_size:
                    os.truncate(path, 0)  # its bytes are not needed any more; its name is
            count, resident = len(received), process.memory_info().rss / 1e6
            print(f"{time.perf_counter() - start:.0f} s: {count} instances, {resident:.0f} MB", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--instances", type=int, default=300)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--port", type=int, default=11530)
    p.add_argument("--memory", type=int, metavar="INSTANCES")
    options = p.parse_args(arguments)
    with tempfile.TemporaryDirectory() as work:
        if options.memory:
            memory(Path(work), options.memory, options.port)
        else:
            print("\n".join(compare(Path(work), options.instances, options.rounds, options.port)))


if __name__ == "__main__":
    main()
