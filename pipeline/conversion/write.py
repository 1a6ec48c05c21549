"""From a product to a file in its place: write, read back, cross-check, record.

Rules:
- Proof 2 reads the written file back; proof 3 asks other readers. Only then do file and record move into their place.
- Whatever fails leaves no file, and an existing one is never touched unless the policy says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Any

import numpy as np

from ..core.atomic_file import cannot_write, in_place
from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..core.workers import Beside
from ..crosscheck.agreement import Agreement
from ..crosscheck.panel import Panel
from ..geometry.grid import Grid
from ..geometry.index_map import find_index_map
from ..nifti import file as nifti
from ..nifti.header import parse_header
from ..nifti.proof import prove, reading_back
from ..nifti.readback import ReadBack
from ..nifti.streams import opened
from ..volume import regrid
from ..volume.label_files import label_file, label_text
from ..volume.label_table import Counter, LabelRow, label_table
from ..volume.mask import Array, Mask, Physical, Voxels
from .existing_output import Standing, judge
from .layout import Layout, lay_out
from .page_file import check_page_place, page_of
from .product import Product
from .record import Outcome, Proofs, build_record, sha256, sidecar_of, verdict_of, write_record

_IMAGE_LEVEL = 2  # of ISA-L: 6 % larger than zlib's level 6 on CT, at many times its speed
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """No progress."""


def finish(
    product: Product,
    target: Path,
    policy: Policy,
    panel: Panel,
    *,
    like: Path | None = None,
    page: bool = False,
    request: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress = silent,
    command: Sequence[str] = (),
) -> Outcome:
    """Write a product to `target` with its record beside it.

    like: a NIfTI file whose grid and header it is to have. page: whether the caller will write a page beside it, whose
    place is to be free. request: what was asked for, as recorded.
    """
    files = (*product.files, *(() if like is None else (("like", like),)))
    place = _place(target, policy, request, files, page=page)
    if isinstance(place, Standing):
        return _skipped(product, target, place)
    destination, overwrite, stale = place
    layout = lay_out(product, policy, like)
    product = layout.product
    witnessed = product.witnessed
    if witnessed is not None and product.volumes == 1:
        panel.begin(witnessed.frames, voxels=witnessed.physical is not None)
    dtype = layout.voxels.dtype
    with _both_in_place(destination, overwrite=overwrite) as (image_part, record_part):
        hashing = Beside(partial(sha256, [path for _, path in files]))
        written, back, labels = _write(image_part, product, layout, policy, progress)
        header_mm = prove(
            image_part, layout.affine, layout.shape, dtype, written.checksums, policy.header_limit_mm, back
        )
        progress("cross-checking", 0, 0)
        agreements = _agreements(product, layout, panel, image_part, policy)
        findings = (*stale, *product.findings, *product.late(), *map(_refused, _doubtful(agreements)))
        verdict = verdict_of(agreements)
        if verdict == "VERIFIED" and (product.assumed or any(f.leaves_doubt for f in findings)):
            verdict = "UNCONFIRMED"
        if verdict == "DISPUTED" and not policy.keep_disputed:
            raise _disputed(agreements, findings)
        proofs = Proofs(product.proof, header_mm, written.qform_deviation_mm, written.sform_code, written.qform_code)
        if labels is not None and not any(row.voxels for row in labels) and not policy.allow_empty:
            raise _empty(product, findings)
        record = build_record(
            verdict=verdict,
            output=destination,
            product=product,
            affine_ras=layout.affine,
            shape=layout.shape,
            proofs=proofs,
            labels=labels or (),
            dtype=str(dtype),
            agreements=agreements,
            findings=findings,
            policy=policy,
            request=request,
            files=files,
            hashes=hashing.result() | {destination: back.sha256},
            labels_file=_write_labels(product, destination, policy, overwrite=overwrite),
            command=command,
        )
        write_record(record_part, record)
    return Outcome(
        verdict=verdict,
        output=destination,
        series=product.series.title,
        shape=layout.shape,
        dtype=str(dtype),
        labels=labels,
        proofs=proofs,
        agreements=agreements,
        findings=findings,
        record=record,
    )


def _place(
    target: Path, policy: Policy, request: Mapping[str, Any], files: Sequence[tuple[str, Path]], *, page: bool
) -> Standing | tuple[Path, bool, tuple[Finding, ...]]:
    """Where to write, whether to replace what is there, and what is said of it; or why it is passed over."""
    if policy.write != "skip" or not (target.exists() or sidecar_of(target).exists()):
        return free_target(target, policy, page=page), policy.write == "overwrite", ()
    if page:
        check_page_place(page_of(target))
    digests = sha256(path for _, path in files)
    standing = judge(target, policy, request, [(role, digests[path]) for role, path in files])
    return (target, True, (standing.said(),)) if standing.stale else standing


def _skipped(product: Product, target: Path, standing: Standing) -> Outcome:
    record = {"Verdict": "SKIPPED", "Output": target.name, "Recorded": standing.verdict}
    return Outcome("SKIPPED", target, product.series.title, (), "", None, None, (), (), record)


def checked_target(output: Path) -> Path:
    """The output path, refused where no NIfTI file can be."""
    if not output.name.endswith((".nii", ".nii.gz")):
        raise refuse(
            Code.OUTPUT_NAME,
            f"{output.name} does not end in .nii or .nii.gz",
            f"Name it {output.name.split('.')[0]}.nii.gz. With -o a folder ending in / all series are written.",
            where=(output.name,),
        )
    if not output.parent.is_dir():
        raise refuse(
            Code.OUTPUT_NAME, f"the folder {output.parent} is not there", "Make it first, or give another name."
        )
    return output


def free_target(target: Path, policy: Policy, *, page: bool = False) -> Path:
    """The path to write to: `target`, or one with a suffix. page: whether a page is to lie beside it.

    Raises OUTPUT_EXISTS, also where the page would have to replace something that is no page.
    """
    taken = _existing(target, policy, page=page)
    if page and policy.write in ("refuse", "overwrite"):
        check_page_place(page_of(target))
    if not taken or policy.write == "overwrite":
        return target
    if policy.write == "suffix":
        candidates = (with_suffix(target, str(n)) for n in range(2, 10_000))
        return next(c for c in candidates if not _existing(c, policy, page=page))
    raise refuse(
        Code.OUTPUT_EXISTS,
        f"{taken[0].name} is already there and was left alone",
        "-w overwrite replaces it, -w suffix writes beside it, -w skip passes over what is proven to be the same.",
        where=(taken[0].name,),
    )


def _existing(target: Path, policy: Policy, *, page: bool) -> list[Path]:
    """What is there already of the files that are to be written together."""
    labels = [] if policy.labels_file == "none" else [label_file(target, policy.labels_file)]
    pages = [page_of(target)] if page else []
    return [p for p in (target, sidecar_of(target), *labels, *pages) if os.path.lexists(p)]


def with_suffix(target: Path, suffix: str) -> Path:
    """liver.nii.gz and "resampled" -> liver_resampled.nii.gz"""
    ending = ".nii.gz" if target.name.endswith(".gz") else ".nii"
    stem = target.name.removesuffix(ending)
    return target if not suffix or stem.endswith(suffix) else target.with_name(f"{stem}_{suffix}{ending}")


def _write(
    path: Path, product: Product, layout: Layout, policy: Policy, progress: Progress
) -> tuple[nifti.Written, ReadBack, tuple[LabelRow, ...] | None]:
    """Write the file, read it back as it grows, and count its labels as they pass."""
    volume, voxels = product.volume, layout.voxels
    mask = volume if isinstance(volume, Mask) else None
    slope, intercept = (1.0, 0.0) if isinstance(volume, Mask) else (volume.slope, volume.intercept)
    header, deviation = nifti.pack_header(
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
    labels = Counter(mask) if mask and voxels is mask.voxels else None
    seen = (lambda plane: None) if labels is None else labels.add
    written = Event()
    try:
        with opened(path, "wb", gzipped=gzipped, level=level) as file:
            back = reading_back(path, layout.shape, voxels.dtype, gzipped=gzipped, written=written)
            checksums = nifti.write(file, header, voxels, lambda k: progress("writing", k, voxels.shape[2]), seen)
    except OSError as error:
        raise cannot_write(path.name.removesuffix(".partial").split(".", 2)[-1], error) from error
    finally:
        written.set()
    rows = labels.rows() if labels else label_table(mask) if mask else None
    made = parse_header(header)
    return nifti.Written(checksums, deviation, made.sform_code, made.qform_code), back.result(), rows


def _agreements(product: Product, layout: Layout, panel: Panel, path: Path, policy: Policy) -> tuple[Agreement, ...]:
    """What the witnesses say; volume by volume where there are several."""
    witnessed = product.witnessed
    if witnessed is None or policy.crosscheck == "off":
        return ()
    grid = witnessed.stack.grid
    if product.volumes == 1:
        return panel.verdicts(
            grid, witnessed.stack, witnessed.frames, witnessed.physical, lambda: _back(path, layout, grid)
        )
    count = product.grid.shape[2]
    per_volume = []
    for start in range(0, count * product.volumes, count):
        frames = witnessed.frames[start : start + count]
        panel.begin(frames, voxels=witnessed.physical is not None, same_series=start > 0)
        planes = list(nifti.read_planes(path))[start : start + count]
        physical = None if witnessed.physical is None else partial(_later, witnessed.physical, start)
        per_volume.append(panel.verdicts(grid, witnessed.stack, frames, physical, partial(iter, planes)))
    return tuple(_worst(same) for same in zip(*per_volume, strict=True))


def _later(physical: Physical, start: int, k: int, plane: Array) -> Array:
    return physical(start + k, plane)


def _back(path: Path, layout: Layout, grid: Grid) -> Iterable[Array]:
    """The planes of the written file in the order of the grid that witnesses are held against."""
    fit = find_index_map(grid.ras, grid.shape, layout.affine, layout.shape)
    planes = nifti.read_planes(path)
    if fit is None or ((fit.matrix == np.eye(4)).all() and layout.shape == grid.shape):
        return planes
    columns, rows, count = layout.voxels.shape
    block = np.empty((count, rows, columns), layout.voxels.dtype)
    for k, plane in enumerate(planes):
        block[k] = plane
    return regrid.onto(Voxels.of(block.T), fit.inverse, grid.shape)


def _worst(agreements: Sequence[Agreement]) -> Agreement:
    order = ("DIFFERS", "FAILED", "KNOWN_WRONG", "REFUSED", "ABSENT", "REORDERED", "AGREES")
    worst = min(agreements, key=lambda a: (order.index(a.status), -(a.max_corner_mm or 0), -(a.voxels_differing or 0)))
    doubtful = _doubtful(agreements)
    return doubtful[0] if doubtful and worst.status != "DIFFERS" else worst


def _doubtful(agreements: Sequence[Agreement]) -> list[Agreement]:
    return [agreement for agreement in agreements if agreement.leaves_doubt]


def _refused(agreement: Agreement) -> Finding:
    who = f"{agreement.witness} {agreement.version}".strip()
    return Finding(
        Code.WITNESS_REFUSED,
        f"{who} was asked for the voxels and {agreement.words}; nobody has looked into that reason yet, so it may be "
        "right, and the result stays unconfirmed",
        "Look at the series in another viewer, and please report it.",
        Severity.WARNING,
    )


@contextmanager
def _both_in_place(target: Path, *, overwrite: bool) -> Iterator[tuple[Path, Path]]:
    """Temporary paths for the image and its record; the record is moved first, so an image never lacks its proof."""
    moved = False
    try:
        with in_place(target, overwrite=overwrite) as image:
            with in_place(sidecar_of(target), overwrite=overwrite) as record:
                yield image, record
            moved = True
    except BaseException:
        if moved:  # the image could not follow: a record of nothing would stay
            sidecar_of(target).unlink(missing_ok=True)
        raise


def _write_labels(product: Product, target: Path, policy: Policy, *, overwrite: bool) -> Path | None:
    """The file of names and colours, where one was asked for."""
    if policy.labels_file == "none" or not isinstance(product.volume, Mask):
        return None
    path = label_file(target, policy.labels_file)
    with in_place(path, overwrite=overwrite) as part:
        part.write_text(label_text(product.volume.segments, policy.labels_file), "utf-8")
    return path


def _empty(product: Product, findings: Sequence[Finding]) -> PipelineError:
    return PipelineError(
        Finding(
            Code.EMPTY,
            f"the mask “{product.volume.name}” has no voxel",
            "Was anything drawn, and is it the right one? --allow-empty writes it all the same.",
        ),
        tuple(findings),
    )


def _disputed(agreements: Sequence[Agreement], findings: Sequence[Finding]) -> PipelineError:
    said = "; ".join(f"{a.witness} {a.version} {a.words}" for a in agreements if a.status == "DIFFERS")
    return PipelineError(
        Finding(
            Code.WITNESS_DIFFERS,
            f"{said}, and no known rule explains it",
            "Nothing was kept. --keep-disputed writes the file all the same; please report the series.",
            Severity.ERROR,
        ),
        tuple(findings),
    )
