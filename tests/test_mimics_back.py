"""Into Mimics: what to_mimics writes and import_masks.py sets is the mask, voxel for voxel, in any index order."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.geometry.grid import Grid
from pipeline.mimics.bundle import Bundle, read_bundle
from pipeline.mimics.grid import make_masks
from pipeline.mimics.to_mimics import write_for_mimics
from pipeline.volume.mask import MaskVolume, Segment, Voxels
from tests.helpers.fake_mimics import run_inside

SCRIPTS = Path(__file__).parent.parent / "pipeline" / "mimics" / "scripts"
DOWNWARDS = {"axes": [[0, 1], [1, -1], [2, 1]], "row": [0.8, 0.6, 0.0], "column": [-0.6, 0.8, 0.0]}


def exported(folder: Path, **knobs: Any) -> Bundle:
    run_inside(SCRIPTS / "export_masks.py", [str(folder)], knobs)
    return read_bundle(folder)


def imported(folder: Path, *arguments: str, **knobs: Any) -> dict[str, Any]:
    state: dict[str, Any] = run_inside(SCRIPTS / "import_masks.py", [str(folder), *arguments], knobs)
    return state


def two_labels(bundle: Bundle) -> tuple[MaskVolume, np.ndarray]:
    """Labels 3 and 7 on the grid of the bundle, and where they are in the order of Mimics' buffer."""
    grid = make_masks(bundle)[0][0].grid
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:3, 4, 0] = 3
    labels[5, 1:4, 2:5] = 7
    segments = (Segment(3, "spleen", (255, 0, 51)), Segment(7, "bone"))
    in_mimics = labels[:, :, ::-1] if Code.PLANES_FLIPPED in {f.code for f in make_masks(bundle)[1]} else labels
    return MaskVolume(Voxels.of(labels), grid, segments, "labels"), in_mimics


@pytest.mark.parametrize("knobs", [{}, {"version": "21", "noise": 1e-5}, DOWNWARDS, {"contiguous": False}])
def test_what_mimics_holds_is_the_mask(tmp_path: Path, knobs: dict[str, Any]) -> None:
    bundle = exported(tmp_path / "bundle", **knobs)
    mask, expected = two_labels(bundle)
    write_for_mimics(mask, bundle.images[0], tmp_path / "import")
    state = imported(tmp_path / "import", **knobs)
    spleen, bone = state["masks"][-2:]
    assert [m["name"] for m in state["masks"]] == ["bone", "tumour", "nothing", "spleen", "bone (2)"]
    assert spleen["color"] == pytest.approx([1.0, 0.0, 0.2])
    assert bytes.fromhex(spleen["data"]) == (expected == 3).tobytes()
    assert bytes.fromhex(bone["data"]) == (expected == 7).tobytes()
    assert spleen["image"] == 0


def test_a_mask_stored_in_another_order_arrives_the_same(tmp_path: Path) -> None:
    """A NIfTI written by another tool runs its axes its own way; the grid says where every voxel is."""
    bundle = exported(tmp_path / "bundle", **DOWNWARDS)
    mask, expected = two_labels(bundle)
    turned = mask.voxels.array().transpose(1, 2, 0)[::-1]
    turn = np.zeros((4, 4))
    turn[1, 0], turn[2, 1], turn[0, 2], turn[3, 3], turn[1, 3] = -1, 1, 1, 1, turned.shape[0] - 1
    lps = mask.grid.lps @ turn
    if np.linalg.det(lps[:3, :3]) < 0:
        turned, flip = turned[:, ::-1], np.diag([1.0, -1.0, 1.0, 1.0])
        flip[1, 3] = turned.shape[1] - 1
        lps = lps @ flip
    other = MaskVolume(Voxels.of(turned), Grid(turned.shape, lps), mask.segments)
    write_for_mimics(other, bundle.images[0], tmp_path / "import")
    state = imported(tmp_path / "import", **DOWNWARDS)
    assert bytes.fromhex(state["masks"][-1]["data"]) == (expected == 7).tobytes()


def test_out_and_in_again_is_the_same_mask(tmp_path: Path) -> None:
    bundle = exported(tmp_path / "bundle", **DOWNWARDS)
    mask = make_masks(bundle)[0][1]
    write_for_mimics(mask, bundle.images[0], tmp_path / "import")
    state = imported(tmp_path / "import", **DOWNWARDS)
    assert state["masks"][-1]["name"] == "tumour (2)"
    assert state["masks"][-1]["data"] == state["masks"][1]["data"]


def test_replace_overwrites_the_one_of_that_name(tmp_path: Path) -> None:
    bundle = exported(tmp_path / "bundle")
    mask, expected = two_labels(bundle)
    write_for_mimics(mask, bundle.images[0], tmp_path / "import")
    state = imported(tmp_path / "import", "--replace")
    assert [m["name"] for m in state["masks"]] == ["bone", "tumour", "nothing", "spleen"]
    assert bytes.fromhex(state["masks"][0]["data"]) == (expected == 7).tobytes()
    assert state["masks"][0]["color"] == [0.25, 0.5, 1.0]


