"""The reader of structure sets: it agrees with the decoder on every kind of contour, and catches a misread one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.conversion import layout
from pipeline.conversion.convert import convert
from pipeline.conversion.looks import Looks
from pipeline.conversion.option_effects import Asked
from pipeline.conversion.product import Product
from pipeline.conversion.products import each_product
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import Request, silent
from pipeline.core.policy import Policy
from pipeline.crosscheck import mask_panel
from pipeline.crosscheck.mask_agreement import judge_mask
from pipeline.crosscheck.mask_readers import polygons
from pipeline.crosscheck.mask_readers.plane_regions import combine
from pipeline.crosscheck.mask_readers.printed_grid import read_printed_grid
from pipeline.crosscheck.mask_readers.row_runs import Window, fill_rings, open_edges
from pipeline.decode.rtstruct import contours as flat
from pipeline.decode.rtstruct import layers
from pipeline.decode.rtstruct.filling import Filling
from pipeline.volume import regrid
from pipeline.volume.mask import Voxels
from tests.helpers import phantom, slow_contours
from tests.helpers.cases import needs_samples, samples_folder
from tests.helpers.contour_shapes import KINDS
from tests.helpers.measure_rtstruct import GRIDS, SHAPES
from tests.helpers.rtphantom import PhantomRoi, grid, on, rectangle, write_images, write_struct

IBSI = samples_folder() / "theibsi+data_sets" / "ibsi_validation" / "dicom"
RT_UTILS = samples_folder() / "qurit+rt-utils" / "tests" / "mock_data"
G = grid()
SQUARE, HOLE = rectangle(4.7, 30.7, 6.7, 29.7), rectangle(10.7, 18.7, 12.7, 20.7)


def products(struct: Path, source: list[Path], policy: Policy) -> Iterator[Product]:
    asked = Asked(Request(source=source), policy, gzipped=False, in_one=False, looks=Looks())
    for item in each_product([struct], asked, silent, list):
        assert isinstance(item.result, Product), item.result
        yield item.result


def agreements(struct: Path, source: list[Path], policy: Policy) -> dict[str, tuple[str, int | None, str]]:
    """For each ROI what the reader, asked in this process, says of it."""
    found = {}
    for product in products(struct, source, policy):
        assert product.mask_job is not None
        testimony = polygons.answer(product.mask_job)
        agreement = judge_mask(testimony, product.grid, 1e-3, product.volume.voxels.planes())
        found[product.volume.name] = (agreement.status, agreement.voxels_differing, agreement.words)
    return found


def written(folder: Path, *rois: PhantomRoi, g: Any = G) -> tuple[Path, list[Path]]:
    return write_struct(folder / "rs.dcm", rois), [write_images(folder / "images", g)]


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("direction", GRIDS)
def test_shapes_agree_on_grids_of_every_direction(tmp_path: Path, direction: str, interpolate: bool) -> None:
    g = grid(GRIDS[direction], (44, 37, 6))
    rois = []
    for name, contours, _ in SHAPES:
        for kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
            stacked = [on(g, c, k) for k in (1, 2, 3) for c in contours(1)]
            rois.append(PhantomRoi(f"{name} {kind}", stacked, len(rois) + 1, kind))
        between = [on(g, c, k) for k in (1.3, 2.5, 3.7) for c in contours(1)]
        across = [on(g, c * (1, 0.1), n, axis) for axis in (1,) for n in (8, 9, 10) for c in contours(1)]
        rois += [PhantomRoi(f"{name} between", between, len(rois) + 1), PhantomRoi(name, across, len(rois) + 2)]
    found = agreements(*written(tmp_path, *rois, g=g), Policy(interpolate=interpolate))
    assert len(found) == len(rois)
    assert {status for status, _, _ in found.values()} == {"AGREES"}
    united = found["two overlapping (union 325) CLOSED_PLANAR"][2]
    assert "it unites contours that overlap in part, in 3 planes" in united
    # Only rectangles through centres leave any open; 2 x (14 + 23) + 1 centres lie on one of 15 x 24.
    assert "leaves 222 voxels open" in found["vertices on pixel centres CLOSED_PLANAR"][2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixel_mm", [(1.0, 1.0), (0.8, 1.1)])
def test_planes_full_of_polygons_agree(kind: Callable[..., Any], pixel_mm: tuple[float, float]) -> None:
    """Contours that nest, touch, cross, repeat or degenerate, against the decoder's own filling."""
    size, window, margin = np.array(pixel_mm), Window((-10, -10), (80, 80), 1), np.full(2, 1e-6)
    for seed in range(12):
        drawn = [np.round(c, 6) for c in kind(np.random.default_rng(seed))]
        drawn = [c for c in drawn if np.linalg.eigvalsh(np.cov((c * size).T, bias=True))[0] > 1e-4]
        if not drawn:
            continue
        combined = combine(drawn, size)
        found = fill_rings(combined.rings, np.zeros(len(combined.rings), np.int64), window)
        found[found != fill_rings(combined.others, np.zeros(len(combined.others), np.int64), window)] = 2
        open_edges(found, drawn, np.zeros(len(drawn), np.int64), window, margin)
        expected = flat.fill([c + 10 for c in drawn], flat.arrange(drawn, 0.02, pixel_mm), (80, 80))
        assert not ((found[0] != expected) & (found[0] != 2)).any(), seed


