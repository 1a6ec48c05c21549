"""Masks of a cohort are linked to images by what they say, and by nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from pipeline.cohort.facts import GridFact, SeriesFacts
from pipeline.cohort.links import SETTLED, Link, Links, link
from pipeline.core.findings import Code
from tests.helpers.cases import real_samples
from tests.helpers.series_facts import FactsOfTree

IBSI = "theibsi+data_sets/ibsi_validation/dicom"


@pytest.fixture(scope="module")
def ibsi() -> FactsOfTree:
    folder = real_samples()
    return FactsOfTree(folder / IBSI)


def _reasons(links: Links) -> set[str]:
    return {entry.reason for entry in links.links}


def _folders(facts: Sequence[SeriesFacts], links: Links) -> set[tuple[str, str]]:
    folder = {fact.key: fact.folder for fact in facts}
    return {(folder[entry.mask], folder[entry.image]) for entry in links.links}


def test_the_ibsi_tree_links_each_structure_set_to_its_image(ibsi: FactsOfTree) -> None:
    """Its image UIDs were rewritten, so that the series it refers to decides."""
    links = link(ibsi.facts, ibsi.holds, {})
    assert not links.refused
    assert _reasons(links) == {"refers to its series"}
    assert len(links.links) == 9
    assert all(mask == image[: -len("image")] + "mask" for mask, image in _folders(ibsi.facts, links))


def test_evidence_counts_in_its_order(ibsi: FactsOfTree) -> None:
    """CT, MR and PET of a patient of the IBSI tree have one Frame of Reference."""
    right = {entry.mask: entry.image for entry in link(ibsi.facts, ibsi.holds, {}).links}
    wrong = {mask: next(key for key in right.values() if key != image) for mask, image in right.items()}
    uid = {fact.key: fact.uid for fact in ibsi.facts}
    named = [
        replace(f, images=tuple(ibsi.held[right[f.key]]), series_uids=(uid[wrong[f.key]],)) if f.key in right else f
        for f in ibsi.facts
    ]
    links = link([replace(fact, patient="") for fact in named], ibsi.holds, {})
    assert ({e.mask: e.image for e in links.links}, _reasons(links)) == (right, {"names its images"})
    by_frame = [replace(fact, images=(), series_uids=()) for fact in ibsi.facts]
    links = link(by_frame, ibsi.holds, {})
    assert {finding.code for finding in links.refused.values()} == {Code.SEVERAL_SERIES}
    for mask, finding in links.refused.items():
        assert len(finding.where) == 4
        assert finding.hint.startswith(f"It may be {right[mask]}, which lies nearest to it")
    one = [fact for fact in by_frame if "/CT/" in fact.folder]
    links = link(one, ibsi.holds, {})
    assert {e.mask: e.image for e in links.links}.items() <= right.items()
    assert _reasons(links) == {"only image in its Frame of Reference"}
    nothing = [replace(fact, frame_of_reference_uid="") if fact.role == "mask" else fact for fact in by_frame]
    links = link(nothing, ibsi.holds, {})
    assert not links.links
    assert {finding.code for finding in links.refused.values()} == {Code.NO_SOURCE}


def test_a_mask_without_its_image_is_refused_with_the_uid_it_refers_to(ibsi: FactsOfTree) -> None:
    mask = next(fact for fact in ibsi.facts if fact.role == "mask")
    others = [
        fact for fact in ibsi.facts if fact.role == "mask" or fact.folder.split("/")[:2] != mask.folder.split("/")[:2]
    ]
    refused = link(others, ibsi.holds, {}).refused
    assert list(refused) == [mask.key]
    finding = refused[mask.key]
    assert finding.code is Code.NO_SOURCE
    assert mask.series_uids[0] in finding.message
    assert mask.series_uids[0] in finding.where
    assert "--table" in finding.hint
    only = [fact for fact in others if "/CT/" in fact.folder or fact is mask]
    hint = link(only, ibsi.holds, {}).refused[mask.key].hint
    assert "which has its Frame of Reference; that alone links nothing" in hint


def test_a_mask_of_another_patient_than_its_images_is_refused(ibsi: FactsOfTree) -> None:
    mask = next(fact for fact in ibsi.facts if fact.role == "mask")
    changed = [replace(fact, patient="another") if fact is mask else fact for fact in ibsi.facts]
    links = link(changed, ibsi.holds, {})
    assert {key: finding.code for key, finding in links.refused.items()} == {mask.key: Code.PATIENT_DIFFERS}
    image = next(e.image for e in link(ibsi.facts, ibsi.holds, {}).links if e.mask == mask.key)
    assert image in links.refused[mask.key].where
    settled = link(changed, ibsi.holds, {mask.key: (image,)})  # the table does not outrank two Patient IDs
    assert {key: finding.code for key, finding in settled.refused.items()} == {mask.key: Code.PATIENT_DIFFERS}
    assert mask.key not in {entry.mask for entry in settled.links}
    unnamed = [replace(fact, patient="") if fact is mask else fact for fact in ibsi.facts]
    assert not link(unnamed, ibsi.holds, {}).refused


@pytest.mark.parametrize("patient", ["", "one for all"])
def test_another_subject_is_another_patient(ibsi: FactsOfTree, patient: str) -> None:
    """Where Patient IDs tell nobody apart, the subjects do."""
    facts = [replace(fact, patient=patient) for fact in ibsi.facts]
    subjects = {fact.key: fact.folder.split("/")[0] for fact in facts}
    plain = link(ibsi.facts, ibsi.holds, {})
    assert link(facts, ibsi.holds, {}, subjects) == plain
    image_of = {entry.mask: entry.image for entry in plain.links}
    mask, image = min(image_of.items())
    moved = {**subjects, mask: "another"}
    links = link(facts, ibsi.holds, {}, moved)
    assert {key: finding.code for key, finding in links.refused.items()} == {mask: Code.PATIENT_DIFFERS}
    assert links.refused[mask].where == (mask, image)
    assert "another subject" in links.refused[mask].message
    assert "column subject" in links.refused[mask].hint
    assert not link(facts, ibsi.holds, {}, {**subjects, mask: ""}).refused  # of no subject yet
    settled = link(facts, ibsi.holds, {mask: (image,)}, moved)
    assert not settled.refused
    assert Link(mask, image, SETTLED) in settled.links
    by_images = [
        replace(f, series_uids=(), study_uid="", frame_of_reference_uid="", images=tuple(ibsi.held[image]))
        if f.key == mask
        else f
        for f in facts
    ]
    assert link(by_images, ibsi.holds, {}, moved).refused[mask].code is Code.PATIENT_DIFFERS


def test_a_table_that_says_what_the_evidence_says_changes_no_reason(ibsi: FactsOfTree) -> None:
    plain = link(ibsi.facts, ibsi.holds, {})
    given = {entry.mask: (entry.image,) for entry in plain.links}
    assert link(ibsi.facts, ibsi.holds, given) == plain


@pytest.fixture
def planes(tmp_path: Path) -> tuple[FactsOfTree, Path]:
    """An MR of two patients, and a series of masks on the first that names nothing."""
    folder = real_samples()
    source = folder / IBSI
    for patient in ("STS_008", "STS_019"):
        shutil.copytree(source / patient / "MR_T1/image", tmp_path / patient / "MR")
    mask = tmp_path / "STS_008/mask"
    mask.mkdir()
    for n, path in enumerate(sorted((tmp_path / "STS_008/MR").iterdir())):
        dataset = dcmread(path)
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{n}"
        dataset.SeriesDescription = "tumour"
        dataset.save_as(mask / path.name)
    return FactsOfTree(tmp_path, masks=("tumour",)), tmp_path


def _parts(tree: FactsOfTree) -> tuple[SeriesFacts, SeriesFacts, SeriesFacts]:
    mask = next(fact for fact in tree.facts if fact.role == "mask")
    image, stranger = sorted((fact for fact in tree.facts if fact.role == "image"), key=lambda fact: fact.folder)
    return mask, image, stranger


def _code(facts: Sequence[SeriesFacts], tree: FactsOfTree, mask: SeriesFacts) -> Code | None:
    finding = link(facts, tree.holds, {}).refused.get(mask.key)
    return None if finding is None else finding.code


def test_planes_are_linked_by_frame_of_reference_and_grid(planes: tuple[FactsOfTree, Path]) -> None:
    tree, _ = planes
    mask, image, stranger = _parts(tree)
    assert [tuple(e) for e in link(tree.facts, tree.holds, {}).links] == [
        (mask.key, image.key, "Frame of Reference and grid")
    ]
    (grid,) = mask.grids
    shifted = replace(mask, grids=(grid._replace(lps=(*grid.lps[:3], grid.lps[3] + 0.4, *grid.lps[4:])),))
    assert _code([shifted, image, stranger], tree, mask) is Code.NO_SOURCE
    elsewhere = replace(mask, frame_of_reference_uid="1.9")
    assert _code([elsewhere, image, stranger], tree, mask) is Code.NO_SOURCE
    ungridded = replace(image, grids=(), problem="GEOMETRY: no grid")
    assert _reasons(link([mask, ungridded, stranger], tree.holds, {})) == {"only image in its Frame of Reference"}


def test_derived_planes_name_their_images(planes: tuple[FactsOfTree, Path]) -> None:
    _, root = planes
    originals = sorted((root / "STS_008/MR").iterdir())
    for path, original in zip(sorted((root / "STS_008/mask").iterdir()), originals, strict=True):
        dataset, source = dcmread(path), dcmread(original)
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
        dataset.SourceImageSequence = [reference]
        dataset.save_as(path)
    tree = FactsOfTree(root, masks=("tumour",))
    assert _reasons(link(tree.facts, tree.holds, {})) == {"was derived from its images"}
    mask, _, _ = _parts(tree)
    bundle = [replace(fact, kind="bundle") if fact.key == mask.key else fact for fact in tree.facts]
    assert _reasons(link(bundle, tree.holds, {})) == {"source of the bundle"}


def test_what_planes_name_is_no_more_than_their_grid(planes: tuple[FactsOfTree, Path]) -> None:
    """A series of masks written with the headers of an image names what the image was made of, such as its localizer."""
    tree, _ = planes
    mask, image, _ = _parts(tree)
    (grid,) = image.grids
    other = (GridFact((5, 5, 5), (9.0, *grid.lps[1:])),)
    localizer = replace(image, key="localizer", uid="1.7", grids=other)
    for uid in ("1.7", "1.7.1"):  # the second is not here
        links = link([replace(mask, series_uids=(uid,)), image, localizer], tree.holds, {})
        assert [tuple(e) for e in links.links] == [(mask.key, image.key, "Frame of Reference and grid")]
    links = link([replace(mask, series_uids=("1.7",)), localizer], tree.holds, {})
    assert [tuple(e) for e in links.links] == [(mask.key, "localizer", "refers to its series")]


def test_without_frames_of_reference_one_image_of_the_study_with_its_grid(planes: tuple[FactsOfTree, Path]) -> None:
    tree, _ = planes
    mask, image, stranger = (replace(fact, frame_of_reference_uid="") for fact in _parts(tree))
    assert _reasons(link([mask, image, stranger], tree.holds, {})) == {
        "only image of its study with its grid; no Frame of Reference"
    }
    twin = replace(image, key="twin", uid="1.7")
    assert _code([mask, image, twin], tree, mask) is Code.SEVERAL_SERIES
    other_study = replace(image, study_uid="1.8")
    assert _code([mask, other_study], tree, mask) is Code.NO_SOURCE
    (grid,) = image.grids
    longer = replace(image, grids=(GridFact((*grid.shape[:2], grid.shape[2] + 1), grid.lps),))
    assert _code([mask, longer], tree, mask) is Code.NO_SOURCE


def test_several_images_on_one_grid_are_ambiguous_and_study_and_folder_only_hints(
    planes: tuple[FactsOfTree, Path],
) -> None:
    tree, _ = planes
    mask, image, stranger = _parts(tree)
    twin = replace(image, key="twin", uid="1.7", study_uid="1.8", folder="elsewhere")
    refused = link([mask, image, twin, stranger], tree.holds, {}).refused[mask.key]
    assert refused.code is Code.SEVERAL_SERIES
    assert refused.where == (mask.key, image.key, "twin")
    assert "column image" in refused.hint
    assert f"It may be {image.key}, which is of the same study" in refused.hint
    near = replace(twin, study_uid=image.study_uid)
    assert (
        f"It may be {image.key}, which lies nearest to it"
        in link([mask, image, near], tree.holds, {}).refused[mask.key].hint
    )
    alike = replace(near, folder=image.folder)
    assert "It may be" not in link([mask, image, alike], tree.holds, {}).refused[mask.key].hint
    (grid,) = image.grids
    longer = replace(twin, grids=(GridFact((*grid.shape[:2], grid.shape[2] + 1), grid.lps),))
    assert [e.image for e in link([mask, image, longer], tree.holds, {}).links] == [image.key]


def test_equal_uids_of_two_patients_never_meet(planes: tuple[FactsOfTree, Path]) -> None:
    tree, _ = planes
    mask, image, _ = _parts(tree)
    second_image = replace(image, key="image 2", patient="second")
    second_mask = replace(mask, key="mask 2", patient="second", uid="1.2.4")

    def holds(key: str, images: Collection[int]) -> int:
        return tree.holds(image.key if key == "image 2" else key, images)

    for change in ({}, {"series_uids": (image.uid,)}, {"images": tuple(tree.held[image.key])}):
        masks = [replace(mask, **change), replace(second_mask, **change)]
        links = link([image, second_image, *masks], holds, {})
        assert [(e.mask, e.image) for e in links.links] == [(mask.key, image.key), ("mask 2", "image 2")]


def test_an_image_of_another_subject_is_no_candidate_by_frame_of_reference(planes: tuple[FactsOfTree, Path]) -> None:
    """One Frame of Reference for all patients, as an anonymiser leaves it, and one grid, as a registration does."""
    tree, _ = planes
    mask, image, _ = (replace(fact, patient="") for fact in _parts(tree))
    (grid,) = image.grids
    other_grid = (GridFact(grid.shape, (*grid.lps[:3], grid.lps[3] + 0.4, *grid.lps[4:])),)
    own = replace(image, key="own", uid="1.7", grids=other_grid)
    subjects = {mask.key: "a", "own": "a", image.key: "b"}
    links = link([mask, own, image], tree.holds, {}, subjects)
    assert links.refused[mask.key].code is Code.NO_SOURCE
    assert link([mask, replace(own, grids=image.grids), image], tree.holds, {}, subjects).links == (
        Link(mask.key, "own", "Frame of Reference and grid"),
    )


def test_a_seg_may_lie_on_several_images_and_planes_on_one(planes: tuple[FactsOfTree, Path]) -> None:
    tree, _ = planes
    mask, image, _ = _parts(tree)
    other = replace(image, key="other", uid="1.7", frame_of_reference_uid="1.9", grids=())
    named = replace(mask, series_uids=(image.uid, "1.7"))
    links = link([replace(named, kind="seg"), image, other], tree.holds, {})
    assert [e.image for e in links.links] == [image.key, "other"]
    assert [e.image for e in link([named, image, other], tree.holds, {}).links] == [image.key]  # its grid decides
    twin = replace(other, grids=image.grids)
    assert _code([named, image, twin], tree, mask) is Code.SEVERAL_SERIES
