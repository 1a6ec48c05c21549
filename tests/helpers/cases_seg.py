"""SEGs that go wrong in the field, each with its masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from tests.helpers.mask_case import MaskCase, PlacedMask
from tests.helpers.segs import PLACE, Place, blobs, frames_of, source_files, write_seg

NAMES = ("first", "second", "third")


def lps_of(place: Place) -> NDArray[np.float64]:
    """(4, 4) index to LPS mm of a place of segs.py, by the equation of PS3.3 C.7.6.2.1-1."""
    lps = np.eye(4)
    row, column = np.array(place.cosines[:3]), np.array(place.cosines[3:])
    lps[:3, :3] = np.stack([row * place.spacing[1], column * place.spacing[0], np.cross(row, column) * place.step], 1)
    lps[:3, 3] = place.origin
    return lps


def _plain(folder: Path) -> Sequence[PlacedMask]:
    truth = blobs(2, overlap=True)
    first, *_ = source_files(folder / "source")
    (folder / "in").mkdir()
    write_seg(
        folder / "in" / "seg.dcm", frames_of(truth), reference=dcmread(first).FrameOfReferenceUID, names=NAMES[:2]
    )
    return [PlacedMask(name, voxels, lps_of(PLACE)) for name, voxels in zip(NAMES[:2], truth, strict=True)]


CASES: tuple[MaskCase, ...] = (MaskCase("SEG with its source", "plain SEG", _plain),)
