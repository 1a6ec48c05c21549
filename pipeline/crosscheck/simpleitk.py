"""Witness: SimpleITK, the reader behind ITK-SNAP and 3D Slicer. It sorts the files of the series itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pipeline.crosscheck.agreement import Job, Testimony
from pipeline.crosscheck.child import serve, version
from pipeline.geometry import LPS_TO_RAS

NAME = "SimpleITK"


def main() -> None:
    serve(NAME, lambda: version(NAME), _testify)


def _testify(job: Job) -> Testimony:
    import tempfile

    import SimpleITK as sitk  # noqa: N813  (its own documentation's name)

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    files = list(dict.fromkeys(job.files))
    if len(files) == 1:
        image = sitk.ReadImage(files[0])
    else:
        with tempfile.TemporaryDirectory(prefix="verimask-") as folder:
            for number, path in enumerate(files):
                Path(folder, f"{number:06d}.dcm").symlink_to(os.path.abspath(path))
            image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image).transpose() if job.voxels else None
    return Testimony(NAME, version(NAME), LPS_TO_RAS @ lps, tuple(image.GetSize()), array)


if __name__ == "__main__":
    main()
