"""The stages in order: scan, stack, decode, write, read back, cross-check. The only module that knows them all.

Rules:
- Proof 1, every plane against the grid, comes before a voxel is read. Proof 2 reads the written file back. Proof 3 asks
  other readers. Only then is the file moved into its place.
- Whatever fails leaves no file, and an existing one is never touched unless the policy says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import irregular, nifti
from pipeline.crosscheck.panel import Panel
from pipeline.decode.image import Decoded, decode_image, decode_mask
from pipeline.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.geometry import GeometryError, Grid, Plane, Stack, stack
from pipeline.mask import Mask
from pipeline.names import file_names
from pipeline.outcome import (
    Outcome,
    Proofs,
    build_record,
    sha256,
    sidecar_of,
    verdict_of,
    write_record,
)
from pipeline.policy import Policy
from pipeline.series import Frame, Series, choose, nothing_convertible, scan

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """The frames of one volume in the order of the grid's k, and the stack that proves it."""

    frames: tuple[Frame, ...]
    stack: Stack
    findings: tuple[Finding, ...]

    @property
    def grid(self) -> Grid:
        return self.stack.grid


def convert(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    series: str | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
) -> Outcome:
    """One series among the inputs (folders or files) to one NIfTI file with its proof beside it.

    output: a path ending in .nii or .nii.gz. series: UID, number or description, where there are several.
    Raises PipelineError for every refusal; then no file is left.
    """
    policy = policy or Policy()
    target = checked_target(Path(output))
    with Panel(policy) as panel:
        found = scan([Path(p) for p in inputs], lambda n: progress("reading headers", n, 0))
        chosen = choose(found, series)
        return convert_series(chosen, target, policy, panel, found.left_out, progress, command)


def convert_all(
    inputs: Sequence[str | Path],
    folder: str | Path,
    *,
    series: str | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
) -> tuple[list[Outcome], list[PipelineError]]:
    """Every convertible series among the inputs, or the one named, to a folder of its own making.

    Returns what was done, and what was refused.
    """
    policy = policy or Policy()
    target = Path(folder)
    done: list[Outcome] = []
    refused: list[PipelineError] = []
    with Panel(policy) as panel:
        found = scan([Path(p) for p in inputs], lambda n: progress("reading headers", n, 0))
        convertible = [s for s in found.series if s.kind != "other"]
        if not convertible:
            raise nothing_convertible(found)
        wanted = convertible if series is None else [choose(found, series)]
        names = file_names(found.series)
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refuse(Code.OUTPUT_NAME, f"the folder {target} cannot be made: {error.strerror}") from error
        for one in wanted:
            try:
                path = target / f"{names[one.uid]}.nii.gz"
                done.append(convert_series(one, path, policy, panel, found.left_out, progress, command))
            except PipelineError as error:
                refused.append(_naming(one, error))
    return done, refused


def convert_series(
    series: Series,
    target: Path,
    policy: Policy,
    panel: Panel,
    left_out: Sequence[Finding] = (),
    progress: Progress = silent,
    command: Sequence[str] = (),
) -> Outcome:
    """One chosen series to one file; what `convert` does after choosing."""
    destination = free_target(target, policy)
    if destination is None:
        return skipped(target, series)
    laid = lay(series, policy)
    panel.begin(laid.frames)
    decoded = decode(series, laid, policy)
    voxels = decoded.volume.voxels
    with _both_in_place(destination, policy) as (image_part, record_part):
        written = _write(image_part, decoded, policy, lambda n: progress("writing", n, voxels.shape[2]))
        header_mm = nifti.prove(image_part, laid.grid, voxels.dtype, written.checksums, policy.header_limit_mm)
        progress("cross-checking", 0, 0)
        agreements = panel.verdicts(laid.stack, laid.frames, decoded.physical, lambda: nifti.read_planes(image_part))
        verdict = verdict_of(agreements)
        findings = (*left_out, *laid.findings, *decoded.findings)
        if verdict == "DISPUTED" and not policy.keep_disputed:
            raise _disputed(agreements, findings)
        proofs = Proofs(laid.stack, header_mm, written.qform_deviation_mm, written.qform_code)
        hashes = _hashes(laid.frames, image_part, destination)
        mask = decoded.volume if isinstance(decoded.volume, Mask) else None
        record = build_record(
            verdict=verdict,
            output=destination,
            series=series,
            frames=laid.frames,
            grid=laid.grid,
            proofs=proofs,
            mask=mask,
            dtype=str(voxels.dtype),
            agreements=agreements,
            findings=findings,
            policy=policy,
            hashes=hashes,
            command=command,
        )
        write_record(record_part, record)
    return Outcome(
        verdict=verdict,
        output=destination,
        series=series.title,
        shape=laid.grid.shape,
        dtype=str(voxels.dtype),
        segments=None if mask is None else mask.segments,
        proofs=proofs,
        agreements=agreements,
        findings=findings,
        record=record,
    )


