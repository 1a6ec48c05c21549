"""Convert inputs to NIfTI files: find the products, and write, read back and cross-check each.

Rules:
- One volume becomes one file; many become a folder of files, each with its own Outcome.
- What one input refuses does not keep others from being converted, where many were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import arguments
from ..core.extras import require_extra
from ..core.findings import Code, PipelineError, refuse
from ..core.plain_text import escape_controls
from ..core.policy import Policy
from ..core.workers import count_cores
from ..crosscheck.panel import Panel
from .convert_entry import Batch, Made, Result, is_resampled, write_items
from .file_names import merged_name
from .images_of_masks import convert_with_images
from .looks import Looks
from .one_series import refuse_broken
from .option_effects import Asked, everything, refuse_idle
from .output_path import checked_target, with_suffix
from .product import Product
from .products import Item, RunPlan, each_product, find_entries, finish_product, items_of, refuse_idle_on
from .record import Outcome
from .request import Kept, Progress, Request, RunDetails, forget, silent
from .run_log import StageLog
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
    return convert_one(
        inputs,
        output,
        request or Request(),
        policy or Policy(),
        progress=progress,
        command=command,
        panel=panel,
        page=page,
    )


def convert_one(
    inputs: OneOrManyPaths,
    output: str | Path,
    request: Request,
    policy: Policy,
    *,
    progress: Progress = silent,
    command: Sequence[str] = (),
    panel: Panel | None = None,
    page: bool = False,
    kept: Kept = forget,
) -> Outcome:
    """Convert as `convert` does, for a caller that keeps what was written.

    Args:
        inputs: as of `convert`, and so are the arguments up to `page`.
        output: a path ending in .nii or .nii.gz.
        request: which, where there are several, and on which grid.
        policy: tolerances and choices.
        progress: called with the stage, how much is done, and of how much.
        command: what the user typed, for the record.
        panel: the witnesses, where the caller has started them.
        page: whether the caller writes a page beside the output.
        kept: called with the product and the outcome of the file.

    Returns: what was done.

    Raises: PipelineError as `convert` does.
    """
    given = arguments.inputs(inputs)
    target = checked_target(arguments.path("output", output))
    log = StageLog(progress)
    asked = Asked(request, policy, gzipped=target.name.endswith(".gz"), in_one=True, looks=Looks())
    details = _details(asked, command, log.progress, page=page)._replace(kept=kept)
    with nullcontext(panel) if panel else Panel(policy) as witnesses:
        product = (_merged if request.merge else _only_product)(given, asked, log.progress, witnesses.masks.start)
        target = with_suffix(target, "resampled" if is_resampled(product) else "")
        return log.note(finish(product, target, policy, witnesses, details))


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
    jobs: int | None = 1,
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
        panel: the witnesses, where the caller has started them, who then ends them; other processes have their own.
        page: whether the caller writes a page beside each output.
        jobs: how many processes work at the same time; None for as many as there are cores, where it is worth it. The files
            are the same whatever it is.

    Returns:
        The outcome of every file that was written or passed over, and every refusal, named. Images among masks that were not
        written are in neither: `convert_each` yields them.

    Raises:
        PipelineError: where nothing can be begun: IDLE_OPTION, NO_DICOM, OUTPUT_NAME, and what refuses a merge.
    """
    done: list[Outcome] = []
    refused: list[PipelineError] = []
    for result in convert_each(
        inputs,
        folder,
        request=request,
        policy=policy,
        progress=progress,
        command=command,
        panel=panel,
        page=page,
        jobs=jobs,
    ):
        if isinstance(result, PipelineError):
            refused.append(result)
        elif isinstance(result, Outcome):
            done.append(result)
    return done, refused


def convert_each(
    inputs: OneOrManyPaths,
    folder: str | Path,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
    panel: Panel | None = None,
    page: bool = False,
    jobs: int | None = 1,
    lone_images: bool = False,
    looks: Looks | None = None,
    kept: Kept = forget,
) -> Generator[Result, None, None]:
    """Convert as `convert_all` does, and yield each outcome or refusal, in the order of the inputs, as soon as it is there.

    What becomes of images comes last, since all masks decide it (see `images_of_masks`).

    Args:
        inputs: folders or files, one or several.
        folder: where the files go; it is made.
        request: which of them, and on which grid.
        policy: tolerances and choices.
        progress: called with the stage, how much is done, and of how much.
        command: what the user typed, for the record.
        panel: the witnesses, where the caller has started them.
        page: whether the caller writes a page beside each output.
        jobs: how many processes work at the same time; None as of `convert_all`.
        lone_images: whether images are written as images where there is no mask at all; else that is refused.
        looks: what the caller has looked at already; nothing when None.
        kept: called with the product and the outcome of each file that this process writes, before the outcome is yielded.

    Returns: the results.

    Raises: PipelineError as `convert_all` does, before the first result.
    """
    given = arguments.inputs(inputs)
    policy, request = policy or Policy(), request or Request()
    target = arguments.path("folder", folder)
    _check_jobs(jobs, request)
    asked = Asked(request, policy, gzipped=True, in_one=False, looks=looks or Looks(), lone_images=lone_images)
    log = StageLog(progress)
    details = _details(asked, command, log.progress, page=page)._replace(kept=kept)
    if request.merge:
        with nullcontext(panel) if panel else Panel(policy) as witnesses:
            product = _merged(given, asked, log.progress, witnesses.masks.start)
            _make_folder(target)
            suffix = "resampled" if is_resampled(product) else ""
            path = with_suffix(target / f"{merged_name(given, policy)}.nii.gz", suffix)
            yield log.note(finish(product, path, policy, witnesses, details))
        return
    plan = find_entries(given, asked, log.progress)
    asked = asked._replace(aside=_sets_images_aside(plan, asked))
    batch = Batch(asked, details, target, tuple(sorted((e.name for e in plan.entries), key=str.casefold)))
    convert = partial(_convert_plan, progress=progress, panel=panel, jobs=jobs)
    with closing(convert_with_images(plan, batch, convert)) as results:
        yield from (log.note(result) for result in results)


