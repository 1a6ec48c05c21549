"""The stages in order: what is asked for, the products, and how each is written, read back and cross-checked.

Rules:
- One volume becomes one file; many become a folder of files, each with its own Outcome.
- What one input refuses does not keep others from being converted, where many were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import arguments
from ..core.extras import require_extra
from ..core.findings import Code, PipelineError, refuse
from ..core.policy import Policy
from ..core.unexpected import as_refusal
from ..crosscheck.panel import Panel
from .file_names import merged_name
from .option_effects import Asked, everything, refuse_idle
from .product import Product
from .products import each_product, merged_product, naming, on_source, products_of_one
from .record import Outcome
from .request import Request
from .write import Progress, checked_target, finish, silent, with_suffix

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
    """One mask or image among the inputs to one NIfTI file with its proof beside it.

    Args:
        inputs: folders or files, one or several.
        output: a path ending in .nii or .nii.gz.
        request: which, where there are several, and on which grid.
        policy: tolerances and choices.
        progress: called with the stage, how much is done, and of how much.
        command: what the user typed, for the record.
        panel: the witnesses, where the caller has started them; he ends them.
        page: whether the caller writes a page beside the output: its place must be free, or hold a page of ours.

    Returns: what was done; its verdict is SKIPPED where `policy.write` is "skip" and the output is there, proven.

    Raises: PipelineError for every refusal, IDLE_OPTION for what was asked for and can have no effect; then no file is left.
    """
    given = arguments.inputs(inputs)
    policy, request = policy or Policy(), request or Request()
    target = checked_target(arguments.path("output", output))
    wanted = Asked(request, policy, gzipped=target.name.endswith(".gz"), in_one=True)
    how = _asked_for(wanted, command, page=page)
    with nullcontext(panel) if panel else Panel(policy) as asked:
        if request.merge:
            product = merged_product(given, wanted, progress)
        else:
            found, products = products_of_one(given, wanted, progress)
            if len(products) > 1:
                raise _several(products)
            product = on_source(products[0], found, request, policy)
        target = with_suffix(target, "resampled" if _resampled(product) else "")
        return finish(product, target, policy, asked, progress=progress, **how)


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
    """Every mask or image among the inputs to a folder: what was done, and what was refused.

    A merge is one file in that folder, and what refuses it is raised. What was asked for must have an effect on one of them
    at least. Args and Raises: see `convert`.
    """
    given = arguments.inputs(inputs)
    policy, request = policy or Policy(), request or Request()
    target = arguments.path("folder", folder)
    wanted = Asked(request, policy, gzipped=True, in_one=False)
    how = _asked_for(wanted, command, page=page)
    done: list[Outcome] = []
    refused: list[PipelineError] = []
    with nullcontext(panel) if panel else Panel(policy) as asked:
        if request.merge:
            product = merged_product(given, wanted, progress)
            _make_folder(target)
            path = with_suffix(target / f"{merged_name(given)}.nii.gz", "resampled" if _resampled(product) else "")
            return [finish(product, path, policy, asked, progress=progress, **how)], []
        items = each_product(given, wanted, progress)
        _make_folder(target)  # not before what has no effect was refused
        for name, found, item in items:
            if isinstance(item, PipelineError):
                refused.append(item)
                continue
            try:
                product = on_source(item, found, request, policy)
                suffix = "_".join(p for p in (product.suffix, "resampled" if _resampled(product) else "") if p)
                path = _unused(with_suffix(target / f"{name}.nii.gz", suffix), done)
                done.append(finish(product, path, policy, asked, progress=progress, **how))
            except Exception as error:
                refused.append(naming(item.series.title, as_refusal(error)))
    return done, refused


def _asked_for(wanted: Asked, command: Sequence[str], *, page: bool) -> dict[str, Any]:
    """What every file of a run is finished with. Refuses what can have no effect on anything, and lacks its package."""
    refuse_idle(wanted, everything())
    if page:
        require_extra("report")
    request = wanted.request
    return {"like": request.like, "request": request.as_json(), "command": command, "page": page}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refuse(Code.OUTPUT_NAME, f"the folder {folder} cannot be made: {error.strerror}") from error


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
    )


def _resampled(product: Product) -> bool:
    return any(f.code is Code.RESAMPLED for f in product.findings)
