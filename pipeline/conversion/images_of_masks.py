"""Convert the masks of a folder, then say of every image series what it is to them, and write it where that is wanted.

Rules:
- What an image is to the masks is known once all inputs were looked at, so images come after everything else, in order.
- An image is a partner (see `partners`), or passed over; neither is a failure. Where there is no mask at all, that is one,
  unless `Asked.lone_images`: then they are written.
- With `Request.images` partners are written as images, with the same proofs. One that cannot be written is refused where a
  mask names it, and passed over where it only lies beside masks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import NamedTuple

from ..core.findings import Code, PipelineError, refuse
from ..dicom.scan import Scan, Series
from .convert_entry import Batch, Made, Result
from .file_names import file_names
from .option_effects import Asked
from .partners import Partnership, find_partners
from .product import Entry
from .products import RunPlan
from .record import Outcome
from .source import files_of_series, images_in
from .unwritten_images import IMAGE_STAGES, SeenImage, UnwrittenImage, UnwrittenVerdict

Convert = Callable[[RunPlan, Batch], Generator[Made, None, None]]


class _Image(NamedTuple):
    """An image series, and what makes it a partner. seen: None where it gave a mask, or is not among the inputs.

    found: the scan that it is of. is_input: whether it is not only among what --source names.
    """

    entry: Entry
    partnership: Partnership | None
    seen: SeenImage | None
    found: Scan
    is_input: bool


def convert_with_images(plan: RunPlan, batch: Batch, convert: Convert) -> Generator[Result, None, None]:
    """Convert a plan, and settle what becomes of its images.

    Args:
        plan: the inputs.
        batch: what is the same for every input.
        convert: converts a plan.

    Returns: the results of the inputs in their order, without those of images; then those of images.
    """
    seen: list[SeenImage] = []
    refused: list[PipelineError] = []
    sources: set[str] = set()  # Series Instance UIDs
    for made in convert(plan, batch):
        if isinstance(made, SeenImage):
            seen.append(made)
            continue
        if isinstance(made, PipelineError):
            refused.append(made)
        elif isinstance(made, Outcome):
            sources.add(made.record.get("SourceSeriesInstanceUID", ""))
        yield made
    labels_are_sources = any(e.series.kind == "image" and e.series.uid in sources - {""} for e in plan.entries)
    if not (seen or labels_are_sources or batch.asked.request.images):
        return
    if seen and len(seen) == len(plan.entries):
        yield from _lone_images(seen, plan, batch, convert) if batch.asked.lone_images else _without_masks(seen, plan)
        return
    images = [image for image in _images(plan, seen, batch.asked) if not _is_refused(image, refused)]
    if batch.asked.request.images:
        yield from _written(images, batch, convert)
    else:
        for image in images:
            yield from _not_written(image)


def _images(plan: RunPlan, seen: Sequence[SeenImage], asked: Asked) -> list[_Image]:
    """List the images of the inputs that are no masks, and all that masks name, also among those of --source."""
    from .mask_references import references_of  # which needs pydicom

    by_name = {image.name: image for image in seen}
    masks = [entry for entry in plan.entries if entry.name not in by_name]
    of_images = [entry for entry in plan.entries if entry.series.kind == "image"]
    inputs = [_Image(entry, None, by_name.get(entry.name), plan.found, is_input=True) for entry in of_images]
    given: list[Series] = []
    if asked.request.source:
        scanned, given = images_in(plan.found, asked.request.source, asked.looks)
        own = files_of_series(image.entry.series for image in inputs)
        strange = [series for series in given if not files_of_series([series]) & own]
        taken = [entry.name for entry in plan.entries]
        for name, series in zip(_names_apart(file_names(strange, asked.policy), taken, "source"), strange, strict=True):
            inputs.append(_Image(Entry(name, series), None, None, scanned, is_input=False))
    partnerships = find_partners([image.entry.series for image in inputs], [references_of(mask) for mask in masks])
    if given:
        partnerships = _as_given(inputs, partnerships, given, len(masks))
    images = [image._replace(partnership=own) for image, own in zip(inputs, partnerships, strict=True)]
    return [image for image in images if image.seen is not None or _is_named(image)]


def _as_given(
    images: Sequence[_Image], partnerships: Sequence[Partnership | None], given: Sequence[Series], masks: int
) -> list[Partnership | None]:
    """Let --source decide what the masks are on: the only series of it is the source of all, and what is not of it of none."""
    files = files_of_series(given)
    decided: list[Partnership | None] = []
    for image, own in zip(images, partnerships, strict=True):
        if not files_of_series([image.entry.series]) & files:
            decided.append(None if own is None else own._replace(by="frame of reference"))
        else:
            decided.append(Partnership(tuple(range(masks)), "image") if len(given) == 1 else own)
    return decided


def _is_refused(image: _Image, errors: Sequence[PipelineError]) -> bool:
    """Whether a series was refused already, so that nothing more is to be said of it."""
    if image.seen is not None or not image.is_input:
        return False
    return any(_is_about(image.entry, error) for error in errors)


def _is_about(entry: Entry, error: PipelineError) -> bool:
    """Whether a refusal, which `name_input` named, is that of an input."""
    return error.folder == entry.folder and error.finding.message.startswith(entry.title)


def _is_named(image: _Image) -> bool:
    return image.partnership is not None and image.partnership.is_source


def _not_written(image: _Image) -> Iterable[Result]:
    """What is to be said of an image that is not written: nothing of one that --source alone brought."""
    seen, own = image.seen, image.partnership
    if not image.is_input:
        return []
    if seen is not None and (own is None or not (seen.certain or own.is_source)):
        return [_passed(image.entry)] if seen.certain else seen.errors
    if own is None:
        return []
    count = len(own.masks)
    what = "the image of" if own.is_source else "in the Frame of Reference of"
    words = f"{what} {count} mask series" if count > 1 else f"{what} a mask series"
    hint = "--images writes it too"
    if seen is None:
        words, hint = f"{words}, and a mask itself by its few values", "--images writes it as an image too"
    return [_unwritten(image.entry, "PARTNER", words, hint)]


def _passed(entry: Entry) -> UnwrittenImage:
    return _unwritten(
        entry, "PASSED", "an image, and nothing says where a mask is in it", "--as image writes it as it is"
    )


def _unwritten(entry: Entry, verdict: UnwrittenVerdict, message: str, hint: str) -> UnwrittenImage:
    return UnwrittenImage(verdict, entry.title, entry.series.uid, message, hint, entry.folder)


def _without_masks(seen: Sequence[SeenImage], plan: RunPlan) -> Iterable[Result]:
    """Refuse image series among which there is no mask: each is named, and the refusal is one."""
    certain = {image.name for image in seen if image.certain}
    images = [entry for entry in plan.entries if entry.name in certain]
    if len(images) < 2:
        return [error for image in seen for error in image.errors]
    none = refuse(
        Code.NOT_A_MASK,
        f"none of the {len(images)} image series here holds a mask, and nothing says where one is",
        "For the images themselves use --as image. Give an export that holds a mask alone: then the values that stand out "
        "in it are shown, from which --inside, --outside, --clean or --source can follow.",
        where=tuple(entry.series.uid for entry in images),
    )
    others = [error for image in seen if not image.certain for error in image.errors]
    return [*map(_passed, images), *others, none]


def _lone_images(seen: Sequence[SeenImage], plan: RunPlan, batch: Batch, convert: Convert) -> Iterator[Result]:
    """Write all that are images for certain; one that may be a mask stays refused."""
    certain = {image.name for image in seen if image.certain}
    for image in seen:
        if not image.certain:
            yield from image.errors
    images = [_Image(e, None, None, plan.found, is_input=True) for e in plan.entries if e.name in certain]
    yield from _convert_images(images, _of_images(batch, []), convert)


def _written(images: Sequence[_Image], batch: Batch, convert: Convert) -> Iterator[Result]:
    """Write the partners: first those that masks name, then those beside masks; and pass over the others."""
    partners = [i for i in images if i.partnership and (i.seen is None or i.seen.certain or i.partnership.is_source)]
    named = [_apart_from_mask(image, batch) for image in partners if _is_named(image)]
    in_frame = [image for image in partners if not _is_named(image)]
    batch = _of_images(batch, [image.entry.name for image in named])
    yield from _convert_images(named, batch, convert)
    for made in _convert_images(in_frame, batch, convert):
        yield _passed_over(made, in_frame) if isinstance(made, PipelineError) else made
    for image in images:
        if image not in partners:
            yield from _not_written(image)


def _convert_images(images: Sequence[_Image], batch: Batch, convert: Convert) -> Iterator[Result]:
    """Convert images, those that were scanned together at the same time."""
    scans = {id(image.found): image.found for image in images}
    for found in scans.values():
        entries = [image.entry for image in images if image.found is found]
        for made in convert(RunPlan(entries, found, is_settled=True), batch):
            if not isinstance(made, SeenImage):
                yield made


def _of_images(batch: Batch, names: Sequence[str]) -> Batch:
    """What is the same for every image. What was asked for masks is not for them; the records say what was asked for all."""
    request = replace(batch.asked.request, source=(), wanted=None, part=None)
    policy = replace(batch.asked.policy, as_="image", labels_file="none")
    asked = batch.asked._replace(request=request, policy=policy, aside=False)
    return batch._replace(asked=asked, names=tuple(sorted({*batch.names, *names}, key=str.casefold)))


def _apart_from_mask(image: _Image, batch: Batch) -> _Image:
    """An image whose series gave a mask too has another name than that."""
    if image.seen is not None or not image.is_input:
        return image
    (name,) = _names_apart([image.entry.name], batch.names, "image")
    return image._replace(entry=image.entry._replace(name=name))


def _names_apart(names: Sequence[str], taken: Collection[str], word: str) -> list[str]:
    """The names, each that is taken with a word after it, and a number where that is taken too."""
    known = {name.casefold() for name in taken}
    apart = []
    for name in names:
        tries = chain([name, f"{name}_{word}"], (f"{name}_{word}_{n}" for n in count(2)))
        apart.append(next(one for one in tries if one.casefold() not in known))
        known.add(apart[-1].casefold())
    return apart


def _passed_over(error: PipelineError, images: Sequence[_Image]) -> Result:
    """Pass over an image that only lies beside masks and cannot be written; what may be lost stays a refusal."""
    entry = next((image.entry for image in images if _is_about(image.entry, error)), None)
    if entry is None or error.finding.code.stage not in IMAGE_STAGES:
        return error
    words = f"beside masks, and not written: {error.finding.code.name}"
    return _unwritten(entry, "PASSED", words, "alone, with --as image, it is refused in full words")
