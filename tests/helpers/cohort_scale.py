"""Measure the index of a cohort: size and time by the number of series, and where the time goes.

    python -m tests.helpers.cohort_scale made FOLDER 1000        # DICOM files: written, indexed, looked at again
    python -m tests.helpers.cohort_scale simulated FOLDER 1000000 20   # rows through the same code, without DICOM files
    python -m tests.helpers.cohort_scale walk FOLDER 1000000     # empty files: an unchanged tree of so many

Rules:
- Of ten made series, six are images, two mask series, one a SEG and one a structure set; planes are 32 x 32, 10 a series.
- Every step is a process of its own; the peak of memory is that of the largest one so far.
- The numbers are of docs/scale.md; they depend on the machine, which stands there.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pydicom

from pipeline.cohort.facts import GridFact, MaskFact, SeriesFacts
from pipeline.cohort.index.facts_json import to_json, to_packed
from pipeline.cohort.index.rows import FileRow, ScannedFolder, SeriesRow
from pipeline.cohort.index.store import Store
from tests.helpers import rtphantom, segs
from tests.helpers.phantom import Spec, write

_TOKEN, _PATIENT = b".1999999.", b"P999999"
_PLANES = 10
_IMAGE = Spec(shape=(32, 32, _PLANES), content="index")


def make(folder: Path, series: int) -> None:
    """Write so many series, ten a patient, each a copy of one template with UIDs of its own."""
    template = folder.with_name(f"{folder.name}-template")
    for n in range(6):
        write(template / f"image{n}", replace(_IMAGE, seed=f"image{n}", description=f"image {n}"))
    for n in range(2):
        write(
            template / f"mask{n}",
            replace(_IMAGE, content="mask", bits_allocated=8, seed=f"mask{n}", description="Liver"),
        )
    (template / "seg").mkdir()
    segs.write_seg(template / "seg" / "seg.dcm", segs.frames_of(segs.blobs(2, overlap=False)), names=("a", "b"))
    (template / "rtstruct").mkdir()
    grid = rtphantom.grid()
    square = [rtphantom.on(grid, rtphantom.rectangle(3, 9, 3, 8), k) for k in range(1, 5)]
    rois = [rtphantom.PhantomRoi(name, square, number=n) for n, name in enumerate(("GTV", "Liver", "Spleen"), 1)]
    rtphantom.write_struct(template / "rtstruct" / "rs.dcm", rois)
    contents: dict[str, list[tuple[str, bytes]]] = {}
    uids: dict[str, str] = {}
    for path in sorted(template.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        dataset.walk(lambda _, element: _rename(element, uids))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PatientID = _PATIENT.decode()
        dataset.save_as(path)
        contents.setdefault(path.parent.name, []).append((path.name, path.read_bytes()))
    for n in range(-(-series // len(contents))):
        for name, files in contents.items():
            (folder / f"{n:06d}" / name).mkdir(parents=True)
            for file, content in files:
                changed = content.replace(_TOKEN, b".1%06d." % n).replace(_PATIENT, b"P%06d" % n)
                (folder / f"{n:06d}" / name / file).write_bytes(changed)
    shutil.rmtree(template)


def _rename(element: pydicom.DataElement, uids: dict[str, str]) -> None:
    if element.VR == "UI" and not str(element.value).startswith("1.2.840.10008."):
        element.value = uids.setdefault(str(element.value), f"1.2.826.0.1.1999999.{1000 + len(uids)}")


def simulate(out: Path, series: int, files: int) -> None:
    """Keep rows of so many series, of so many files each, without DICOM files; three in ten are masks of 50 references."""
    (out / ".verimask").mkdir(parents=True)
    store = Store(out / ".verimask" / "index.sqlite")
    for n in range(series):
        digest = sha256(b"%d" % n).digest()
        first = int.from_bytes(digest[:8], "big")  # digests of images are random numbers
        numbers = [(first + k * 0x9E3779B97F4A7C15) % (1 << 63) for k in range(max(files, 50))]
        is_mask = n % 10 < 3
        facts = SeriesFacts(
            key=digest.hex()[:16], role="mask" if is_mask else "image", kind="image", uid=f"1.2.826.0.1.3680043.8.498.{n:032d}",
            modality="CT", number=n % 20, description="CT thorax abdomen venous", folder=f"site/P{n // 10:06d}/study/s{n % 10}",
            mask_name="CT thorax abdomen venous", study_uid=f"1.2.826.0.1.3680043.8.498.{n // 10:032d}",
            frame_of_reference_uid=f"1.2.826.0.1.3680043.8.499.{n // 10:032d}", patient=digest.hex()[16:32],
            identifiers=(f"P{n // 10:06d}", "Doe^Jane", "Doe", "Jane"), files=files, frames=files,
            grids=(GridFact((512, 512, files), (0.9765625, 0.0, 0.0, -250.0, 0.0, 0.9765625, 0.0, -250.0, 0.0, 0.0, 1.25, -900.5)),),
            masks=(MaskFact(1, "Liver", "SCT:10200004", (221, 130, 101)),) if is_mask else (),
            images=tuple(sorted(numbers[:50])) if is_mask else (),
        )  # fmt: skip
        row = SeriesRow(facts.key, numbers[0], to_json(facts), to_packed(facts.images))
        names = [
            FileRow(f"IM{k:06d}.dcm", 527000, 1700000000000000000 + n, facts.key, numbers[k]) for k in range(files)
        ]
        store.put_folder(ScannedFolder(f"/data/cohort/{facts.folder}", digest[:16], names, [row]))
        store.commit(if_due=True)
    store.close()


def _steps(kind: str, counts: list[str]) -> Iterator[tuple[str, str]]:
    """Name and code of each step."""
    update = "index = Index(out / '.verimask' / 'index.sqlite'); print(index.update([tree])); index.close()"
    if kind == "made":
        yield "written", f"cohort_scale.make(tree, {counts[0]})"
        yield "first index", update
        yield "unchanged", update
    elif kind == "walk":
        yield "written", f"cohort_scale.touch(tree, {counts[0]})"
        yield "first index", update
        yield "unchanged", update
    else:
        yield "rows", f"cohort_scale.simulate(out, {counts[0]}, {counts[1]})"
    opened = "index = Index(out / '.verimask' / 'index.sqlite'); "
    if kind != "walk":
        yield "facts read", opened + "print(sum(1 for _ in index.series()), 'series')"
        yield (
            "files of 1 000",
            opened
            + (
                "from itertools import islice; keys = [f.key for f in islice(index.series(), 1000)]; "
                "print(sum(len(index.files_of(key)) for key in keys), 'files')"
            ),
        )


def touch(folder: Path, files: int) -> None:
    """Write so many empty files, a hundred a folder."""
    for n in range(files):
        if n % 100 == 0:
            at = folder / f"{n // 10000:04d}" / f"{n // 100:06d}"
            at.mkdir(parents=True)
        (at / f"IM{n % 100:04d}.txt").touch()


def main(kind: str, folder: str, *counts: str) -> None:
    """Run every step and print what it cost."""
    at = Path(folder)
    common = (
        "from pathlib import Path; from pipeline.cohort.index.index import Index; from tests.helpers import cohort_scale; "
        f"tree, out = Path({str(at / 'in')!r}), Path({str(at / 'out')!r}); "
    )
    for name, code in _steps(kind, list(counts)):
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", common + code], stdout=subprocess.PIPE, text=True, check=True
        )
        seconds, usage = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
        index = at / "out" / ".verimask" / "index.sqlite"
        size = index.stat().st_size / 1e6 if index.exists() else 0
        peak = usage.ru_maxrss / 1024
        print(
            f"{name:>16}: {seconds:7.1f} s, {busy:7.1f} s of a core, peak {peak:.0f} MiB, index {size:.1f} MB  "
            f"{ended.stdout.strip()}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