def test_a_ring_is_filled_as_the_rule_alone_fills_it() -> None:
    """A ring that crosses itself many times, by every centre against every edge."""
    ring = np.random.default_rng(4).normal(size=(60, 2)) * 8 + 20
    v, u = np.mgrid[:40, :40]
    expected = slow_contours.inside(ring, np.stack([u.ravel(), v.ravel()], axis=1).astype(float)).reshape(40, 40)
    found = fill_rings([ring], np.zeros(1, np.int64), Window((0, 0), (40, 40), 1), np.full(2, 1e-6))[0]
    assert (found == expected).all()


@needs_samples
@pytest.mark.parametrize("patient", ["STS_008", "STS_019", "STS_025"])
@pytest.mark.parametrize("modality", ["CT", "MR_T1", "PET"])
def test_ibsi(patient: str, modality: str) -> None:
    folder = IBSI / patient / modality
    ((status, differing, words),) = agreements(folder / "mask", [folder / "image"], Policy()).values()
    assert (status, differing, words) == ("AGREES", 0, "the mask itself, same order")


@needs_samples
@pytest.mark.parametrize("name", ["rt.dcm", "invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"])
def test_rt_utils_mock_data(name: str) -> None:
    images = [path for path in RT_UTILS.glob("*.dcm") if not path.name.endswith("rt.dcm")]
    assert {status for status, _, _ in agreements(RT_UTILS / name, images, Policy()).values()} == {"AGREES"}


def test_odd_numbers_and_types_are_read(tmp_path: Path) -> None:
    text = "\\".join(f" {v:.6f} " for v in on(G, SQUARE, 2).ravel())
    texts = {"spaces": text, "backslash": text + "\\", "commas": text.replace(".", ",")}
    rois = [PhantomRoi(name, [data], n) for n, (name, data) in enumerate(texts.items(), 1)]
    rois.append(PhantomRoi("spelt", [on(G, SQUARE, 2), on(G, HOLE, 2)], 9, kinds=["closed planar", "POINT"]))
    rois.append(PhantomRoi("beyond", [on(G, rectangle(29.3, 55.3, 16.4, 39.4), 2), on(G, SQUARE, 99)], 10))
    found = agreements(*written(tmp_path, *rois), Policy())
    assert [status for status, _, _ in found.values()] == ["AGREES"] * len(rois)


