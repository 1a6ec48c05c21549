"""Name files as BIDS: images as raw data, masks as a derivative data set in derivatives/verimask.

Rules:
- Labels of entities are letters and digits: sub-LABEL[/ses-LABEL]/FOLDER/sub-LABEL[_ses-LABEL][_acq-CASE][_run-N]_SUFFIX.
- MR images are anat, by their contrast. BIDS 1.11 has no CT (BEP024 is a proposal) and wants of PET what no DICOM series must
  hold; these and other modalities get a folder of their own modality, which .bidsignore names, and the README says so.
- Masks are anat of the derivative, in the space of their image (space-orig): _label-NAME_mask, or _dseg with its table.
- Records are the sidecars. What they do not say for the whole derivative (SpatialReference) stands once at its root.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...conversion.file_names import safe
from ...core.plain_text import escape_json, escape_text
from ...core.version import __version__
from ..case import CaseResult, Place
from ..plan import PRIVATE
from .contrasts import suffix_of
from .distinct_names import distinct_places, numbered_names
from .label_names import dseg_tsv_of_case
from .layout import CaseImage, LayoutSettings

_VERSION = "1.11.1"  # of the specification
_DERIVATIVE = "derivatives/verimask"
_FOLDERS = {"MR": "anat", "PT": "pet"}
_NOT_BIDS = ("cohort.*", PRIVATE)
# What holds of every mask, by the inheritance principle; each record adds what is true of its own.
_SIDECAR = {"Description": "Drawn on the image of the same name, and on its voxel grid", "SpatialReference": "orig"}
_README = """# {name}

Images and masks converted from DICOM by verimask {version}, arranged as BIDS {bids}.

Images are in sub-*/; the masks drawn on them are in derivatives/verimask/, on the same voxel grids. Beside every file lies
its record (.json), which says what it was made from and how that was proven. cohort.tsv lists every series.
"""
_IGNORED = """
These folders are left out of validation by .bidsignore, since BIDS {bids} has no place for their modality, or requires
metadata that the images do not hold: {folders}.
"""


class BidsLayout:
    """The layout `bids`."""

    name = "bids"
    needs_labels = False
    leaves_out_incomplete = False

    def __init__(self, settings: LayoutSettings) -> None:
        self.settings = settings

    def fit_places(self, places: Sequence[Place]) -> tuple[Place, ...]:
        """Labels of letters and digits."""
        return distinct_places(places, _fit, _stem, mark="")

    def mask_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Labels of letters and digits."""
        return numbered_names(names, _fit, mark="")

    def image(self, place: Place, image: CaseImage) -> str:
        """sub-01/anat/sub-01_T1w.nii.gz. Raises PipelineError UNKNOWN_CONTRAST for an MR image without a known suffix."""
        folder = _FOLDERS.get(image.modality, _fit(image.modality).casefold() or "image")
        suffix = suffix_of(image) if image.modality == "MR" else folder
        run = f"_run-{image.channel + 1}" if image.channel and not (image.modality == "MR" and image.name) else ""
        return f"{_folder(place)}/{folder}/{_stem(place)}{run}_{suffix}.nii.gz"

    def labels(self, place: Place) -> str:
        """derivatives/verimask/sub-01/anat/sub-01_space-orig_dseg.nii.gz."""
        return f"{_DERIVATIVE}/{_folder(place)}/anat/{_stem(place)}_space-orig_dseg.nii.gz"

    def mask(self, place: Place, name: str) -> str:
        """derivatives/verimask/sub-01/anat/sub-01_space-orig_label-NAME_mask.nii.gz."""
        return f"{_DERIVATIVE}/{_folder(place)}/anat/{_stem(place)}_space-orig_label-{name}_mask.nii.gz"

    def texts_of_case(self, result: CaseResult) -> Mapping[str, str]:
        """The table of the labels (_dseg.tsv), where there is a label map."""
        return dseg_tsv_of_case(self.labels(result.place), self.settings, result)

    def texts_of_cohort(self, results: Iterable[CaseResult]) -> Mapping[str, str]:
        """Descriptions of both data sets, participants.tsv, README and .bidsignore."""
        raw, masks = set[str](), set[str]()
        for result in results:
            paths = [output.path for output in result.outputs if output.path.endswith(".nii.gz")]
            masks.update(path for path in paths if path.startswith(_DERIVATIVE))
            raw.update(path for path in paths if path.startswith("sub-"))
        subjects = sorted({path.split("/")[0] for path in raw} | {path.split("/")[2] for path in masks})
        ignored = sorted({path.split("/")[-2] for path in raw} - {"anat"})
        readme = _README.format(name=self.settings.name, version=__version__, bids=_VERSION)
        if ignored:
            folders = ", ".join(f"{folder}/" for folder in ignored)
            readme += _IGNORED.format(bids=_VERSION, folders=folders)
        texts = {
            "dataset_description.json": _text(self._description("raw")),
            "participants.tsv": "".join(f"{line}\n" for line in ("participant_id", *subjects)),
            "README.md": escape_text(readme),
            ".bidsignore": "".join(f"{line}\n" for line in (*_NOT_BIDS, *ignored)),
        }
        if masks:
            texts |= self._derivative(masks)
        return texts

    def _derivative(self, masks: Iterable[str]) -> dict[str, str]:
        """Texts of the derivative. masks: paths of all of its masks and label maps."""
        suffixes = sorted({path.rsplit("_", 1)[1].removesuffix(".nii.gz") for path in masks})
        readme = (
            f"# Masks of {self.settings.name}\n\nMade by verimask {__version__}; each lies on the grid of its image.\n"
        )
        return {
            f"{_DERIVATIVE}/dataset_description.json": _text(self._description("derivative")),
            f"{_DERIVATIVE}/README.md": escape_text(readme),
            **{f"{_DERIVATIVE}/space-orig_{s}.json": _text(_SIDECAR) for s in suffixes},
        }

    def _description(self, kind: str) -> dict[str, Any]:
        """dataset_description.json (BIDS, dataset description). kind: raw or derivative."""
        description: dict[str, Any] = {
            "Name": self.settings.name if kind == "raw" else f"Masks of {self.settings.name}",
            "BIDSVersion": _VERSION,
            "DatasetType": kind,
            "GeneratedBy": [{"Name": "verimask", "Version": __version__}],
        }
        if kind == "derivative":
            description["SourceDatasets"] = [{"URL": "../.."}]
            description["DatasetLinks"] = {"raw": "../.."}
        return description


def _folder(place: Place) -> str:
    return f"sub-{place.subject}" + (f"/ses-{place.session}" if place.session else "")


def _stem(place: Place) -> str:
    return _folder(place).replace("/", "_") + ("" if place.alone else f"_acq-{place.name}")


def _fit(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "", safe(name))


def _text(value: Any) -> str:
    return escape_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"
