"""Masks and images of a folder in pairs, as nnU-Net names them: imagesTr/CASE_0000.nii.gz and labelsTr/CASE.nii.gz.

Rules:
- A mask has one image per channel, told by four digits; every one of them is a pair to be checked.
- What has no partner is named, never passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.findings import Code, Finding, refuse

_ENDINGS = (".nii.gz", ".nii")
_FOLDERS = (("labelsTr", "imagesTr"), ("labelsTs", "imagesTs"))


@dataclass(frozen=True, slots=True)
class Pairs:
    """pairs: (mask, image), by name. alone: a finding for every file without a partner."""

    pairs: tuple[tuple[Path, Path], ...]
    alone: tuple[Finding, ...]


def pairs_of_dataset(folder: Path) -> Pairs:
    """All pairs of an nnU-Net data set folder: labelsTr with imagesTr, labelsTs with imagesTs.

    Raises PipelineError NO_SUCH_INPUT where neither is there.
    """
    found = [(folder / m, folder / i) for m, i in _FOLDERS if (folder / m).is_dir() and (folder / i).is_dir()]
    if not found:
        raise refuse(
            Code.NO_SUCH_INPUT,
            f"{folder.name} has neither labelsTr and imagesTr nor labelsTs and imagesTs",
            "Give the folder of an nnU-Net data set, or the folder of masks and the folder of images.",
        )
    each = [pairs(masks, images) for masks, images in found]
    return Pairs(tuple(p for e in each for p in e.pairs), tuple(f for e in each for f in e.alone))


def pairs(masks: Path, images: Path) -> Pairs:
    """Every mask of one folder with its images of another: CASE with CASE_0000, CASE_0001, …, or with CASE itself."""
    labels = {_stem(path): path for path in _files(masks)}
    found, alone, used = [], [], set()
    for path in _files(images):
        stem = _stem(path)
        case = stem if stem in labels else re.sub(r"_\d{4}$", "", stem)
        if case in labels:
            used.add(case)
            found.append((labels[case], path))
        else:
            alone.append(_alone(path, "no mask is called " + case))
    alone += [_alone(path, f"no image is called {case}_0000") for case, path in labels.items() if case not in used]
    return Pairs(tuple(sorted(found)), tuple(alone))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.endswith(_ENDINGS) and not p.name.startswith("."))


def _stem(path: Path) -> str:
    return next(path.name[: -len(e)] for e in _ENDINGS if path.name.endswith(e))


def _alone(path: Path, reason: str) -> Finding:
    return Finding(Code.UNPAIRED, f"{path.parent.name}/{path.name} has no partner: {reason}", where=(path.name,))
