"""Measure med-imagetools and verimask on the same trees: the masks they write, their Dice against the truth, and the time.

Rules:
- Each is asked as its documentation says, with two jobs, and stopped after 300 s a tree. Times are of the processor, user and
  system, of the whole commands: a machine that does other work beside makes no tool slower by it.
- The truth is the masks that are shipped with the IBSI tree, and the voxels that were drawn of the 30 patients.
- A mask is what a user finds: a file, or a label of a label map. One that is not there has no Dice and is counted as lost.

`python -m tests.helpers.cohort_peers IMGTOOLS` prints the tables of docs/cohort.md; IMGTOOLS is the path of that command.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.cases import samples_folder
from tests.helpers.cohort_run import rows_of
from tests.helpers.cohort_truth import dice, mask_of, read_nifti
from tests.helpers.made_patients import MadePatient, make_patients
from tests.helpers.made_series import MadeGrid
from tests.helpers.mask_case import PlacedMask

_LIMIT_S = 300
_ROOT = Path(__file__).parents[2]
_IBSI = samples_folder() / "theibsi+data_sets" / "ibsi_validation"
_REGEX = {
    "liver": r"(liver|leber)\s*",
    "spleen": "s-?pleen",
    "tumour": "tumour,gtv.*",
    "kidneys": "kidney .",
}


@dataclass
class Measured:
    """What a tool made of a tree. masks: by patient and label. codes: exit codes of its commands."""

    masks: dict[tuple[str, str], PlacedMask] = field(default_factory=dict)
    seconds: float = 0.0
    codes: list[int | None] = field(default_factory=list)

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a command, at most `_LIMIT_S` long."""
        environment = {**os.environ, "PYTHONPATH": f"{_ROOT}"} if command[0] == sys.executable else dict(os.environ)
        begun = _processor_seconds()
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=_LIMIT_S, check=False)
            self.codes.append(done.returncode)
        except subprocess.TimeoutExpired:
            self.codes.append(None)
        self.seconds += _processor_seconds() - begun


def _processor_seconds() -> float:
    """Of every process that was started here and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def of_med_imagetools(imgtools: str, tree: Path, out: Path, modalities: Iterable[str], *, labels: bool) -> Measured:
    """One run for each pair of modalities: a sample must have all that are asked for."""
    measured = Measured()
    chosen = [f"{name}:{patterns}" for name, patterns in _REGEX.items()] if labels else []
    options = ["--roi-strategy", "MERGE", *(word for text in chosen for word in ("-rmap", text))] if labels else []
    for pair in modalities:
        target = out / pair
        crawl = ["--crawl-directory", out / f"crawl {pair}"]
        measured.run([imgtools, "autopipeline", tree, target, "--modalities", pair, "-j", "2", *crawl, *options])
        for path in sorted(target.rglob("*.nii.gz")):
            if path.parent.name.startswith(("RTSTRUCT", "SEG")):
                array, lps = read_nifti(path)
                name = path.name.removesuffix(".nii.gz")
                patient = path.parent.parent.name.partition("__")[2]
                measured.masks[patient, name] = PlacedMask(name, array != 0, lps)
    return measured


def of_verimask(tree: Path, out: Path, labels: Path | None = None) -> Measured:
    """One run. Masks are called by the folder of their patient, which names nobody."""
    measured = Measured()
    command = [sys.executable, "-m", "pipeline", "cohort", tree, "-o", out, "--keep-names", "--jobs", "2"]
    measured.run([*command, *(["--labels", labels] if labels else [])])
    for row in rows_of(out):
        if row["role"] == "mask" and row["output"]:
            measured.masks[row["subject"], f"{row['image']} {row['mask']}" if labels is None else row["mask"]] = (
                mask_of(out, row)
            )
    return measured


def on_ibsi(measured: Measured) -> str:
    """A cell a modality: how many of its three masks are there, and their Dice."""
    cells = []
    for modality in ("CT", "MR_T1", "PET"):
        known = [read_nifti(path) for path in sorted((_IBSI / "nifti").glob(f"*/{modality}_mask.nii.gz"))]
        truth = [PlacedMask("", array != 0, lps) for array, lps in known]
        values = [
            max((dice(mask, one) for mask in measured.masks.values() if _is_like(mask, one)), default=0.0)
            for one in truth
        ]
        cells.append(_cell([v for v in values if v > 0.5], len(truth)))
    return " | ".join(cells)


def _is_like(one: PlacedMask, other: PlacedMask) -> bool:
    """Whether two masks may be on one image: a patient's images share a Frame of Reference, and have grids of their own."""
    return sorted(one.voxels.shape) == sorted(other.voxels.shape)


def on_patients(measured: Measured, patients: Sequence[MadePatient], *, painted: bool) -> tuple[str, list[str]]:
    """How many of the masks are there, and their Dice; and what is not there. painted: one label lies on another."""
    values, lost, wanted = [], [], 0
    for patient in patients:
        for label, drawn in patient.drawn.items():
            wanted += 1
            names = [(name, label) for name in (patient.person.id, patient.folder.name)]
            mask = next((measured.masks[name] for name in names if name in measured.masks), None)
            if mask is None:
                lost.append(f"{patient.words}: {label}")
                continue
            voxels = drawn & (patient.labels == _value(label)) if painted else drawn
            values.append(dice(mask, PlacedMask(label, voxels, patient.lps)))
    return _cell(values, wanted), lost


def _value(label: str) -> int:
    from tests.helpers.made_patients import VALUES

    return VALUES[label]


def _cell(values: Sequence[float], wanted: int) -> str:
    if not values:
        return f"0 of {wanted}"
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return f"{len(values)} of {wanted}, {low if low == high else f'{low} to {high}'}"


def main(imgtools: str) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as made:
        _print_ibsi(imgtools, Path(made))
        _print_patients(imgtools, Path(made))


def _print_ibsi(imgtools: str, folder: Path) -> None:
    tree, pairs = _IBSI / "dicom", ("CT,RTSTRUCT", "MR,RTSTRUCT", "PT,RTSTRUCT")
    theirs = of_med_imagetools(imgtools, tree, folder / "a", pairs, labels=False)
    ours = of_verimask(tree, folder / "b")
    for name, measured in (("med-imagetools", theirs), ("verimask", ours)):
        print(f"| {name} | {on_ibsi(measured)} | {measured.seconds:.0f} | {_codes(measured)} |", flush=True)


def _print_patients(imgtools: str, folder: Path) -> None:
    patients = make_patients(folder / "made", grid=MadeGrid(shape=(128, 128, 40), spacing=(0.98, 0.98, 3.0)))
    tree = folder / "made" / "DICOM"
    theirs = of_med_imagetools(imgtools, tree, folder / "c", ("CT,RTSTRUCT", "CT,SEG"), labels=True)
    ours = of_verimask(tree, folder / "d", folder / "made" / "labels.toml")
    for name, measured, painted in (("med-imagetools", theirs, False), ("verimask", ours, True)):
        cell, lost = on_patients(measured, patients, painted=painted)
        print(f"| {name} | {cell} | {measured.seconds:.0f} | {_codes(measured)} |")
        print(*sorted(set(lost)), sep="\n", flush=True)


def _codes(measured: Measured) -> str:
    return ", ".join("stopped" if code is None else str(code) for code in measured.codes)


if __name__ == "__main__":
    main(sys.argv[1])
