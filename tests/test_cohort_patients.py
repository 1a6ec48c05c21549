"""Thirty patients with ROIs that are misspelt, missing, overlapping and doubled become data sets that others accept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.core.findings import Exit
from tests.helpers import bids_checks, nnunet_checks
from tests.helpers.cohort_run import CohortRunner, found_in, rows_of
from tests.helpers.cohort_truth import Row, mask_of, other_headers
from tests.helpers.made_patients import VALUES, MadePatient, make_patients
from tests.helpers.mask_case import PlacedMask, difference


class Patients(NamedTuple):
    """Who was made, and where."""

    root: Path
    members: list[MadePatient]

    @property
    def labels(self) -> Path:
        return self.root / "labels.toml"

    def rows(self, out: Path) -> Iterator[tuple[MadePatient, list[Row]]]:
        """The rows of each patient, of what is missing too: folders that name nobody stand in the private table as they are."""
        rows = rows_of(out, private=True)
        for patient in self.members:
            subjects = {row["subject"] for row in rows if row["folder"].split("/")[0] == patient.folder.name}
            assert len(subjects) == 1, f"{patient.folder.name} is {subjects}"
            yield patient, [row for row in rows if row["subject"] in subjects]

    def names(self) -> set[str]:
        """What must be in no output."""
        return {text for p in self.members for text in (p.person.id, *p.person.name.split("^"), p.person.name)}


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Patients:
    root = tmp_path_factory.mktemp("patients")
    return Patients(root, make_patients(root))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CohortRunner]:
    made = CohortRunner(tmp_path_factory.mktemp("scratch"))
    yield made
    assert made.end_leftovers() == [], "a run left processes behind"


def made_with(runner: CohortRunner, patients: Patients, out: Path, *options: str) -> Path:
    """The data set of all patients, which is not whole."""
    arguments = (patients.root / "DICOM", "-o", out, "--labels", patients.labels, "--crosscheck", "off", *options)
    ended = runner.run(*arguments)
    assert ended.code == Exit.PARTLY_DONE, ended.text
    assert found_in(out, patients.names()) == []
    assert other_headers(out) == []
    return out


def wrong_labels(patient: MadePatient, rows: list[Row], out: Path) -> str:
    """How the labels of a patient differ from what was painted; "" where they do not."""
    written = [mask_of(out, row) for row in rows if row["role"] == "mask" and row["output"]]
    wanted = [PlacedMask(name, patient.labels == VALUES[name], patient.lps) for name in patient.voxels]
    return difference(wanted, written)


def test_pairs_have_the_label_map_that_was_painted(runner: CohortRunner, patients: Patients, tmp_path: Path) -> None:
    out = made_with(runner, patients, tmp_path / "out")
    for patient, rows in patients.rows(out):
        about = f"{patient.folder.name}, {patient.words}"
        assert {row["status"] for row in rows if row["output"]} <= {patient.status}, about
        assert patient.status in {row["status"] for row in rows}, about
        assert wrong_labels(patient, rows, out) == "", about
        text = " ".join(f"{row['mask']} {row['message']} {row['code']}" for row in rows)
        assert [name for name in (*patient.unmatched, *patient.missing) if name not in text] == [], about


def test_nnunet_accepts_its_data_set(runner: CohortRunner, patients: Patients, tmp_path: Path) -> None:
    out = made_with(runner, patients, tmp_path / "Dataset015_Made", "--layout", "nnunet")
    assert nnunet_checks.problems_of(out) == []
    for patient, rows in patients.rows(out):
        is_there = any(row["output"] for row in rows)
        assert is_there == (patient.status == "DONE"), f"{patient.folder.name}, {patient.words}"
        assert not is_there or wrong_labels(patient, rows, out) == ""
    done = sum(patient.status == "DONE" for patient in patients.members)
    assert len(list((out / "labelsTr").glob("*.nii.gz"))) == done == 18


def test_the_bids_validator_accepts_its_data_set(runner: CohortRunner, patients: Patients, tmp_path: Path) -> None:
    out = made_with(runner, patients, tmp_path / "out", "--layout", "bids")
    assert bids_checks.errors_of(out) == []
    for patient, rows in patients.rows(out):
        assert wrong_labels(patient, rows, out) == "", f"{patient.folder.name}, {patient.words}"


def test_what_is_painted_differs_from_patient_to_patient(patients: Patients) -> None:
    """What the tests above rest on: kinds of trouble give label maps of their own."""
    first = [patient.labels for patient in patients.members[:10]]
    assert len({labels.tobytes() for labels in first}) >= 5
    assert all(
        np.unique(labels).size >= 3 for patient, labels in zip(patients.members, first, strict=False) if patient.drawn
    )
