"""From a product to a file in its place: write, read back, cross-check, record.

Rules:
- Proof 2 reads the written file back; proof 3 asks other readers. Only then do file and record move into their place.
- Whatever fails leaves no file, and an existing one is never touched unless the policy says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline import nifti, orient
from pipeline.crosscheck import Agreement
from pipeline.crosscheck.panel import Panel
from pipeline.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.geometry import Matrix, reorder
from pipeline.mask import Array, Mask, Voxels
from pipeline.outcome import Outcome, Proofs, build_record, sha256, sidecar_of, verdict_of, write_record
from pipeline.policy import Policy
from pipeline.product import Product
from pipeline.series import Frame

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """No progress."""


def finish(
    product: Product,
    target: Path,
    policy: Policy,
    panel: Panel,
    *,
    others: Sequence[Finding] = (),
    progress: Progress = silent,
    command: Sequence[str] = (),
) -> Outcome:
    """Write a product to `target` with its record beside it. others: findings made before it, such as files left out."""
    destination = free_target(target, policy)
    if destination is None:
        return Outcome("SKIPPED", target, product.series.title, (), "", None, None, (), (), {"Verdict": "SKIPPED"})
    asked = product.shown if product.volumes == 1 else None
    if asked is not None:
        panel.begin(asked, voxels=product.physical is not None)
    voxels, affine, back = _oriented(product, policy)
    shape = (*voxels.shape[:2], product.grid.shape[2], product.volumes) if product.volumes > 1 else voxels.shape
    with _both_in_place(destination, policy) as (image_part, record_part):
        written = _write(image_part, product, voxels, affine, shape, policy, progress)
        header_mm = nifti.prove(image_part, affine, shape, voxels.dtype, written.checksums, policy.header_limit_mm)
        progress("cross-checking", 0, 0)
        agreements = _agreements(product, panel, lambda: back(nifti.read_planes(image_part)), policy)
        verdict = verdict_of(agreements)
        if verdict == "VERIFIED" and product.assumed:
            verdict = "UNCONFIRMED"
        findings = (*others, *product.findings)
        if verdict == "DISPUTED" and not policy.keep_disputed:
            raise _disputed(agreements, findings)
        proofs = Proofs(product.stack, header_mm, written.qform_deviation_mm, written.qform_code)
        mask = product.volume if isinstance(product.volume, Mask) else None
        record = build_record(
            verdict=verdict,
            output=destination,
            product=product,
            affine_ras=affine,
            shape=shape,
            proofs=proofs,
            dtype=str(voxels.dtype),
            agreements=agreements,
            findings=findings,
            policy=policy,
            hashes=_hashes(product, image_part, destination),
            command=command,
        )
        write_record(record_part, record)
    return Outcome(
        verdict=verdict,
        output=destination,
        series=product.series.title,
        shape=shape,
        dtype=str(voxels.dtype),
        segments=None if mask is None else mask.segments,
        proofs=proofs,
        agreements=agreements,
        findings=findings,
        record=record,
    )


def checked_target(output: Path) -> Path:
    """The output path, refused where no NIfTI file can be."""
    if not output.name.endswith((".nii", ".nii.gz")):
        raise refuse(
            Code.OUTPUT_NAME,
            f"{output.name} does not end in .nii or .nii.gz",
            f"Say -o {output.name.split('.')[0]}.nii.gz, or a folder ending in / for all series.",
        )
    if not output.parent.is_dir():
        raise refuse(Code.OUTPUT_NAME, f"the folder {output.parent} is not there", "Make it first, or give another -o.")
    return output


def free_target(target: Path, policy: Policy) -> Path | None:
    """The path to write to: `target`, or one with a suffix; None to skip. Raises OUTPUT_EXISTS."""
    taken = [p for p in (target, sidecar_of(target)) if p.exists()]
    if not taken or policy.write == "overwrite":
        return target
    if policy.write == "skip":
        return None
    if policy.write == "suffix":
        candidates = (with_suffix(target, str(n)) for n in range(2, 10_000))
        return next(c for c in candidates if not c.exists() and not sidecar_of(c).exists())
    raise refuse(
        Code.OUTPUT_EXISTS,
        f"{taken[0].name} is already there and was left alone",
        "-w overwrite replaces it, -w suffix writes beside it, -w skip passes over.",
        where=(taken[0].name,),
    )


def with_suffix(target: Path, suffix: str) -> Path:
    """liver.nii.gz and "resampled" -> liver_resampled.nii.gz"""
    ending = ".nii.gz" if target.name.endswith(".gz") else ".nii"
    stem = target.name.removesuffix(ending)
    return target if not suffix or stem.endswith(suffix) else target.with_name(f"{stem}_{suffix}{ending}")


def _oriented(product: Product, policy: Policy) -> tuple[Voxels, Matrix, Callable[[Iterable[Array]], Iterable[Array]]]:
    """Voxels and RAS affine in the order of the file, and the way back from the file's planes to the grid's."""
    voxels, grid = product.volume.voxels, product.grid
    if policy.orient == "source":
        return voxels, grid.ras, lambda planes: planes
    if product.volumes > 1:
        raise refuse(Code.BAD_ORIENTATION, "4-D images are written in the acquired order only", "Leave --orient out.")
    mapping = orient.mapping_to(grid, orient.checked_codes(policy.orient))
    turned = orient.reordered(voxels, mapping)

    def back(planes: Iterable[Array]) -> Iterable[Array]:
        block = np.stack(list(planes)).transpose(2, 1, 0)
        return Voxels.of(reorder(block, mapping))

    return turned, orient.reordered_affine(grid, mapping), back


def _write(
    path: Path,
    product: Product,
    voxels: Voxels,
    affine: Matrix,
    shape: tuple[int, ...],
    policy: Policy,
    progress: Progress,
) -> nifti.Written:
    volume = product.volume
    slope, intercept = (1.0, 0.0) if isinstance(volume, Mask) else (volume.slope, volume.intercept)
    header, deviation = nifti.pack_header(
        affine,
        shape,
        voxels.dtype,
        slope=slope,
        intercept=intercept,
        label=isinstance(volume, Mask),
        description="verimask",
        limit_mm=policy.qform_limit_mm,
    )
    try:
        with nifti.opened(path, "wb", gzipped=path.name.endswith(".gz.part")) as file:
            checksums = nifti.write(file, header, voxels, lambda k: progress("writing", k, voxels.shape[2]))
    except OSError as error:
        raise refuse(Code.CANNOT_WRITE, f"writing failed: {error.strerror or error}", "Is the disk full?") from error
    return nifti.Written(checksums, deviation, int(deviation <= policy.qform_limit_mm))


def _agreements(
    product: Product, panel: Panel, planes: Callable[[], Iterable[Array]], policy: Policy
) -> tuple[Agreement, ...]:
    """What the witnesses say; volume by volume where there are several."""
    if product.shown is None or policy.crosscheck == "off":
        return ()
    if product.volumes == 1:
        return panel.verdicts(product.stack, product.grid, product.shown, product.physical, planes)
    count = product.grid.shape[2]
    starts = range(0, count * product.volumes, count)
    per_volume = [_of_volume(product, panel, planes, start, product.shown[start : start + count]) for start in starts]
    return tuple(_worst(same) for same in zip(*per_volume, strict=True))


def _of_volume(
    product: Product, panel: Panel, planes: Callable[[], Iterable[Array]], start: int, frames: Sequence[Frame]
) -> tuple[Agreement, ...]:
    """The witnesses of one volume of a 4-D image, whose planes begin at `start`."""
    physical = product.physical
    panel.begin(frames, voxels=physical is not None)
    return panel.verdicts(
        product.stack,
        product.grid,
        frames,
        None if physical is None else lambda k, plane: physical(start + k, plane),
        lambda: (plane for n, plane in enumerate(planes()) if start <= n < start + len(frames)),
    )


def _worst(agreements: Sequence[Agreement]) -> Agreement:
    order = ("DIFFERS", "KNOWN_WRONG", "REFUSED", "ABSENT", "REORDERED", "AGREES")
    return min(agreements, key=lambda a: (order.index(a.status), -(a.max_corner_mm or 0), -(a.voxels_differing or 0)))


@contextmanager
def _both_in_place(target: Path, policy: Policy) -> Iterator[tuple[Path, Path]]:
    """Temporary paths for the image and its record; the record is moved first, so an image never lacks its proof."""
    overwrite = policy.write == "overwrite"
    moved = False
    try:
        with nifti.in_place(target, overwrite=overwrite) as image:
            with nifti.in_place(sidecar_of(target), overwrite=overwrite) as record:
                yield image, record
            moved = True
    except BaseException:
        if moved:  # the image could not follow: a record of nothing would stay
            sidecar_of(target).unlink(missing_ok=True)
        raise


def _hashes(product: Product, image: Path, target: Path) -> dict[Path, str]:
    paths = [h.path for h in product.series.headers] if not product.shown else [f.path for f in product.shown]
    digests = sha256([*paths, image])
    return {target if path == image else path: digest for path, digest in digests.items()}


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
