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

from .at_move import Moment, signal_at
from .forked import ForkedCommand

MINE = "VERIMASK_KILLS"  # in the environment of a command and of all it starts, whatever group they are in
_SAMPLES = ROOT / "data" / "samples"
_PRIVATE = ".verimask"
_TIMES = ("DA", "TM", "DT", "SQ")  # sequences hold them, and what they hold is looked at by itself
_LONGEST_S = 120.0


class KilledCommand(NamedTuple):
    """A command. words: of the command line; {out}: its folder, {in}: that of the inputs. given: files and folders that lie in its
    folder before, from the inputs. is_inside: whether it runs in its folder, and not where the inputs are.
    """

    name: str
    words: tuple[str, ...]
    given: Mapping[str, str] = {}
    is_inside: bool = False


_OFF = ("--crosscheck", "off")

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
        ("convert", "mask", "-o", "{out}/m.nii.gz", "-w", "overwrite", "--labels-file", "itksnap", *_OFF),
        {name: f"earlier/{name}" for name in ("m.nii.gz", "m.json", "m_labels.txt")},
    ),
    KilledCommand(
        "convert --report -w overwrite",
        ("convert", "mask", "-o", "{out}/m.nii.gz", "-w", "overwrite", "--report", *_OFF),
        {name: f"earlier/{name}" for name in ("m.nii.gz", "m.json", "m.html")},
    ),
    KilledCommand(
        "convert a folder -w overwrite",
        ("convert", "study", "-o", "{out}/", "-w", "overwrite", *_OFF),
        {".": "earlier_study"},
    ),
    KilledCommand(
        "convert --jobs -w overwrite",
        ("convert", "study", "-o", "{out}/", "-w", "overwrite", "--jobs", "2", *_OFF),
        {".": "earlier_study"},
    ),
    KilledCommand("FOLDER", ("{in}/study",), is_inside=True),
    KilledCommand("report", ("report", "earlier/m.json", "-o", "{out}/page.html")),
    KilledCommand(
        "report, replaced", ("report", "earlier/m.json", "-o", "{out}/page.html"), {"page.html": "of_bundle/m.html"}
    ),
    KilledCommand("export", ("export", "earlier/m.nii.gz", "--source", "mask", "-o", "{out}/dicom")),
    KilledCommand(
        "export --to seg", ("export", "earlier/m.nii.gz", "--source", "mask", "--to", "seg", "-o", "{out}/dicom")
    ),
    KilledCommand("to-mimics", ("to-mimics", "of_bundle/m.nii.gz", "bundle", "-o", "{out}/back")),
    KilledCommand("mimics-script", ("mimics-script", "-o", "{out}/export_masks.py")),
    KilledCommand(
        "mimics-script -w overwrite",
        ("mimics-script", "-o", "{out}/export_masks.py", "-w", "overwrite"),
        {"export_masks.py": "described.json"},
    ),
    KilledCommand("describe --rebuild", ("describe", "described.json", "--rebuild", "{out}/phantom")),
    KilledCommand("describe -o", ("describe", "study", "--json", "-o", "{out}/x.json")),
    KilledCommand("diagnose --fix", ("diagnose", "wrong.nii.gz", "--source", "mask", "--fix", "{out}/right.nii.gz")),
    KilledCommand(
        "regress --add", ("regress", "{out}/cases.toml", "--add", "mask", "--id", "a", "--crosscheck", "off")
    ),
    KilledCommand("regress --update", ("regress", "{out}/cases.toml", "--update", "a"), {".": "cases"}),
    KilledCommand(
        "cohort --labels-draft", ("cohort", "patients", "-o", "{out}/set", "--labels-draft", "{out}/labels.toml")
    ),
    KilledCommand(
        "cohort, made anew", ("cohort", "patients", "-o", "{out}/set", "--jobs", "1", *_OFF), {"set": "earlier_set"}
    ),
    KilledCommand("cohort", ("cohort", "patients", "-o", "{out}/set", "--crosscheck", "off", "--jobs", "1")),
    KilledCommand("cohort --jobs", ("cohort", "patients", "-o", "{out}/set", "--crosscheck", "off", "--jobs", "2")),
)


_EARLIER = {  # what commands made before, by a word in those that need it
    "earlier/m": (
        "convert",
        "mask",
        "-o",
        "earlier/m.nii.gz",
        "--report",
        "--labels-file",
        "itksnap",
        "--orient",
        "RAS",
        *_OFF,
    ),
    "earlier_study": ("convert", "study", "-o", "earlier_study/", "--orient", "RAS", *_OFF),
    "of_bundle": ("convert", "bundle", "-o", "of_bundle/m.nii.gz", "--rois", "bone", "--report", *_OFF),
    "described.json": ("describe", "study", "--json", "-o", "described.json"),
    "earlier_set": ("cohort", "patients", "-o", "earlier_set", "--jobs", "1", "--gzip-level", "1", *_OFF),
}


