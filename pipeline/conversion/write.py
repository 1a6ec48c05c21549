"""Turn a product into a file in its place: write it, read it back, cross-check it, record it.

Rules:
- Proof 2 reads the written file back; proof 3 asks other readers. Only then do file and record move into their place.
- Whatever fails leaves no file, and an existing one is never touched unless the policy says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NamedTuple, cast

from ..core.atomic_file import all_in_place
from ..core.findings import Code, Finding, PipelineError
from ..core.leftovers import remove_dead
from ..core.policy import Policy
from ..core.workers import BackgroundCall
from ..core.write_refusals import cannot_write
from ..crosscheck.agreement import Agreement
from ..crosscheck.panel import Panel
from ..dicom.source_file import sha256
from ..nifti import file as nifti
from ..nifti.header import parse_header
from ..nifti.proof import prove, start_read_back
from ..nifti.streams import open_stream
from ..volume.colour import name_type
from ..volume.label_files import label_file, label_text
from ..volume.label_table import Counter, LabelRow, label_table
from ..volume.mask import MaskVolume
from .existing_output import Standing, companions_of, judge
from .input_places import refuse_inputs
from .layout import Layout, lay_out
from .output_path import existing, free_target
from .page_file import check_page_place, page_of
from .product import Product
from .public_record import publish_product
from .record import Outcome, Proofs, Verdict, build_record, sidecar_of, verdict_of, write_record
from .request import Progress, RunDetails
from .witnesses import ask_witnesses, doubts, refuse_disputed

if TYPE_CHECKING:
    from ..core.record_types import Record

_IMAGE_LEVEL = 2  # of ISA-L: 6 % larger than zlib's level 6 on CT, at many times its speed


class _Place(NamedTuple):
    """Where to write, whether to replace what is there, and what is to be known about that.

    gone: what goes with that, see `companions_of`. removed: the names of those that no new one is written in place of.
    """

    path: Path
    overwrite: bool
    findings: tuple[Finding, ...] = ()
    gone: tuple[Path, ...] = ()
    removed: tuple[str, ...] = ()


class _Proven(NamedTuple):
    """A file that was read back. labels: counted as they passed; None for an image. sha256: of its bytes on disk."""

    proofs: Proofs
    labels: tuple[LabelRow, ...] | None
    sha256: str


def finish(product: Product, target: Path, policy: Policy, panel: Panel, details: RunDetails) -> Outcome:
    """Write a product with its record beside it.

    Args:
        product: what is written.
        target: the path that is wanted; the policy may choose one beside it.
        policy: tolerances and choices.
        panel: the witnesses, running.
        details: what is the same for every file of a run.

    Returns: what was done; SKIPPED where the output is there and proven.

    Raises: PipelineError for every refusal; then no file is left.
    """
    files = (*product.files, *(() if details.like is None else (("like", details.like),)))
    paths = [path for _, path in files]
    place = _find_place(target, policy, details, files)
    if isinstance(place, Standing):
        return _pass_over(product, target, place)
    layout = lay_out(publish_product(product, policy), policy, details.like)
    product = layout.product
    _begin_witnesses(product, panel)
    labels = _labels_path(product, place, policy)
    with _open_parts(place, labels) as (image_part, record_part, labels_part):
        hashing = BackgroundCall(partial(details.looks.digests, paths))
        proven = _write_proven(image_part, product, layout, policy, details.progress)
        details.progress("cross-checking", 0, 0)
        agreements = ask_witnesses(product, layout, panel, image_part, policy)
        findings = (*place.findings, *product.findings, *product.late(), *doubts(agreements))
        outcome = Outcome(
            verdict=_verdict(product, agreements, findings, policy),
            output=place.path,
            series=product.series.title,
            shape=layout.shape,
            dtype=name_type(layout.voxels.dtype),
            labels=proven.labels,
            proofs=proven.proofs,
            agreements=agreements,
            findings=findings,
            record=cast("Record", {}),
            folder=product.folder,
            unnamed=product.unnamed,
            removed=place.removed,
        )
        _refuse_empty(product, outcome, policy)
        labels_file = _write_labels(product, labels, labels_part, policy)
        hashing.result()
        hashes = details.looks.digests(paths) | {place.path: proven.sha256}  # still those of what was read
        record = build_record(outcome, product, layout.affine, policy, details, files, hashes, labels_file)
        outcome = replace(outcome, record=write_record(record_part, record))
    details.kept(product, outcome)
    return outcome


def _begin_witnesses(product: Product, panel: Panel) -> None:
    """Have them read while the file is written."""
    if (seen := product.witnessed) is not None:
        panel.begin(seen.frames, voxels=seen.physical is not None, volumes=product.volumes)
    panel.masks.begin([mask.mask_job for mask in product.masks if mask.mask_job is not None])


def _find_place(
    target: Path, policy: Policy, details: RunDetails, files: Sequence[tuple[str, Path]]
) -> Standing | _Place:
    """Find where to write, or what is there already and proven to be the same."""
    page = details.page
    remove_dead(target.parent)
    if policy.write != "suffix":  # which replaces nothing
        refuse_inputs(existing(target, policy, page=True), [path for _, path in files], details.looks)
    if policy.write != "skip" or not (target.exists() or sidecar_of(target).exists()):
        path = free_target(target, policy, page=page, planned=details.planned)
        return _replacing(path, policy, page=page) if policy.write == "overwrite" else _Place(path, False)
    if page:
        check_page_place(page_of(target))
    digests = details.looks.digests(path for _, path in files)
    standing = judge(target, policy, details.request, [(role, digests[path]) for role, path in files])
    return _replacing(target, policy, (standing.finding(),), page=page) if standing.stale else standing


def _replacing(path: Path, policy: Policy, findings: tuple[Finding, ...] = (), *, page: bool) -> _Place:
    labels = None if policy.labels_file == "none" else label_file(path, policy.labels_file)
    gone = companions_of(path, labels)
    removed = tuple(one.name for one in gone if not (page and one == page_of(path)))
    return _Place(path, True, findings, tuple(gone), removed)


def _open_parts(place: _Place, labels: Path | None) -> AbstractContextManager[tuple[Path, Path, Path | None]]:
    return parts_in_place(place.path, labels, overwrite=place.overwrite, gone=place.gone)


def _pass_over(product: Product, target: Path, standing: Standing) -> Outcome:
    skipped = {"Verdict": "SKIPPED", "Output": target.name, "Recorded": standing.verdict}
    record = cast("Record", skipped)  # see `Outcome`: with a union of two types nobody could take a key without a check
    return Outcome("SKIPPED", target, product.series.title, (), "", None, None, (), (), record, product.folder)


def _write_proven(path: Path, product: Product, layout: Layout, policy: Policy, progress: Progress) -> _Proven:
    """Write the file, read it back as it grows (proof 2), and count its labels as they pass."""
    volume, voxels = product.volume, layout.voxels
    mask = volume if isinstance(volume, MaskVolume) else None
    slope, intercept = (1.0, 0.0) if isinstance(volume, MaskVolume) else (volume.slope, volume.intercept)
    header, deviation_mm = nifti.pack_header(
        layout.affine,
        layout.shape,
        voxels.dtype,
        slope=slope,
        intercept=intercept,
        label=mask is not None,
        description="verimask",
        limit_mm=policy.qform_limit_mm,
        like=layout.geometry,
    )
    gzipped = path.name.endswith(".gz.partial")
    level = policy.gzip_level if policy.gzip_level is not None else None if mask else _IMAGE_LEVEL
    counter = Counter(mask) if mask and voxels is mask.voxels else None
    count_labels = (lambda plane: None) if counter is None else counter.add
    written = Event()
    try:
        with open_stream(path, "wb", gzipped=gzipped, level=level) as file:
            reading = start_read_back(
                path, layout.shape, voxels.dtype, gzipped=gzipped, labels=mask is not None, written=written
            )
            sums = nifti.write(file, header, voxels, lambda k: progress("writing", k, voxels.shape[2]), count_labels)
    except OSError as error:
        raise cannot_write(path.name.removesuffix(".partial").split(".", 2)[-1], error) from error
    finally:
        written.set()
    labels = counter.rows() if counter else label_table(mask) if mask else None
    back = reading.result()
    limit_mm = policy.header_limit_mm
    header_mm = prove(path, layout.affine, layout.shape, voxels.dtype, sums, limit_mm, back)
    codes = parse_header(header)
    proofs = Proofs(product.proof, header_mm, deviation_mm, codes.sform_code, codes.qform_code)
    return _Proven(proofs, labels, back.sha256)


def _verdict(product: Product, agreements: Sequence[Agreement], findings: Sequence[Finding], policy: Policy) -> Verdict:
    """Weigh what the witnesses answered with what was found. Raises WITNESS_DIFFERS unless disputed files are kept."""
    verdict = verdict_of(agreements)
    if verdict == "DISPUTED" and not policy.keep_disputed:
        raise refuse_disputed(agreements, findings)
    if verdict == "VERIFIED" and (product.assumed or any(finding.leaves_doubt for finding in findings)):
        return "UNCONFIRMED"
    return verdict


def _refuse_empty(product: Product, outcome: Outcome, policy: Policy) -> None:
    """Raise EMPTY for a mask without a voxel, unless the policy lets it pass."""
    if policy.allow_empty or outcome.labels is None or any(row.voxels for row in outcome.labels):
        return
    finding = Finding(
        Code.EMPTY,
        f"the mask “{product.volume.name}” has no voxel",
        "Was anything drawn, and is it the right one? --allow-empty writes it all the same.",
        where=(product.volume.name,),
    )
    raise PipelineError(finding, outcome.findings)


@contextmanager
def parts_in_place(
    target: Path, labels: Path | None, *, overwrite: bool, gone: Sequence[Path] = ()
) -> Iterator[tuple[Path, Path, Path | None]]:
    """Temporary paths for an image, its record, and its file of labels if it has one.

    The image is moved last, so that it never lacks its proof; where a kill comes before that, `leftovers` moves it.

    Args:
        target: of the image.
        labels: of its file of labels, None for none.
        overwrite: whether to replace what is there.
        gone: what goes with that; see `companions_of`.

    Yields: of the image, of the record, of the labels.
    """
    targets = [sidecar_of(target), *([] if labels is None else [labels]), target]
    with all_in_place(targets, overwrite=overwrite, gone=gone) as parts:
        yield parts[-1], parts[0], None if labels is None else parts[1]


def _labels_path(product: Product, place: _Place, policy: Policy) -> Path | None:
    """Where names and colours go, if they are asked for."""
    if policy.labels_file == "none" or not isinstance(product.volume, MaskVolume):
        return None
    return label_file(place.path, policy.labels_file)


def _write_labels(product: Product, labels: Path | None, part: Path | None, policy: Policy) -> tuple[str, str] | None:
    """Write names and colours to a temporary path; the name that the file gets, and the SHA-256 of its bytes."""
    if labels is None or part is None or policy.labels_file == "none" or not isinstance(product.volume, MaskVolume):
        return None
    part.write_text(label_text(product.volume.segments, policy.labels_file), "utf-8")
    return labels.name, sha256(part)
