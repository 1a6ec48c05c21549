"""Layouts of data sets: names, texts, and what nnU-Net and BIDS check of them."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cohort.case import CaseOutput, CaseResult, Place
from pipeline.cohort.layouts import LAYOUTS
from pipeline.cohort.layouts.contrasts import SUFFIXES, suffix_of
from pipeline.cohort.layouts.layout import CaseImage, DatasetLabel, LayoutSettings
from pipeline.core.findings import Code, PipelineError
from tests.helpers.bids_checks import errors_of
from tests.helpers.datasets import MadeCase, read_text, write_dataset
from tests.helpers.nifti_bits import geometry_bits
from tests.helpers.nnunet_checks import problems_of

LABELS = (DatasetLabel("liver", 1, (1, 2, 3)), DatasetLabel("spleen", 2))
SETTINGS = LayoutSettings("Dataset007_Abdomen", LABELS)
_WINDOWS = {"con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in range(1, 10))}
layouts = pytest.mark.parametrize("name", LAYOUTS)


def place(subject: str, session: str = "", name: str = "", *, alone: bool = True) -> Place:
    return Place(subject, session, name or "case", alone)


MANY = [
    place("P1"),
    place("STS_008", "2001", "CT", alone=False),
    place("STS_008", "2001", "PET", alone=False),
    place("STS-008"),
    place("p1"),
    place("Müller, é"),
    place("con"),
]


# Names

_TEXT = st.text(st.sampled_from("aAbB01._- é/"), max_size=4) | st.sampled_from(["con", "A-559aea", "image", "labels"])


@layouts
@given(places=st.lists(st.builds(Place, _TEXT, _TEXT, _TEXT, st.booleans()), max_size=6, unique_by=lambda p: p[:3]))
def test_no_two_paths_of_a_data_set_are_equal(name: str, places: list[Place]) -> None:
    """alone is what a planner says: no other case has the subject and session."""
    together = [(p.subject, p.session) for p in places]
    places = [p._replace(alone=together.count((p.subject, p.session)) == 1) for p in places]
    layout = LAYOUTS[name](SETTINGS)
    new = layout.fit_places(places)
    files = [path for p in new for path in (layout.image(p, CaseImage(0, "T1w", "MR")), layout.labels(p))]
    folded = [path.casefold() for path in files]
    assert len(set(folded)) == len(folded)
    parents = {str(parent) for path in folded for parent in PurePosixPath(path).parents}
    assert not parents & set(folded)
    for path in files:
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", part) and part[0] not in ".-" for part in path.split("/")), path
        assert not {part.split(".")[0].casefold() for part in path.split("/")} & _WINDOWS, path
    subjects = {(old.subject, after.subject.casefold()) for old, after in zip(places, new, strict=True)}
    assert len(subjects) == len({old for old, _ in subjects}) == len({after for _, after in subjects})


@layouts
def test_names_do_not_hang_on_the_order_of_cases(name: str) -> None:
    layout = LAYOUTS[name](SETTINGS)
    shuffled = random.Random(3).sample(MANY, len(MANY))
    there = dict(zip(shuffled, layout.fit_places(shuffled), strict=True))
    assert [there[p] for p in MANY] == list(layout.fit_places(MANY))


def test_names_that_are_fit_are_kept() -> None:
    kept = [place("STS_008"), place("HN2", "day1", "CT", alone=False), place("HN2", "day1", "PET", alone=False)]
    assert list(LAYOUTS["pairs"](SETTINGS).fit_places(kept)) == kept
    assert list(LAYOUTS["nnunet"](SETTINGS).fit_places(kept)) == kept
    assert list(LAYOUTS["bids"](SETTINGS).fit_places(kept[1:])) == kept[1:]


def test_a_session_and_a_case_of_one_name_stay_two() -> None:
    """S/CT/image.nii.gz would be case CT without session, and the only case of session CT."""
    both = [place("S", "", "CT", alone=False), place("S", "", "PT", alone=False), place("S", "CT", "x")]
    layout = LAYOUTS["pairs"](SETTINGS)
    assert len({layout.image(p, CaseImage()) for p in layout.fit_places(both)}) == 3


@pytest.mark.parametrize("name", ["pairs", "bids"])
@given(names=st.lists(_TEXT | st.sampled_from(["Liver", "liver", "Liver-2", "image_1", "Image"]), max_size=5))
def test_every_mask_of_a_case_has_a_file_of_its_own(name: str, names: list[str]) -> None:
    layout = LAYOUTS[name](SETTINGS)
    paths = [layout.mask(place("S"), new) for new in layout.mask_names(names)]
    paths += [layout.image(place("S"), CaseImage(c, ("T1w", "T2w")[c], "MR")) for c in (0, 1)]
    paths += [layout.labels(place("S"))]
    assert len({path.casefold() for path in paths}) == len(names) + 3


def test_masks_that_are_called_as_our_files_are() -> None:
    names = LAYOUTS["pairs"](SETTINGS).mask_names(["image", "Labels", "image_1", "liver", "AUX"])
    assert names == ("image_mask", "Labels_mask", "image_1_mask", "liver", "AUX_")


@layouts
def test_the_paths_of_a_layout(name: str) -> None:
    layout = LAYOUTS[name](SETTINGS)
    case = place("S", "day1", "CT", alone=False)
    image = layout.image(case, CaseImage(1, "", "CT"))
    assert (image, layout.labels(case)) == {
        "pairs": ("S/day1/CT/image_1.nii.gz", "S/day1/CT/labels.nii.gz"),
        "nnunet": ("imagesTr/S_day1_CT_0001.nii.gz", "labelsTr/S_day1_CT.nii.gz"),
        "bids": (
            "sub-S/ses-day1/ct/sub-S_ses-day1_acq-CT_run-2_ct.nii.gz",
            "derivatives/verimask/sub-S/ses-day1/anat/sub-S_ses-day1_acq-CT_space-orig_dseg.nii.gz",
        ),
    }[name]


# Data sets


def _cases(*, in_one: bool) -> list[MadeCase]:
    cases = [MadeCase(p, in_one=in_one) for p in MANY]
    return [*cases[:3], cases[3]._replace(masks=("Spleen",)), *cases[4:], MadeCase(place("alone"), masks=())]


@layouts
def test_image_and_labels_have_the_same_bits_of_geometry(name: str, tmp_path: Path) -> None:
    results = write_dataset(tmp_path / "out", LAYOUTS[name](SETTINGS), _cases(in_one=True), tmp_path / "dicom")
    for result in results:
        files = [tmp_path / "out" / o.path for o in result.outputs if o.path.endswith(".nii.gz")]
        assert len({geometry_bits(file) for file in files}) == 1
        assert len(files) == 1 + (result.status == "DONE")


def test_one_other_bit_of_geometry_is_seen(tmp_path: Path) -> None:
    case = [MadeCase(place("S"))]
    write_dataset(tmp_path / "out", LAYOUTS["pairs"](SETTINGS), case, tmp_path / "dicom")
    image, labels = (tmp_path / "out/S" / name for name in ("image.nii.gz", "labels.nii.gz"))
    for offset in (42, 80, 123, 254, 280, 320):
        other = tmp_path / "other.nii.gz"
        content = bytearray(gzip.decompress(labels.read_bytes()))
        content[offset] ^= 1
        other.write_bytes(gzip.compress(bytes(content)))
        assert geometry_bits(other) != geometry_bits(image)
    assert geometry_bits(labels) == geometry_bits(image)


@layouts
def test_texts_hang_on_their_results_alone(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name](SETTINGS)
    results = write_dataset(tmp_path / "out", layout, _cases(in_one=True), tmp_path / "dicom")
    texts = layout.texts_of_cohort(results)
    assert texts == LAYOUTS[name](SETTINGS).texts_of_cohort(iter(results[::-1]))
    assert all(text.endswith("\n") and str(tmp_path) not in text for text in texts.values())


def test_the_table_of_labels_beside_a_label_map(tmp_path: Path) -> None:
    cases = [MadeCase(place("S"), masks=("Spleen",))]
    write_dataset(tmp_path / "a", LAYOUTS["pairs"](SETTINGS), cases, tmp_path / "dicom-a")
    table = "index\tname\tcolor\n1\tliver\t#010203\n2\tspleen\t#3cb44b\n"
    assert (tmp_path / "a/S/labels_dseg.tsv").read_text() == table
    alone = [MadeCase(place("S"), in_one=False)]
    write_dataset(tmp_path / "b", LAYOUTS["pairs"](LayoutSettings()), alone, tmp_path / "dicom-b")
    assert not [*(tmp_path / "b").rglob("*.tsv")]


# nnU-Net


def _nnunet(folder: Path, cases: list[MadeCase], settings: LayoutSettings = SETTINGS) -> list[CaseResult]:
    return write_dataset(folder, LAYOUTS["nnunet"](settings), cases, folder.with_name("dicom"))


def test_a_data_set_of_nnunet_passes_its_checks(tmp_path: Path) -> None:
    out = tmp_path / "Dataset007_Abdomen"
    results = _nnunet(out, _cases(in_one=True))
    subjects = {Path(r.outputs[0].path).name[: -len("_0000.nii.gz")]: r.place.subject for r in results}
    assert problems_of(out, subjects.__getitem__) == []
    assert read_text(out, "dataset.json") == {
        "name": "Dataset007_Abdomen",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "spleen": 2},
        "numTraining": 7,
        "file_ending": ".nii.gz",
    }
    assert [path.name for path in (out / "imagesTs").glob("*.gz")] == ["alone_0000.nii.gz"]


def test_two_channels_are_two_images_of_a_case(tmp_path: Path) -> None:
    images = (("MR", "t1 mprage"), ("MR", "t2 tse"))
    settings = SETTINGS._replace(channels=("T1w", "T2w"))
    out = tmp_path / "Dataset008_Brain"
    _nnunet(out, [MadeCase(place(s), images=images) for s in "abc"], settings)
    assert problems_of(out) == []
    dataset = json.loads((out / "dataset.json").read_text())
    assert dataset["channel_names"] == {"0": "T1w", "1": "T2w"}


def test_regions_have_their_order(tmp_path: Path) -> None:
    regions = (DatasetLabel("liver", 1, region=(1, 2)), DatasetLabel("tumour", 2))
    out = tmp_path / "Dataset009_Regions"
    _nnunet(out, [MadeCase(place(s)) for s in "ab"], SETTINGS._replace(labels=regions))
    assert problems_of(out) == []
    dataset = json.loads((out / "dataset.json").read_text())
    assert dataset["labels"] == {"background": 0, "liver": [1, 2], "tumour": 2}
    assert dataset["regions_class_order"] == [1, 2]


@pytest.mark.parametrize("patients", [1, 2, 4, 5, 11])
def test_a_patient_is_on_one_side_of_every_split(patients: int) -> None:
    layout = LAYOUTS["nnunet"](SETTINGS)
    places = [place(f"p{n}", session) for n in range(patients) for session in ("a", "b")]
    results = [_with_labels(layout.labels(p), p) for p in places]
    texts = layout.texts_of_cohort(results)
    assert ("splits_final.json" in texts) == (patients > 1)
    splits = json.loads(texts.get("splits_final.json", "[]"))
    assert len(splits) == (min(5, patients) if patients > 1 else 0)
    for split in splits:
        sides = [{case.split("_")[0] for case in split[side]} for side in ("train", "val")]
        assert all(sides)
        assert not sides[0] & sides[1]
        assert max(len(s["val"]) for s in splits) - min(len(s["val"]) for s in splits) <= 2  # cases: one patient
    assert sorted(case for split in splits for case in split["val"]) == (
        sorted(f"p{n}_{s}" for n in range(patients) for s in "ab") if splits else []
    )


def _with_labels(path: str, where: Place) -> CaseResult:
    return CaseResult("", where, "DONE", (), (CaseOutput(path, 1, ""),), {})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ((), "there are none"),
        ((DatasetLabel("liver", 1), DatasetLabel("spleen", 3)), "consecutive"),
        ((DatasetLabel("liver", 1), DatasetLabel("liver", 2)), "liver"),
        ((DatasetLabel("background", 1),), "background"),
        ((DatasetLabel("ignore", 1), DatasetLabel("spleen", 2)), "highest"),
    ],
)
def test_labels_that_nnunet_does_not_take_are_refused(labels: tuple[DatasetLabel, ...], words: str) -> None:
    with pytest.raises(PipelineError, match=words) as caught:
        LAYOUTS["nnunet"](LayoutSettings("x", labels))
    assert caught.value.finding.code is Code.BAD_OPTION


def _spoil_json(out: Path, **changes: object) -> None:
    path = out / "dataset.json"
    dataset = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in dataset.items() if value is not None}))


def _edit_labels(out: Path, offset: int, value: bytes) -> None:
    path = next((out / "labelsTr").glob("*.nii.gz"))
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[offset : offset + len(value)] = value
    path.write_bytes(gzip.compress(bytes(content)))


def _rename_case(out: Path) -> None:
    for path in [*out.glob("*Tr/c*")]:
        path.rename(path.with_name(path.name.replace("c", "c-", 1)))


def _spoil_split(out: Path) -> None:
    splits = json.loads((out / "splits_final.json").read_text())
    splits[0]["train"] += splits[0]["val"]
    (out / "splits_final.json").write_text(json.dumps(splits))


def test_each_check_of_nnunet_finds_what_it_is_for(tmp_path: Path) -> None:
    """Every number of the list that a file can break; what breaks it is done to a fresh copy."""
    good = tmp_path / "good"
    _nnunet(good, [MadeCase(place(s)) for s in "abc"])
    assert problems_of(good) == []
    faults = {
        1: lambda out: (out / "dataset.json").unlink(),
        2: lambda out: shutil.rmtree(out / "labelsTr"),
        3: lambda out: _spoil_json(out, file_ending=None),
        4: lambda out: _spoil_json(out, numTraining=4),
        5: lambda out: (out / "labelsTr/a.nii.gz").unlink(),
        6: lambda out: _spoil_json(out, labels={"background": 0, "liver": [1, 2], "spleen": 2}),
        7: lambda out: _spoil_json(out, labels={"background": 0, "liver": 1, "spleen": 2, "kidney": 4}),
        8: lambda out: (out / "labelsTr/a.nii.gz").write_bytes(b"no image"),
        9: lambda out: _edit_labels(out, 352, b"\x07"),
        11: lambda out: _edit_labels(out, 42, b"\x0c\0"),
        12: lambda out: _edit_labels(out, 80, b"\0\0\0\x40"),
        13: lambda out: _spoil_json(out, channel_names={"0": "CT", "1": "PT"}),
        14: lambda out: [_edit_labels(out, at, b"\0\0\0\x40") for at in (268, 292)],
        16: lambda out: _edit_labels(out, 280, b"\x01"),
        17: _spoil_split,
        18: _rename_case,
        19: lambda out: (
            (out / "imagesTs").mkdir(),
            shutil.copy(out / "imagesTr/a_0000.nii.gz", out / "imagesTs"),
        ),
    }
    for number, fault in faults.items():
        out = tmp_path / f"fault{number}"
        shutil.copytree(good, out)
        fault(out)
        found = problems_of(out)
        assert any(problem.startswith(f"{number}:") for problem in found), (number, found)


# BIDS


def test_a_data_set_of_bids_passes_its_validator(tmp_path: Path) -> None:
    """CT and PET, which BIDS has no place for or not without more, MR of several contrasts, masks and label maps."""
    out = tmp_path / "out"
    cases = [
        *_cases(in_one=True)[:3],
        MadeCase(place("M1"), images=(("MR", "t1_mprage"), ("MR", "T2 FLAIR")), in_one=False),
        MadeCase(place("M2", "day-1", "a", alone=False), images=(("MR", "AX T2"),)),
        MadeCase(place("M2", "day-1", "b", alone=False), images=(("MR", "AX T2"),), in_one=False),
        MadeCase(place("P"), images=(("PT", "whole body"),), masks=()),
    ]
    write_dataset(out, LAYOUTS["bids"](SETTINGS), cases, tmp_path / "dicom")
    for name in ("cohort.tsv", "cohort.html", ".verimask/index.sqlite"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("")
    assert errors_of(out) == []
    assert (out / ".bidsignore").read_text().split() == ["cohort.*", ".verimask", "ct", "pet"]
    assert "ct/, pet/" in (out / "README.md").read_text()
    (out / "sub-M1/anat/sub-M1_T9w.nii.gz").write_bytes(b"")
    (out / "derivatives/verimask/sub-M1/anat/liver.nii.gz").write_bytes(b"")
    (out / ".bidsignore").write_text("cohort.*\n.verimask\n")
    found = " ".join(errors_of(out))
    assert all(part in found for part in ("T9w", "derivatives/verimask/sub-M1/anat/liver.nii.gz", "/ct/", "pet.nii.gz"))


def test_a_space_without_reference_is_an_error_of_bids(tmp_path: Path) -> None:
    """So the sidecar at the root of the derivative is needed, and it is seen."""
    cases = [MadeCase(place("M"), images=(("MR", "t1"),), in_one=False)]
    write_dataset(tmp_path / "out", LAYOUTS["bids"](SETTINGS), cases, tmp_path / "dicom")
    assert errors_of(tmp_path / "out") == []
    (tmp_path / "out/derivatives/verimask/space-orig_mask.json").unlink()
    assert {error.split()[1] for error in errors_of(tmp_path / "out")} == {"SpatialReference"}


@pytest.mark.parametrize(
    ("description", "suffix"),
    [
        ("t1_mprage_sag_p2_iso", "T1w"), ("AX T1 FSE +C", "T1w"), ("sT1W_3D_TFE", "T1w"), ("MP-RAGE", "T1w"),
        ("AX_T2_PROPELLER", "T2w"), ("t2w tse", "T2w"), ("T2 FLAIR", "FLAIR"), ("t2_tirm_dark-fluid", "FLAIR"),
        ("t2_star gre", "T2starw"), ("T2* axial", "T2starw"), ("PD fs sag", "PDw"),
    ],
)  # fmt: skip
def test_a_description_that_names_one_contrast_is_its_suffix(description: str, suffix: str) -> None:
    assert suffix_of(CaseImage(0, "", "MR", description)) == suffix


@pytest.mark.parametrize(
    "image",
    [
        CaseImage(0, "", "MR", ""),
        CaseImage(0, "", "MR", "series 4"),
        CaseImage(0, "", "MR", "T1 and T2"),
        CaseImage(0, "", "MR", "T1 FLAIR"),
        CaseImage(0, "", "MR", "PD T2 dual"),
        CaseImage(0, "", "MR", "ep2d_diff_trace T2"),
        CaseImage(0, "", "MR", "T1 MAP"),
        CaseImage(0, "", "MR", "ADC"),
        CaseImage(0, "", "MR", "ST10 sequence"),
        CaseImage(0, "contrast", "MR", "t1 mprage"),
    ],
)
def test_an_unknown_contrast_is_refused(image: CaseImage) -> None:
    with pytest.raises(PipelineError) as caught:
        LAYOUTS["bids"](SETTINGS).image(place("S"), image)
    assert caught.value.finding.code is Code.UNKNOWN_CONTRAST
    assert "[[channels]]" in caught.value.finding.hint


def test_a_channel_that_is_named_by_a_suffix_has_it() -> None:
    assert [suffix_of(CaseImage(0, suffix.upper(), "MR", "t1")) for suffix in SUFFIXES] == list(SUFFIXES)


def test_the_descriptions_of_both_data_sets(tmp_path: Path) -> None:
    write_dataset(tmp_path / "out", LAYOUTS["bids"](SETTINGS), [MadeCase(place("S_1"))], tmp_path / "dicom")
    raw, masks = (
        json.loads((tmp_path / "out" / folder / "dataset_description.json").read_text())
        for folder in ("", "derivatives/verimask")
    )
    assert (raw["DatasetType"], masks["DatasetType"]) == ("raw", "derivative")
    assert masks["SourceDatasets"] == [{"URL": "../.."}]
    assert (tmp_path / "out/participants.tsv").read_text() == "participant_id\nsub-S1\n"
