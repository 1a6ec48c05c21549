"""What is said of planes whose files do not name what belongs together, and how far such a result is trusted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.conversion.convert import Request, convert, convert_all
from pipeline.conversion.record import Outcome
from pipeline.core.findings import PipelineError
from pipeline.core.policy import Policy
from tests.helpers.cases_colour import palette
from tests.helpers.cases_grouping import CASES, blank, own, slice_major, twice
from tests.helpers.hard_case import SMALL
from tests.helpers.hard_edits import both, doubled
from tests.helpers.hard_truth import compared, truth
from tests.helpers.phantom import write

_AFFINE = Policy(as_="image", crosscheck="affine")


def written(folder: Path, name: str) -> Path:
    next(c for c in CASES if c.name == name).write(folder / "in")
    return folder / "in"


def image_of(folder: Path, policy: Policy = _AFFINE, **request: str) -> Outcome:
    return convert([folder / "in"], folder / "out.nii", request=Request(**request), policy=policy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "slice by slice, b-values contradict",
            "Diffusion b-value (0018,9087) is 0 in IM0001.dcm and 1000 in IM0005.dcm",
        ),
        ("slice by slice, trigger times contradict", "Trigger Time (0018,1060) orders the planes at IM0001.dcm"),
        ("every plane twice, another slope", "nothing tells them apart"),
        ("plane twice, Slice Location differs", "differ in their Slice Location (0020,1041)"),
        ("Series UID of its own, shuffled numbers", "7 of them are one plane each"),
        ("two interleaved stacks without UID", "Instance Numbers do not run along their positions"),
    ],
)
def test_a_refusal_says_which_attribute_it_is(tmp_path: Path, name: str, words: str) -> None:
    written(tmp_path, name)
    with pytest.raises(PipelineError) as refused:
        image_of(tmp_path)
    assert words in refused.value.finding.message


@pytest.mark.parametrize(
    ("name", "part", "verdict"),
    [
        ("slice by slice", "2", "UNCONFIRMED"),  # nothing but the numbers
        ("slice by slice, trigger times move too, part 3", "2", "VERIFIED"),
        ("slice by slice, b-values and directions, part 2", "2", "VERIFIED"),
        ("slice by slice, coarse times, part 1", "2", "UNCONFIRMED"),  # times follow the numbers in any case
        ("Series UID of its own in every file", None, "VERIFIED"),  # a witness made one volume of them
        ("no Series UID", None, "VERIFIED"),
        ("Frame of Reference of its own in every file", None, "VERIFIED"),  # its Series UID says that it is one
        ("every plane twice", None, "VERIFIED"),
    ],
)
def test_what_the_files_do_not_prove_is_not_verified(tmp_path: Path, name: str, part: str | None, verdict: str) -> None:
    written(tmp_path, name)
    outcome = image_of(tmp_path, **({} if part is None else {"part": part}))
    assert [a.status for a in outcome.agreements] == ["REORDERED"]
    assert outcome.verdict == verdict


def test_all_repeats_are_one_image_over_time(tmp_path: Path) -> None:
    write(tmp_path / "in", SMALL, edit=slice_major())
    done, refused = convert_all([tmp_path / "in"], tmp_path / "out", policy=Policy(as_="image", crosscheck="off"))
    assert (len(done), refused) == (1, [])
    image = nibabel.load(done[0].output)
    assert image.shape == (*SMALL.shape, 3)
    for n in range(3):
        acquired = truth(tmp_path / "in", lambda d, n=n: (int(d.InstanceNumber) - 1) % 3 == n)  # type: ignore[misc]
        found = compared(acquired, image.get_fdata()[..., n], image.affine, stored=False)
        assert (found.lost, found.foreign) == (0, 0)
        assert found.worst_mm < 0.02
    assert "REPEATS_BY_NUMBER" in {f.code.name for f in done[0].findings}


def test_any_of_its_uids_names_a_joined_series(tmp_path: Path) -> None:
    write(tmp_path / "in", SMALL, edit=own("SeriesInstanceUID"))
    write(tmp_path / "in" / "other", replace(SMALL, seed="other", series_number=8))
    assert image_of(tmp_path, series="1.2.3.0.5").shape == SMALL.shape


def test_the_names_of_files_change_nothing(tmp_path: Path) -> None:
    for name, stored in (("a", "along"), ("b", "shuffled")):
        write(tmp_path / name, replace(SMALL, stored=stored), edit=own("SeriesInstanceUID", "StudyInstanceUID"))  # type: ignore[arg-type]
        convert([tmp_path / name], tmp_path / f"{name}.nii", policy=Policy(as_="image", crosscheck="off"))
    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


def test_planes_that_differ_in_their_overlay_are_no_copies(tmp_path: Path) -> None:
    def with_overlay(dataset: object) -> None:
        block = dataset  # the second of the two
        for element, vr, value in (
            (0x0010, "US", 9),
            (0x0011, "US", 11),
            (0x0040, "CS", "G"),
            (0x0050, "SS", [1, 1]),
            (0x0100, "US", 1),
            (0x0102, "US", 0),
            (0x3000, "OW", b"\1" * 14),
        ):
            block.add_new((0x6000, element), vr, value)  # type: ignore[attr-defined]

    write(tmp_path / "in", SMALL, edit=doubled((3,), with_overlay))
    with pytest.raises(PipelineError, match="DUPLICATE_POSITION"):
        image_of(tmp_path)


def test_the_first_of_two_copies_is_kept_and_the_other_named(tmp_path: Path) -> None:
    write(tmp_path / "in", SMALL, edit=doubled((3,), lambda d: setattr(d, "InstanceNumber", 50)))
    outcome = image_of(tmp_path)
    finding = next(f for f in outcome.findings if f.code.name == "DUPLICATE_DROPPED")
    numbers = {p.name: dcmread(p).InstanceNumber for p in (tmp_path / "in").iterdir()}
    assert [numbers[name] for name in finding.where] == [50]
    assert len(outcome.record["Slices"]) == 7


def test_an_export_in_two_folders_is_named_by_them(tmp_path: Path) -> None:
    twice(tmp_path / "in", SMALL, lambda k, dataset: None)
    finding = next(f for f in image_of(tmp_path).findings if f.code.name == "DUPLICATE_DROPPED")
    assert "7 planes were dropped" in finding.message
    assert "b/IM0001.dcm, at a/IM0001.dcm" in finding.message


def test_a_second_export_that_is_not_whole_is_dropped(tmp_path: Path) -> None:
    twice(tmp_path / "in", SMALL, lambda k, dataset: None)
    sorted((tmp_path / "in" / "b").iterdir())[2].unlink()
    outcome = image_of(tmp_path)
    assert "6 planes were dropped" in next(f for f in outcome.findings if f.code.name == "DUPLICATE_DROPPED").message
    assert outcome.shape == SMALL.shape


def test_indices_of_one_colour_are_no_copies(tmp_path: Path) -> None:
    """A mask keeps the index of a palette, whatever colour it has."""
    one_colour = palette([np.minimum(np.arange(256), 1) * 1792] * 3)
    again = doubled(range(7), lambda d: setattr(d, "PixelData", d.PixelData.replace(b"\1", b"\2")))
    write(tmp_path / "in", replace(SMALL, content="mask", bits_allocated=8), edit=both(one_colour, again))
    with pytest.raises(PipelineError, match="SEVERAL_VOLUMES"):
        convert([tmp_path / "in"], tmp_path / "out.nii", policy=Policy(crosscheck="off"))


def test_planes_without_numbers_are_copies_under_one_uid(tmp_path: Path) -> None:
    spec = replace(SMALL, instance_numbers="missing")
    twice(tmp_path / "in", spec, blank(0))
    sorted((tmp_path / "in" / "b").iterdir())[3].unlink()
    outcome = image_of(tmp_path)
    assert "6 planes were dropped" in next(f for f in outcome.findings if f.code.name == "DUPLICATE_DROPPED").message


def test_a_single_plane_without_a_number_is_a_copy_under_its_uid(tmp_path: Path) -> None:
    twice(tmp_path / "in", replace(SMALL, shape=(11, 9, 1), instance_numbers="missing"), lambda k, dataset: None)
    assert "DUPLICATE_DROPPED" in {f.code.name for f in image_of(tmp_path, replace(_AFFINE, crosscheck="off")).findings}


@pytest.mark.parametrize("shown", ["equal", "blank"])
@pytest.mark.parametrize("by", ["folder", "acquisition"])
def test_a_mask_keeps_the_plane_that_looks_like_one_of_another_mask(tmp_path: Path, by: str, shown: str) -> None:
    """Ten planes, and four that lie on some of them, the last of which shows what the other mask shows there."""
    spec = replace(SMALL, shape=(20, 18, 10), content="mask", bits_allocated=8)

    def change(k: int, dataset: Dataset, acquisition: int) -> None:
        dataset.AcquisitionNumber = acquisition
        size = len(dataset.PixelData)
        if acquisition == 2 and k < 7:
            dataset.PixelData = bytes(size // 2) + dataset.PixelData[size // 2 :]
        if k == 7 and shown == "blank":
            dataset.PixelData = bytes(size)

    def first(k: int, dataset: Dataset) -> None:
        change(k, dataset, 1)

    def second(k: int, dataset: Dataset) -> list[Dataset]:
        change(k, dataset, 2)
        dataset.SOPInstanceUID += ".2"
        return [dataset] if 4 <= k <= 7 else []

    folders = [tmp_path / "in" / (name if by == "folder" else "one") for name in ("a", "b")]
    for path in write(folders[0], spec, edit=first).paths:
        path.rename(path.with_name(f"first {path.name}"))
    write(folders[1], spec, edit=second)
    done, refused = convert_all([tmp_path / "in"], tmp_path / "out", policy=Policy(crosscheck="affine"))
    assert (sorted(outcome.shape[2] for outcome in done), refused) == ([4, 10], [])
    for outcome in done:
        assert "DUPLICATE_DROPPED" not in {finding.code.name for finding in outcome.findings}
        number = 1 if outcome.shape[2] == 10 else 2
        acquired = truth(tmp_path / "in", lambda d, number=number: d.AcquisitionNumber == number)  # type: ignore[misc]
        image = nibabel.load(outcome.output)
        found = compared(acquired, image.get_fdata(), image.affine, stored=True)
        assert (found.lost, found.foreign) == (0, 0)


@pytest.mark.parametrize(("planes", "numbers"), [(4, "missing"), (7, "constant")])
def test_planes_of_several_patients_are_not_joined_for_lying_evenly(tmp_path: Path, planes: int, numbers: str) -> None:
    """A few may do so by chance; and series of one plane each begin with one number."""
    spec = replace(SMALL, shape=(11, 9, planes), instance_numbers=numbers)  # type: ignore[arg-type]
    write(tmp_path / "in", spec, edit=own("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"))
    with pytest.raises(PipelineError, match="SEVERAL_SERIES"):
        image_of(tmp_path)


def test_a_gap_in_a_joined_series_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in", SMALL, edit=lambda k, d: [] if k == 3 else own("SeriesInstanceUID")(k, d))
    with pytest.raises(PipelineError, match="MISSING_PLANES"):
        image_of(tmp_path)