def lay(series: Series, policy: Policy) -> Laid:
    """Proof 1: the frames of a series on one grid, or the refusal that names what is wrong with them."""
    planes, names = _planes(series)
    refusal = irregular.before(planes, names, policy)
    if refusal is not None:
        raise PipelineError(refusal)
    assumed = _assumed_thickness(series) if len(planes) == 1 else None
    limit = policy.corner_limit(min(planes[0].row_spacing, planes[0].column_spacing))
    try:
        laid = stack(
            planes,
            limit_mm=limit,
            keep_skew=policy.skew_limit,
            keep_mm=policy.qform_limit_mm,
            assumed_step_mm=assumed[0] if assumed else 1.0,
        )
    except GeometryError as error:
        raise refuse(
            Code.DUPLICATE_POSITION,
            f"all {len(planes)} planes lie at one position ({error})",
            "This is a series over time, or slices without positions of their own; it is no volume.",
            where=names[:2],
            clause="PS3.3 C.7.6.2.1.1",
        ) from error
    frames = [series.frames[n] for n in laid.order]
    planes, names = [planes[n] for n in laid.order], [names[n] for n in laid.order]
    defects = irregular.after(laid, planes, names, policy)
    if defects:
        raise PipelineError(defects[0], tuple(defects[1:]))
    laid = replace(laid, grid=replace(laid.grid, frame_of_reference_uid=series.frame_of_reference_uid))
    findings = [*irregular.notes(laid, planes, policy), *_contradictions(laid, frames)]
    if assumed:
        findings.append(assumed[1])
    return Laid(tuple(frames), laid, tuple(findings))


def decode(series: Series, laid: Laid, policy: Policy) -> Decoded:
    """The voxels of a laid series, as the policy wants them."""
    if policy.as_ == "image":
        return decode_image(laid.frames, laid.grid, series.description)
    return decode_mask(laid.frames, laid.grid, policy, series.description)


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
        ending = ".nii.gz" if target.name.endswith(".gz") else ".nii"
        stem = target.name.removesuffix(ending)
        candidates = (target.with_name(f"{stem}-{n}{ending}") for n in range(2, 10_000))
        return next(c for c in candidates if not c.exists() and not sidecar_of(c).exists())
    raise refuse(
        Code.OUTPUT_EXISTS,
        f"{taken[0].name} is already there and was left alone",
        "-w overwrite replaces it, -w suffix writes beside it, -w skip passes over.",
        where=(taken[0].name,),
    )


def skipped(target: Path, series: Series) -> Outcome:
    """The outcome where the output was there already and the policy passes over it."""
    return Outcome("SKIPPED", target, series.title, (0, 0, 0), "", None, None, (), (), {"Verdict": "SKIPPED"})


def _naming(series: Series, error: PipelineError) -> PipelineError:
    """The same refusal, naming its series: one among many must say which it speaks of."""
    message = error.finding.message
    if not message.startswith(series.title):
        message = f"{series.title}: {message}"
    return PipelineError(replace(error.finding, message=message), error.others)


