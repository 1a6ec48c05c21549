"""Witness: dcm2niix, the C++ reference, run as a program on links to our files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..core.workers import kill, own_group
from .agreement import Job, Testimony
from .child import (
    ONLY_WHOLE,
    WitnessFailure,
    in_status,
    in_words,
    last_line,
    version,
    without_folders,
)

NAME = "dcm2niix"


def ask(job: Job, *, philips: bool, limit_s: float = 600.0) -> Testimony:
    """Convert with its defaults, uncompressed. Several outputs are a refusal: it split what is one grid.

    Args:
        job: files, frames and depth.
        philips: whether the scanner is theirs.
        limit_s: how long it may take.
    """
    import tempfile

    if not job.whole:
        return Testimony(NAME, version(NAME), refusal=ONLY_WHOLE)
    with tempfile.TemporaryDirectory(prefix="verimask-", ignore_cleanup_errors=True) as folder:
        try:
            return _ask(job, Path(folder), philips, limit_s)
        except Exception as error:  # a program that cannot be run, or a file of it that cannot be read
            why = str(error) if isinstance(error, WitnessFailure) else in_words(error)
            return Testimony(NAME, version(NAME), failure=without_folders(why))


def _ask(job: Job, folder: Path, philips: bool, limit_s: float) -> Testimony:
    import dcm2niix
    import nibabel

    source, target = folder / "in", folder / "out"
    source.mkdir()
    target.mkdir()
    for number, path in enumerate(dict.fromkeys(job.files)):
        Path(source, f"{number:06d}.dcm").symlink_to(os.path.abspath(path))
    # Philips' private scaling is another quantity than Rescale Slope; without it slopes per plane go wrong.
    precise = ["-p", "n"] if philips else []
    command = [dcm2niix.bin, *precise, "-z", "n", "-b", "n", "-f", "out", "-o", str(target), str(source)]
    printed = _run(command, folder, limit_s)
    outputs = sorted(target.glob("*.nii"))
    if len(outputs) != 1:
        said = next((line for line in printed.splitlines() if "Error" in line or "Warning" in line), "")
        return Testimony(NAME, version(NAME), refusal=f"wrote {len(outputs)} files for one series. {said}".strip())
    image = nibabel.load(outputs[0])
    array = np.array(np.asanyarray(image.dataobj)) if job.voxels else None
    return Testimony(NAME, version(NAME), np.asarray(image.affine, float), tuple(image.shape), array)


def _run(command: list[str], folder: Path, limit_s: float) -> str:
    """What a program printed. Raises WitnessFailure where it was killed, or did not end in time."""
    import subprocess

    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL, cwd=folder, **own_group())
    try:
        printed, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        kill(process)
        raise WitnessFailure(f"gave no answer within {limit_s:g} s") from None
    except BaseException:
        kill(process)
        raise
    if process.returncode < 0:
        said = last_line(errors)
        raise WitnessFailure(in_status(process.returncode) + (f"; its last words: {said}" if said else ""))
    return str(printed, "utf-8", "replace")
