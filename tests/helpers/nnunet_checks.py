"""Every check of nnU-Net's verify_dataset_integrity (nnunetv2 2.8.1), rebuilt without torch, and what training asks further.

Its checks, in its order; each has its name in the problems that are found:
1. dataset.json is there; 2. imagesTr and labelsTr are there; 3. labels, channel_names, numTraining and file_ending are keys;
4. imagesTr holds numTraining cases, by its own reading of file names: what ends in file_ending, less _XXXX;
5. every case has labelsTr/CASE + file_ending; 6. LabelManager: a background that is 0, regions_class_order with one entry a
region where there are regions, ignore as the highest value; 7. the values are consecutive from 0; 8. a reader can read the
first image; 9. label maps hold declared values alone; then of each case: 10. no NaN; 11. one shape; 12. one spacing;
13. as many channels as channel_names; 14. one origin and 15. one direction (warnings there, problems here).
Ours: 16. what a reader joins has the same bits of geometry in the header; 17. splits_final.json holds every case once in val,
nothing on two sides, and no patient on two; 18. names are [A-Za-z0-9_]+; 19. imagesTs has no case of imagesTr.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from tests.helpers.nifti_bits import geometry_bits

_REQUIRED = ("labels", "channel_names", "numTraining", "file_ending")


def problems_of(folder: Path, subject_of: Callable[[str], str] | None = None) -> list[str]:
    """What is wrong with a data set; [] where nothing is. subject_of: the patient of a case."""
    if not (folder / "dataset.json").is_file():
        return ["1: there is no dataset.json"]
    missing = [name for name in ("imagesTr", "labelsTr") if not (folder / name).is_dir()]
    if missing:
        return [f"2: there is no folder {name}" for name in missing]
    dataset = json.loads((folder / "dataset.json").read_text("utf-8"))
    missing = [key for key in _REQUIRED if key not in dataset]
    if missing:
        return [f"3: dataset.json lacks {key}" for key in missing]
    ending = dataset["file_ending"]
    cases = _cases(folder / "imagesTr", ending)
    problems = []
    if len(cases) != dataset["numTraining"]:
        problems.append(f"4: numTraining is {dataset['numTraining']}, and there are {len(cases)} cases")
    problems += [
        f"5: {case} has no label map" for case in cases if not (folder / "labelsTr" / (case + ending)).is_file()
    ]
    if not problems:
        problems += _problems_of_labels(dataset)
        for case, images in cases.items():
            problems += _problems_of_case(images, folder / "labelsTr" / (case + ending), dataset)
    problems += _problems_of_names(folder, cases, ending)
    problems += _problems_of_splits(folder, cases, subject_of or (lambda case: case))
    return problems


def _cases(folder: Path, ending: str) -> dict[str, list[Path]]:
    """get_filenames_of_train_images_and_targets: cases of a folder and their images, by channel."""
    files = sorted(path.name for path in folder.iterdir() if path.name.endswith(ending))
    names = sorted({name[: -len(ending) - 5] for name in files})
    return {
        name: [folder / f for f in files if re.fullmatch(re.escape(name) + r"_\d\d\d\d" + re.escape(ending), f)]
        for name in names
    }


def _declared(labels: Mapping[str, Any]) -> list[int]:
    """LabelManager.all_labels, with the ignore label."""
    found = {int(v) for value in labels.values() for v in (value if isinstance(value, list) else [value])}
    return sorted(found)


def _problems_of_labels(dataset: Mapping[str, Any]) -> Iterator[str]:
    labels = dataset["labels"]
    if labels.get("background") != 0:
        yield "6: background is not 0"
    others = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    if any(isinstance(value, list) and len(value) > 1 for value in others.values()):
        order = dataset.get("regions_class_order")
        if order is None or len(order) != len(others):
            yield f"6: regions_class_order is {order}, for {len(others)} regions"
    values = _declared(labels)
    if "ignore" in labels and (not isinstance(labels["ignore"], int) or labels["ignore"] != values[-1]):
        yield "6: ignore has not the highest value"
    if values != list(range(len(values))):
        yield f"7: the values {values} are not consecutive"


def _problems_of_case(images: list[Path], label_map: Path, dataset: Mapping[str, Any]) -> Iterator[str]:
    case = label_map.name
    try:
        read = [SimpleITK.ReadImage(str(path)) for path in [*images, label_map]]
    except RuntimeError as error:
        yield f"8: {case} cannot be read: {error}"
        return
    labels = SimpleITK.GetArrayFromImage(read[-1])
    unexpected = sorted(set(np.unique(labels).tolist()) - set(_declared(dataset["labels"])))
    if unexpected:
        yield f"9: {case} holds {unexpected}"
    if any(np.isnan(SimpleITK.GetArrayFromImage(image).astype(float)).any() for image in read):
        yield f"10: {case} holds NaN"
    if len({image.GetSize() for image in read}) > 1:
        yield f"11: shapes of {case} differ"
    elif len(images) != len(dataset["channel_names"]):
        yield f"13: {case} has {len(images)} channels"
    for number, name in ((12, "Spacing"), (14, "Origin"), (15, "Direction")):
        values = [getattr(image, f"Get{name}")() for image in read]
        if not all(np.allclose(values[0], value) for value in values):
            yield f"{number}: {name} of {case} differs"
    if len({geometry_bits(path) for path in [*images, label_map]}) > 1:
        yield f"16: the headers of {case} differ in their bits"


def _problems_of_names(folder: Path, cases: Mapping[str, Any], ending: str) -> Iterator[str]:
    yield from (f"18: {case} is no name" for case in cases if not re.fullmatch(r"[A-Za-z0-9_]+", case))
    if (folder / "imagesTs").is_dir():
        both = sorted(set(_cases(folder / "imagesTs", ending)) & set(cases))
        yield from (f"19: {case} is in imagesTs too" for case in both)


def _problems_of_splits(folder: Path, cases: Mapping[str, Any], subject_of: Callable[[str], str]) -> Iterator[str]:
    if not (folder / "splits_final.json").is_file():
        if len({subject_of(case) for case in cases}) > 1:
            yield "17: there is no splits_final.json"
        return
    splits = json.loads((folder / "splits_final.json").read_text("utf-8"))
    if sorted(case for split in splits for case in split["val"]) != sorted(cases):
        yield "17: not every case is once in val"
    for number, split in enumerate(splits):
        if sorted([*split["train"], *split["val"]]) != sorted(cases) or not split["train"] or not split["val"]:
            yield f"17: split {number} does not part the cases in two"
        both = {subject_of(case) for case in split["train"]} & {subject_of(case) for case in split["val"]}
        if both:
            yield f"17: split {number} has {sorted(both)} on both sides"
