"""Write the files of one case, and say what came of each.

Rules:
- All or what is whole: an image that is refused refuses the case; a mask that is refused, a label that is missing and a mask
  that no label fits make it INCOMPLETE, and the layout says whether an incomplete case has files.
- What is written lies below a folder that mirrors the output folder, with its record beside it, and names no patient.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ...conversion.merge_products import masks_of
from ...conversion.product import Product
from ...conversion.prov import digest_of_set
from ...conversion.public_record import publish_product
from ...conversion.record import Outcome, sidecar_of, write_record
from ...core.atomic_file import in_place
from ...core.codes import Code
from ...core.findings import Finding, PipelineError, Severity
from ...crosscheck.panel import Panel
from ...dicom.source_file import sha256
from ..case import Case, CaseOutput, CaseResult, CaseSeries, CaseStatus, TableRow
from ..case_rows import finding_cells, label_cells, label_row, series_row, written_cells
from ..dataset import dataset_of
from ..labels.label_cases import INCOMPLETE_CODES, LabelledCase, apply, separate
from ..labels.label_map import LabelMap
from ..layouts.layout import CaseImage
from ..plan import CohortOptions
from ..privacy import Cleaner
from ..public_rows import MASK
from ..table import write_text
from .convert_case import (
    CaseProducts,
    MemberMask,
    image_policy,
    make_products,
    refuse_other_header,
    write_product,
)

_LACKING = Finding(Code.EMPTY_ROI, "it has no voxel on this image, and no mask came of it", severity=Severity.INFO)
_PART_LOST = frozenset({Code.CONTOUR_OUTSIDE})  # of a mask that is written all the same
_OF_FILES = ("verdict", "voxels", "ml", "grid", "output", "sha256", "inputs_sha256")  # columns of what was written


class CaseWriter:
    """Writes one case below `tree`. key: of the case."""

    def __init__(self, case: Case, key: str, options: CohortOptions, panel: Panel, tree: Path) -> None:
        self._case, self._key, self._options, self._panel, self._tree = case, key, options, panel, tree
        self._layout, self._label_map = dataset_of(options)
        self._cleaner = Cleaner(dict.fromkeys(case.identifiers, case.place.subject))
        self._inputs: dict[str, str] = {}
        self._rows: list[TableRow] = []
        self._is_whole = True

    def write(self) -> CaseResult:
        """Convert and write the case. Raises PipelineError for what refuses it as a whole."""
        made = make_products(self._case, self._options.policy)
        for refused in made.refused:
            self._lack(refused.member, refused.error.finding)
        for lacking in made.lacking:
            row = series_row(self._case, lacking.member, "mask", self._cleaner.clean)
            self._rows.append(row | {"mask": self._cleaner.clean(lacking.name)} | finding_cells(_LACKING, str))
        has_masks = bool(made.masks)
        images = [self._write_image(member, product, made, has_masks) for member, product in made.images]
        if self._case.masks and not has_masks:  # nothing is left of the pair
            return self._result("REFUSED")
        if self._label_map is None:
            self._write_files(made.masks, images[0], made)
        elif made.masks and not self._write_labels(made, self._label_map, images[0]):
            return self._result("REFUSED")
        if not self._case.masks:
            return self._result("NO_MASK")
        return self._result("DONE" if self._is_whole else "INCOMPLETE")

    def _write_image(self, member: CaseSeries, product: Product, made: CaseProducts, has_masks: bool) -> Path:
        image = CaseImage(member.channel, member.channel_name, member.modality, member.description, has_masks)
        path = self._layout.image(self._case.place, image)
        policy = image_policy(self._options.policy)
        outcome = write_product(product, self._tree / path, policy, self._panel, made.looks)
        row = series_row(self._case, member, "image", self._cleaner.clean)
        row |= self._written(outcome, product, path, made)
        if member.key in made.of_several:
            row |= finding_cells(made.of_several[member.key], self._cleaner.clean)
        self._rows.append(row)
        return outcome.output

    def _write_files(self, masks: Sequence[MemberMask], image: Path, made: CaseProducts) -> None:
        """Write each mask as a file of its own."""
        clean, policy = self._cleaner.clean, self._options.policy
        names = [mask.public_name(policy) for mask in masks]
        strips = policy.strips_names and self._label_map is None  # labels of labels.toml have names of the user's own
        stems = self._layout.mask_names([MASK if strips else clean(name) for name in names])
        for mask, name, stem in zip(masks, names, stems, strict=True):
            path = self._layout.mask(self._case.place, stem)
            row = series_row(self._case, mask.member, "mask", clean)
            try:
                outcome = write_product(mask.product, self._tree / path, self._options.policy, self._panel, made.looks)
            except PipelineError as error:
                self._lack(mask.member, error.finding, clean(name))
                continue
            refuse_other_header(image, outcome.output)
            row |= self._written(outcome, mask.product, path, made)
            labels = outcome.labels or ()
            for label in labels:
                named = {"mask": clean(name)}
                if len(labels) > 1:
                    named = {"mask": clean(label.name), "label": str(label.value)}
                self._rows.append(row | named | label_cells(label))
            if not labels:  # kept fractions
                self._rows.append(row | {"mask": clean(name)})

    def _write_labels(self, made: CaseProducts, label_map: LabelMap, image: Path) -> bool:
        """Write the masks that have a label, as one label map or a file each. Returns whether there is one."""
        products = [mask.product for mask in made.masks]
        apply_map = separate if self._options.separate else apply
        publish = partial(publish_product, policy=self._options.policy)
        labelled = apply_map(products, label_map, self._cleaner.clean, publish)
        members: dict[str, list[CaseSeries]] = {}
        for mask in labelled.masks:
            member = made.masks[mask.product].member
            if mask.match.label is not None and member not in members.setdefault(mask.match.label.name, []):
                members[mask.match.label.name].append(member)
        findings = [*labelled.findings]
        if self._options.separate:
            alone = [MemberMask(members[product.volume.name][0], product) for product in labelled.products]
            self._write_files(alone, image, made)
        else:
            for product in labelled.products:
                findings += self._write_label_map(product, members, image, made)
        self._report_labels(dict.fromkeys(findings), labelled, made)
        return bool(labelled.products)

    def _write_label_map(
        self, product: Product, members: Mapping[str, Sequence[CaseSeries]], image: Path, made: CaseProducts
    ) -> tuple[Finding, ...]:
        """Write one label map. members: the series of each label. Returns what is to be known of it."""
        path = self._layout.labels(self._case.place)
        outcome = write_product(product, self._tree / path, self._options.policy, self._panel, made.looks)
        refuse_other_header(image, outcome.output)
        written = self._written(outcome, product, path, made)
        named = {segment.number: segment.name for segment in masks_of([product])[0].segments}
        for label in outcome.labels or ():
            name = named[label.value]  # where names are stripped, the record has another
            for n, member in enumerate(members[name]):  # of a label that was joined of several, one row each
                row = series_row(self._case, member, "mask", self._cleaner.clean) | written
                counted = label_cells(label) if n == 0 else {}
                self._rows.append(row | {"mask": name, "label": str(label.value)} | counted)
        return outcome.findings

    def _report_labels(self, findings: Iterable[Finding], labelled: LabelledCase, made: CaseProducts) -> None:
        """Add a row for every mask that no label fits, and for every label that is missing or not where it should be."""
        clean = self._cleaner.clean
        for finding in findings:
            cells = finding_cells(finding, clean)
            self._is_whole &= finding.code not in INCOMPLETE_CODES
            way = {Code.MASK_UNMATCHED: "", Code.MASK_IGNORED: "ignored"}.get(finding.code)
            if way is None:
                if finding.code in INCOMPLETE_CODES:
                    self._rows.append(label_row(self._case, finding.where[0]) | cells)
                continue
            for mask in labelled.masks:
                if mask.match.way == way:
                    row = series_row(self._case, made.masks[mask.product].member, "mask", clean)
                    self._rows.append(row | {"mask": clean(mask.name)} | cells)

    def _written(self, outcome: Outcome, product: Product, path: str, made: CaseProducts) -> TableRow:
        """Clean the record of what was written, and return what its rows say of it."""
        record = self._cleaner.clean_record(outcome.record)
        if record != outcome.record:
            with in_place(sidecar_of(outcome.output), overwrite=True) as part:
                write_record(part, record)
        digests = {str(file): digest for file, digest in made.looks.digests(file for _, file in product.files).items()}
        self._inputs |= digests
        self._is_whole &= not any(finding.code in _PART_LOST for finding in outcome.findings)
        together = digest_of_set(digests.values())
        return written_cells(outcome, path, together, self._cleaner.clean)

    def _lack(self, member: CaseSeries, finding: Finding, name: str = "") -> None:
        """Add the row of a mask that is refused."""
        self._is_whole = False
        row = series_row(self._case, member, "mask", self._cleaner.clean)
        self._rows.append(row | {"mask": name, "verdict": "REFUSED"} | finding_cells(finding, self._cleaner.clean))

    def _result(self, status: CaseStatus) -> CaseResult:
        """Say what came of the case, and list its files; those of one that has none are removed."""
        rule = self._options.incomplete
        leaves_out = self._layout.leaves_out_incomplete if rule == "layout" else rule == "leave-out"
        if status == "REFUSED" or (status == "INCOMPLETE" and leaves_out):
            shutil.rmtree(self._tree)
            self._tree.mkdir()
            why = (
                "The case is refused."
                if status == "REFUSED"
                else "The layout holds whole cases only; --incomplete keep has others too."
            )
            self._rows = [_as_not_written(row, why) for row in self._rows]
        rows = tuple({**row, "status": status} for row in self._rows)
        result = CaseResult(
            self._key, self._case.place, status, rows, self._outputs(), dict(sorted(self._inputs.items()))
        )
        for path, text in self._layout.texts_of_case(result).items():
            write_text(self._tree / path, text)
        return result._replace(outputs=self._outputs())

    def _outputs(self) -> tuple[CaseOutput, ...]:
        known = {row["output"]: row["sha256"] for row in self._rows if row.get("output")}
        paths = sorted(path.relative_to(self._tree).as_posix() for path in self._tree.rglob("*") if path.is_file())
        return tuple(
            CaseOutput(path, (self._tree / path).stat().st_size, known.get(path) or sha256(self._tree / path))
            for path in paths
        )


def _as_not_written(row: TableRow, why: str) -> TableRow:
    """The row of something whose files are not kept. why: where the row has no reason of its own."""
    kept = {name: text for name, text in row.items() if name not in _OF_FILES}
    own = {} if row.get("verdict") == "REFUSED" or row.get("code") else {"message": why}
    return kept | ({"verdict": "REFUSED"} if row.get("verdict") == "REFUSED" else {}) | own
