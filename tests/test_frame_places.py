"""Frames without functional groups: placed by vectors where their class has them, refused in words that fit where not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from pipeline.conversion.convert import convert, convert_all
from pipeline.conversion.record import Outcome
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import Policy
from pipeline.dicom import fast_header
from pipeline.dicom.fast_values import GiveUp
from pipeline.dicom.frame import frames_of
from pipeline.dicom.header import KEYWORDS, read_header
from pipeline.dicom.scan import scan
from tests.helpers.hard_truth import compared
from tests.helpers.phantom import Edit, Spec, ds, write
from tests.helpers.vector_edits import AXIAL, FRAMES, NUCLEAR, dose, gated, nuclear, places, values

POLICY = Policy(as_="image", crosscheck="voxels")
ALONE = Policy(as_="image", crosscheck="off")


def written(folder: Path, spec: Spec, edit: Edit) -> Path:
    write(folder / "in", spec, edit=edit)
    return folder / "in"


def converted(folder: Path, spec: Spec, edit: Edit, policy: Policy = ALONE) -> Outcome:
    return convert([written(folder, spec, edit)], folder / "out.nii", policy=policy)


def refusal(folder: Path, spec: Spec, edit: Edit) -> PipelineError:
    with pytest.raises(PipelineError) as refused:
        converted(folder, spec, edit)
    return refused.value


# What has no place

SOP = "1.2.840.10008.5.1.4.1.1."
PLACELESS = {
    "RT Image": (SOP + "481.1", "it is an RT Image, a projection", "give the planning images"),
    "XA": (SOP + "12.1", "it is a projection of an X-ray system", "Export the volume that was reconstructed"),
    "Enhanced XA": (
        SOP + "12.1.1",
        "it is a projection of an X-ray system",
        "Export the volume that was reconstructed",
    ),
    "ultrasound": (SOP + "3.1", "it is an ultrasound clip", "Export the volume"),
    "Ophthalmic Tomography": (
        SOP + "77.1.5.4",
        "Ophthalmic Frame Location (0022,0031)",
        "Image Position (Patient) for every",
    ),
    "Enhanced US Volume": (SOP + "6.2", "Image Position (Volume) (0020,9301)", "its place in the patient"),
    "Secondary Capture": (
        SOP + "7.3",
        "Slice Location Vector (0018,2005) numbers them",
        "not as plain Secondary Capture",
    ),
}


@pytest.mark.parametrize("name", PLACELESS)
def test_what_has_no_place_is_refused_in_words_that_fit(tmp_path: Path, name: str) -> None:
    uid, reason, hint = PLACELESS[name]

    def edit(_: int, dataset: Dataset) -> None:
        dataset.SOPClassUID = uid
        dataset.SliceLocationVector = ds(*(2.0 * k for k in range(7)))

    error = refusal(tmp_path, FRAMES, edit)
    assert error.finding.code is Code.MISSING_PLANE_ATTRIBUTES
    assert reason in error.finding.message
    assert hint in error.finding.hint


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("STATIC", "a planar view of a standing detector"),
        ("WHOLE BODY", "a planar sweep over the body"),
        ("DYNAMIC", "planar views over time"),
        ("GATED", "planar views over the heart's cycle"),
        ("TOMO", "the raw projections of a rotating detector"),
        ("GATED TOMO", "the raw projections of a rotating detector over the heart's cycle"),
    ],
)
def test_projections_are_named_by_their_image_type(tmp_path: Path, kind: str, what: str) -> None:
    edit = nuclear(FRAMES, values(ImageType=["ORIGINAL", "PRIMARY", kind, "EMISSION"]))
    error = refusal(tmp_path, FRAMES, edit)
    assert f"of type {kind}, {what}: no plane of it" in error.finding.message
    assert error.finding.hint.startswith("Export the volume that was reconstructed from it")
    assert "assume-spacing" not in error.finding.hint


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (nuclear(FRAMES, values(SpacingBetweenSlices=None)), "Spacing Between Slices (0018,0088) is missing"),
        (nuclear(FRAMES, values(SpacingBetweenSlices="0")), "Spacing Between Slices (0018,0088) is “0.0”"),
        (
            nuclear(FRAMES, values(SliceVector=[1, 2, 3])),
            "Slice Vector (0054,0080) has 3 values, and there are 7 frames",
        ),
        (nuclear(FRAMES, values(SliceVector=[2, 1, 3, 4, 5, 6, 7])), "begins with slice 2, not with the lowest"),
        (
            nuclear(FRAMES, values(FrameIncrementPointer=[0x00540070, 0x00540080])),
            "its time slot vector (0054,0070) is missing",
        ),
        (
            nuclear(
                FRAMES, values(SliceVector=None, FrameIncrementPointer=0x00540070, TimeSlotVector=[1, 2, 3, 4, 5, 6, 7])
            ),
            "Slice Vector (0054,0080) is missing",
        ),
        (nuclear(FRAMES, values(DetectorInformationSequence=None)), "Image Position (Patient) (0020,0032) is missing"),
        (dose(AXIAL, further=values(GridFrameOffsetVector=None)), "Grid Frame Offset Vector (3004,000C) is missing"),
        (dose(AXIAL, [3, 5, 7, 9, 11, 13, 15]), "begins with 3, which is neither 0"),
        (dose(AXIAL, further=values(ImagePositionPatient=["1", "2"])), "(0020,0032) has 2 values, not 3"),
    ],
)
def test_vectors_that_place_nothing_say_why(tmp_path: Path, edit: Edit, reason: str) -> None:
    error = refusal(tmp_path, FRAMES, edit)
    assert error.finding.code is Code.MISSING_PLANE_ATTRIBUTES
    assert reason in error.finding.message
    assert "Correct the attribute" in error.finding.hint


def test_what_may_be_assumed_is_offered(tmp_path: Path) -> None:
    edit = nuclear(FRAMES, values(SpacingBetweenSlices=None, SliceThickness="2"))
    assert "--assume-spacing" in refusal(tmp_path, FRAMES, edit).finding.hint
    outcome = converted(tmp_path / "assumed", FRAMES, edit, replace(POLICY, assume_spacing=True))
    (finding,) = [f for f in outcome.findings if f.code is Code.ASSUMED_GEOMETRY]
    assert "from Slice Thickness (0018,0050)" in finding.message
    assert outcome.verdict == "UNCONFIRMED"


def test_frames_beyond_the_functional_groups_say_so(tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence[5:]

    error = refusal(tmp_path, replace(FRAMES, kind="enhanced mr"), edit)
    assert "in IM0001.dcm frame 6, there are functional groups for 5 of its 7 frames" in error.finding.message


# Parts


def test_time_slots_are_one_image_over_time(tmp_path: Path) -> None:
    spec = replace(FRAMES, shape=(11, 9, 4), stored="against")
    done, refused = convert_all(
        [written(tmp_path, spec, nuclear(spec, gated(spec, 3)))], tmp_path / "out", policy=ALONE
    )
    assert not refused
    (outcome,) = done
    assert outcome.record["Volumes"] == ["time slot 1", "time slot 2", "time slot 3"]
    array = nibabel.load(outcome.output).get_fdata()
    affine = nibabel.load(outcome.output).affine
    for n in range(3):
        acquired = places(tmp_path / "in")[4 * n : 4 * n + 4]
        found = compared(acquired, array[..., n], affine, stored=False)
        assert (found.lost, found.foreign) == (0, 0)
        assert found.worst_mm < 0.02


def test_two_doses_of_a_series_are_two_files(tmp_path: Path) -> None:
    folder = written(tmp_path, AXIAL, dose(AXIAL))
    dataset = dcmread(next(folder.iterdir()))
    dataset.SOPInstanceUID, dataset.DoseSummationType, dataset.DoseGridScaling = "1.2.3.9", "BEAM", "0.5"
    dataset.save_as(folder / "second.dcm")
    done, refused = convert_all([folder], tmp_path / "out", policy=ALONE)
    assert not refused
    assert {o.record["Part"].split(" (")[1] for o in done} == {"PLAN)", "BEAM)"}
    assert {float(nibabel.load(o.output).get_fdata().max()) for o in done} == {693 * 0.25, 693 * 0.5}


# Doses


@pytest.mark.parametrize("units", ["GY", "RELATIVE"])
def test_the_record_of_a_dose_names_its_units(tmp_path: Path, units: str) -> None:
    outcome = converted(tmp_path, AXIAL, dose(AXIAL, further=values(DoseUnits=units)))
    record = outcome.record
    assert [record[k] for k in ("DoseUnits", "DoseType", "DoseSummationType")] == [units, "PHYSICAL", "PLAN"]


def test_a_scaling_of_each_plane_is_applied(tmp_path: Path) -> None:
    spec = replace(AXIAL, kind="ct")

    def edit(k: int, dataset: Dataset) -> None:
        dose(spec, further=values(DoseGridScaling=ds(0.25 * (k + 1))[0]))(k, dataset)

    outcome = converted(tmp_path, spec, edit)
    assert Code.RESCALE_PER_PLANE in {f.code for f in outcome.findings}
    image = nibabel.load(outcome.output)
    expected = spec.array() * (0.25 * np.arange(1, 8))
    assert {float(v) for v in image.get_fdata().ravel()} == {float(v) for v in expected.ravel()}


@pytest.mark.parametrize(
    "further", [values(DoseGridScaling=None), values(RescaleSlope="2", RescaleIntercept="5")], ids=["none", "two"]
)
def test_a_dose_that_cannot_be_known_is_not_verified(tmp_path: Path, further: Callable[[Dataset], object]) -> None:
    policy = replace(POLICY, keep_disputed=True)
    outcome = converted(tmp_path, AXIAL, dose(AXIAL, further=further), policy)
    (finding,) = [f for f in outcome.findings if f.code is Code.DOSE_UNSCALED]
    assert "Dose Grid Scaling (3004,000E)" in finding.message
    assert outcome.verdict in ("UNCONFIRMED", "DISPUTED")


# Witnesses


@pytest.mark.parametrize(
    ("spec", "edit", "agreeing"),
    [
        (FRAMES, nuclear(FRAMES), {"SimpleITK", "dcm2niix"}),
        (replace(FRAMES, stored="against"), nuclear(replace(FRAMES, stored="against")), {"SimpleITK"}),
        (AXIAL, dose(AXIAL), {"SimpleITK"}),
        (AXIAL, dose(AXIAL, [AXIAL.origin[2] + 2.0 * k for k in range(7)]), {"SimpleITK"}),
    ],
    ids=["NM", "NM against the normal", "RTDOSE", "RTDOSE, absolute"],
)
def test_a_witness_verifies_what_vectors_place(tmp_path: Path, spec: Spec, edit: Edit, agreeing: set[str]) -> None:
    for name in ("SimpleITK", "dcm2niix"):
        pytest.importorskip(name)
    outcome = converted(tmp_path, spec, edit, POLICY)
    assert outcome.verdict == "VERIFIED"
    assert {a.witness for a in outcome.agreements if a.confirms} == agreeing
    assert {a.status for a in outcome.agreements if not a.confirms} <= {"KNOWN_WRONG", "REFUSED"}


@pytest.mark.parametrize("mode", ["affine", "voxels"])
def test_dicom2nifti_is_not_talked_into_reading_one_plane(tmp_path: Path, mode: str) -> None:
    edit = dose(AXIAL, further=values(SliceThickness="2"))
    outcome = converted(tmp_path, AXIAL, edit, replace(POLICY, crosscheck=mode))  # type: ignore[arg-type]
    (agreement,) = [a for a in outcome.agreements if a.witness == "dicom2nifti"]
    assert agreement.words == "refuses: ConversionValidationError: TOO_FEW_SLICES/LOCALIZER"
    assert not agreement.leaves_doubt


# Real files, of pydicom's package


@pytest.mark.parametrize("name", ["rtdose.dcm", "rtdose_rle.dcm", "rtdose_expb.dcm"])
def test_a_real_dose_is_read(tmp_path: Path, name: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom came without {name}")
    outcome = convert([Path(path)], tmp_path / "out.nii", policy=POLICY)
    assert outcome.verdict == ("UNCONFIRMED" if "expb" in name else "VERIFIED")
    dataset = dcmread(path)
    offsets = [float(v) for v in dataset.GridFrameOffsetVector]
    image = nibabel.load(outcome.output)
    x, y, z = (float(v) for v in dataset.ImagePositionPatient)
    rows, columns = (float(v) for v in dataset.PixelSpacing)
    lps = np.array([[columns, 0, 0, x], [0, rows, 0, y], [0, 0, offsets[1] - offsets[0], z], [0, 0, 0, 1]])
    assert np.allclose(image.affine, np.diag([-1, -1, 1, 1]) @ lps, atol=1e-3)
    assert np.allclose(image.get_fdata(), dataset.pixel_array.T * float(dataset.DoseGridScaling), rtol=1e-6)


# Reading headers


@pytest.mark.parametrize("edit", [nuclear(replace(FRAMES, kind="ct")), dose(replace(FRAMES, kind="ct"))])
def test_the_fast_reader_leaves_these_classes_to_pydicom(tmp_path: Path, edit: Edit) -> None:
    spec = replace(FRAMES, kind="ct", shape=(11, 9, 1))
    folder = written(tmp_path, spec, edit)
    with pytest.raises(GiveUp):
        fast_header.Reader(KEYWORDS).read(next(folder.iterdir()))


def test_a_class_is_known_by_modality_where_the_sop_class_is_missing(tmp_path: Path) -> None:
    folder = written(tmp_path, FRAMES, nuclear(FRAMES))
    path = next(folder.iterdir())
    dataset = dcmread(path)
    assert dataset.SOPClassUID == NUCLEAR
    del dataset.SOPClassUID
    dataset.save_as(path)
    (series,) = scan([folder]).series
    assert all(frame.plane is not None for frame in series.frames)


def two_plane_positions(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence.append(Dataset())
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[1].ImagePositionPatient = [0, 0, 0]


def two_shared_groups(dataset: Dataset) -> None:
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, shared.PixelMeasuresSequence = [5, 5], [measures]
    dataset.SharedFunctionalGroupsSequence.append(shared)


@pytest.mark.parametrize("edit", [two_plane_positions, two_shared_groups])
def test_two_items_that_differ_in_functional_groups_of_one_give_no_place(tmp_path: Path, edit: Any) -> None:
    truth = write(tmp_path, kind="enhanced ct", bits_allocated=16, edit=lambda k, dataset: edit(dataset))
    frames = frames_of(read_header(truth.paths[0]))
    assert frames[1].plane is None
    assert "items where it may have one, and they differ" in frames[1].why_no_plane


def test_two_items_that_say_the_same_give_a_place(tmp_path: Path) -> None:
    def edit(_: int, dataset: Dataset) -> None:
        shared = dataset.SharedFunctionalGroupsSequence
        shared.append(copy.deepcopy(shared[0]))

    truth = write(tmp_path, kind="enhanced ct", bits_allocated=16, edit=edit)
    assert all(frame.plane for frame in frames_of(read_header(truth.paths[0])))
