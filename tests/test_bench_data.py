"""What the benchmark measures on, built in small, and how it compares files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.cli.main import main
from pipeline.dicom.scan import scan
from tests.helpers.benchcheck import CHECKS, files_of
from tests.helpers.benchdata import write_compressed, write_series
from tests.helpers.benchdata_many import write_batch, write_files, write_volumes
from tests.helpers.benchdata_masks import write_nested, write_pair, write_rtstruct, write_seg
from tests.helpers.benchsets import folder_of


def made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def convert(source: Path, out: Path | str, *options: str) -> None:
    """What our command writes, verified."""
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(source), "-o", str(out), "-q", *options])
    assert not ended.value.code


def masks(source: Path, images: Path, out: Path) -> list[NDArray[np.uint8]]:
    """What our command makes of a mask on its images."""
    convert(source, f"{out}/", "--source", str(images))
    return [np.asanyarray(nibabel.load(path).dataobj) for path in files_of(out)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_series(folder, 20, side=64)
    return folder


# The data.


def test_the_series_are_read(tmp_path: Path) -> None:
    for name, is_mask in (("ct", False), ("mask", True)):
        write_series(made(tmp_path / name), 10, mask=is_mask, side=32)
        options = [] if is_mask else ["--as", "image"]
        convert(tmp_path / name, tmp_path / f"{name}.nii", *options)
        assert nibabel.load(tmp_path / f"{name}.nii").shape == (32, 32, 10)


@pytest.mark.parametrize("kind", ["rle", "jpegls", "j2k"])
def test_a_compressed_copy_holds_the_same(tmp_path: Path, images: Path, kind: str) -> None:
    write_compressed(made(tmp_path / kind), images, kind)
    for folder, name in ((images, "one.nii"), (tmp_path / kind, "other.nii")):
        convert(folder, tmp_path / name, "--as", "image")
    assert CHECKS["values"]([tmp_path / "one.nii"], [tmp_path / "other.nii"]) == ""


def test_the_structure_set_has_its_rois(tmp_path: Path, images: Path) -> None:
    write_rtstruct(made(tmp_path / "rs"), images, rois=3, planes=6)
    found = masks(tmp_path / "rs", images, tmp_path / "out")
    assert [sorted(set(np.nonzero(mask)[2])) for mask in found] == [list(range(5 * n, 5 * n + 6)) for n in range(3)]


def test_the_body_has_no_lungs(tmp_path: Path, images: Path) -> None:
    write_nested(made(tmp_path / "rs"), images, planes=4, points=(100, 40, 40))
    (mask,) = masks(tmp_path / "rs", images, tmp_path / "out")
    area = np.count_nonzero(mask, axis=(0, 1)) * 0.7 * 0.8 * 8 * 8
    # Ellipses, whose swell of 6 % adds 0.18 % to each area.
    expected = np.pi * (143 * 128 - 42 * 72 - 41 * 70) * 1.0018
    np.testing.assert_allclose(area[:4], expected, rtol=0.03)
    assert not area[4:].any()


def test_the_pair_is_a_ring(tmp_path: Path, images: Path) -> None:
    write_pair(made(tmp_path / "rs"), images, points=300)
    (mask,) = masks(tmp_path / "rs", images, tmp_path / "out")
    area = np.count_nonzero(mask, axis=(0, 1)) * 0.7 * 0.8 * 8 * 8
    np.testing.assert_allclose(area[1], np.pi * (143 * 128 - 90 * 70) * 1.0018, rtol=0.03)
    assert np.flatnonzero(area).tolist() == [1]


def test_the_segments_do_not_touch(tmp_path: Path, images: Path) -> None:
    write_seg(made(tmp_path / "seg"), images)
    (labels,) = masks(tmp_path / "seg", images, tmp_path / "out")
    assert np.unique(labels).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_volumes_are_one_series_over_time(tmp_path: Path) -> None:
    write_volumes(made(tmp_path / "in"), 3, planes=4, side=16)
    convert(tmp_path / "in", f"{tmp_path / 'out'}/", "--as", "image")
    (path,) = files_of(tmp_path / "out")
    array = np.asanyarray(nibabel.load(path).dataobj)
    assert array.shape == (16, 16, 4, 3)
    assert np.unique(np.diff(array, axis=3)).tolist() == [1]


def test_the_batch_is_of_many_series(tmp_path: Path) -> None:
    write_batch(tmp_path, 3, planes=4, side=16)
    found = scan([tmp_path]).series
    assert [len(series.frames) for series in found] == [4, 4, 4]
    assert len({series.uid for series in found}) == 3


@pytest.mark.parametrize(("series", "same_uid", "instances"), [(1, False, 12), (4, False, 12), (1, True, 1)])
def test_the_many_files_are_of_so_many_series(tmp_path: Path, series: int, same_uid: bool, instances: int) -> None:
    from pydicom import dcmread

    write_files(tmp_path, 12, series, same_uid=same_uid)
    headers = [dcmread(path) for path in tmp_path.rglob("*.dcm")]
    assert len(headers) == 12
    assert len({h.SeriesInstanceUID for h in headers}) == series
    assert len({h.SOPInstanceUID for h in headers}) == instances
    assert len({h.ImagePositionPatient[2] for h in headers}) == len({h.InstanceNumber for h in headers}) == 12


def test_a_set_is_built_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "volumes1")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 24
    assert folder_of(tmp_path, "volumes1") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


# The checks.


def saved(path: Path, array: NDArray[np.int16], affine: NDArray[np.float64]) -> list[Path]:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return [path]


def test_files_are_compared_where_their_voxels_lie(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    affine = np.diag([2.0, 3, 4, 1])
    turned = affine @ np.array([[0, 0, -1, 2], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    other = array.transpose(1, 2, 0)[..., ::-1]
    one = saved(tmp_path / "one.nii", array, affine)
    assert CHECKS["values"](one, saved(tmp_path / "turned.nii", other, turned)) == ""
    wrong = other.copy()
    wrong[0, 0, 0] += 1
    assert CHECKS["values"](one, saved(tmp_path / "wrong.nii", wrong, turned)) == "1 voxels differ"
    away = affine + np.eye(4, k=3)
    assert CHECKS["values"](one, saved(tmp_path / "away.nii", array, away)).startswith("lies 1.000 mm")
    assert CHECKS["values"](one, saved(tmp_path / "part.nii", array[:2], affine)) == "covers another block"
    assert CHECKS["same"](one, one) == ""
    assert CHECKS["same"](one, [tmp_path / "wrong.nii"]) == "the names of the files differ"


def test_files_of_four_dimensions_are_compared_volume_by_volume(tmp_path: Path) -> None:
    array = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    one = saved(tmp_path / "one.nii", array, np.eye(4))
    assert CHECKS["values"](one, saved(tmp_path / "four.nii", array, np.eye(4))) == ""
    assert CHECKS["values"](one, saved(tmp_path / "back.nii", array[..., ::-1], np.eye(4))) == "48 voxels differ"
    long = saved(tmp_path / "long.nii", array[..., [0, 1, 1]], np.eye(4))
    assert CHECKS["values"](one, long) == "its shape is (2, 3, 4, 3) and not (2, 3, 4, 2)"


def test_masks_are_paired_by_their_numbers(tmp_path: Path) -> None:
    for folder, names in (("one", ["roi 2", "roi 10"]), ("other", ["a2", "a10"])):
        made(tmp_path / folder)
        for n, name in enumerate(names):
            mask = np.zeros((4, 4, 4), np.int16)
            mask[n] = 1
            mask[3, 3, 3] = folder == "other" and n == 1
            saved(tmp_path / folder / f"{name}.nii", mask, np.eye(4))
    words = CHECKS["overlap"](files_of(tmp_path / "one"), files_of(tmp_path / "other"))
    assert words == "Dice with ours 0.9697 or more, median 0.9848; 1 of 32 voxels differ"
    words = CHECKS["some"](files_of(tmp_path / "one"), files_of(tmp_path / "other"))
    assert words == "Dice with ours 1.0000 or more, median 1.0000; 0 of 16 voxels differ in 1 masks of 2"
    words = CHECKS["overlap"](files_of(tmp_path / "one"), files_of(tmp_path / "other")[:1])
    assert words == "Dice with ours 0.6667 or more, median 0.6667; 16 of 32 voxels differ"