def test_members_of_an_archive_are_read(tmp_path: Path) -> None:
    struct, (images,) = written(tmp_path, PhantomRoi("liver", [on(G, SQUARE, 2)]))
    for name, paths in (("mask.zip", [struct]), ("images.zip", [*images.iterdir()])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for path in paths:
                archive.write(path, path.name)
    (product,) = products(tmp_path / "mask.zip", [tmp_path / "images.zip"], Policy())
    assert product.mask_job is not None
    testimony = polygons.answer(product.mask_job)
    assert judge_mask(testimony, product.grid, 1e-3, product.volume.voxels.planes()).status == "AGREES"


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    for contour in (SQUARE, HOLE):
        found = agreements(*written(tmp_path, PhantomRoi("liver", [on(G, contour, 2)])), Policy())
        assert found["liver"][0] == "AGREES"


def test_the_grid_of_a_multi_frame_image_is_that_of_its_functional_groups(tmp_path: Path) -> None:
    truth = phantom.write(tmp_path, phantom.Spec(), kind="enhanced ct")
    (path,) = truth.folder.iterdir()
    count = truth.ijk.shape[2]
    found = read_printed_grid([str(path)] * count, range(1, count + 1), 0.1)
    assert found.shape == truth.ijk.shape
    np.testing.assert_allclose(found.lps, truth.lps, atol=1e-6)


def test_what_it_cannot_read_is_refused(tmp_path: Path) -> None:
    struct, source = written(tmp_path, PhantomRoi("liver", [on(G, SQUARE, 2)]))
    (product,) = products(struct, source, Policy())
    job = product.mask_job
    assert job is not None
    for change, words in (
        ({"labels": ((1, 1), (2, 2))}, "reads one ROI"),
        ({"form": "seg"}, "reads one ROI"),
        ({"labels": ((7, 1),)}, "ROI number 7 has 0 items"),
        ({"options": {**job.options, "unheard": 1}}, "does not know the option unheard"),
        ({"frame_numbers": (2,) * len(job.files)}, "by their functional groups only"),
    ):
        with pytest.raises(ValueError, match=words):
            polygons.answer(replace(job, **change))


# --- planted misreadings ----------------------------------------------------------------------------------------


def converted(folder: Path) -> Outcome:
    contours = [on(G, c, k) for k in (2, 3, 4) for c in (SQUARE, HOLE)]
    struct, source = written(folder, PhantomRoi("liver", contours))
    return convert(struct, folder / "out.nii.gz", request=Request(source=source), policy=Policy(keep_disputed=True))


def test_it_confirms_what_was_read_rightly(tmp_path: Path) -> None:
    outcome = converted(tmp_path)
    assert outcome.verdict == "VERIFIED"
    (reader,) = (a for a in outcome.agreements if a.witness == polygons.NAME)
    assert (reader.status, reader.voxels_differing) == ("AGREES", 0)


def shifted(by: tuple[float, float, float]) -> Callable[..., Any]:
    right = Filling.to_indices
    return lambda self, points: right(self, points) + by


def swapped(self: Filling, points: Any) -> Any:
    return _RIGHT(self, points)[:, [1, 0, 2]]


_RIGHT = Filling.to_indices
_PLANTED = {
    "hole filled": (layers, "fill", lambda drawn, _, shape: flat.raster(drawn[0], shape)),
    "half a pixel": (Filling, "to_indices", shifted((0.5, 0, 0))),
    "a plane off": (Filling, "to_indices", shifted((0, 0, 1))),
    "rows for columns": (Filling, "to_indices", swapped),
}


@pytest.mark.parametrize("planted", _PLANTED)
def test_a_misreading_is_disputed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    where, name, wrong = _PLANTED[planted]
    monkeypatch.setattr(where, name, wrong)
    outcome = converted(tmp_path)
    assert outcome.verdict == "DISPUTED"
    (reader,) = (a for a in outcome.agreements if a.status == "DIFFERS")
    assert reader.witness == polygons.NAME
    assert reader.voxels_differing


def merged(folder: Path, policy: Policy) -> Outcome:
    """Two ROIs in one file of two labels."""
    beside = rectangle(33.7, 40.7, 6.7, 20.7)
    rois = [
        PhantomRoi(name, [on(G, c, k) for k in (2, 3)], n)
        for n, (name, c) in enumerate((("a", HOLE), ("b", beside)), 1)
    ]
    struct, source = written(folder, *rois)
    return convert(struct, folder / "out.nii.gz", request=Request(source=source, merge=True), policy=policy)


@pytest.mark.parametrize("orient", ["source", "RAS"])
def test_masks_of_one_file_are_held_one_by_one_in_any_order_of_axes(tmp_path: Path, orient: str) -> None:
    outcome = merged(tmp_path, Policy(orient=orient))
    (reader,) = (a for a in outcome.agreements if a.witness == polygons.NAME)
    assert (reader.status, reader.voxels_differing, reader.saw) == ("AGREES", 0, "voxels")
    assert reader.words == "the mask itself, same order; 2 of 2 masks"


def test_one_misread_mask_of_a_merge_is_disputed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill, is_first = layers.fill, iter([True])

    def lose_a_voxel(*given: Any) -> Any:
        filled = fill(*given)
        filled[0, 0] &= not next(is_first, False)
        return filled

    monkeypatch.setattr(layers, "fill", lose_a_voxel)
    outcome = merged(tmp_path, Policy(keep_disputed=True))
    assert outcome.verdict == "DISPUTED"
    (reader,) = (a for a in outcome.agreements if a.status == "DIFFERS")
    assert (reader.witness, reader.voxels_differing) == (polygons.NAME, 1)


def shifted_by_a_column(voxels: Voxels) -> Voxels:
    return Voxels.of(np.roll(voxels.array(), 1, 0))


def test_a_file_in_another_order_of_axes_is_read_back_for_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    struct, source = written(tmp_path, PhantomRoi("liver", [on(G, SQUARE, k) for k in (2, 3)]))
    request, policy = Request(source=source), Policy(orient="RAS", keep_disputed=True)
    assert convert(struct, tmp_path / "a.nii.gz", request=request, policy=policy).verdict == "VERIFIED"
    wrong_order = SimpleNamespace(put_onto=lambda voxels, *given: regrid.put_onto(shifted_by_a_column(voxels), *given))
    monkeypatch.setattr(layout, "regrid", wrong_order)
    wrong = convert(struct, tmp_path / "b.nii.gz", request=request, policy=policy)
    assert {a.witness: a.status for a in wrong.agreements}[polygons.NAME] == "DIFFERS"


def test_a_reader_that_is_not_there_held_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_panel, "READERS", tuple(replace(r, package="no_such") for r in mask_panel.READERS))
    (reader,) = (a for a in merged(tmp_path, Policy()).agreements if a.witness == polygons.NAME)
    assert (reader.status, reader.words) == ("ABSENT", "not installed; pip install 'verimask[witnesses]' adds it")