def _sets_images_aside(plan: RunPlan, asked: Asked) -> bool:
    """Whether images may lie among masks: nothing was said of what they hold, and there are several inputs, or images are wanted too."""
    request = asked.request
    described = request.export.is_given or bool(request.clean) or request.series is not None
    return (len(plan.entries) > 1 or asked.lone_images) and asked.policy.as_ == "mask" and not described


def _convert_plan(
    plan: RunPlan, batch: Batch, progress: Progress, panel: Panel | None, jobs: int | None
) -> Generator[Made, None, None]:
    """Convert every entry of a plan, here or in several processes."""
    most = 1 if jobs == 1 else jobs or count_cores()
    if most > 1:
        from .processes import convert_in_processes, count_processes, split

        tasks = split(plan, batch.asked, jobs)
        processes = count_processes(jobs, plan, tasks)
        if processes > 1:
            if panel is not None:
                panel.close()
            _make_folder(batch.folder)
            yield from convert_in_processes(plan, tasks, batch, processes, progress)
            return
    with nullcontext(panel) if panel else Panel(batch.asked.policy) as witnesses:
        witnesses.masks.start(entry.series.kind for entry in plan.entries)
        made: Iterable[list[Item]] = ([*items_of(entry, plan.found, batch.asked)] for entry in plan.entries)
        if not plan.is_settled:
            made = list(made)
            refuse_idle_on(chain.from_iterable(made), batch.asked)
        _make_folder(batch.folder)  # not before what has no effect was refused
        for items in made:
            yield from write_items(items, batch, witnesses, range(len(items)))


def _check_jobs(jobs: int | None, request: Request) -> None:
    """Refuse what is no number of processes, and several for a merge. Raises BAD_OPTION, IDLE_OPTION."""
    if jobs is not None:
        arguments.check_whole("jobs", jobs, 1)
    if request.merge and jobs is not None and jobs > 1:
        raise refuse(
            Code.IDLE_OPTION,
            "--jobs has no effect here: a merge is one file, and one process makes it",
            "Leave it out (from Python: jobs=1).",
            where=("--jobs",),
        )


def _details(asked: Asked, command: Sequence[str], progress: Progress, *, page: bool) -> RunDetails:
    """Gather what every file of a run is finished with. Refuses what can act on nothing, and lacks its package."""
    refuse_idle(asked, everything())
    if page:
        require_extra("report")
    return RunDetails(asked.looks, asked.request.like, page, asked.request.as_json(), command, progress)


def _only_product(
    inputs: Sequence[Path], asked: Asked, progress: Progress, start: Callable[[Iterable[str]], None]
) -> Product:
    """Make the one product there is. Raises SEVERAL_MASKS, and what refuses it."""
    items = list(each_product(inputs, asked, progress, start))
    first = items[0].result
    if isinstance(first, PipelineError):
        raise first
    refuse_broken(first.findings)
    if len(items) > 1:
        raise _several([item.result for item in items if isinstance(item.result, Product)])
    return finish_product(first, items[0].found, asked)


def _merged(
    inputs: Sequence[Path], asked: Asked, progress: Progress, start: Callable[[Iterable[str]], None]
) -> Product:
    from .merge_products import merged_product

    return merged_product(inputs, asked, progress, start)


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


def _several(products: Sequence[Product]) -> PipelineError:
    return refuse(
        Code.SEVERAL_MASKS,
        f"there are {len(products)} masks here, and one file holds one",
        "Give -o a folder (ending in /) for one file each, or choose with --rois:\n"
        + "\n".join(f"  {escape_controls(p.volume.name)}" for p in products),
        where=tuple(p.volume.name for p in products),
        measured=len(products),
        limit=1,
        unit="masks",
    )
