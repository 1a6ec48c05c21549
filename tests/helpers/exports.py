"""Exports with a mask in the image, made from a real series: what Mimics and others write, with the truth about it.

Rules:
- Arrays are (columns, rows, planes) in the order of the laid frames. The mask is the asymmetric body of the phantom.
- The files are those of the series with other pixels (and another kind of file), in shuffled order under other names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from scipy import ndimage

from pipeline.core.policy import Policy
from pipeline.dicom.pixels import stored_voxels
from pipeline.dicom.scan import scan
from pipeline.stacking.laid_frames import LaidFrames
from pipeline.stacking.stack_frames import lay_frames
from pipeline.volume.mask import Voxels
from tests.helpers.dicom_file import save
from tests.helpers.phantom import body

Array = NDArray[Any]
Edit = Callable[[int, Dataset], None]
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
FOLDERS = {
    "CT": "theibsi+data_sets/ibsi_validation/dicom/STS_008/CT/image",
    "MR": "theibsi+data_sets/ibsi_validation/dicom/STS_019/MR_T1/image",
}


@dataclass(frozen=True, eq=False)
class Real:
    """Some planes of a real series. stored: its values. parts: 0 outside, 1 to 3 the parts of the body."""

    laid: LaidFrames
    stored: Array
    parts: Array

    @property
    def mask(self) -> Array:
        return self.parts > 0

    def clear_value(self) -> int:
        """A value of the image, inside of the mask and outside, but nowhere along its border."""
        border = self._border()
        inside, outside = (np.unique(self.stored[m & ~border]) for m in (self.mask, ~self.mask))
        both = np.intersect1d(inside, outside)
        candidates = np.setdiff1d(both, self.stored[border])
        return int(max(candidates, key=lambda v: np.count_nonzero(self.stored[self.mask] == v)))

    def open_value(self) -> int:
        """The value of the image that is found most often along the border of the mask."""
        values, counts = np.unique(self.stored[self._border() & ~self.mask], return_counts=True)
        return int(values[counts.argmax()])

    def _border(self) -> Array:
        """One voxel to either side of the mask's border, within planes."""
        cross = ndimage.generate_binary_structure(2, 1)[:, :, None]
        return ndimage.binary_dilation(self.mask, cross) & ~ndimage.binary_erosion(self.mask, cross, border_value=1)


def real(samples: Path, modality: str, planes: int = 10) -> Real:
    laid = lay_frames(scan([samples / FOLDERS[modality]]).series[0].frames, Policy(as_="image"))
    frames = laid.frames[10 : 10 + planes]
    laid = lay_frames(frames, Policy(as_="image"))
    stored = stored_voxels(laid.frames).array()
    shape = np.array(stored.shape)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return Real(laid, stored, body((index - (shape - 1) / 2) / (0.46 * shape)))


def write(
    folder: Path,
    real: Real,
    values: Array,
    kind: str = "same",
    edit: Edit = lambda n, dataset: None,
    transfer_syntax: str = "explicit",
) -> Path:
    """Write values (columns, rows, planes) as a series in place of the real one. kind: "same" or "sc"."""
    folder.mkdir(parents=True)
    order = Random(5).sample(range(len(real.laid.frames)), len(real.laid.frames))
    series = generate_uid(entropy_srcs=[str(folder)])
    for n, frame in enumerate(real.laid.frames):
        dataset = dcmread(frame.path)
        del dataset.StudyID  # longer than its VR allows in some
        if kind == "sc":
            dataset.SOPClassUID, dataset.Modality, dataset.ConversionType = SECONDARY_CAPTURE, "OT", "WSD"
        dataset.SeriesInstanceUID = series
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(folder), str(n)])
        plane = np.ascontiguousarray(values[:, :, n].T)
        dataset.PixelRepresentation = int(plane.dtype.kind == "i")
        dataset.BitsAllocated = dataset.BitsStored = plane.dtype.itemsize * 8
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelData = plane.astype(plane.dtype.newbyteorder("<")).tobytes() + b"\0" * (plane.nbytes % 2)
        dataset["PixelData"].VR = "OB" if plane.dtype.itemsize == 1 else "OW"
        edit(n, dataset)
        save(folder / f"IM{order[n]}", dataset, transfer_syntax)
    return folder


def laid(folder: Path) -> LaidFrames:
    """The one series below a folder, on its grid."""
    return lay_frames(scan([folder]).series[0].frames, Policy())


def stored(folder: Path) -> tuple[LaidFrames, Voxels]:
    found = laid(folder)
    return found, stored_voxels(found.frames)
