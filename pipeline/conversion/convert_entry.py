"""Convert one input of many into a folder: write each of its products, here or in a process that does nothing else.

Rules:
- What a result is, and what its file is called, follows from what was asked for and from all inputs; never from the process
  that made it, from what was made before, or from how many work at the same time.
- A refusal names its input, and keeps no other product from being written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.findings import Code, PipelineError
from ..core.policy import Policy
from ..core.unexpected import as_refusal
from ..crosscheck.panel import Panel
from ..dicom.scan import Scan
from .option_effects import Asked
from .output_path import plan_paths, with_suffix
from .product import Entry, Product
from .products import Item, finish_product, name_input
from .record import Outcome
from .request import RunDetails
from .unwritten_images import SeenImage, UnwrittenImage, see_image
from .write import finish

Result = Outcome | PipelineError | UnwrittenImage
Made = Result | SeenImage  # what may be an image is settled once all inputs were looked at


class Batch(NamedTuple):
    """What is the same for every input of a run. folder: where the files go. names: of all inputs, sorted regardless of case."""

    asked: Asked
    details: RunDetails
    folder: Path
    names: tuple[str, ...]


class Task(NamedTuple):
    """What a process is given to do: one part of the products of one input. number: of the input.

    part, parts: which of how many runs of its products. entry, found: the input and what was scanned with it; None where it is
    one of those in the Study that the process was given before.
    """

    number: int
    part: int = 0
    parts: int = 1
    entry: Entry | None = None
    found: Scan | None = None

    def chosen(self, count: int) -> range:
        """The numbers, from 0, of those of so many products that are its part."""
        return range(count * self.part // self.parts, count * (self.part + 1) // self.parts)


class Study(NamedTuple):
    """What those inputs need that look for their images among all others: everything that was scanned, and they by number."""

    found: Scan
    entries: dict[int, Entry]


def write_items(items: Sequence[Item], batch: Batch, panel: Panel, chosen: Iterable[int]) -> Iterator[Made]:
    """Finish and write products of one input.

    Args:
        items: all of its products and refusals, in order, since they decide what each file is called.
        batch: what is the same for every input.
        panel: the witnesses, running.
        chosen: the numbers of the items that are wanted, from 0.

    Returns: an outcome or a named refusal for each of those, in order; of what is an image and no mask only that.
    """
    seen = _see_image(items, batch.asked)
    if seen is not None:
        yield seen
        return
    paths = _plan(items, batch)
    details = batch.details
    if batch.asked.policy.write == "suffix":
        others = (batch.folder / f"{name}.nii.gz" for name in batch.names)
        known = [path for path in paths if path is not None]
        planned = {*known, *(with_suffix(path, "resampled") for path in known), *others}
        details = details._replace(planned=planned)
    for number in chosen:
        try:
            yield _write(items[number], paths[number], batch.asked, panel, details)
        except Exception as error:
            yield name_input(items[number].entry, as_refusal(error))


def _see_image(items: Sequence[Item], asked: Asked) -> SeenImage | None:
    """The series that was refused whole, where images are set aside and it may be one."""
    errors = [name_input(item.entry, item.result) for item in items if isinstance(item.result, PipelineError)]
    if not asked.aside or not items or len(errors) < len(items):
        return None
    return see_image(items[0].entry, errors, asked.policy)


def is_resampled(product: Product) -> bool:
    """Whether voxels of a product were taken from another grid, which its file's name says."""
    return any(finding.code is Code.RESAMPLED for finding in product.findings)


def _write(item: Item, path: Path | None, asked: Asked, panel: Panel, details: RunDetails) -> Outcome:
    if isinstance(item.result, PipelineError):
        raise item.result
    if path is None:
        raise TypeError("a product without a path is a refusal")
    product = finish_product(item.result, item.found, asked)
    target = with_suffix(path, "resampled") if is_resampled(product) else path
    return finish(product, target, asked.policy, panel, details)


def _plan(items: Sequence[Item], batch: Batch) -> list[Path | None]:
    """Plan the path of every product among the items; a refusal has none."""
    products = [item.result for item in items if isinstance(item.result, Product)]
    suffixes = [product.suffix for product in products]
    if batch.asked.policy.strips_names:  # suffixes are made of the names of masks
        suffixes = [str(n) if len(products) > 1 else "" for n, _ in enumerate(products, 1)]
    name = items[0].entry.name if items else ""
    may_resample = _may_resample(batch.asked.policy)
    paths = iter(plan_paths(batch.folder, name, suffixes, batch.names, may_resample=may_resample))
    return [next(paths) if isinstance(item.result, Product) else None for item in items]


def _may_resample(policy: Policy) -> bool:
    return "resample" in (policy.on_tilt, policy.on_gap) or policy.resample != "refuse"
