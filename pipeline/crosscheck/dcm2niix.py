"""Ask dcm2niix, the C++ reference, as a witness: run its program on links to our files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.plain_text import strip_folders
from ..core.temporary_folder import temporary_folder
from ..core.workers import describe_exit, kill, start_process
from ..volume.mask import Array
from .child import (
    ONLY_WHOLE,
    WitnessFailure,
    describe_error,
    find_version,
    read_last_line,
)
from .job_files import put_files
from .testimony import Job, Testimony

NAME = "dcm2niix"
_REASONS = ("Error", "Unsupported", "not large enough")


def ask(job: Job, *, philips: bool, limit_s: float = 600.0, within: str = "") -> Testimony:
    """Let it convert with its defaults, uncompressed.

    Args:
        job: the files, and whether voxels are wanted.
        philips: whether the scanner is one of Philips'.
        limit_s: how long it may take, in s.
        within: a folder for its files, which somebody removes even where this process is killed; "" for the system's.

    Returns: what it gave. Several outputs are a refusal, since it split what is one grid; a program that cannot be run,
        was killed, or left no readable file has failed.
    """
    if not job.whole:
        return Testimony(NAME, find_version(NAME), refusal=ONLY_WHOLE)
    try:
        with temporary_folder(within) as folder:
            return _convert(job, folder, philips, limit_s)
    except Exception as error:  # no folder, a program that cannot be run, or a file of it that cannot be read
        why = str(error) if isinstance(error, WitnessFailure) else describe_error(error)
        return Testimony(NAME, find_version(NAME), failure=strip_folders(why))


def _convert(job: Job, folder: Path, philips: bool, limit_s: float) -> Testimony:
    """Convert links to the files in a folder of its own, and read what it wrote. Raises WitnessFailure as `_run`."""
    import dcm2niix
    import nibabel

    source, target = folder / "in", folder / "out"
    source.mkdir()
    target.mkdir()
    put_files(job.files, source)
    # `-p n`: by default it takes Philips' private scaling, which is another quantity than Rescale Slope.
    precise = ["-p", "n"] if philips else []
    command = [dcm2niix.bin, *precise, "-z", "n", "-b", "n", "-f", "out", "-o", str(target), str(source)]
    printed = _run(command, folder, limit_s)
    outputs = sorted(target.glob("*.nii"))
    if len(outputs) != 1:
        why = _find_reason(printed)
        return Testimony(NAME, find_version(NAME), refusal=f"wrote {len(outputs)} files for one series. {why}".strip())
    image = nibabel.load(outputs[0])
    array = np.array(_values_of(image.dataobj)) if job.voxels else None
    return Testimony(NAME, find_version(NAME), np.asarray(image.affine, float), tuple(image.shape), array)


def _values_of(proxy: Any) -> Array:
    """The rescaled values of a file; colours as they are, since nothing scales them."""
    return np.asanyarray(proxy if proxy.dtype.names is None else proxy.get_unscaled())


def _find_reason(printed: str) -> str:
    """The line that says why nothing, or too much, was written: a lasting one before any other warning."""
    lines = [line for line in printed.splitlines() if "Error" in line or "Warning" in line]
    return next((line for line in lines if any(word in line for word in _REASONS)), next(iter(lines), ""))


def _run(command: list[str], folder: Path, limit_s: float) -> str:
    """Run a program and return what it printed. Raises WitnessFailure where it was killed, or did not end in time."""
    import subprocess

    pipe = subprocess.PIPE
    process = start_process(command, stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        printed, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        kill(process)
        raise WitnessFailure(f"gave no answer within {limit_s:g} s") from None
    except BaseException:
        kill(process)
        raise
    if process.returncode < 0:
        last_words = read_last_line(errors)
        ending = f"; its last words: {last_words}" if last_words else ""
        raise WitnessFailure(describe_exit(process.returncode) + ending)
    return str(printed, "utf-8", "replace")
