"""Other readers, asked as their users ask them, in a process of their own that may crash.

`python -m tests.helpers.peers` answers jobs: one JSON line {"reader", "folder", "out"} in, one line out: the NIfTI files
written, or the words of the refusal. dicom2nifti: dicom_series_to_nifti on the folder, with its defaults. SimpleITK:
ImageSeriesReader on the first series it finds, or ReadImage of a single file. dcm2niix: the program on the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

READERS = ("dicom2nifti", "dcm2niix", "SimpleITK")


def versions() -> dict[str, str]:
    return {reader: version(reader) for reader in READERS}


class Peer:
    """One reader's process, started again where a series ended it."""

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self._process: subprocess.Popen[str] | None = None

    def convert(self, folder: Path, out: Path) -> dict[str, Any]:
        """{"files": [...]} or {"refused": words} or {"crashed": words}; `out` holds a flat copy of the folder too."""
        flat = out / "in"
        flat.mkdir(parents=True)
        for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
            shutil.copy(path, flat / f"{number:04d}_{path.name}")
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.helpers.peers"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"reader": self.reader, "folder": str(flat), "out": str(out)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            return {"crashed": f"its process ended with status {self._process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()


def _dicom2nifti(folder: Path, out: Path) -> dict[str, Any]:
    from dicom2nifti import dicom_series_to_nifti
    from dicom2nifti.exceptions import ConversionError, ConversionValidationError

    try:
        dicom_series_to_nifti(folder, out / "dicom2nifti.nii")
    except (ConversionError, ConversionValidationError) as error:
        return {"refused": str(error)}
    return {"files": [str(out / "dicom2nifti.nii")]}


def _dcm2niix(folder: Path, out: Path) -> dict[str, Any]:
    import dcm2niix

    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "dcm2niix", "-o", str(out), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    files = sorted(str(p) for p in out.glob("dcm2niix*.nii"))
    said = [line for line in done.stdout.splitlines() if "Error" in line or "Warning" in line]
    if files:
        return {"files": files, "status": done.returncode, "said": said[:3]}
    kind = "refused" if done.returncode > 0 else "crashed"
    return {kind: (said or [f"status {done.returncode}"])[0]}


def _simpleitk(folder: Path, out: Path) -> dict[str, Any]:
    import SimpleITK as sitk  # noqa: N813  (its own documentation's name)

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageSeriesReader()
    files = []
    names = reader.GetGDCMSeriesIDs(str(folder))
    if not names:
        return {"refused": "no series found"}
    for number, series in enumerate(names):
        found = reader.GetGDCMSeriesFileNames(str(folder), series)
        try:
            image = sitk.ReadImage(found[0]) if len(found) == 1 else sitk.ReadImage(found)
        except RuntimeError as error:
            return {"refused": str(error).strip().splitlines()[-1]}
        files.append(str(out / f"simpleitk{number}.nii"))
        sitk.WriteImage(image, files[-1])
    return {"files": files}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a reader prints must not break the protocol
    run = {"dicom2nifti": _dicom2nifti, "dcm2niix": _dcm2niix, "SimpleITK": _simpleitk}
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = run[job["reader"]](Path(job["folder"]), Path(job["out"]))
        except Exception as error:  # whatever it raises is what its user sees
            answer = {"crashed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
