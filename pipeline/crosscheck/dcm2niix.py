"""Witness: dcm2niix, the C++ reference, run as a program on links to our files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pipeline.crosscheck.agreement import Job, Testimony
from pipeline.crosscheck.child import version

NAME = "dcm2niix"


def ask(job: Job, *, philips: bool) -> Testimony:
    """Convert with its defaults, uncompressed. Several outputs are a refusal: it split what is one grid."""
    import subprocess
    import tempfile

    import dcm2niix
    import nibabel

    with tempfile.TemporaryDirectory(prefix="verimask-") as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        target.mkdir()
        for number, path in enumerate(dict.fromkeys(job.files)):
            Path(source, f"{number:06d}.dcm").symlink_to(os.path.abspath(path))
        # Philips' private scaling is another quantity than Rescale Slope; without it slopes per plane go wrong.
        precise = ["-p", "n"] if philips else []
        command = [dcm2niix.bin, *precise, "-z", "n", "-b", "n", "-f", "out", "-o", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        outputs = sorted(target.glob("*.nii"))
        if len(outputs) != 1:
            said = next((line for line in done.stdout.splitlines() if "Error" in line or "Warning" in line), "")
            return Testimony(NAME, version(NAME), refusal=f"wrote {len(outputs)} files for one series. {said}".strip())
        image = nibabel.load(outputs[0])
        array = np.array(np.asanyarray(image.dataobj)) if job.voxels else None
        return Testimony(NAME, version(NAME), np.asarray(image.affine, float), tuple(image.shape), array)
