"""Siemens mosaics: every tile where nibabel and dcm2niix put it, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from pipeline.conversion.convert import convert, convert_all
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom.scan import scan

FOLDER = "neurolabusc+dcm_qa/In/Orientation/cor/corasc36"
REFERENCE = "neurolabusc+dcm_qa/Ref/cor_asc_36sl_13.nii"
IMAGE = Policy(as_="image", crosscheck="off")


def test_every_tile_where_nibabel_puts_it(samples: Path) -> None:
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    for header in scan([samples / FOLDER]).series[0].headers:
        frames = scan([header.path]).series[0].frames
        affine = wrapper_from_file(header.path).affine
        assert len(frames) == 36
        for k, frame in enumerate(frames):
            assert frame.plane is not None
            assert frame.name == f"{header.path.name} tile {k + 1}"
            # Its rows run down the image: nibabel's (i, j) are (row, column).
            expected = [affine @ (j, i, k, 1) for j, i in ((0, 0), (0, 63), (63, 0), (63, 63))]
            assert np.allclose(frame.plane.corners(), np.array(expected)[:, :3], atol=1e-4)


def test_every_voxel_where_dcm2niix_put_it(samples: Path, tmp_path: Path) -> None:
    done, refused = convert_all([samples / FOLDER], tmp_path, policy=IMAGE)
    assert not refused
    ours, theirs = nibabel.load(done[0].output), nibabel.load(samples / REFERENCE)
    assert ours.shape == theirs.shape == (64, 64, 36, 2)
    exact = np.linalg.inv(ours.affine) @ theirs.affine
    mapping = np.rint(exact)
    assert np.abs(ours.affine @ (exact - mapping)).max() < 0.01
    index = np.indices(theirs.shape[:3]).reshape(3, -1).T @ mapping[:3, :3].T + mapping[:3, 3]
    found = np.asarray(ours.dataobj)[tuple(index.astype(int).T)].reshape(theirs.shape)
    assert (found == np.asarray(theirs.dataobj)).all()


def test_the_order_of_tiles_is_asked_for_though_only_affines_were_wanted(samples: Path, tmp_path: Path) -> None:
    """dicom2nifti's process starts without decoders then, and must be exchanged for one that reads pixels."""
    one = min((samples / FOLDER).iterdir())
    made = convert([one], tmp_path / "out.nii", policy=Policy(as_="image"))
    told = made.agreements[0]
    assert (told.witness, told.status) == ("dicom2nifti", "KNOWN_WRONG")
    assert told.voxels_differing


def test_a_mask_is_refused(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as refused:
        convert([next((samples / FOLDER).iterdir())], tmp_path / "out.nii", policy=Policy(crosscheck="off"))
    assert refused.value.finding.code is Code.MOSAIC


def _reversed_slices(dataset: Any) -> None:
    """A stack whose tiles would run against the protocol's list of slices: the CSA normal turned round."""
    value = dataset[0x0029, 0x1010].value
    for old, new in ((b"0.98822836", b"-0.9882284"), (b"-0.15298600", b"0.152986000")):
        assert old in value
        value = value.replace(old, new.ljust(len(old), b"\0")[: len(old)])
    dataset[0x0029, 0x1010].value = value


def _without(group: int, element: int) -> Callable[[Any], None]:
    def spoil(dataset: Any) -> None:
        del dataset[group, element]

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without(0x0029, 0x1010), "does not tell the number of tiles"),
        (_without(0x0018, 0x0088), "Spacing Between Slices (0018,0088) is missing"),
        (_reversed_slices, "protocol's list of slices"),
        (lambda d: setattr(d, "SpacingBetweenSlices", "3.7"), "protocol's list of slices"),
        (
            lambda d: setattr(d, "ImageOrientationPatient", ["1", "0", "0", "0", "1", "0"]),
            "not the normal of its planes",
        ),
    ],
)
def test_a_mosaic_that_does_not_tell_its_tiles_is_refused(
    samples: Path, tmp_path: Path, spoil: Callable[[Any], None], words: str
) -> None:
    dataset = dcmread(next((samples / FOLDER).iterdir()))
    spoil(dataset)
    dataset.save_as(tmp_path / "mosaic.dcm")
    with pytest.raises(PipelineError) as refused:
        convert([tmp_path], tmp_path / "out.nii", policy=IMAGE)
    assert refused.value.finding.code is Code.MOSAIC
    assert words in refused.value.finding.message


@pytest.mark.parametrize("how", ["gone", "changed"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_a_sheet_that_lost_its_image_type_is_no_single_plane(
    samples: Path, tmp_path: Path, how: str, syntax: str
) -> None:
    """An anonymiser takes Image Type away; the CSA header still says how many tiles there are."""
    dataset = dcmread(min((samples / FOLDER).iterdir()))
    if how == "gone":
        del dataset.ImageType
    else:
        dataset.ImageType = ["DERIVED", "PRIMARY", "M", "ND"]
    dataset.file_meta.TransferSyntaxUID = syntax
    (tmp_path / "in").mkdir()
    dataset.save_as(tmp_path / "in" / "sheet.dcm", implicit_vr=syntax.endswith(".2"), little_endian=True)
    with pytest.raises(PipelineError) as caught:
        convert([tmp_path / "in"], tmp_path / "out.nii", policy=IMAGE)
    assert "mosaic of 36 tiles" in caught.value.finding.message