def test_it_goes_to_its_own_image_set_and_the_active_one_stays(tmp_path: Path) -> None:
    bundle = exported(tmp_path / "bundle", images=2)
    mask, _ = two_labels(bundle)
    write_for_mimics(mask, bundle.images[0], tmp_path / "import")
    state = imported(tmp_path / "import", images=2)
    assert [m["image"] for m in state["masks"][-2:]] == [0, 0]
    assert state["active"] == 1


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"shape": [7, 6, 4]}, "the masks have"),
        ({"origin": [-31.5, 12.25, -206.9]}, "has moved"),
        ({"images": 2, "missing": ["guid"], "shape": [8, 6, 5]}, "the masks have"),
    ],
)
def test_another_image_set_is_refused_and_nothing_changed(tmp_path: Path, knobs: dict[str, Any], said: str) -> None:
    bundle = exported(tmp_path / "bundle")
    write_for_mimics(two_labels(bundle)[0], bundle.images[0], tmp_path / "import")
    with pytest.raises(ValueError, match=said):
        imported(tmp_path / "import", **knobs)


def test_two_masks_of_one_name_are_not_replaced(tmp_path: Path) -> None:
    knobs = {"names": ["bone", "bone"]}
    bundle = exported(tmp_path / "bundle", **knobs)
    write_for_mimics(two_labels(bundle)[0], bundle.images[0], tmp_path / "import")
    with pytest.raises(RuntimeError, match="2 masks are called bone"):
        imported(tmp_path / "import", "--replace", **knobs)


def test_a_mask_that_fails_keeps_no_other_from_being_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    knobs = {"names": ["bone", "bone"]}
    bundle = exported(tmp_path / "bundle", **knobs)
    write_for_mimics(two_labels(bundle)[0], bundle.images[0], tmp_path / "import")
    monkeypatch.setenv("FAKE_MIMICS_STATE", str(tmp_path / "state.json"))
    with pytest.raises(RuntimeError, match="bone: ValueError: 2 masks"):
        imported(tmp_path / "import", "--replace", **knobs)
    left = json.loads((tmp_path / "state.json").read_text())
    assert [m["name"] for m in left["masks"]] == ["bone", "bone", "spleen"]
    assert "1 masks set, 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize("asks", ["tuple", "list", "three"])
@pytest.mark.parametrize("gives", ["tuple", "point"])
def test_however_this_mimics_wants_an_index_and_gives_a_point(tmp_path: Path, asks: str, gives: str) -> None:
    knobs = {"center_asks": asks, "center_gives": gives}
    bundle = exported(tmp_path / "bundle", **knobs)
    assert {t.name: t.passed for t in bundle.images[0].self_tests} == {"grey value": True, "round trip": True}
    mask, expected = two_labels(bundle)
    write_for_mimics(mask, bundle.images[0], tmp_path / "import")
    assert bytes.fromhex(imported(tmp_path / "import", **knobs)["masks"][-1]["data"]) == (expected == 7).tobytes()


def test_a_mask_that_arrives_otherwise_is_deleted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = exported(tmp_path / "bundle")
    write_for_mimics(two_labels(bundle)[0], bundle.images[0], tmp_path / "import")
    monkeypatch.setenv("FAKE_MIMICS_STATE", str(tmp_path / "state.json"))
    with pytest.raises(RuntimeError, match="other voxels in spleen"):
        imported(tmp_path / "import", set_loses=True)
    left = json.loads((tmp_path / "state.json").read_text())
    assert [m["name"] for m in left["masks"]] == ["bone", "tumour", "nothing"]


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    bundle = exported(tmp_path / "bundle")
    write_for_mimics(two_labels(bundle)[0], bundle.images[0], tmp_path / "import")
    (tmp_path / "import" / "mask-001.raw.gz").write_bytes(gzip.compress(bytes(210)))
    with pytest.raises(ValueError, match="not the file"):
        imported(tmp_path / "import")


def test_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    bundle = exported(tmp_path / "bundle")
    mask, _ = two_labels(bundle)
    lps = mask.grid.lps.copy()
    lps[2, 3] += 0.3
    with pytest.raises(PipelineError) as caught:
        write_for_mimics(
            MaskVolume(mask.voxels, Grid(mask.grid.shape, lps), mask.segments), bundle.images[0], tmp_path / "import"
        )
    assert caught.value.finding.code is Code.OTHER_GRID
    assert caught.value.finding.measured == pytest.approx(0.3)
    assert caught.value.exit is Exit.MISMATCH
    assert not (tmp_path / "import").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    bundle = exported(tmp_path / "bundle")
    with pytest.raises(PipelineError) as caught:
        write_for_mimics(two_labels(bundle)[0], bundle.images[0], tmp_path / "bundle")
    assert caught.value.finding.code is Code.OUTPUT_EXISTS


def test_label_files_hold_one_byte_a_voxel(tmp_path: Path) -> None:
    bundle = exported(tmp_path / "bundle")
    mask, expected = two_labels(bundle)
    write_for_mimics(mask, bundle.images[0], tmp_path / "import")
    content = json.loads((tmp_path / "import" / "import.json").read_text())
    assert [m["voxels"] for m in content["masks"]] == [2, 9]
    data = gzip.decompress((tmp_path / "import" / "mask-001.raw.gz").read_bytes())
    assert data == (expected == 3).tobytes()
