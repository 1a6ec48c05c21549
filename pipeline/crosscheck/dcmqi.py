"""Ask dcmqi, the C++ converter behind 3D Slicer's QuantitativeReporting, what a DICOM SEG shows.

Rules:
- Its program writes the segments as files, those that do not overlap into one; their own headers say where they lie. They
  are given on that grid, which is the SEG's own, and it is never shown the source images.
- Its files hold segment numbers. Of fractions it writes what is stored, one segment a file.
- Its own words of an error are its refusal, without those that only warn of absent attributes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np

from .child import find_version, serve_masks
from .job_files import put_files
from .testimony import MaskJob, Testimony

NAME = "dcmqi"
_PROGRAM = "segimage2itkimage"
_DOWNLOADS = ("requests", "tqdm")  # of pydicom's example files; nothing asked here needs them
_REASONS = ("E:", "ERROR", "Error", "FATAL", "F:")


class Refused(Exception):
    """Why dcmqi wrote nothing, in its own words."""


class _Written(NamedTuple):
    """What it wrote. affine: 4 x 4, index to RAS mm. arrays: (i, j, k), those of label maps or, by number, of segments."""

    affine: Any
    arrays: dict[int, Any]


def main() -> None:
    sys.modules.update(dict.fromkeys(_DOWNLOADS))
    import nibabel  # noqa: F401  (paid while the parent reads headers)

    serve_masks(NAME, lambda: find_version(NAME), answer)


def answer(job: MaskJob) -> Testimony:
    """Convert the one SEG instance of a job, and give the labels that are asked for on the grid of its files."""
    file = _link(*job.mask_files)
    written = _convert(file, is_fractional=job.form == "fractional")
    labels = dict(job.labels)
    array = _take_fractions(file, written, labels, job.options) if job.form == "fractional" else _take(written, labels)
    return Testimony(NAME, find_version(NAME), written.affine, array.shape, array)


@lru_cache(1)  # overlapping segments are a file each, and each of them a job
def _link(path: str) -> str:
    return put_files([path], Path(mkdtemp()))[0]


@lru_cache(1)
def _convert(file: str, *, is_fractional: bool) -> _Written:
    """Run the program and read its files: those of single segments of fractions, else with all that do not overlap."""
    import nibabel

    out = Path(mkdtemp())
    options = ["--inputDICOM", file, "--outputDirectory", str(out), "-t", "nifti"]
    command = [_find_program(), *options, *([] if is_fractional else ["--mergeSegments"])]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    files = sorted(out.glob("*.nii*"))
    if done.returncode or not files:
        raise Refused(_find_reason((done.stdout + done.stderr).decode("utf-8", "replace")))
    images: dict[int, Any] = {int(f.name.partition(".")[0]): nibabel.load(f) for f in files}
    affines = [image.affine for image in images.values()]
    if any((affine != affines[0]).any() for affine in affines):
        raise Refused("its files lie on several grids")
    # It writes short integers; the larger numbers of segments have become negative in them.
    arrays = {number: np.asanyarray(image.dataobj).astype(np.uint16) for number, image in images.items()}
    return _Written(np.asarray(affines[0], float), arrays)


def _find_program() -> str:
    """The program in the package; its entry point would start one more Python."""
    spec = find_spec(NAME)
    folders = (spec and spec.submodule_search_locations) or []
    return next(str(path) for folder in folders for path in Path(folder, "bin").glob(f"{_PROGRAM}*"))


def _take(written: _Written, labels: Mapping[int, int]) -> Any:
    """Take the stored values or numbers that are asked for out of all files. Raises Refused where two overlap."""
    whole: Any = None
    for array in written.arrays.values():
        values = np.zeros(max(int(array.max(initial=0)), *labels) + 1, _dtype_for(labels))
        for number, value in labels.items():
            values[number] = value
        taken = values[array]
        if whole is None:
            whole = taken
        elif (whole[taken > 0] > 0).any():
            raise Refused("writes segments that overlap, which were asked for in one file")
        else:
            whole |= taken
    return whole


def _take_fractions(file: str, written: _Written, labels: Mapping[int, int], options: Mapping[str, Any]) -> Any:
    """Take stored values where they are kept, else what is inside from a part of the maximum on."""
    from pydicom import dcmread

    fractional = options.get("fractional", 0.5)
    header = dcmread(file, stop_before_pixels=True, specific_tags=["MaximumFractionalValue", "BitsAllocated"])
    least = 1 if header.BitsAllocated == 1 or fractional == "keep" else fractional * header.MaximumFractionalValue
    whole: Any = None
    for number, value in labels.items():
        if number not in written.arrays:  # it writes no file of a segment without frames
            continue
        array = written.arrays[number]
        if fractional == "keep":
            return array
        whole = np.zeros(array.shape, _dtype_for(labels)) if whole is None else whole
        inside = array >= least
        if whole[inside].any():
            raise Refused("writes segments that overlap, which were asked for in one file")
        whole[inside] = value
    return whole


def _dtype_for(labels: Mapping[int, int]) -> Any:
    """The smallest unsigned type that holds their values, and one more, which stands for a voxel that is left open."""
    return np.min_scalar_type(max(labels.values()) + 1)


def _find_reason(printed: str) -> str:
    """The line that tells of an error; else the last."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(_REASONS)), (lines or [f"{_PROGRAM} wrote no file"])[-1])


if __name__ == "__main__":
    main()
