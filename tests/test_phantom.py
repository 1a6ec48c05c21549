"""The phantom is what it says: asymmetric, unique, deterministic, and as its truth states in every encoding."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.helpers import phantom
from tests.helpers.cases import ProjectCase, digest, series_cases
from tests.helpers.phantom import ORIENTATIONS, SAMPLES, SYNTAXES, Spec, write, write_samples


def read_ijk(truth: phantom.Truth) -> np.ndarray:
    """The stored values as pydicom decodes them, plane by plane, through nothing of the pipeline."""
    planes = []
    for path, frame in zip(truth.paths, truth.frames, strict=True):
        pixels = dcmread(path).pixel_array
        planes.append((pixels[frame] if pixels.ndim == 3 else pixels).T)
    return np.stack(planes, -1)


def test_no_mirror_and_no_rotation_maps_the_body_to_itself() -> None:
    n = 24
    mask = Spec(shape=(n, n, n), row_spacing=1, column_spacing=1, step=1).array()
    assert 0.02 < mask.mean() < 0.5
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        if (axes, signs) != ((0, 1, 2), (1, 1, 1)):
            turned = mask.transpose(axes)[tuple(slice(None, None, s) for s in signs)]
            assert (turned != mask).sum() > 20, (axes, signs)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_marker_hangs_on_the_patients_left_the_nose_in_front_the_head_on_top(name: str) -> None:
    spec = Spec(iop=ORIENTATIONS[name], labels=(1, 2, 3), shape=(40, 36, 20))
    values = spec.array()
    torso, marker, nose = (spec.point(np.argwhere(values == n)).mean(0) for n in (1, 2, 3))
    assert marker[0] > torso[0] + 5
    assert nose[1] < torso[1] - 3
    assert nose[2] > torso[2] + 3


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_cosines_are_orthonormal(name: str) -> None:
    pair = np.reshape(ORIENTATIONS[name], (2, 3))
    assert np.abs(pair @ pair.T - np.eye(2)).max() < 1e-13


def test_the_index_image_numbers_every_voxel_once() -> None:
    spec = Spec(shape=(5, 4, 3), content="index")
    values = spec.array()
    assert sorted(values.ravel()) == list(range(1, 61))
    assert values[1, 0, 0] == 2
    assert values[0, 1, 0] == 6
    assert values[0, 0, 1] == 21
    signed = replace(spec, signed=True).array()
    assert signed.min() < 0 < signed.max()


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit 8 bits"):
        write(tmp_path, content="index", bits_allocated=8)


@pytest.mark.parametrize("kind", ["ct", "enhanced mr", "multi-frame sc plain"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_encoding_holds_the_values(tmp_path: Path, kind: str, syntax: str) -> None:
    spec = Spec(
        shape=(35, 33, 3), kind=kind, transfer_syntax=syntax, content="index", bits_stored=12, stored="shuffled"
    )
    assert (read_ijk(write(tmp_path, spec)) == spec.array()).all()
    assert dcmread(next(tmp_path.iterdir())).file_meta.TransferSyntaxUID == SYNTAXES[syntax]


def test_unused_high_bits_are_dirty_where_asked(tmp_path: Path) -> None:
    truth = write(tmp_path, shape=(6, 5, 2), content="index", signed=True, bits_stored=12, dirty=True)
    raw = np.frombuffer(dcmread(truth.paths[0]).PixelData, "<u2")
    assert len(set(raw >> 12)) > 3
    low = (raw & 0xFFF).astype(int)
    assert (truth.ijk[:, :, 0] == np.where(low > 2047, low - 4096, low).reshape(5, 6).T).all()


def test_one_bit_frames_are_packed(tmp_path: Path) -> None:
    truth = write(tmp_path, kind="multi-frame sc", bits_allocated=1, shape=(21, 19, 5))
    assert truth.ijk.any()
    assert (read_ijk(truth) == truth.ijk).all()


def test_an_edit_drops_doubles_and_spoils_planes(tmp_path: Path) -> None:
    def edit(k: int, dataset: phantom.Dataset) -> list[phantom.Dataset] | None:
        if k == 1:
            return []
        dataset.SliceThickness = "9"
        return [dataset, dataset] if k == 2 else None

    write(tmp_path, shape=(4, 3, 4), edit=edit)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["IM0001.dcm", "IM0003-1.dcm", "IM0003.dcm", "IM0004.dcm"]
    assert {float(dcmread(p).SliceThickness) for p in tmp_path.iterdir()} == {9.0}


def test_the_committed_samples_are_what_the_phantom_writes(tmp_path: Path) -> None:
    for truth in write_samples(tmp_path):
        committed = Path(__file__).parents[1] / "data" / "samples" / truth.folder.name
        files = {p.name: p.read_bytes() for p in truth.folder.iterdir()}
        assert files == {p.name: p.read_bytes() for p in committed.iterdir()}, truth.folder.name
    paths = {one.case.path for one in series_cases() if not one.case.root}
    assert paths == {(f"samples/{name}",) for name in SAMPLES}


@pytest.mark.parametrize("case", series_cases(), ids=lambda c: c.id)
def test_every_case_is_there_and_unchanged(case: ProjectCase) -> None:
    assert digest(case.folder()) == case.case.sha256