def _planes(series: Series) -> tuple[list[Plane], list[str]]:
    if series.kind != "image":
        raise refuse(
            Code.NOT_CONVERTIBLE,
            f"{series.title} is of kind {series.kind} ({series.modality or 'no modality'}), not a series of planes",
        )
    hollow = [h.path.name for h in series.headers if not h.has_pixels]
    if hollow:
        raise refuse(
            Code.CORRUPT_FILE,
            f"{len(hollow)} of {len(series.headers)} files of {series.title} end before their pixels; the first is "
            f"{hollow[0]}",
            "They were cut off, probably in transfer; export or copy them again.",
            where=tuple(hollow[:5]),
            clause="PS3.3 C.7.6.3",
        )
    if any("MOSAIC" in (f.get("ImageType") or ()) for f in series.frames):
        raise refuse(
            Code.MOSAIC,
            f"{series.title} is a Siemens mosaic: every file is a sheet of slices, without a position for each",
            "Export it from the scanner as single slices or as enhanced multi-frame.",
            where=(series.frames[0].name,),
            clause="PS3.3 C.7.6.2 gives one position a frame",
        )
    without = [f for f in series.frames if f.plane is None]
    if without:
        raise refuse(
            Code.MISSING_PLANE_ATTRIBUTES,
            f"{len(without)} of {len(series.frames)} planes have no place in the patient: in {without[0].name}, "
            f"{without[0].why_no_plane}",
            "Nothing is invented here. Export the series with its geometry (not as plain Secondary Capture).",
            where=tuple(f.name for f in without[:5]),
            clause="PS3.3 C.7.6.2",
        )
    references = sorted({str(f.get("FrameOfReferenceUID", "")) for f in series.frames})
    if len(references) > 1:
        raise refuse(
            Code.MIXED_FRAME_OF_REFERENCE,
            f"the planes belong to {len(references)} Frames of Reference: they are not in one coordinate system",
            "Two acquisitions share this series; separate them.",
            where=tuple(references),
            clause="PS3.3 C.7.4.1",
        )
    return [f.plane for f in series.frames if f.plane is not None], [f.name for f in series.frames]


def _assumed_thickness(series: Series) -> tuple[float, Finding]:
    """The step of a single plane: from its thickness, else 1 mm; assumed either way, and said so."""
    frame = series.frames[0]
    thickness = frame.get("SliceThickness")
    usable = isinstance(thickness, float) and thickness > 0
    step = float(thickness) if usable else 1.0
    source = "its Slice Thickness (0018,0050)" if usable else "nothing at all: no Slice Thickness is given"
    return step, Finding(
        Code.ASSUMED_THICKNESS,
        f"one plane has no step; {step:g} mm is assumed from {source}",
        "The plane lies right; how far its voxels reach beyond it is not known.",
        Severity.WARNING,
        clause="PS3.3 C.7.6.2.1.1",
    )


def _contradictions(laid: Stack, frames: Sequence[Frame]) -> list[Finding]:
    """Tags that decide nothing here but say something else than the positions do."""
    step = laid.grid.spacing[2]
    said = frames[0].get("SpacingBetweenSlices")
    if len(frames) < 2 or not isinstance(said, float) or abs(abs(said) - step) <= 0.01 * step:
        return []
    return [
        Finding(
            Code.TAG_CONTRADICTS,
            f"Spacing Between Slices (0018,0088) says {said:g} mm, the positions say {step:.4g} mm; the positions count",
            severity=Severity.INFO,
            clause="PS3.3 C.7.6.2.1.1",
            measured=abs(abs(said) - step),
            limit=0.01 * step,
            unit="mm",
        )
    ]


def _write(path: Path, decoded: Decoded, policy: Policy, progress: Callable[[int], None]) -> nifti.Written:
    volume = decoded.volume
    label = isinstance(volume, Mask)
    slope, intercept = (1.0, 0.0) if isinstance(volume, Mask) else (volume.slope, volume.intercept)
    header, deviation = nifti.pack_header(
        volume.grid,
        volume.voxels.dtype,
        slope=slope,
        intercept=intercept,
        label=label,
        description="verimask",
        limit_mm=policy.qform_limit_mm,
    )
    try:
        with nifti.opened(path, "wb", gzipped=path.name.endswith(".gz.part")) as file:
            checksums = nifti.write(file, header, volume.voxels, progress)
    except OSError as error:
        raise refuse(Code.CANNOT_WRITE, f"writing failed: {error.strerror or error}", "Is the disk full?") from error
    return nifti.Written(checksums, deviation, int(deviation <= policy.qform_limit_mm))


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


def _hashes(frames: Sequence[Frame], image: Path, target: Path) -> dict[Path, str]:
    digests = sha256([*(f.path for f in frames), image])
    return {target if path == image else path: digest for path, digest in digests.items()}


def _disputed(agreements: Sequence[object], findings: Sequence[Finding]) -> PipelineError:
    from pipeline.crosscheck import Agreement

    against = [a for a in agreements if isinstance(a, Agreement) and a.status == "DIFFERS"]
    said = "; ".join(f"{a.witness} {a.version} {a.words}" for a in against)
    return PipelineError(
        Finding(
            Code.WITNESS_DIFFERS,
            f"{said}, and no known rule explains it",
            "Nothing was kept. --keep-disputed writes the file all the same; please report the series.",
        ),
        tuple(findings),
    )