class Ended(NamedTuple):
    """How a command ended: its exit code, what it printed on standard error, and how long it took in s."""

    code: int
    errors: str
    seconds: float


class Bench:
    """The inputs of commands, in one folder."""

    def __init__(self, folder: Path, commands: Sequence[KilledCommand]) -> None:
        self.folder = folder
        shutil.copytree(_SAMPLES / "axial", folder / "mask")
        for name in ("axial", "multi-label", "sagittal"):
            shutil.copytree(_SAMPLES / name, folder / "study" / name)
        make_patients(folder / "patients", 2)
        _export_bundle(folder / "bundle")
        for name in ("earlier", "of_bundle", "earlier_study"):
            (folder / name).mkdir()
        wanted = " ".join(word for command in commands for word in (*command.words, *command.given.values()))
        for name, words in _EARLIER.items():
            if name in wanted or (name == "earlier/m" and "wrong.nii.gz" in wanted):
                ended = self.run(words, folder)
                assert ended.code in (0, 8), ended.errors
        if "cases" in wanted:
            self._make_cases(folder / "cases")
        if "wrong.nii.gz" in wanted:
            self._make_wrong()

    def _make_wrong(self) -> None:
        """A mask that somebody mirrored."""
        image = nibabel.load(self.folder / "earlier" / "m.nii.gz")
        mirrored = nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine)
        nibabel.save(mirrored, self.folder / "wrong.nii.gz")

    def _make_cases(self, folder: Path) -> None:
        """A list with a case that does not hold: its input has other bytes than were written down, and gives another mask."""
        place = (
            folder.parents[1] / "cases" / "out"
        )  # as deep as where the list is copied to: it says a way to its input
        place.mkdir(parents=True)
        ended = self.run(("regress", f"{place}/cases.toml", "--add", "mask", "--id", "a", *_OFF), place)
        assert ended.code == 0, ended.errors
        place.rename(folder)
        cases, golden = folder / "cases.toml", folder / "golden" / "a.json"
        digest = next(word for word in cases.read_text().split('"') if len(word) == 64)
        cases.write_text(cases.read_text().replace(digest, "0" * 64))
        golden.write_text(golden.read_text().replace('"DataType": "uint8"', '"DataType": "int16"'))

    def start(
        self, command: KilledCommand, place: Path, token: str = "", at: Moment | None = None, *, fork: bool = False
    ) -> subprocess.Popen[bytes] | ForkedCommand:
        """Start a command.

        Args:
            command: the command.
            place: the folder of its outputs, beside which its temporary files go.
            token: by which the processes that it starts are known.
            at: a move at which it sends itself a signal.
            fork: whether in a fork of this process.
        """
        temporary = place.with_name("tmp")
        temporary.mkdir(exist_ok=True)
        given = [word.replace("{out}", str(place)).replace("{in}", str(self.folder)) for word in command.words]
        path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
        environment = {**os.environ, "TMPDIR": str(temporary), MINE: token or "none", "PYTHONPATH": path}
        cwd = place if command.is_inside else self.folder
        if fork:
            begin = (lambda: None) if at is None else (lambda: signal_at(at))
            return ForkedCommand(given, cwd, environment, place.with_name("errors.txt"), begin)
        module = ["pipeline"] if at is None else ["tests.kills.at_move", *map(str, at)]
        return subprocess.Popen(
            [sys.executable, "-m", *module, *given],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def run(self, words: Sequence[str], place: Path) -> Ended:
        """Run a command line to its end, in a Python of its own."""
        return self.run_command(KilledCommand("", tuple(words)), place)

    def run_command(
        self, command: KilledCommand, place: Path, at: Moment | None = None, *, fork: bool = False
    ) -> Ended:
        """Run a command to its end; the arguments as of `start`."""
        begin = time.monotonic()
        process = self.start(command, place, at=at, fork=fork)
        _, errors = process.communicate(timeout=_LONGEST_S)
        return Ended(process.returncode or 0, errors.decode("utf-8", "replace"), time.monotonic() - begin)

    def lay_out(self, command: KilledCommand, place: Path) -> None:
        """Make the folder of a command's outputs, with what lies there before."""
        place.mkdir(parents=True, exist_ok=True)
        for name, source in command.given.items():
            if (self.folder / source).is_dir():
                shutil.copytree(self.folder / source, place / name, dirs_exist_ok=True)
            else:
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
