"""The index of a cohort: every file in one row, facts against what pydicom reads, and nothing read again that did not change."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.fileset import FileSet

from pipeline.cohort.facts import GridFact, MaskFact, SeriesFacts, image_digest
from pipeline.cohort.index.facts_json import from_json, to_json, to_packed
from pipeline.cohort.index.index import Changes, Index
from pipeline.cohort.subjects.subjects import SubjectRules, name_subjects
from pipeline.core.findings import Code, Exit, PipelineError
from pipeline.dicom.scan import scan
from tests.helpers import rtphantom, segs
from tests.helpers.cases import needs_samples, real_samples
from tests.helpers.fake_mimics import run_inside
from tests.helpers.phantom import Spec, write

ROOT = Path(__file__).parents[1]
EXPORT = ROOT / "pipeline" / "mimics" / "scripts" / "export_masks.py"
IMAGE = Spec(shape=(13, 11, 5), content="index", bits_allocated=16)
MASK = Spec(shape=(13, 11, 5), bits_allocated=8)
SIZES = ("files", "frames")


@contextmanager
def index_in(out: Path) -> Iterator[Index]:
    with Index(out / ".verimask" / "index.sqlite") as index:
        yield index


def updated(out: Path, *inputs: Path) -> tuple[Changes, list[SeriesFacts]]:
    with index_in(out) as index:
        return index.update(inputs), list(index.series())


def rows(index: Index) -> list[str]:
    """The path of every row: of series, and left out."""
    of_series = [file.path for facts in index.series() for file in index.files_of(facts.key)]
    return of_series + [path for path, _, _ in index.left_out()]


def everything_in(*folders: Path) -> list[str]:
    """Everything below folders that is no folder, as `find` lists it."""
    found = (os.path.join(at, name) for folder in folders for at, _, names in os.walk(folder) for name in names)
    return sorted(found)


def no_salt(facts: Iterable[SeriesFacts]) -> list[SeriesFacts]:
    return [replace(one, patient="") for one in facts]


def of_patient(patient_id: str, name: str = "Doe^Jane") -> Any:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.PatientID, dataset.PatientName = patient_id, name

    return edit


def made_tree(folder: Path) -> Path:
    """Two patients with an image each; a mask series, a SEG, a structure set, a bundle, an archive, and what is no DICOM."""
    one, two = folder / "P1", folder / "P2"
    write(one / "ct", replace(IMAGE, seed="one", description="CT"), edit=of_patient("ID-1"))
    write(one / "mask", replace(MASK, seed="mask", description="Tumour"), edit=of_patient("ID-1"))
    paths = segs.source_files(two / "ct")
    source = pydicom.dcmread(paths[0])
    reference = Dataset()
    reference.SeriesInstanceUID = source.SeriesInstanceUID
    segs.write_seg(
        two / "seg.dcm",
        segs.frames_of(segs.blobs(2, overlap=False)),
        names=("first", "second"),
        reference=str(source.FrameOfReferenceUID),
        ReferencedSeriesSequence=[reference],
    )
    rtphantom.write_images(two / "rt" / "images", rtphantom.grid())
    rectangle = rtphantom.rectangle(3, 9, 3, 8)
    roi = rtphantom.PhantomRoi("GTV", [rtphantom.on(rtphantom.grid(), rectangle, k) for k in (2, 3)])
    rtphantom.write_struct(two / "rt" / "rs.dcm", [roi])
    run_inside(EXPORT, [str(two / "bundle")], {})
    zipped = write(folder / "zipped", replace(IMAGE, seed="zipped", description="in an archive"))
    with ZipFile(folder / "more.zip", "w") as archive:
        for path in zipped.paths:
            archive.write(path, f"CT/{path.name}")
        archive.writestr("notes.txt", "none")
    shutil.rmtree(folder / "zipped")
    with ZipFile(folder / "papers.zip", "w") as archive:
        archive.writestr("letter.txt", "none")
    (folder / "README.txt").write_text("a text")
    (folder / "gone.dcm").symlink_to(folder / "nowhere")
    (one / "again.dcm").symlink_to(one / "ct" / "IM0001.dcm")
    (two / "empty.dcm").write_bytes(b"")
    os.mkfifo(two / "pipe")
    return folder


def test_every_file_is_in_one_row(tmp_path: Path) -> None:
    tree = made_tree(tmp_path / "in")
    with index_in(tmp_path / "out") as index:
        changes = index.update([tree])
        listed = sorted(rows(index))
        reasons = {Path(path).name: (code, message) for path, code, message in index.left_out()}
    members = {str(tree / "more.zip" / f"CT/IM000{n}.dcm") for n in range(1, 6)} | {
        str(tree / "more.zip" / "notes.txt")
    }
    expected = (set(everything_in(tree)) - {str(tree / "more.zip")}) | members
    assert listed == sorted(expected)
    assert changes.new == len(everything_in(tree))
    assert reasons["gone.dcm"][0] == "FILE_UNREAD"
    assert "link to something that is not there" in reasons["gone.dcm"][1]
    assert "found under its own name" in reasons["again.dcm"][1]
    assert "without a DICOM file" in reasons["papers.zip"][1]
    assert "pipe" in reasons["pipe"][1]
    assert reasons["README.txt"] == ("FILE_LEFT_OUT", "README.txt was left out: not DICOM")


def test_the_facts_are_what_the_files_say(tmp_path: Path) -> None:
    tree = made_tree(tmp_path / "in")
    _, found = updated(tmp_path / "out", tree)
    by_folder = {facts.folder: facts for facts in found}
    assert [facts.key for facts in found] == sorted(facts.key for facts in found)
    image = by_folder["P1/ct"]
    first = pydicom.dcmread(tree / "P1" / "ct" / "IM0001.dcm")
    assert (image.role, image.kind, image.modality, image.number) == ("image", "image", "CT", 7)
    assert (image.uid, image.study_uid) == (first.SeriesInstanceUID, first.StudyInstanceUID)
    assert image.frame_of_reference_uid == first.FrameOfReferenceUID
    assert (image.files, image.frames, image.problem) == (5, 5, "")
    assert image.grids[0].shape == (13, 11, 5)
    assert np.allclose(image.grids[0].lps, IMAGE.lps[:3].ravel())
    assert image.identifiers == ("Doe", "Doe^Jane", "ID-1", "Jane")
    mask = by_folder["P1/mask"]
    assert (mask.role, mask.masks) == ("mask", (MaskFact(1, "Tumour"),))
    assert mask.patient == image.patient != by_folder["P2/ct"].patient
    assert len(image.patient) == len(image.key) == 16
    archive = by_folder["more.zip/CT"]
    assert (archive.role, archive.files, archive.description) == ("image", 5, "in an archive")


def test_what_a_mask_refers_to(tmp_path: Path) -> None:
    tree = made_tree(tmp_path / "in")
    with index_in(tmp_path / "out") as index:
        index.update([tree])
        by_kind = {facts.kind: facts for facts in index.series()}
        by_folder = {facts.folder: facts for facts in index.series()}
        drawn_on = by_folder["P2/rt/images"]
        assert index.holds(drawn_on.key, by_kind["rtstruct"].images) == len(by_kind["rtstruct"].images)
        assert index.holds(by_folder["P2/ct"].key, by_kind["rtstruct"].images) == 0
    seg = by_kind["seg"]
    assert [mask.name for mask in seg.masks] == ["first", "second"]
    assert seg.series_uids == (by_folder["P2/ct"].uid,)
    assert by_kind["rtstruct"].series_uids == (rtphantom.IMAGE_SERIES_UID,)
    dataset = pydicom.dcmread(tree / "P2" / "rt" / "rs.dcm")
    assert by_kind["rtstruct"].masks[0].name == dataset.StructureSetROISequence[0].ROIName == "GTV"
    bundle = by_kind["bundle"]
    assert ([mask.name for mask in bundle.masks], bundle.files) == (["bone", "tumour", "nothing"], 4)
    assert bundle.grids[0].shape == (7, 6, 5)
    assert len(bundle.images) == 5
    assert bundle.problem == ""


def test_an_unchanged_tree_is_not_opened(tmp_path: Path) -> None:
    """Bytes that change without size or time are not seen: nothing was read."""
    tree = made_tree(tmp_path / "in")
    _, before = updated(tmp_path / "out", tree)
    for path in tree.rglob("*.dcm"):
        if path.is_file() and not path.is_symlink():
            state = path.stat()
            path.write_bytes(bytes(state.st_size))
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    changes, after = updated(tmp_path / "out", tree)
    count = len(everything_in(tree))
    assert changes == Changes(unchanged=count)
    assert after == before


def test_only_the_folder_of_a_change_is_scanned_again(tmp_path: Path) -> None:
    tree = made_tree(tmp_path / "in")
    count = len(everything_in(tree))
    updated(tmp_path / "out", tree)
    os.utime(tree / "P1" / "ct" / "IM0003.dcm")
    assert updated(tmp_path / "out", tree)[0] == Changes(changed=1, unchanged=count - 1, opened=5)
    (tree / "P1" / "ct" / "IM0005.dcm").unlink()
    (tree / "P1" / "ct" / "notes.txt").write_text("new")
    changes, found = updated(tmp_path / "out", tree)
    assert changes == Changes(new=1, gone=1, unchanged=count - 1, opened=5)
    image = next(facts for facts in found if facts.folder == "P1/ct")
    assert (image.files, image.grids[0].shape) == (4, (13, 11, 4))
    shutil.rmtree(tree / "P1" / "ct")
    changes, found = updated(tmp_path / "out", tree)
    assert (changes.gone, changes.opened) == (5, 1)  # again.dcm, a link into the folder, leads nowhere now
    assert "P1/ct" not in {facts.folder for facts in found}


def test_a_file_with_the_hash_that_is_known_is_unchanged(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", IMAGE)
    with index_in(tmp_path / "out") as index:
        index.update([tmp_path / "in"])
        digests = {str(path): sha256_of(path) for path in truth.paths}
        index.remember_hashes(digests | {str(tmp_path / "unknown"): "00" * 32})
        assert index.hashes_of([*digests, "/unknown"]) == digests
    for path in truth.paths:
        os.utime(path)
    changes, _ = updated(tmp_path / "out", tmp_path / "in")
    assert changes == Changes(unchanged=5)
    content = bytearray(truth.paths[2].read_bytes())
    content[-1] ^= 1
    truth.paths[2].write_bytes(content)
    changes, _ = updated(tmp_path / "out", tmp_path / "in")
    assert changes == Changes(changed=1, unchanged=4, opened=5)
    with index_in(tmp_path / "out") as index:
        assert index.hashes_of(digests) == {p: d for p, d in digests.items() if p != str(truth.paths[2])}
        os.utime(truth.paths[0])  # no more the file that was indexed: nothing is known of its bytes
        index.remember_hashes({str(truth.paths[0]): "11" * 32})
        assert index.hashes_of([str(truth.paths[0])]) == {str(truth.paths[0]): digests[str(truth.paths[0])]}


def sha256_of(path: Path) -> str:
    return subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]


def test_an_archive_is_looked_at_again_by_its_own_time(tmp_path: Path) -> None:
    tree = made_tree(tmp_path / "in")
    updated(tmp_path / "out", tree)
    (tree / "more.txt").write_text("new")
    changes, _ = updated(tmp_path / "out", tree)
    # README.txt, papers.zip, gone.dcm and more.txt; a member of more.zip would be more
    assert (changes.new, changes.opened) == (1, 5)
    with ZipFile(tree / "more.zip", "a") as archive:
        archive.writestr("CT/more.txt", "none")
    changes, _ = updated(tmp_path / "out", tree)
    assert changes.changed == 1
    with index_in(tmp_path / "out") as index:
        assert str(tree / "more.zip" / "CT" / "more.txt") in rows(index)
    (tree / "more.zip").unlink()
    with index_in(tmp_path / "out") as index:
        index.update([tree])
        assert not [path for path in rows(index) if "more.zip" in path]
        assert not [facts for facts in index.series() if "more.zip" in facts.folder]


def test_keys_are_the_same_in_every_index_and_hold_no_salt(tmp_path: Path) -> None:
    tree = made_tree(tmp_path / "in")
    _, one = updated(tmp_path / "one", tree)
    _, other = updated(tmp_path / "other", tree)
    assert no_salt(one) == no_salt(other)
    patients = [(a.patient, b.patient) for a, b in zip(one, other, strict=True) if a.patient]
    assert patients
    assert all(a != b for a, b in patients)


def test_a_series_of_several_folders_is_one(tmp_path: Path) -> None:
    truth = write(tmp_path / "in" / "a", IMAGE)
    (tmp_path / "in" / "b").mkdir()
    for path in truth.paths[3:]:
        path.rename(tmp_path / "in" / "b" / path.name)
    with index_in(tmp_path / "out") as index:
        index.update([tmp_path / "in"])
        (facts,) = index.series()
        assert (facts.files, facts.folder, facts.grids[0].shape) == (5, "", (13, 11, 5))
        assert [Path(file.path).parent.name for file in index.files_of(facts.key)] == list("aaabb")
    shutil.rmtree(tmp_path / "in" / "b")
    _, (facts,) = updated(tmp_path / "out", tmp_path / "in")
    assert (facts.files, facts.folder, facts.grids[0].shape) == (3, "a", (13, 11, 3))


def test_copies_in_two_folders_are_one_series(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a", IMAGE)
    shutil.copytree(tmp_path / "in" / "a", tmp_path / "in" / "b")
    with index_in(tmp_path / "out") as index:
        index.update([tmp_path / "in"])
        (facts,) = index.series()
        assert (facts.files, facts.frames, facts.grids[0].shape, facts.problem) == (10, 5, (13, 11, 5), "")
        assert len(index.files_of(facts.key)) == 10


def test_every_plane_may_name_somebody(tmp_path: Path) -> None:
    """An anonymiser that stopped halfway: one name more in the last plane, and in another one other Patient IDs."""
    write(tmp_path / "in" / "ct", IMAGE, edit=of_patient("ID-1", ""))
    *_, other, last = sorted((tmp_path / "in" / "ct").iterdir())
    for path, patient_id, name in ((other, "ID-1", "Gödel^Kurt"), (last, "ID-1", "Smithers^Waylon")):
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientID, dataset.PatientName = patient_id, name
        dataset.save_as(path)
    _, (facts,) = updated(tmp_path / "out", tmp_path / "in")
    assert facts.files == len(everything_in(tmp_path / "in"))
    assert set(facts.identifiers) == {
        "ID-1", "Gödel", "Kurt", "Gödel^Kurt", "Smithers", "Waylon", "Smithers^Waylon",
    }  # fmt: skip
    for n, path in enumerate(sorted((tmp_path / "in" / "ct").iterdir())):  # a patient each: still one series
        dataset = pydicom.dcmread(path)
        dataset.PatientID = f"HOSP{n}"
        dataset.save_as(path)
    _, (facts,) = updated(tmp_path / "out2", tmp_path / "in")
    assert {f"HOSP{n}" for n in range(facts.files)} < set(facts.identifiers)


def test_an_id_that_an_anonymiser_gives_to_everybody_is_none(tmp_path: Path) -> None:
    names = ("ANON", "anonym", "Anonymous", "ANONYMIZED", "0", "unknown", "None", "", "Anna")
    for n, name in enumerate(names):
        write(tmp_path / "in" / str(n), replace(IMAGE, seed=str(n)), edit=of_patient(name, f"{name}^^"))
    _, found = updated(tmp_path / "out", tmp_path / "in")
    by_folder = {facts.folder: facts for facts in found}
    assert [by_folder[str(n)].patient != "" for n in range(9)] == [False] * 8 + [True]
    assert [by_folder[str(n)].identifiers for n in range(9)] == [()] * 8 + [("Anna", "Anna^^")]
    places = name_subjects(found, SubjectRules(), {}).places
    assert [places[by_folder[str(n)].key][0] for n in range(9)] == list("012345678")


def test_two_patients_with_one_series_uid_do_not_meet(tmp_path: Path) -> None:
    for patient in ("one", "two"):
        write(tmp_path / "in" / patient, IMAGE, edit=of_patient(patient))
    _, found = updated(tmp_path / "out", tmp_path / "in")
    assert sorted((facts.folder, facts.files) for facts in found) == [("one", 5), ("two", 5)]
    assert len({facts.key for facts in found}) == len({facts.patient for facts in found}) == 2
    for path in (tmp_path / "in" / "two").iterdir():
        path.rename(tmp_path / "in" / "one" / f"2_{path.name}")
    _, found = updated(tmp_path / "out", tmp_path / "in")
    assert [(facts.folder, facts.files, facts.frames) for facts in found] == [("one", 5, 5)] * 2


@pytest.mark.parametrize(
    ("values", "role", "labels"),
    [
        ((0, 1), "mask", [1]),
        ((0, 255), "mask", [1]),
        ((7, 9), "mask", [1]),  # 7 has the borders
        ((0, 3, 5), "mask", [3, 5]),
        ((4, 5, 6), "image", []),
        ((0, 0), "other", []),
    ],
)
def test_few_values_with_a_background_are_a_mask(tmp_path: Path, values: Any, role: str, labels: list[int]) -> None:
    background, *others = values
    write(tmp_path / "in", MASK, background=background, labels=tuple(others), description="Liver")
    _, (facts,) = updated(tmp_path / "out", tmp_path / "in")
    assert (facts.role, [mask.number for mask in facts.masks]) == (role, labels)
    if role == "other":
        assert facts.problem.startswith("EMPTY: ")
    if labels == [1]:
        assert facts.masks[0].name == "Liver"


@pytest.mark.parametrize(("count", "role"), [(20, "image"), (256, "image")])
def test_noise_is_an_image(tmp_path: Path, count: int, role: str) -> None:
    """Values without flat regions are grey values, however few there are."""

    def edit(k: int, dataset: Dataset) -> None:
        noise = np.random.default_rng(k).integers(0, count, 13 * 11, dtype=np.uint8)
        dataset.PixelData = noise.tobytes() + b"\0"

    write(tmp_path / "in", MASK, edit=edit)
    _, (facts,) = updated(tmp_path / "out", tmp_path / "in")
    assert facts.role == role


def test_an_image_is_known_by_its_middle_plane(tmp_path: Path) -> None:
    """One plane is read: the others have no pixels that could be."""

    def edit(k: int, dataset: Dataset) -> None:
        if k != 2:
            dataset.PixelData = b""

    write(tmp_path / "in", IMAGE, edit=edit)
    _, (facts,) = updated(tmp_path / "out", tmp_path / "in")
    assert (facts.role, facts.problem) == ("image", "")


def test_what_a_segmentation_names_as_its_images_is_an_image(tmp_path: Path) -> None:
    truth = write(tmp_path / "in" / "flat", MASK)
    _, (facts,) = updated(tmp_path / "out", tmp_path / "in")
    assert facts.role == "mask"
    reference = Dataset()
    reference.SeriesInstanceUID = truth.series_uid
    (tmp_path / "in" / "seg").mkdir()
    frames = segs.frames_of(segs.blobs(1, overlap=False))
    segs.write_seg(tmp_path / "in" / "seg" / "a.dcm", frames, names=("x",), ReferencedSeriesSequence=[reference])
    _, found = updated(tmp_path / "out", tmp_path / "in")
    assert {facts.kind: (facts.role, len(facts.masks)) for facts in found} == {
        "image": ("image", 0),
        "seg": ("mask", 1),
    }
    shutil.rmtree(tmp_path / "in" / "seg")
    _, (facts,) = updated(tmp_path / "out", tmp_path / "in")
    assert facts.role == "mask"


def test_masks_are_called_as_convert_calls_them(tmp_path: Path) -> None:
    """Exports of Mimics have the description of their image; then their folders name them."""
    study = "1.2.3"

    def edit(k: int, dataset: Dataset) -> None:
        dataset.StudyInstanceUID = study

    for seed, spec in {"image": IMAGE, "Liver": MASK, "Spleen": MASK}.items():
        write(tmp_path / "in" / seed, replace(spec, seed=seed, description="CT chest"), edit=edit)
    write(tmp_path / "in" / "single", replace(MASK, seed="x", description="Kidney"), edit=edit)
    _, found = updated(tmp_path / "out", tmp_path / "in")
    names = {facts.uid: facts.mask_name for facts in found if facts.role == "mask"}
    assert names == {s.uid: s.mask_name for s in scan([tmp_path / "in"]).series if s.uid in names}
    assert sorted(mask.name for facts in found for mask in facts.masks) == ["Kidney", "Liver", "Spleen"]


def test_what_may_be_a_plane_is_known_beside_its_series(tmp_path: Path) -> None:
    """The same files as a scan of everything says."""
    for seed in ("a", "b"):
        write(tmp_path / "in" / seed / "ct", replace(IMAGE, seed=seed))
    (tmp_path / "in" / "a" / "ct" / "IM0009.dcm").write_bytes(b"")
    (tmp_path / "in" / "b" / "extra").mkdir()
    (tmp_path / "in" / "b" / "extra" / "IM0001.dcm").symlink_to("nowhere")
    with index_in(tmp_path / "out") as index:
        index.update([tmp_path / "in"])
        found = {facts.uid: sorted(Path(f.path) for f in index.unread_beside(facts.key)) for facts in index.series()}
    scanned = scan([tmp_path / "in"])
    concerned = {s.uid: sorted(left.path for left in scanned.left_out if s in left.concerns) for s in scanned.series}
    assert found == concerned
    assert sorted(map(len, found.values())) == [1, 1]


def test_one_folder_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    write(tmp_path / "in" / "good", IMAGE)
    bad = write(tmp_path / "in" / "bad", replace(IMAGE, seed="bad"))
    for path in bad.paths:
        path.write_bytes(path.read_bytes()[:300])
    (tmp_path / "in" / "bundle").mkdir()
    (tmp_path / "in" / "bundle" / "bundle.json").write_text('{"format": "verimask-mimics-bundle"}')
    (tmp_path / "in" / "json").mkdir()
    (tmp_path / "in" / "json" / "bundle.json").write_text('{"format": "of another program"}')
    with index_in(tmp_path / "out") as index:
        index.update([tmp_path / "in"])
        by_folder = {facts.folder: facts for facts in index.series()}
        codes = Counter((Path(path).parent.name, code) for path, code, _ in index.left_out())
    assert by_folder["good"].problem == ""
    assert (by_folder["bundle"].role, by_folder["bundle"].problem.split(":")[0]) == ("mask", "BUNDLE_INVALID")
    assert codes == {("bad", "CORRUPT_FILE"): 5, ("json", "FILE_LEFT_OUT"): 1}


def test_what_has_no_grid_says_why(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", IMAGE)
    truth.paths[2].unlink()
    _, (facts,) = updated(tmp_path / "out", tmp_path / "in")
    assert (facts.grids, facts.problem.split(":")[0]) == ((), "MISSING_PLANES")


def test_series_without_uid_are_told_apart(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        del dataset.SeriesInstanceUID

    for folder in ("a", "b"):
        write(tmp_path / "in" / folder, IMAGE, edit=edit)
    _, found = updated(tmp_path / "out", tmp_path / "in")
    assert [(facts.uid, facts.files) for facts in found] == [("", 5), ("", 5)]
    assert len({facts.key for facts in found}) == 2


def test_links_to_folders_repositories_and_the_output_are_no_second_input(tmp_path: Path) -> None:
    tree = tmp_path / "in"
    write(tree / "a", IMAGE)
    (tree / "link").symlink_to(tree / "a")
    (tree / "loop").symlink_to(tree)
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "b", replace(IMAGE, seed="b"))
    (tree / "other").symlink_to(tmp_path / "elsewhere")
    (tree / ".git").mkdir()
    (tree / ".git" / "object.dcm").write_bytes((tree / "a" / "IM0001.dcm").read_bytes())
    out = tree / "out"
    with index_in(out) as index:
        (out / "P1").mkdir()
        (out / "P1" / "image.nii.gz").write_bytes(b"")
        index.update([tree])
        assert {facts.folder: facts.files for facts in index.series()} == {"a": 5, "other/b": 5}
        assert [Path(path).name for path, _, _ in index.left_out()] == [".git"]
        assert index.update([tree]).opened == 0


def test_inputs_may_be_files_and_several(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, replace(IMAGE, seed=name)) for name in ("one", "two"))
    with index_in(tmp_path / "out") as index:
        assert index.update([one.folder, two.folder]).new == 10
        assert sorted(facts.folder for facts in index.series()) == ["one", "two"]
        assert index.update([one.folder, *two.paths[:3]]) == Changes(gone=2, unchanged=8, opened=3)
        assert sorted(facts.files for facts in index.series()) == [3, 5]
        with pytest.raises(PipelineError, match="NO_SUCH_INPUT"):
            index.update([tmp_path / "nowhere" / "deep"])
        assert sorted(facts.files for facts in index.series()) == [3, 5]
        assert index.update([one.folder]) == Changes(new=5, opened=5)  # of another root, so that names in it are others
        assert [facts.folder for facts in index.series()] == [""]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    truth = write(tmp_path / "in", IMAGE)
    folder = os.path.join(os.fsencode(tmp_path), b"in", b"f\xff")
    os.mkdir(folder)
    for path in truth.paths:
        os.rename(path, os.path.join(folder, b"\xfe" + os.fsencode(path.name)))
    with index_in(tmp_path / "out") as index:
        index.update([tmp_path / "in"])
        assert sorted(rows(index)) == everything_in(tmp_path / "in")
        (facts,) = index.series()
        assert facts.folder == os.fsdecode(b"f\xff")
        assert index.update([tmp_path / "in"]) == Changes(unchanged=5)


_KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from pipeline.cohort.index.index import Index
count = 0
def progress(stage, done, total):
    global count
    count += 1
    if count == {at}:
        os.kill(os.getpid(), 9)
with Index(Path({out!r}) / ".verimask" / "index.sqlite") as index:
    index._store.commit = lambda if_due=False: index._store.db.commit()  # after every folder
    index.update([Path({tree!r})], progress)
"""


