"""Ask dcmqi, the C++ converter behind 3D Slicer's QuantitativeReporting, what a DICOM SEG shows.

Rules:
- Its program writes the segments as files, those that do not overlap into one; their own headers say where they lie. They
  are given on that grid, which is the SEG's own, and it is never shown the source images.
- Its files hold segment numbers. Of fractions it writes what is stored, one segment a file.
- It takes the distance of planes from a tag, whatever their positions say. Where the two differ its grid is of no use.
- Its own words of an error are its refusal, without those that only warn of absent attributes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.temporary_folder import make_temporary_folder
from ..child import find_version, serve_masks
from ..job_files import put_files, states_of
from ..testimony import MaskJob, Testimony

NAME = "dcmqi"
_PROGRAM = "segimage2itkimage"
_DOWNLOADS = ("requests", "tqdm")  # of pydicom's example files; nothing asked here needs them
_SAME_STEP = 1e-2  # relative: what is printed of a step is rounded
_REASONS = ("E:", "ERROR", "Error", "FATAL", "F:")


class Refused(Exception):
    """Why dcmqi wrote nothing, in its own words."""


class _Header(NamedTuple):
    """A SEG without its pixels. file: that the program reads. bits: allocated."""

    file: str
    dataset: Any
    is_fractional: bool
    bits: int


class _Inside(NamedTuple):
    """What counts as inside. least: of the stored values of fractions; None where its files hold numbers."""

    least: float | None
    keeps_values: bool

    @classmethod
    def of(cls, header: _Header, options: Mapping[str, Any]) -> _Inside:
        fractional = options.get("fractional", 0.5)
        if not header.is_fractional:
            return cls(None, keeps_values=False)
        if fractional == "keep" or header.bits == 1:
            return cls(1, fractional == "keep")
        return cls(fractional * header.dataset.MaximumFractionalValue, keeps_values=False)


class _Written(NamedTuple):
    """What it wrote. affine: 4 x 4, index to RAS mm. arrays: (i, j, k), by the numbers that are their files' names."""

    affine: Any
    arrays: dict[int, Any]


def main() -> None:
    sys.modules.update(dict.fromkeys(_DOWNLOADS))  # type: ignore[arg-type]  # as if they were not installed
    import nibabel  # noqa: F401  (paid while the parent reads headers)

    serve_masks(NAME, lambda: find_version(NAME), answer)


def answer(job: MaskJob) -> Testimony:
    """Convert the one SEG instance of a job, and give the labels that are asked for on the grid of its files."""
    try:
        header = _read_header(*job.mask_files, states_of(job.mask_files))
        written = _convert(header.file, is_fractional=header.is_fractional)
        _refuse_step(written, header, job.files)
        array = _take(written, dict(job.labels), _Inside.of(header, job.options))
    except Refused as refused:
        return Testimony(NAME, find_version(NAME), refusal=str(refused))
    return Testimony(NAME, find_version(NAME), written.affine, array.shape, array)


@lru_cache(1)  # overlapping segments are a file each, and each of them a job
def _read_header(path: str, _states: Any) -> _Header:
    """Read what decides how it is asked. Raises Refused for binary segments of bytes, which it takes for single bits."""
    from pydicom import dcmread

    (file,) = put_files([path], make_temporary_folder())
    dataset = dcmread(file, stop_before_pixels=True)
    kind, bits = str(dataset.get("SegmentationType", "")), int(dataset.get("BitsAllocated", 1))
    if kind == "BINARY" and bits > 1:
        raise Refused(f"takes the {bits} bits of a binary segment for single ones")
    return _Header(file, dataset, kind == "FRACTIONAL", bits)


