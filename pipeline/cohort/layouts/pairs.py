"""Name files as pairs: a folder a subject, in it image.nii.gz and the masks that lie on it.

Rules:
- SUBJECT[/SESSION][/CASE]/image.nii.gz; CASE only where a session has several. Further channels are image_1.nii.gz and on.
- Masks beside it: NAME.nii.gz each, or all in labels.nii.gz, with their names in labels_dseg.tsv.
- No name is reserved by Windows, and no two paths are equal regardless of case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ...conversion.file_names import safe
from ..case import CaseResult, Place
from .distinct_names import distinct_places, numbered_names
from .label_names import dseg_tsv_of_case
from .layout import CaseImage, LayoutSettings

_OUR_NAMES = re.compile(r"image(_\d+)?|labels", re.IGNORECASE)


class PairsLayout:
    """The layout `pairs`."""

    name = "pairs"
    needs_labels = False
    leaves_out_incomplete = False

    def __init__(self, settings: LayoutSettings) -> None:
        self.settings = settings

    def fit_places(self, places: Sequence[Place]) -> tuple[Place, ...]:
        """Names of folders: a dot becomes a hyphen, so that none is called as a file may be."""
        return distinct_places(places, _fit_folder, _folder)

    def mask_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of files; one that is called as our own files are gets the ending _mask."""
        return numbered_names(names, _fit_mask)

    def image(self, place: Place, image: CaseImage) -> str:
        """SUBJECT/image.nii.gz, or image_1.nii.gz of the second channel."""
        return f"{_folder(place)}/image{f'_{image.channel}' if image.channel else ''}.nii.gz"

    def labels(self, place: Place) -> str:
        """SUBJECT/labels.nii.gz."""
        return f"{_folder(place)}/labels.nii.gz"

    def mask(self, place: Place, name: str) -> str:
        """SUBJECT/NAME.nii.gz."""
        return f"{_folder(place)}/{name}.nii.gz"

    def texts_of_case(self, result: CaseResult) -> Mapping[str, str]:
        """The names of the labels, where there is a label map."""
        return dseg_tsv_of_case(self.labels(result.place), self.settings, result)

    def texts_of_cohort(self, results: Iterable[CaseResult]) -> Mapping[str, str]:
        """None: cohort.tsv says it all."""
        return {}


def _folder(place: Place) -> str:
    return "/".join(filter(None, (place.subject, place.session, "" if place.alone else place.name)))


def _fit_folder(name: str) -> str:
    return safe(name.replace(".", "-"))


def _fit_mask(name: str) -> str:
    fitted = safe(name)
    return f"{fitted}_mask" if _OUR_NAMES.fullmatch(fitted) else fitted
