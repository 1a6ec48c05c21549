"""What the witnesses are known to get wrong or to refuse without need: each fault shown in the installed version.

A rule of crosscheck/known_wrong.py explains a difference away, so it must be seen to be true; when a fault is mended, the test
fails and the rule can go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.record import Outcome
from pipeline.core.policy import Policy
from tests.helpers.hard_case import SMALL
from tests.helpers.hard_edits import cosines, moved, tags, without
from tests.helpers.hard_truth import Compared, compared, truth
from tests.helpers.peers import Peer
from tests.helpers.phantom import ORIENTATIONS, Edit, Spec, write


@pytest.fixture(scope="module")
def dicom2nifti() -> Iterator[Peer]:
    with Peer("dicom2nifti") as peer:
        yield peer


def asked(peer: Peer, folder: Path, spec: Spec = SMALL, edit: Edit = lambda k, dataset: None) -> dict[str, object]:
    write(folder / "in", spec, edit=edit)
    return peer.convert(folder / "in", folder / "out")


def measured(peer: Peer, folder: Path, spec: Spec = SMALL, edit: Edit = lambda k, dataset: None) -> Compared:
    """What it wrote without a word, against the truth."""
    answer = asked(peer, folder, spec, edit)
    assert "files" in answer, answer
    image = nibabel.load(answer["files"][0])  # type: ignore[index]
    return compared(truth(folder / "in"), image.get_fdata(), image.affine, stored=False)


def ours(folder: Path, **options: object) -> Outcome:
    policy = Policy(as_="image", crosscheck="voxels", **options)  # type: ignore[arg-type]
    return convert([folder / "in"], folder / "ours.nii", policy=policy)


def said(outcome: Outcome, witness: str) -> tuple[str, str]:
    return next((a.status, a.words) for a in outcome.agreements if a.witness == witness)


# --- dicom2nifti: refused without need ------------------------------------------------------------------------------

FALSE_REFUSALS = {
    "InstanceNumber shuffled": (replace(SMALL, instance_numbers="shuffled"), tags(), "refused", "MISSING_DICOM_FILES"),
    "InstanceNumber constant": (replace(SMALL, instance_numbers="constant"), tags(), "refused", "MISSING_DICOM_FILES"),
    "InstanceNumber missing": (replace(SMALL, instance_numbers="missing"), tags(), "crashed", "IndexError"),
    "empty TR and TE": (replace(SMALL, kind="mr"), tags(RepetitionTime="", EchoTime=""), "crashed", "TypeError"),
    "no Modality": (SMALL, tags(Modality=None), "crashed", "AttributeError"),
    "3 planes": (replace(SMALL, shape=(11, 9, 3)), tags(), "refused", "TOO_FEW_SLICES"),
}


@pytest.mark.parametrize("name", FALSE_REFUSALS)
def test_dicom2nifti_refuses_without_need(tmp_path: Path, dicom2nifti: Peer, name: str) -> None:
    spec, edit, how, words = FALSE_REFUSALS[name]
    assert words in str(asked(dicom2nifti, tmp_path, spec, edit)[how])
    outcome = ours(tmp_path)
    assert outcome.verdict == "VERIFIED"
    status, told = said(outcome, "dicom2nifti")
    assert status in ("AGREES", "REORDERED")
    assert ("asked again" in told) is (name != "InstanceNumber constant")  # our order of the files is enough for that


def test_dicom2nifti_refuses_a_tilted_gantry_that_it_could_keep(tmp_path: Path, dicom2nifti: Peer) -> None:
    assert "NON_CUBICAL" in str(asked(dicom2nifti, tmp_path, replace(SMALL, tilt_degrees=15))["refused"])
    status, told = said(ours(tmp_path, on_tilt="shear"), "dicom2nifti")
    assert status in ("AGREES", "REORDERED")
    assert "asked again" in told


# --- dicom2nifti: accepted, and wrong -------------------------------------------------------------------------------


def test_dicom2nifti_closes_the_gap_of_a_missing_plane_of_a_tenth_of_a_millimetre(
    tmp_path: Path, dicom2nifti: Peer
) -> None:
    fine = replace(SMALL, row_spacing=0.08, column_spacing=0.09, step=0.1, shape=(11, 9, 8))
    assert measured(dicom2nifti, tmp_path, fine, without(3)).worst_mm > 0.04


def test_dicom2nifti_takes_a_drifting_step_for_an_even_one(tmp_path: Path, dicom2nifti: Peer) -> None:
    assert measured(dicom2nifti, tmp_path, edit=moved(lambda k: (0, 0, 0.016 * k * k))).worst_mm > 0.12


def test_dicom2nifti_takes_cosines_of_another_length_for_another_pixel_spacing(
    tmp_path: Path, dicom2nifti: Peer
) -> None:
    answer = asked(dicom2nifti, tmp_path, edit=cosines(lambda k, c: c * 0.99))
    zooms = nibabel.load(answer["files"][0]).header.get_zooms()  # type: ignore[index]
    assert np.allclose(zooms[:2], [0.99 * 1.3, 0.99 * 0.8], atol=1e-6)


def test_dicom2nifti_does_not_see_one_plane_of_another_spacing(tmp_path: Path, dicom2nifti: Peer) -> None:
    edit = tags(lambda k: k == 4, PixelSpacing=["0.9", "1.3"])
    assert measured(dicom2nifti, tmp_path, edit=edit).worst_mm > 0.7


def test_dicom2nifti_flips_reversed_frames_of_an_enhanced_image(tmp_path: Path, dicom2nifti: Peer) -> None:
    assert measured(dicom2nifti, tmp_path, replace(SMALL, kind="enhanced ct", stored="against")).worst_mm > 11
    outcome = ours(tmp_path)
    assert outcome.verdict == "VERIFIED"
    status, told = said(outcome, "dicom2nifti")
    assert status == "KNOWN_WRONG"
    assert "In-Stack Position Number" in told


def test_dicom2nifti_mirrors_a_coronal_mosaic(tmp_path: Path, samples: Path, dicom2nifti: Peer) -> None:
    folder = samples / "neurolabusc+dcm_qa/In/Orientation/cor/corasc36"
    answer = dicom2nifti.convert(folder, tmp_path / "out")
    theirs = nibabel.load(answer["files"][0])
    reference = nibabel.load(samples / "neurolabusc+dcm_qa/Ref/cor_asc_36sl_13.nii")
    placed = np.rint(np.linalg.inv(theirs.affine) @ reference.affine).astype(int)
    index = np.indices(reference.shape[:3]).reshape(3, -1).T @ placed[:3, :3].T + placed[:3, 3]
    found = np.asarray(theirs.dataobj)[tuple(index.T)].reshape(reference.shape)
    mirrored = np.asarray(reference.dataobj)[:, :, ::-1]
    assert (found == np.asarray(reference.dataobj)).mean() < 0.2
    assert (found == mirrored).all()
    done, refused = convert_all([folder], tmp_path / "ours", policy=Policy(as_="image", crosscheck="voxels"))
    assert not refused
    assert done[0].verdict == "VERIFIED"
    assert said(done[0], "dicom2nifti")[0] == "KNOWN_WRONG"
    assert said(done[0], "SimpleITK") == (
        "KNOWN_WRONG",
        "gives a block of 384 × 384 × 1 voxels at another place, as it is known to: read a mosaic as one sheet",
    )


# --- the other witnesses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("witness", ["SimpleITK", "dcm2niix"])
def test_they_drop_the_shear_of_a_tilted_gantry(tmp_path: Path, witness: str) -> None:
    spec = replace(SMALL, tilt_degrees=15)
    with Peer(witness) as peer:
        assert measured(peer, tmp_path, spec).worst_mm > 3
    assert said(ours(tmp_path, on_tilt="shear"), witness)[0] == "KNOWN_WRONG"


def test_simpleitk_inverts_monochrome1(tmp_path: Path) -> None:
    with Peer("SimpleITK") as peer:
        found = measured(peer, tmp_path, replace(SMALL, photometric="MONOCHROME1", iop=ORIENTATIONS["oblique"]))
    assert found.foreign > 600
    assert said(ours(tmp_path), "SimpleITK")[0] == "KNOWN_WRONG"


def test_dcm2niix_takes_the_step_from_the_first_gap(tmp_path: Path) -> None:
    jitter = (0.05, -0.05, 0.03, 0.0, -0.04, 0.05, -0.02)
    with Peer("dcm2niix") as peer:
        assert measured(peer, tmp_path, edit=moved(lambda k: (0, 0, jitter[k]))).worst_mm > 0.4
    assert said(ours(tmp_path), "dcm2niix")[0] == "KNOWN_WRONG"
