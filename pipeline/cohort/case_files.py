"""Write the files of one case, and say what came of each.

Rules:
- All or what is whole: an image that is refused refuses the case; a mask that is refused, a label that is missing and a mask
  that no label fits make it INCOMPLETE, and the layout says whether an incomplete case has files.
- What is written lies below a folder that mirrors the output folder, with its record beside it, and names no patient.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from hashlib import sha256 as new_digest
from pathlib import Path
from typing import Any

from ..conversion.product import Product
from ..conversion.record import Outcome, sidecar_of, write_record
from ..core.codes import Code
from ..core.findings import Finding
from ..core.json_file import read_json
from ..crosscheck.panel import Panel
from ..dicom.source_file import sha256
from ..volume.label_table import LabelRow
from .case import Case, CaseOutput, CaseResult, CaseSeries, CaseStatus, TableRow
from .case_rows import finding_cells, label_cells, series_row, written_row
from .convert_case import (
    CaseMask,
    CaseProducts,
    image_policy,
    make_products,
    refuse_other_header,
    write_product,
)
from .dataset import dataset_of
from .label_cases import label_case, separate
from .layouts.layout import CaseImage
from .plan import CohortOptions
from .privacy import Cleaner


class CaseWriter:
    """Writes one case below `tree`. key: of the case."""

    def __init__(self, case: Case, key: str, options: CohortOptions, panel: Panel, tree: Path) -> None:
        self._case, self._key, self._options, self._panel, self._tree = case, key, options, panel, tree
        self._layout, self._label_map = dataset_of(options)
        self._cleaner = Cleaner(case.identifiers, case.place.subject)
        self._inputs: dict[str, str] = {}
        self._rows: list[TableRow] = []
        self._is_whole = True

    def write(self) -> CaseResult:
        """Convert and write the case. Raises PipelineError for what refuses it as a whole."""
        made = make_products(self._case, self._options.policy)
        for refused in made.refused:
            self._lack(refused.member, refused.error.finding)
        has_masks = bool(made.masks)
        images = [self._write_image(member, product, made, has_masks) for member, product in made.images]
        if self._case.masks and not has_masks:  # nothing is left of the pair
            return self._result("REFUSED")
        if self._label_map is None:
            self._write_files(made.masks, [mask.name for mask in made.masks], images[0], made)
        elif made.masks:
            self._write_labels(made, images[0])
        if not self._case.masks:
            return self._result("NO_MASK")
        return self._result("DONE" if self._is_whole else "INCOMPLETE")

    def _write_image(self, member: CaseSeries, product: Product, made: CaseProducts, has_masks: bool) -> Path:
        image = CaseImage(member.channel, member.channel_name, member.modality, member.description, has_masks)
        path = self._layout.image(self._case.place, image)
        policy = image_policy(self._options.policy)
        outcome = write_product(product, self._tree / path, policy, self._panel, made.looks)
        row = series_row(self._case, member, "image", self._cleaner.clean)
        self._rows.append(self._written(row, outcome, product, path, made))
        return outcome.output

    def _write_files(self, masks: Sequence[CaseMask], names: Sequence[str], image: Path, made: CaseProducts) -> None:
        """Write each mask as a file of its own."""
        clean = self._cleaner.clean
        for mask, name in zip(masks, self._layout.mask_names([clean(name) for name in names]), strict=True):
            path = self._layout.mask(self._case.place, name)
            row = series_row(self._case, mask.member, "mask", clean)
            try:
                outcome = write_product(mask.product, self._tree / path, self._options.policy, self._panel, made.looks)
            except PipelineError as error:
                self._lack(mask.member, error.finding, clean(mask.name))
                continue
            refuse_other_header(image, outcome.output)
            row = self._written(row, outcome, mask.product, path, made)
            labels = outcome.labels or ()
            for label in labels:
                of_several = {"label": str(label.value)} if len(labels) > 1 else {}
                named = clean(label.name if len(labels) > 1 else mask.name)
                self._rows.append(row | {"mask": named} | of_several | label_cells(label))
            if not labels:  # kept fractions
                self._rows.append(row | {"mask": clean(mask.name)})
