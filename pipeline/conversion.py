"""The stages in order: scan, choose, lay, decode, write, read back, cross-check. The only module that knows them all.

Rules:
- One series, or one part of it, becomes one file; many become a folder of files, each with its own Outcome.
- A file that begins like DICOM and cannot be read may be a plane of the series: it refuses the conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline import parts as parts_
from pipeline.crosscheck.panel import Panel
from pipeline.findings import Code, PipelineError, Severity, refuse
from pipeline.finish import Progress, checked_target, finish, silent, with_suffix
from pipeline.names import file_names
from pipeline.outcome import Outcome
from pipeline.parts import Part
from pipeline.policy import Policy
from pipeline.product import Product, of_part, of_time
from pipeline.series import Scan, Series, choose, scan


def convert(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    series: str | None = None,
    part: str | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
) -> Outcome:
    """One series among the inputs (folders or files) to one NIfTI file with its proof beside it.

    output: a path ending in .nii or .nii.gz. series: UID, number or description, where there are several. part: number
    or name of one volume, where the series holds several. Raises PipelineError for every refusal; then no file is left.
    """
    policy = policy or Policy()
    target = checked_target(Path(output))
    with Panel(policy) as panel:
        found = scan([Path(p) for p in inputs], lambda n: progress("reading headers", n, 0))
        _refuse_broken(found)
        chosen = choose(found, series)
        product = of_part(chosen, _chosen_part(chosen, part), policy)
        target = with_suffix(target, "resampled" if _resampled(product) else "")
        return finish(product, target, policy, panel, others=found.left_out, progress=progress, command=command)


def convert_all(
    inputs: Sequence[str | Path],
    folder: str | Path,
    *,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
) -> tuple[list[Outcome], list[PipelineError]]:
    """Every volume of every series among the inputs to a folder: what was done, and what was refused."""
    policy = policy or Policy()
    target = Path(folder)
    done: list[Outcome] = []
    refused: list[PipelineError] = []
    with Panel(policy) as panel:
        found = scan([Path(p) for p in inputs], lambda n: progress("reading headers", n, 0))
        refused += [PipelineError(f) for f in found.left_out if f.severity is Severity.ERROR]
        wanted = [s for s in found.series if s.kind != "other"]
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refuse(Code.OUTPUT_NAME, f"the folder {target} cannot be made: {error.strerror}") from error
        for series, name in zip(wanted, file_names(wanted), strict=True):
            for part in _wanted_parts(series, policy):
                try:
                    product = of_part(series, part, policy) if isinstance(part, Part) else part
                    suffix = "_".join(p for p in (product.suffix, "resampled" if _resampled(product) else "") if p)
                    path = with_suffix(target / f"{name}.nii.gz", suffix)
                    done.append(finish(product, path, policy, panel, progress=progress, command=command))
                except PipelineError as error:
                    refused.append(_naming(series, error))
    return done, refused


def _chosen_part(series: Series, wanted: str | None) -> Part:
    """The one volume to convert. Raises SEVERAL_VOLUMES, NO_SUCH_PART."""
    _refuse_unknown_kind(series)
    parts = parts_.split(series.frames)
    if wanted is not None:
        matches = [p for p in parts if wanted in (str(p.number), p.name)]
        if len(matches) == 1:
            return matches[0]
        raise refuse(
            Code.NO_SUCH_PART,
            f"{series.title} has no part “{wanted}”",
            "Choose one by number or name:\n" + parts_.table(parts),
        )
    if len(parts) == 1:
        return parts[0]
    raise refuse(
        parts[0].code,
        f"{series.title} holds {len(parts)} volumes, and one file holds one",
        "Choose one with --part NUMBER or NAME, or give -o a folder (ending in /) for all of them:\n"
        + parts_.table(parts),
        clause="PS3.3 C.7.6.2.1.1",
        measured=len(parts),
        limit=1,
        unit="volumes",
    )


def _wanted_parts(series: Series, policy: Policy) -> Sequence[Part | Product]:
    """All parts of a series, or one 4-D product where they are volumes over time of an image."""
    if series.kind != "image":
        return [Part(1, "", series.frames)]
    parts = parts_.split(series.frames)
    if len(parts) > 1 and policy.as_ == "image" and all(p.over_time for p in parts):
        try:
            over_time = of_time(series, parts, policy)
        except PipelineError:
            over_time = None  # each part says for itself what is wrong with it
        if over_time is not None:
            return [over_time]
    return parts


def _refuse_unknown_kind(series: Series) -> None:
    if series.kind != "image":
        raise refuse(
            Code.NOT_CONVERTIBLE,
            f"{series.title} is of kind {series.kind} ({series.modality or 'no modality'}), not a series of planes",
        )


def _refuse_broken(found: Scan) -> None:
    broken = next((f for f in found.left_out if f.severity is Severity.ERROR), None)
    if broken is not None:
        raise PipelineError(broken, tuple(f for f in found.left_out if f is not broken))


def _resampled(product: Product) -> bool:
    return any(f.code is Code.RESAMPLED for f in product.findings)


def _naming(series: Series, error: PipelineError) -> PipelineError:
    """The same refusal, naming its series: one among many must say which it speaks of."""
    message = error.finding.message
    if not message.startswith(series.title):
        message = f"{series.title}: {message}"
    return PipelineError(replace(error.finding, message=message), error.others)
