"""Convert inputs to NIfTI files: find the products, and write, read back and cross-check each.

Rules:
- One volume becomes one file; many become a folder of files, each with its own Outcome.
- What one input refuses does not keep others from being converted, where many were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import arguments
from ..core.extras import require_extra
from ..core.findings import Code, PipelineError, refuse
from ..core.policy import Policy
from ..core.unexpected import as_refusal
from ..crosscheck.panel import Panel
from .file_names import merged_name
from .looks import Looks
from .one_series import refuse_broken
from .option_effects import Asked, everything, refuse_idle
from .output_path import checked_target, with_suffix
from .product import Product
from .products import each_product, finish_product, name_input
from .record import Outcome
from .request import Progress, Request, RunDetails, silent
from .write import finish

if TYPE_CHECKING:
    from ..core.arguments import OneOrManyPaths


def convert(
    inputs: OneOrManyPaths,
    output: str | Path,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
    panel: Panel | None = None,
    page: bool = False,
) -> Outcome:
    """Convert the one mask or image among the inputs to one NIfTI file, with its proof beside it.

    Args:
        inputs: folders or files, one or several.
        output: a path ending in .nii or .nii.gz.
        request: which, where there are several, and on which grid.
        policy: tolerances and choices.
        progress: called with the stage, how much is done, and of how much.
        command: what the user typed, for the record.
        panel: the witnesses, where the caller has started them, who then ends them.
        page: whether the caller writes a page beside the output: its place must be free, or hold a page of ours.

    Returns:
        What was done; its verdict is SKIPPED where `policy.write` is "skip" and the output is there, proven.

    Raises:
        PipelineError: for every refusal, IDLE_OPTION for what was asked for and can have no effect; then no file is left.
    """
    given = arguments.inputs(inputs)
    policy, request = policy or Policy(), request or Request()
    target = checked_target(arguments.path("output", output))
    asked = Asked(request, policy, gzipped=target.name.endswith(".gz"), in_one=True, looks=Looks())
    details = _details(asked, command, progress, page=page)
    with nullcontext(panel) if panel else Panel(policy) as witnesses:
        product = (_merged if request.merge else _only_product)(given, asked, progress)
        target = with_suffix(target, "resampled" if _is_resampled(product) else "")
        return finish(product, target, policy, witnesses, details)


def convert_all(
    inputs: OneOrManyPaths,
    folder: str | Path,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
    panel: Panel | None = None,
    page: bool = False,
) -> tuple[list[Outcome], list[PipelineError]]:
    """Convert every mask or image among the inputs into a folder.

    A merge is one file in that folder. What was asked for must have an effect on one of them at least.

    Args:
        inputs: folders or files, one or several.
        folder: where the files go; it is made.
        request: which of them, and on which grid.
        policy: tolerances and choices.
        progress: called with the stage, how much is done, and of how much.
        command: what the user typed, for the record.
        panel: the witnesses, where the caller has started them, who then ends them.
        page: whether the caller writes a page beside each output.

    Returns:
        The outcome of every file that was written or passed over, and every refusal, named.

    Raises:
        PipelineError: where nothing can be begun: IDLE_OPTION, NO_DICOM, OUTPUT_NAME, and what refuses a merge.
    """
    given = arguments.inputs(inputs)
    policy, request = policy or Policy(), request or Request()
    target = arguments.path("folder", folder)
    asked = Asked(request, policy, gzipped=True, in_one=False, looks=Looks())
    details = _details(asked, command, progress, page=page)
    done: list[Outcome] = []
    refused: list[PipelineError] = []
    with nullcontext(panel) if panel else Panel(policy) as witnesses:

        def write(product: Product, name: str, suffix: str) -> None:
            suffix = "_".join(part for part in (suffix, "resampled" if _is_resampled(product) else "") if part)
            path = _unused(with_suffix(target / f"{name}.nii.gz", suffix), done)
            done.append(finish(product, path, policy, witnesses, details))

        if request.merge:
            product = _merged(given, asked, progress)
            _make_folder(target)
            write(product, merged_name(given), "")
            return done, refused
        items = each_product(given, asked, progress)
        _make_folder(target)  # not before what has no effect was refused
        for entry, found, result in items:
            try:
                if isinstance(result, PipelineError):
                    raise result
                write(finish_product(result, found, asked), entry.name, result.suffix)
            except Exception as error:
                refused.append(name_input(entry.title, as_refusal(error)))
    return done, refused


def _details(asked: Asked, command: Sequence[str], progress: Progress, *, page: bool) -> RunDetails:
    """Gather what every file of a run is finished with. Refuses what can act on nothing, and lacks its package."""
    refuse_idle(asked, everything())
    if page:
        require_extra("report")
    return RunDetails(asked.looks, asked.request.like, page, asked.request.as_json(), command, progress)


def _only_product(inputs: Sequence[Path], asked: Asked, progress: Progress) -> Product:
    """Make the one product there is. Raises SEVERAL_MASKS, and what refuses it."""
    items = list(each_product(inputs, asked, progress))
    first = items[0].result
    if isinstance(first, PipelineError):
        raise first
    refuse_broken(first.findings)
    if len(items) > 1:
        raise _several([item.result for item in items if isinstance(item.result, Product)])
    return finish_product(first, items[0].found, asked)


def _merged(inputs: Sequence[Path], asked: Asked, progress: Progress) -> Product:
    from .merge_products import merged_product

    return merged_product(inputs, asked, progress)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refuse(
            Code.OUTPUT_NAME,
            f"the folder {folder} cannot be made: {error.strerror}",
            "Give -o another folder, or make this one yourself.",
            where=(folder.name,),
        ) from error


def _unused(path: Path, done: Sequence[Outcome]) -> Path:
    """Another name where this run has already written one: two masks of a study may be called the same."""
    written = {made.output for made in done}
    names = (with_suffix(path, str(n)) for n in range(2, len(written) + 3))
    return path if path not in written else next(p for p in names if p not in written)


def _several(products: Sequence[Product]) -> PipelineError:
    return refuse(
        Code.SEVERAL_MASKS,
        f"there are {len(products)} masks here, and one file holds one",
        "Give -o a folder (ending in /) for one file each, or choose with --rois:\n"
        + "\n".join(f"  {p.volume.name}" for p in products),
        where=tuple(p.volume.name for p in products),
        measured=len(products),
        limit=1,
        unit="masks",
    )


def _is_resampled(product: Product) -> bool:
    return any(f.code is Code.RESAMPLED for f in product.findings)
