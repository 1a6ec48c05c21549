"""Pair the masks and images of a folder as nnU-Net names them: imagesTr/CASE_0000.nii.gz and labelsTr/CASE.nii.gz.

Rules:
- A mask has one image per channel, numbered by four digits; each of them makes a pair to be checked.
- A file without a partner is named, never passed over.
- The labels a data set declares hold for every mask in its own folders, however the mask was named to the command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.findings import Code, Finding, PipelineError, refuse
from ..core.given_path import list_input, look_at_input
from ..core.json_file import read_json

_ENDINGS = (".nii.gz", ".nii")
_FOLDERS = (("labelsTr", "imagesTr"), ("labelsTs", "imagesTs"))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Files to be checked. pairs: (mask, image), by name. alone: a finding for every file without a partner."""

    pairs: tuple[tuple[Path, Path], ...]
    alone: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """The values a data set allows in its masks, ascending, background too. file: the name of the file that lists them."""

    values: tuple[int, ...]
    file: str


def pair_dataset(folder: Path) -> Pairs:
    """Find all pairs of an nnU-Net data set folder: labelsTr with imagesTr, labelsTs with imagesTs.

    Raises PipelineError NO_SUCH_INPUT where neither is there, NOTHING_TO_CHECK where they are empty.
    """
    found = [
        (folder / m, folder / i)
        for m, i in _FOLDERS
        if look_at_input(folder / m).is_folder and look_at_input(folder / i).is_folder
    ]
    if not found:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{folder.name} has neither labelsTr and imagesTr nor labelsTs and imagesTs",
            "Give the folder of an nnU-Net data set, or the folder of masks and the folder of images.",
            where=(folder.name,),
        )
    each = [_pair(masks, images) for masks, images in found]
    both = Pairs(tuple(p for e in each for p in e.pairs), tuple(f for e in each for f in e.alone))
    return _require_files(both, (folder,))


def pair_folders(masks: Path, images: Path) -> Pairs:
    """Pair every mask of one folder with its images of another: CASE with CASE_0000, CASE_0001, …, or with CASE itself.

    Raises PipelineError NO_SUCH_INPUT where `images` is no folder, NOTHING_TO_CHECK where both are empty.
    """
    if not look_at_input(images).is_folder:
        words = f"{masks.name} is a folder, and {images.name} is " + (
            "none" if look_at_input(images).is_there else "not there"
        )
        raise refuse(
            Code.NO_SUCH_INPUT,
            words,
            "Give two files, or the folder of masks and the folder of images.",
            where=(masks.name, images.name),
        )
    return _require_files(_pair(masks, images), (masks, images))


def declared_labels(mask: Path) -> Labels | None:
    """Read the labels of the data set that a mask lies in, known by its folder's name; None where there is none.

    Raises PipelineError BAD_DATASET for a dataset.json that cannot be understood.
    """
    folder = mask.absolute().parent
    file = folder.parent / "dataset.json"
    if folder.name not in {masks for masks, _ in _FOLDERS} or not look_at_input(file).is_there:
        return None
    try:
        record = read_json(file)
        labels = record.get("labels") if isinstance(record, dict) else None
        if not isinstance(labels, dict) or not labels:
            raise ValueError("it holds no “labels”")
        return Labels(tuple(sorted({0, *_read_numbers(labels)})), file.name)
    except (OSError, ValueError) as error:
        raise _refuse_dataset(file, error) from error


def _read_numbers(labels: dict[str, Any]) -> list[int]:
    """Read the numbers of labels: {"liver": 1, "whole": [1, 2]}, or as version 1 of nnU-Net writes it, {"1": "liver"}.

    Raises ValueError for one that is no whole number from 0 on.
    """
    if all(name.isdecimal() for name in labels) and not any(str(value).isdecimal() for value in labels.values()):
        return [int(name) for name in labels]
    values = [v for value in labels.values() for v in (value if isinstance(value, list) else [value])]
    values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
    odd = [v for v in values if isinstance(v, bool) or not str(v).isdecimal()]
    if odd:
        raise ValueError(f"the label {odd[0]!r} is no whole number from 0 on")
    return [int(v) for v in values]


def _require_files(found: Pairs, folders: tuple[Path, ...]) -> Pairs:
    """Return the pairs. Raises PipelineError NOTHING_TO_CHECK where the folders hold no file at all."""
    if not found.pairs and not found.alone:
        raise refuse(
            Code.NOTHING_TO_CHECK,
            f"there is nothing to check: no file ends in {' or '.join(_ENDINGS)}",
            "Give a mask and its image, the folders of both, or the folder of an nnU-Net data set.",
            where=tuple(folder.name for folder in folders),
        )
    return found


def _pair(masks: Path, images: Path) -> Pairs:
    """Pair the files of two folders by their names, and note which of them have no partner."""
    labels: dict[str, Path] = {}
    found, alone, used = [], [], set()
    for path in _list_files(masks):
        if labels.setdefault(_stem(path), path) != path:
            alone.append(_without_partner(path, f"{labels[_stem(path)].name} has the same name"))
    for path in _list_files(images):
        stem = _stem(path)
        case = stem if stem in labels else re.sub(r"_\d{4}$", "", stem)
        if case in labels:
            used.add(case)
            found.append((labels[case], path))
        else:
            alone.append(_without_partner(path, "no mask is called " + case))
    unused = {case: path for case, path in labels.items() if case not in used}
    alone += [_without_partner(path, f"no image is called {case}_0000") for case, path in unused.items()]
    return Pairs(tuple(sorted(found)), tuple(alone))


def _list_files(folder: Path) -> list[Path]:
    return [p for p in list_input(folder) if p.name.endswith(_ENDINGS) and not p.name.startswith(".")]


def _stem(path: Path) -> str:
    return next(path.name[: -len(e)] for e in _ENDINGS if path.name.endswith(e))


def _without_partner(path: Path, reason: str) -> Finding:
    words = f"{path.parent.name}/{path.name} has no partner: {reason}"
    hint = "Add its partner, or correct its name: CASE.nii.gz for a mask, CASE_0000.nii.gz for its first channel."
    return Finding(Code.UNPAIRED, words, hint, where=(path.name,))


def _refuse_dataset(file: Path, error: Exception) -> PipelineError:
    return refuse(
        Code.BAD_DATASET,
        f"{file.name} of {file.parent.name} cannot be understood: {error}",
        'nnU-Net wants {"labels": {"background": 0, "liver": 1}} in it.',
        where=(file.name,),
    )
