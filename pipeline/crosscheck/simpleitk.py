"""Ask SimpleITK, the reader behind ITK-SNAP and 3D Slicer, as a witness. It sorts the files of the series itself.

Rules:
- It is asked as a user would ask it, with one thing added: the values of an RT dose, which it gives as stored, are
  multiplied by the Dose Grid Scaling that it read itself, as its users must. The answer says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.temporary_folder import temporary_folder
from ..geometry.affine import LPS_TO_RAS
from ..volume.colour import SAMPLES, from_samples
from ..volume.mask import Array
from .child import find_version, serve
from .job_files import put_files
from .testimony import Job, Testimony

NAME = "SimpleITK"
_MOST = 255  # of a sample of 8 bits
_DOSE_SCALING = "3004|000e"  # as it names (3004,000E); only an image of one file has metadata


def main() -> None:
    serve(NAME, lambda: find_version(NAME), _answer)


def _answer(job: Job) -> Testimony:
    import SimpleITK as sitk  # noqa: N813  (its own documentation's name)

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = _read(job, sitk)
    except RuntimeError as error:  # it gives the place in its source, then the reason: only the last line is for people
        return Testimony(NAME, find_version(NAME), refusal=str(error).strip().splitlines()[-1].strip())
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    array, note = None, ""
    if job.voxels and image.GetNumberOfComponentsPerPixel() == SAMPLES:
        array, note = _read_colours(sitk.GetArrayFromImage(image))
    elif job.voxels:
        array = sitk.GetArrayFromImage(image).transpose()
        if image.HasMetaDataKey(_DOSE_SCALING) and array.dtype.kind in "iu":
            array, note = array * float(image.GetMetaData(_DOSE_SCALING)), "by the Dose Grid Scaling that it read"
    return Testimony(NAME, find_version(NAME), LPS_TO_RAS @ lps, tuple(image.GetSize()), array, note=note)


def _read_colours(samples: Array) -> tuple[Array, str]:
    """Colours, (i, j, k), of (k, j, i, 3) samples, and what was done to have them in 8 bits."""
    note = ""
    if samples.dtype.itemsize > 1 and samples.max() > _MOST:
        samples, note = samples >> 8, "its colours of 16 bits were compared by their high bytes"
    return from_samples(samples.astype(np.uint8)).T, note


def _read(job: Job, sitk: Any) -> Any:
    with temporary_folder() as folder:
        files = put_files(job.files, folder)
        if len(files) == 1:
            return sitk.ReadImage(files[0])
        return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))


if __name__ == "__main__":
    main()
