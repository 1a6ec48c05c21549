"""The commands that write, with small inputs, and what each gives where nobody disturbs it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import pydicom

from tests.helpers.made_patients import make_patients
from tests.helpers.watching import ROOT

MINE = "VERIMASK_KILLS"  # in the environment of a command and of all it starts, whatever group they are in
_SAMPLES = ROOT / "data" / "samples"
_PRIVATE = ".verimask"
_TIMES = ("DA", "TM", "DT", "SQ")  # sequences hold them, and what they hold is looked at by itself
_LONGEST_S = 120.0


class KilledCommand(NamedTuple):
    """A command. words: of the command line; {out}: its folder. given: files that lie in that folder before, from the inputs.

    overwrites: whether `given` are outputs of an earlier run, which it replaces.
    """

    name: str
    words: tuple[str, ...]
    given: Mapping[str, str] = {}
    overwrites: bool = False


COMMANDS = (
    KilledCommand(
        "convert", ("convert", "mask", "-o", "{out}/m.nii.gz", "--labels-file", "itksnap", "--crosscheck", "off")
    ),
    KilledCommand("convert, witnesses", ("convert", "mask", "-o", "{out}/m.nii.gz", "--crosscheck", "voxels")),
    KilledCommand("convert a folder", ("convert", "study", "-o", "{out}/", "-w", "skip", "--crosscheck", "off")),
    KilledCommand(
        "convert --jobs", ("convert", "study", "-o", "{out}/", "-w", "skip", "--jobs", "2", "--crosscheck", "off")
    ),
    KilledCommand(
        "convert -w overwrite",
        ("convert", "mask", "-o", "{out}/m.nii.gz", "-w", "overwrite", "--crosscheck", "off"),
        {"m.nii.gz": "earlier/m.nii.gz", "m.json": "earlier/m.json"},
        overwrites=True,
    ),
    KilledCommand("report", ("report", "earlier/m.json", "-o", "{out}/page.html")),
    KilledCommand("export", ("export", "earlier/m.nii.gz", "--source", "mask", "-o", "{out}/dicom")),
    KilledCommand(
        "export --to seg", ("export", "earlier/m.nii.gz", "--source", "mask", "--to", "seg", "-o", "{out}/dicom")
    ),
    KilledCommand("to-mimics", ("to-mimics", "of_bundle/m.nii.gz", "bundle", "-o", "{out}/back")),
    KilledCommand("mimics-script", ("mimics-script", "-o", "{out}/export_masks.py")),
    KilledCommand("describe -o", ("describe", "study", "--json", "-o", "{out}/x.json")),
    KilledCommand("diagnose --fix", ("diagnose", "wrong.nii.gz", "--source", "mask", "--fix", "{out}/right.nii.gz")),
    KilledCommand(
        "regress --add", ("regress", "{out}/cases.toml", "--add", "mask", "--id", "a", "--crosscheck", "off")
    ),
    KilledCommand("cohort", ("cohort", "patients", "-o", "{out}/set", "--crosscheck", "off", "--jobs", "1")),
    KilledCommand("cohort --jobs", ("cohort", "patients", "-o", "{out}/set", "--crosscheck", "off", "--jobs", "2")),
)


class Ended(NamedTuple):
    """How a command ended: its exit code, what it printed on standard error, and how long it took in s."""

    code: int
    errors: str
    seconds: float


class Bench:
    """The inputs of all commands, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(_SAMPLES / "axial", folder / "mask")
        for name in ("axial", "multi-label", "sagittal"):
            shutil.copytree(_SAMPLES / name, folder / "study" / name)
        make_patients(folder / "patients", 2)
        _export_bundle(folder / "bundle")
        (folder / "earlier").mkdir()
        (folder / "of_bundle").mkdir()
        for words in (
            ("convert", "mask", "-o", "earlier/m.nii.gz", "--crosscheck", "off", "--orient", "RAS"),
            ("convert", "bundle", "-o", "of_bundle/m.nii.gz", "--rois", "bone", "--crosscheck", "off"),
        ):
            ended = self.run(words, folder)
            assert ended.code == 0, ended.errors
        image = nibabel.load(folder / "earlier" / "m.nii.gz")
        mirrored = nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine)
        nibabel.save(mirrored, folder / "wrong.nii.gz")

    def start(self, words: Sequence[str], place: Path, token: str = "") -> subprocess.Popen[bytes]:
        """Start a command. place: the folder of its outputs, beside which its temporary files go."""
        temporary = place.with_name("tmp")
        temporary.mkdir(exist_ok=True)
        given = [word.replace("{out}", str(place)) for word in words]
        path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
        environment = {**os.environ, "TMPDIR": str(temporary), MINE: token or "none", "PYTHONPATH": path}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *given],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def run(self, words: Sequence[str], place: Path) -> Ended:
        """Run a command to its end."""
        begin = time.monotonic()
        process = self.start(words, place)
        _, errors = process.communicate(timeout=_LONGEST_S)
        return Ended(process.returncode, errors.decode("utf-8", "replace"), time.monotonic() - begin)

    def lay_out(self, command: KilledCommand, place: Path) -> None:
        """Make the folder of a command's outputs, with what lies there before."""
        place.mkdir(parents=True, exist_ok=True)
        for name, source in command.given.items():
            shutil.copyfile(self.folder / source, place / name)


def _export_bundle(folder: Path) -> None:
    """What the export script leaves behind in the stand-in for Mimics."""
    script = ROOT / "pipeline" / "mimics" / "scripts" / "export_masks.py"
    command = [sys.executable, str(ROOT / "tests" / "helpers" / "fake_mimics.py"), str(script), str(folder)]
    subprocess.run(command, env={**os.environ, "FAKE_MIMICS": "{}"}, capture_output=True, check=True)


def outputs_of(place: Path) -> dict[str, str]:
    """The SHA-256 of every file that a command has written, without the private folder of a cohort."""
    found = {}
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place)
        if path.is_file() and _PRIVATE not in inside.parts and not is_unfinished(path):
            found[inside.as_posix()] = _digest_of(path)
    return found


def _digest_of(path: Path) -> str:
    """The SHA-256 of a file; of a DICOM file without what no two runs have in common."""
    data = path.read_bytes()
    if data[128:132] == b"DICM":
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            kept = (e for e in dataset.iterall() if e.VR not in _TIMES and e.keyword != "DimensionOrganizationUID")
            data = "\n".join(f"{e.tag} {e.value!r}" for e in kept).encode()
        except Exception:  # half a file: its bytes are nobody's
            data += b"?"
    return sha256(data).hexdigest()


def unfinished_in(place: Path) -> list[str]:
    """The temporary names that stand in a folder, however deep."""
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if is_unfinished(path))


def is_unfinished(path: Path) -> bool:
    """Whether a path is, or lies in, something temporary of ours."""
    return any(part.startswith((".verimask-", "verimask-")) for part in path.parts[1:])