@lru_cache(1)
def _convert(file: str, *, is_fractional: bool) -> _Written:
    """Run the program and read its files: those of single segments of fractions, else with all that do not overlap."""
    import nibabel

    out = make_temporary_folder()
    options = ["--inputDICOM", file, "--outputDirectory", str(out), "-t", "nifti"]
    command = [_find_program(), *options, *([] if is_fractional else ["--mergeSegments"])]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    printed = (done.stdout + done.stderr).decode("utf-8", "replace")
    files = sorted(out.glob("*.nii*"))
    if done.returncode or not files:
        raise Refused(_find_reason(printed))
    images: dict[int, Any] = {int(f.name.partition(".")[0]): nibabel.load(f) for f in files}
    affines = [image.affine for image in images.values()]
    if any((affine != affines[0]).any() for affine in affines):
        raise Refused("writes files on several grids")
    # It writes short integers; the larger numbers of segments have become negative in them.
    arrays = {number: np.asanyarray(image.dataobj).astype(np.uint16) for number, image in images.items()}
    return _Written(np.asarray(affines[0], float), arrays)


def _refuse_step(written: _Written, header: _Header, files: tuple[str, ...]) -> None:
    """Refuse planes that are neither those of the frames nor those of the source: it takes the step from a tag."""
    from pydicom import dcmread

    first, *_ = written.arrays.values()
    step = float(np.linalg.norm(written.affine[:3, 2]))
    gap = _find_step(header.dataset.get("PerFrameFunctionalGroupsSequence") or ())
    steps = [gap]
    if len(set(files)) > 1:
        planes = [dcmread(f, stop_before_pixels=True) for f in put_files(files[:2], make_temporary_folder())]
        steps = [_find_step(planes), *map(float, planes[0].get("PixelSpacing") or ())]
    elif (
        abs(gap / step - round(gap / step)) < _SAME_STEP
    ):  # planes between the frames may be empty, where the tag says so
        shared = (header.dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
        measures = (shared.get("PixelMeasuresSequence") or [{}])[0]
        steps.append(abs(float(measures.get("SpacingBetweenSlices") or gap)))
    if first.shape[2] > 1 and not any(abs(step - own) < _SAME_STEP * step for own in steps):
        raise Refused(f"puts planes {step:.6g} mm apart that are {steps[0]:.6g} mm apart")


def _find_step(items: Iterable[Any]) -> float:
    """The least distance between two of the positions that are given, in mm; 0 where there is one."""
    given = [(item.get("PlanePositionSequence") or [item])[0].get("ImagePositionPatient") for item in items]
    places = np.unique([position for position in given if position], axis=0)
    apart = [np.linalg.norm(np.delete(places, n, 0) - place, axis=1).min() for n, place in enumerate(places[1:], 1)]
    return float(min(apart, default=0.0))


def _find_program() -> str:
    """The program in the package; its entry point would start one more Python."""
    spec = find_spec(NAME)
    folders = (spec and spec.submodule_search_locations) or []
    return next(str(path) for folder in folders for path in Path(folder, "bin").glob(f"{_PROGRAM}*"))


def _take(written: _Written, labels: Mapping[int, int], inside: _Inside) -> Any:
    """Take what is asked for out of all files, with the values of our file. Raises Refused where two segments overlap."""
    shape = next(iter(written.arrays.values())).shape
    whole: Any = np.zeros(shape, np.min_scalar_type(max(labels.values()) + 1))  # one more is for what is left open
    for file, array in written.arrays.items():
        if inside.keeps_values and file in labels:
            return array
        for number, value in labels.items():
            if inside.least is not None and number != file:  # a file of fractions holds those of its segment
                continue
            shown = array == number if inside.least is None else array >= inside.least
            if whole[shown].any():
                raise Refused("writes segments that overlap, which were asked for in one file")
            whole[shown] = value
    if not whole.any():
        raise Refused("writes no voxel of the segments that were asked for")
    return whole


def _find_reason(printed: str) -> str:
    """The line that tells of an error; else the last."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(_REASONS)), (lines or [f"{_PROGRAM} wrote no file"])[-1])


if __name__ == "__main__":
    main()