@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_killed_update_is_taken_up_where_it_was(tmp_path: Path, at: int) -> None:
    tree = made_tree(tmp_path / "in")
    _, whole = updated(tmp_path / "whole", tree)
    script = _KILLED.format(root=str(ROOT), at=at, out=str(tmp_path / "out"), tree=str(tree))
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    changes, found = updated(tmp_path / "out", tree)
    assert changes.unchanged > 0
    assert no_salt(found) == no_salt(whole)
    assert updated(tmp_path / "out", tree)[0].opened == 0


def test_what_breaks_off_leaves_no_folder_half_replaced(tmp_path: Path) -> None:
    """An error in the midst, Ctrl-C too, undoes what was not committed."""
    write(tmp_path / "in", IMAGE)
    _, before = updated(tmp_path / "out", tmp_path / "in")

    def stopped() -> None:
        with index_in(tmp_path / "out") as index:
            index._store.db.execute("DELETE FROM files")
            raise KeyboardInterrupt

    def filled() -> None:
        with index_in(tmp_path / "out") as index:
            index._store.db.execute("PRAGMA max_page_count = 1")
            index.set_meta("much", "x" * 1_000_000)

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with index_in(tmp_path / "out") as index:
        assert [len(index.files_of(facts.key)) for facts in index.series()] == [5]
        assert list(index.series()) == before
    with pytest.raises(PipelineError, match="CANNOT_WRITE"):
        filled()


