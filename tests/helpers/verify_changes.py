"""Change single bytes of results, records and inputs at random, and count which of the changes `verify` does not name.

Rules:
- One byte of one file gets another value, the result is verified in this process, and the byte is put back.
- A change is named where the result does not hold and what is broken, or cannot be checked, has the name of the changed file:
  of a record, of the key of its digest too. A change that is noticed and not named is counted as missed.
- The same seed and count give the same changes.

`python -m tests.helpers.verify_changes --count 10000 --seed 16` prints the table; it makes its results in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

from pipeline.conversion.record import sidecar_of
from pipeline.diagnosis.verify import verify
from pipeline.diagnosis.verify_result import VerifiedResult
from tests.helpers.record_corpus import RECORDS, make

_OF_RECORD = ("RecordSHA256",)


class Result(NamedTuple):
    """A result. kind: of the corpus. folder: where its inputs are; inputs: each of them. more: its file of label names."""

    kind: str
    file: Path
    folder: Path
    inputs: tuple[Path, ...]
    more: tuple[Path, ...]


class Change(NamedTuple):
    """One byte of one file. part: "file", "record" or "source"."""

    result: Result
    part: str
    path: Path
    at: int
    value: int


def make_results(folder: Path) -> list[Result]:
    """Make a result of every kind of the corpus with the code as it is, on a copy of the corpus's inputs."""
    shutil.copytree(RECORDS / "dicom", folder / "dicom")
    return results_in(make("now", folder), folder / "dicom")


def results_in(results: Path, dicom: Path) -> list[Result]:
    """The results of one version of the corpus."""
    found = []
    for file in sorted([*results.rglob("*.nii"), *results.rglob("*.nii.gz")]):
        folder = file.relative_to(results).parts[0]
        kind = folder if file.parent != results else file.name.split(".")[0]
        record = json.loads(sidecar_of(file).read_text("utf-8"))
        digests = {entry["SHA256"] for entry in record["Provenance"]["Inputs"]}
        below = sorted(path for path in (dicom / kind).rglob("*") if path.is_file())
        inputs = tuple(path for path in below if sha256(path.read_bytes()).hexdigest() in digests)
        found.append(Result(kind, file, dicom / kind, inputs, tuple(sorted(file.parent.glob(f"{kind}_*.tsv")))))
    return found


def changes(results: Sequence[Result], count: int, seed: int) -> Iterator[Change]:
    """So many changes, spread evenly over parts and results, at places that the seed decides."""
    random = Random(seed)
    for n in range(count):
        result = results[random.randrange(len(results))]
        part = ("file", "record", "source")[n % 3]
        paths = {
            "file": [result.file, *result.more],
            "record": [sidecar_of(result.file)],
            "source": result.inputs,
        }[part]
        path = random.choice(paths)
        at = random.randrange(path.stat().st_size)
        yield Change(result, part, path, at, random.randrange(1, 256))


def is_named(change: Change, *, dicom: bool | None = None) -> bool:
    """Make a change, verify, and put the byte back. dicom: whether the inputs are given; where None, for a changed input only."""
    before = change.path.read_bytes()
    changed = bytearray(before)
    changed[change.at] ^= change.value
    change.path.write_bytes(changed)
    try:
        given = [change.result.folder] if (change.part == "source" if dicom is None else dicom) else []
        (found,) = verify([change.result.file], given)
    finally:
        change.path.write_bytes(before)
    return found.status != "HOLDS" and _names(found, change)


def _names(found: VerifiedResult, change: Change) -> bool:
    words = [*(f"{b.what} {b.where} {b.found}" for b in found.broken), *(n.why for n in found.not_checked)]
    wanted = [change.path.name, *(_OF_RECORD if change.part == "record" else ())]
    return any(name in text for text in words for name in wanted)


def count_missed(results: Sequence[Result], count: int, seed: int) -> tuple[Counter[tuple[str, str]], list[Change]]:
    """Make the changes; how many there were by kind and part, and those that were missed."""
    done: Counter[tuple[str, str]] = Counter()
    missed = []
    for change in changes(results, count, seed):
        done[change.result.kind, change.part] += 1
        if not is_named(change):
            missed.append(change)
    return done, missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        done, missed = count_missed(make_results(Path(made)), options.count, options.seed)
        lost = Counter((change.result.kind, change.part) for change in missed)
        print(f"{'kind':<18}{'file':>8}{'record':>8}{'source':>8}{'missed':>8}")
        for kind in sorted({kind for kind, _ in done}):
            cells = "".join(f"{done[kind, part]:>8}" for part in ("file", "record", "source"))
            print(f"{kind:<18}{cells}{sum(n for (k, _), n in lost.items() if k == kind):>8}")
        cells = "".join(
            f"{sum(n for (_, p), n in done.items() if p == part):>8}" for part in ("file", "record", "source")
        )
        print(f"{'all':<18}{cells}{len(missed):>8}")
        for change in missed:
            print("missed:", change.part, change.path.name, "byte", change.at, "by", change.value)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
