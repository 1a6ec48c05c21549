"""What `explain` says of SEG, RTSTRUCT and series of several volumes is where their frames and points are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from tests.helpers import phantom, rtphantom
from tests.helpers.cases_seg import lps_of
from tests.helpers.hard_case import SMALL
from tests.helpers.segs import PLACE, blobs, frames_of, source_files, write_seg
from tests.test_explain import matrices
from tests.test_unread import Said


def text_of(capsys: pytest.CaptureFixture[str], *given: object) -> str:
    said = Said(capsys, "explain", *given, "--json")
    assert said.exit == 0, said.err
    return str(json.loads(said.out)["Text"])


def flat(text: str) -> str:
    return " ".join(text.split())


def ranges(numbers: list[int]) -> str:
    """0, 1, 3 -> "0 to 1, 3", told anew."""
    cuts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(cuts, ends, strict=True))


@pytest.mark.parametrize("with_source", [False, True])
def test_a_sparse_seg(tmp_path: Path, capsys: pytest.CaptureFixture[str], with_source: bool) -> None:
    truth = blobs(2, overlap=True)
    truth[..., 0] = False  # on its source the first plane has no frame; by itself the second is the first
    first, *_ = source_files(tmp_path / "source")
    reference = dcmread(first).FrameOfReferenceUID
    seg = write_seg(tmp_path / "seg.dcm", frames_of(truth), reference=reference, names=("liver", "tumour"))
    more = ("--source", tmp_path / "source") if with_source else ()
    text = text_of(capsys, seg, *more)
    lps = lps_of(PLACE)
    there = [k for k in range(truth.shape[3]) if truth[..., k].any()]
    offset = 0 if with_source else there[0]
    lps[:3, 3] += offset * lps[:3, 2]
    assert np.allclose(matrices(text)[0], lps[:3], atol=6e-5)
    planes = truth.shape[3] if with_source else there[-1] - there[0] + 1
    assert f"They lie on {len(there)} of its {planes} planes" in text
    for number, name in ((1, "liver"), (2, "tumour")):
        ks = [k - offset for k in range(truth.shape[3]) if truth[number - 1, :, :, k].any()]
        assert f"segment {number} “{name}”: {len(ks)} frames, at k = {ranges(ks)}\n" in text
    assert f"What the {'headers of the source' if with_source else 'functional groups of its frames'} say" in text
    assert ("without its source" in text) is not with_source


def test_an_rtstruct_on_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = rtphantom.grid()
    line = rtphantom.ellipse(20.3, 17.2, 9.1, 7.3, 90)
    rois = [
        rtphantom.PhantomRoi("heart", [rtphantom.on(grid, line, k) for k in (2, 3, 5)]),
        rtphantom.PhantomRoi("between", [rtphantom.on(grid, line, k) for k in (1.5, 2.5)], number=2),
    ]
    struct = rtphantom.write_struct(tmp_path / "rs.dcm", rois)
    refused = Said(capsys, "explain", struct)
    assert refused.err.startswith("REFUSED  NOT_CONVERTIBLE")
    text = text_of(capsys, struct, "--source", rtphantom.write_images(tmp_path / "source", grid))
    assert np.allclose(matrices(text)[0], np.asarray(grid.lps)[:3], atol=6e-5)
    found = re.search(r"“heart”: 3 contours on .*? mm has the index \((.*?), (.*?), (.*?)\)", flat(text))
    assert found
    assert np.allclose([float(v) for v in found.groups()], [*line[0], 2], atol=6e-4)


def test_images_whose_places_are_in_functional_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phantom.write(tmp_path / "in", replace(SMALL, kind="enhanced mr"))
    assert "What the functional groups of its frames say" in text_of(capsys, tmp_path / "in")


def write_volumes(folder: Path, *b_values: float, apart: float = 0.0) -> None:
    for n, b in enumerate(b_values):

        def edit(k: int, dataset: Dataset, n: int = n, b: float = b) -> None:
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
            dataset.SOPInstanceUID, dataset.DiffusionBValue = f"1.2.3.4.{n}.{k + 1}", b
            if n:
                dataset.PixelSpacing = [0.8 + apart, 1.3]

        phantom.write(folder / f"{n}", SMALL, edit=edit)


def test_volumes_on_one_grid_are_explained_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_volumes(tmp_path / "in", 0.0, 700.0, 1000.0)
    text = text_of(capsys, tmp_path / "in")
    assert text.count("For nibabel") == 1
    assert "3 volumes" in text
    assert "All lie on one grid" in text
    assert np.allclose(matrices(text)[0], SMALL.lps[:3], atol=6e-5)
    assert text_of(capsys, tmp_path / "in", "--part", "2").startswith("Series 7")


def test_volumes_on_other_grids_are_explained_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_volumes(tmp_path / "in", 0.0, 700.0, apart=0.1)
    said = Said(capsys, "explain", tmp_path / "in", "--json")
    made = json.loads(said.out)
    assert made["Text"].count("For nibabel") == 2
    assert len(made["Volumes"]) == 2
    spacings = sorted(round(float(np.linalg.norm(np.array(v["Affine"])[:3, 1])), 6) for v in made["Volumes"])
    assert spacings == [0.8, 0.9]


def test_the_voxel_in_the_middle_is_where_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phantom.write(tmp_path / "in", replace(SMALL, iop=phantom.ORIENTATIONS["double oblique"]))
    spec = replace(SMALL, iop=phantom.ORIENTATIONS["double oblique"])
    text = flat(text_of(capsys, tmp_path / "in"))
    found = re.search(r"voxel \((\d+), (\d+), (\d+)\) .*?: R (\S+), A (\S+), S (\S+) mm", text)
    assert found
    index, place = [int(v) for v in found.groups()[:3]], [float(v) for v in found.groups()[3:]]
    assert np.allclose((np.diag([-1, -1, 1, 1]) @ spec.lps @ [*index, 1])[:3], place, atol=6e-5)


def test_options_without_effect_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = phantom.write(tmp_path / "in", SMALL).folder
    seg = write_seg(tmp_path / "seg.dcm", frames_of(blobs(1, overlap=True)), names=("liver",))
    for given in ((images, "--source", images), (seg, "--part", "1")):
        assert "IDLE_OPTION" in Said(capsys, "explain", *given).err