def test_a_dicomdir_is_left_out(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200102", "030405", "1"
        dataset.InstanceNumber = k + 1

    truth = write(tmp_path / "in", IMAGE, edit=edit)
    listed = FileSet()
    listed.add(truth.paths[0])
    listed.write(tmp_path / "cd")
    (tmp_path / "cd" / "DICOMDIR").rename(tmp_path / "in" / "DICOMDIR")
    with index_in(tmp_path / "out") as index:
        index.update([tmp_path / "in"])
        ((path, code, message),) = index.left_out()
        assert (Path(path).name, code) == ("DICOMDIR", "FILE_LEFT_OUT")
        assert "a DICOMDIR" in message
        assert [facts.files for facts in index.series()] == [5]


def test_an_output_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(PipelineError, match="CANNOT_WRITE"):
        Index(tmp_path / "out" / ".verimask" / "index.sqlite")


def test_one_process_at_a_time(tmp_path: Path) -> None:
    script = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
        "from pipeline.cohort.index.index import Index\n"
        f"index = Index(Path({str(tmp_path)!r}) / '.verimask' / 'index.sqlite')\nprint('open', flush=True)\ntime.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(PipelineError) as caught:
            Index(tmp_path / ".verimask" / "index.sqlite")
        assert caught.value.finding.code is Code.COHORT_IN_USE
        assert f"process {holder.pid} on " in caught.value.finding.message
        assert caught.value.exit is Exit.CANNOT_WRITE
    finally:
        holder.kill()
        holder.wait()
    with index_in(tmp_path):
        pass
    assert not (tmp_path / ".verimask" / "holder.txt").exists()


def test_the_folder_is_private(tmp_path: Path) -> None:
    with index_in(tmp_path):
        private = tmp_path / ".verimask"
        assert private.stat().st_mode & 0o777 == 0o700
        assert (private / "index.sqlite").stat().st_mode & 0o777 == 0o600
        assert "private" in (private / "README.txt").read_text()


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".verimask" / "index.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"none" * 1000)
    with pytest.raises(PipelineError, match="INDEX_UNREADABLE"):
        Index(path)
    path.unlink()
    with Index(path) as index:
        index._store.db.execute("PRAGMA user_version = 99")
    with pytest.raises(PipelineError, match="UNSUPPORTED_VERSION"):
        Index(path)


def test_results_and_values_are_kept(tmp_path: Path) -> None:
    result = {"key": "k", "times": {"s1/image.nii.gz": 3}}
    with index_in(tmp_path) as index:
        index.put_result("one", result, {})
        index.put_result("two", {}, {})
        index.drop_result("two")
        index.set_meta("name", "value")
    with index_in(tmp_path) as index:
        assert index.results() == {"one": result}
        assert (index.meta("name"), index.meta("other"), index.meta("salt")) == ("value", None, None)


texts = st.text(max_size=8)
numbers = st.integers(0, 2**63 - 1)
masks = st.builds(MaskFact, st.integers(0, 99), texts, texts, st.none() | st.tuples(*[st.integers(0, 255)] * 3))
grids = st.builds(GridFact, st.tuples(*[st.integers(1, 999)] * 3), st.tuples(*[st.floats(-1e3, 1e3)] * 12))
some = st.lists(texts, max_size=3).map(tuple)
facts_of_any_kind = st.builds(
    SeriesFacts,
    key=texts, role=st.sampled_from(["image", "mask", "other"]), kind=texts, uid=texts, modality=texts,
    number=st.none() | st.integers(-5, 5), description=texts, folder=texts, mask_name=texts, study_uid=texts,
    frame_of_reference_uid=texts, patient=texts, identifiers=some, files=st.integers(0, 5), frames=st.integers(0, 5),
    grids=st.lists(grids, max_size=2).map(tuple), masks=st.lists(masks, max_size=2).map(tuple), series_uids=some,
    images=st.lists(numbers, max_size=3).map(tuple), problem=texts,
)  # fmt: skip


@given(facts_of_any_kind)
def test_facts_compare_equal_after_json(facts: SeriesFacts) -> None:
    assert from_json(facts.key, to_json(facts), to_packed(facts.images)) == facts


@needs_samples
def test_the_real_samples_as_one_tree(tmp_path: Path) -> None:
    """Every file in one row; the masks and images of the IBSI patients with what pydicom reads of them."""
    samples = real_samples()
    with index_in(tmp_path) as index:
        assert index.update([samples]).new == len(everything_in(samples))
        assert sorted(rows(index)) == everything_in(samples)
        start = time.monotonic()
        assert index.update([samples]) == Changes(unchanged=len(everything_in(samples)))
        assert time.monotonic() - start < 2
        ibsi = [facts for facts in index.series() if "/STS_" in facts.folder]
        assert Counter((facts.role, facts.kind) for facts in ibsi) == {("image", "image"): 9, ("mask", "rtstruct"): 9}
        for facts in ibsi:
            first = pydicom.dcmread(index.files_of(facts.key)[0].path)
            assert str(first.PatientID) in facts.identifiers
            if facts.kind == "rtstruct":
                drawn = {
                    image_digest(item.ReferencedSOPInstanceUID)
                    for roi in first.ROIContourSequence
                    for contour in roi.ContourSequence
                    for item in contour.get("ContourImageSequence", [])
                }
                assert set(facts.images) == drawn
                (image,) = [other for other in ibsi if other.uid in facts.series_uids]
                assert image.folder == facts.folder.replace("/mask", "/image")
                held = {image_digest(pydicom.dcmread(f.path).SOPInstanceUID) for f in index.files_of(image.key)}
                assert index.holds(image.key, facts.images) == len(drawn & held)
                assert index.holds(image.key, held) == image.files
