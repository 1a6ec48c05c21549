"""Name files as the raw data of nnU-Net v2: imagesTr, labelsTr, dataset.json and splits_final.json.

Rules:
- A case is [A-Za-z0-9_]+; its images are CASE_0000.nii.gz, one a channel, and its label map is labelsTr/CASE.nii.gz. Images
  without a mask go to imagesTs. Records lie beside them: nnU-Net takes files that end in file_ending alone.
- Label values are consecutive from 0, as nnU-Net wants them; where one label is a region of several values, all are regions.
- A channel of CT images is called CT, which is what nnU-Net chooses its normalisation by.
- A patient is on one side of every split; which, follows from a hash of the subject's name.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from ...conversion.file_names import safe
from ...core.findings import Code, refuse
from ...core.plain_text import escape_json
from ..case import CaseResult, Place
from .distinct_names import distinct_places, numbered_names
from .layout import CaseImage, DatasetLabel, LayoutSettings

_ENDING = ".nii.gz"
_FOLDS = 5  # nnU-Net trains folds 0 to 4


class NnunetLayout:
    """The layout `nnunet`. Raises PipelineError BAD_OPTION for labels that nnU-Net does not take."""

    name = "nnunet"
    needs_labels = True
    leaves_out_incomplete = True

    def __init__(self, settings: LayoutSettings) -> None:
        _check_labels(settings.labels)
        self.settings = settings

    def fit_places(self, places: Sequence[Place]) -> tuple[Place, ...]:
        """Names of letters, digits and underscores; no two cases have one identifier."""
        return distinct_places(places, _fit, _identifier, mark="_")

    def mask_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of letters, digits and underscores; no file is called by them, since masks are in label maps."""
        return numbered_names(names, _fit, mark="_")

    def image(self, place: Place, image: CaseImage) -> str:
        """imagesTr/CASE_0000.nii.gz, or imagesTs/CASE_0000.nii.gz without a mask."""
        folder = "imagesTr" if image.has_masks else "imagesTs"
        return f"{folder}/{_identifier(place)}_{image.channel:04d}{_ENDING}"

    def labels(self, place: Place) -> str:
        """labelsTr/CASE.nii.gz."""
        return f"labelsTr/{_identifier(place)}{_ENDING}"

    def mask(self, place: Place, name: str) -> str:
        """A data set of nnU-Net has no file a mask: ValueError."""
        raise ValueError(f"nnU-Net has label maps only, and no file for {name}")

    def texts_of_case(self, result: CaseResult) -> Mapping[str, str]:
        """None: dataset.json names the labels of all."""
        return {}

    def texts_of_cohort(self, results: Iterable[CaseResult]) -> Mapping[str, str]:
        """dataset.json, and splits_final.json where there are two patients; nothing without a training case."""
        channels, patients = defaultdict(set), defaultdict(set)
        for result in results:
            for row in result.rows:
                if row.get("role") == "image" and row.get("output"):
                    channels[int(row.get("channel") or 0)].add(row.get("modality", ""))
            if any(output.path == self.labels(result.place) for output in result.outputs):
                patients[result.place.subject].add(_identifier(result.place))
        cases = sorted(case for found in patients.values() for case in found)
        if not cases:
            return {}
        texts = {"dataset.json": _text(self._dataset(channels, len(cases)))}
        if len(patients) > 1:
            texts["splits_final.json"] = _text(_splits(patients))
        return texts

    def _dataset(self, channels: Mapping[int, set[str]], cases: int) -> dict[str, Any]:
        count = max([*channels, len(self.settings.channels) - 1, 0]) + 1
        names = {str(n): _channel(self.settings.channels, n, channels.get(n, set())) for n in range(count)}
        labels = self.settings.labels
        has_regions = any(len(label.region) > 1 for label in labels)
        if not has_regions:  # only the order of regions counts
            labels = tuple(sorted(labels, key=lambda label: label.value))
        values = {label.name: list(label.region) if len(label.region) > 1 else label.value for label in labels}
        dataset: dict[str, Any] = {
            "name": self.settings.name,
            "channel_names": names,
            "labels": {"background": 0, **values},
            "numTraining": cases,
            "file_ending": _ENDING,
        }
        if has_regions:
            dataset["regions_class_order"] = [label.value for label in labels if label.name != "ignore"]
        return dataset


def _check_labels(labels: Sequence[DatasetLabel]) -> None:
    """What nnU-Net's LabelManager and verify_dataset_integrity ask of labels (nnunetv2 2.8.1)."""
    hint = (
        "Give each label of labels.toml a name of its own and the values 1, 2, 3 and so on; “ignore” has the highest."
    )
    if not labels:
        raise refuse(
            Code.BAD_OPTION,
            "the layout nnunet needs labels that hold for all cases, and there are none",
            "Give --labels labels.toml; --labels-draft writes a first one.",
            where=("--labels",),
        )
    values = sorted({0, *(value for label in labels for value in (label.value, *label.region))})
    if values != list(range(len(values))):
        message = f"nnU-Net takes consecutive label values, not {', '.join(map(str, values))}"
        raise refuse(Code.BAD_OPTION, message, hint, where=("--labels",))
    names = [label.name for label in labels]
    doubled = sorted({name for name in names if names.count(name) > 1 or name == "background"})
    if doubled:
        message = (
            f"in a data set of nnU-Net a label cannot be called {', '.join(doubled)}: that name has a value already"
        )
        raise refuse(Code.BAD_OPTION, message, hint, where=("--labels",))
    ignored = [label for label in labels if label.name == "ignore"]
    if ignored and (ignored[0].value != values[-1] or len(ignored[0].region) > 1):
        raise refuse(
            Code.BAD_OPTION, "the label “ignore” of nnU-Net must have the highest value", hint, where=("--labels",)
        )


def _splits(patients: Mapping[str, set[str]]) -> list[dict[str, list[str]]]:
    """Five folds, or one a patient where there are fewer: patients in the order of the hash of their names, in turn."""
    ordered = sorted(patients, key=lambda subject: sha256(subject.encode()).hexdigest())
    cases = sorted(case for found in patients.values() for case in found)
    folds = []
    for fold in range(min(_FOLDS, len(ordered))):
        held_out = {case for subject in ordered[fold::_FOLDS] for case in patients[subject]}
        folds.append({"train": [case for case in cases if case not in held_out], "val": sorted(held_out)})
    return folds


def _channel(names: Sequence[str], channel: int, modalities: set[str]) -> str:
    """The user's name of a channel; without one the modality of its images, all of them where they differ."""
    if channel < len(names) and names[channel]:
        return names[channel]
    return "+".join(sorted(modalities - {""})) or f"channel_{channel}"


def _identifier(place: Place) -> str:
    return "_".join(filter(None, (place.subject, place.session, "" if place.alone else place.name)))


def _fit(name: str) -> str:
    return safe(re.sub(r"\W+", "_", safe(name), flags=re.ASCII).strip("_"))  # again: the strip may leave CON of CON_


def _text(value: Any) -> str:
    """JSON as nnU-Net itself writes it, with the keys in our order."""
    return escape_json(json.dumps(value, indent=4, ensure_ascii=False)) + "\n"
