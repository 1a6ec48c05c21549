"""Find what is to become a file: every product of the inputs, one after the other, each on the grid it is wanted on.

Rules:
- There is one way from inputs to products, whether one file or many are wanted; `volume.representations` says which module
  makes them.
- A file that cannot be read may be a plane of the series: it refuses those series that it may belong to, as what is
  converted and as its source (see `left_out_beside`).
- What one input is refused for does not keep others from being products.
- What has no effect on any of them is refused before the first is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.given_path import list_input, look_at_input
from ..core.policy import Policy
from ..core.unexpected import as_refusal
from ..dicom.pixels import about_files
from ..dicom.scan import Scan, Series, choose, left_out_beside, nothing_convertible, scan
from ..mimics import find_bundles
from ..stacking.defects import keep_tilt, tilt_of_grid
from ..volume.mask import MaskVolume
from ..volume.representations import BY_KIND, FORMS, Trait
from .file_names import file_names, plain_name
from .input_folder import InputFolders, folder_within
from .option_effects import Asked, Subject, is_settled, possible, refuse_idle
from .product import Entry, Product
from .request import Progress
from .source import add_grey_values, add_image_files, files_of_series, find_source, images_in, move_product


class Item(NamedTuple):
    """What became of one mask or image of an input. found: what was scanned with it."""

    entry: Entry
    found: Scan
    result: Product | PipelineError


class RunPlan(NamedTuple):
    """What is to become files. found: the scan that the entries are of. is_settled: whether every option that was given acts on
    one of them for certain; else that is known only once all products are made."""

    entries: list[Entry]
    found: Scan
    is_settled: bool


class _Maker(Protocol):
    """The module of a representation, by the name in its line of the table."""

    def products(self, entry: Entry, found: Scan, asked: Asked) -> Sequence[Product | PipelineError]:
        """Make the products of one input; a refusal among them stands for one of several."""

    def names(self, series: Series) -> list[tuple[int, str]]:
        """Return number and name of the masks that a series declares."""


def each_product(
    inputs: Sequence[Path], asked: Asked, progress: Progress, start: Callable[[Iterable[str]], None]
) -> Iterable[Item]:
    """Make every product of the inputs, or those of the one input that `asked.in_one` allows.

    Args:
        inputs: folders or files.
        asked: what is wanted of them.
        progress: called with the stage and how much is done.
        start: called with the kinds of the inputs, as soon as they are known.

    Returns: product or refusal of everything, in order; made as they are asked for, where nothing hinders it.

    Raises: PipelineError IDLE_OPTION before the first; SEVERAL_SERIES where one file is wanted; what the scan refuses.
    """
    plan = find_entries(inputs, asked, progress)
    start(entry.series.kind for entry in plan.entries)
    items = (item for entry in plan.entries for item in items_of(entry, plan.found, asked))
    if plan.is_settled:
        return items
    known = list(items)
    refuse_idle_on(known, asked)
    return known


def find_entries(inputs: Sequence[Path], asked: Asked, progress: Progress) -> RunPlan:
    """Find what among the inputs holds products, before any of them is made.

    Args:
        inputs: folders or files.
        asked: what is wanted of them.
        progress: called with the stage and how much is done.

    Returns: the series and bundles, with the scan they are of.

    Raises: PipelineError IDLE_OPTION, SEVERAL_SERIES where one file is wanted, and what the scan refuses.
    """
    entries, found = _entries(inputs, asked, progress)
    kinds = [entry.series.kind for entry in entries]
    refuse_idle(asked, [subject for kind in kinds for subject in possible(kind, asked)])
    # With `lone_images` the options are the program's own, and none of them is refused for having no effect.
    return RunPlan(entries, found, asked.lone_images or is_settled(asked, kinds))


def refuse_idle_on(known: Iterable[Item], asked: Asked) -> None:
    """Refuse an option that acts on none of the products, now that all are made. Raises IDLE_OPTION."""
    results = [item.result for item in known]
    if not any(isinstance(result, PipelineError) for result in results):  # what was refused may be what it was for
        refuse_idle(asked, [Subject.of(result, asked.request) for result in results if isinstance(result, Product)])


def items_of(entry: Entry, found: Scan, asked: Asked) -> Iterator[Item]:
    """Make the products of one entry.

    Args:
        entry: a series or bundle.
        found: the scan it is of.
        asked: what is wanted of it.

    Returns: every product, in order, and every refusal.

    Raises: nothing: what refuses the entry is one of those.
    """
    about: tuple[Finding, ...] = ()
    try:
        about = left_out_beside(found, entry.series, asked.policy)
        if entry.series.kind not in BY_KIND:
            raise _not_convertible(entry.series)
        if asked.aside and _is_given_source(entry.series, asked):
            raise _is_source(entry.series)
        results = _maker(entry.series.kind).products(entry, found, asked)
    except Exception as error:
        results = [as_refusal(error)]
    for result in results:
        if isinstance(result, Product):
            findings = tuple(dict.fromkeys((*about, *result.findings)))
            result = replace(result, findings=findings, folder=_folder_of(result, entry))
        yield Item(entry, found, result)
    first = results[0] if results else None
    for finding in first.findings if isinstance(first, Product) else ():
        if finding.severity is Severity.ERROR:  # an ROI that could not be filled, while others could
            yield Item(entry, found, PipelineError(finding))


def _folder_of(product: Product, entry: Entry) -> str:
    """The folder of its planes, where a series is parted by folders; that of the series for all else."""
    planes = [frame.path for frame in product.frames if frame is not None]
    if entry.series.kind != "image" or not planes:
        return entry.folder
    return folder_within(entry.folder, [header.path for header in entry.series.headers], planes)


def names_in(series: Series) -> list[tuple[int, str]]:
    """Return number and name of the ROIs or segments that a series declares."""
    return _maker(series.kind).names(series) if series.kind in BY_KIND else []


def finish_product(product: Product, found: Scan, asked: Asked) -> Product:
    """Put a mask of planes or of a bundle on the grid of the source that was given; others are there already.

    Every product passes here once: what its files' bytes say of them becomes part of it.

    Args:
        product: as its maker made it.
        found: where the source is looked for.
        asked: which source, and every tolerance.

    Returns: the product to be written.

    Raises: PipelineError NOT_A_MASK, GANTRY_TILT, and what `find_source` and `move_product` refuse.
    """
    request, policy = asked.request, asked.policy
    product = replace(product, findings=(*product.findings, *asked.looks.once(about_files, product.series.headers)))
    traits = FORMS[product.form].traits
    if asked.seeks_partners and Trait.MOVABLE in traits:
        from .partner_grid import move_onto_partner

        moved = move_onto_partner(product, found, asked)
        if "SourceSeriesInstanceUID" in moved.extra:
            return moved
        product = moved
    if not request.source:  # frames of a series were laid by the policy; a grid that came ready may lean still
        return product if Trait.SERIES in traits else _keep_tilt(product, policy)
    if not isinstance(product.volume, MaskVolume) and Trait.ON_SOURCE not in traits:
        raise refuse(
            Code.NOT_A_MASK,
            "--source is for masks; an image has a grid of its own",
            "Leave --source out.",
            where=("--source",),
        )
    uid = str(product.extra.get("SourceSeriesInstanceUID", ""))
    frame_uid = product.grid.frame_of_reference_uid
    there = {frame.sop_instance_uid for frame in product.frames if frame} if Trait.ON_SOURCE in traits else set()
    source = find_source(
        found,
        request.source,
        policy,
        asked.looks,
        series_uids={uid},
        image_uids=there,
        frame_of_reference_uid=frame_uid,
    )
    if source is None:  # a source that is given is found, or refused
        raise TypeError("find_source found nothing in what was given, and did not refuse it")
    product = add_image_files(product, "source", source)
    if Trait.MOVABLE in traits:
        product = move_product(product, source, policy)
    is_mask = isinstance(product.volume, MaskVolume)  # kept fractions have no seven mirror images
    return add_grey_values(product, source) if policy.grey_values and is_mask else product


def name_input(entry: Entry, error: PipelineError) -> PipelineError:
    """Return the same refusal, naming its input and its folder: one among many must say which it speaks of."""
    message = error.finding.message
    if not message.startswith(entry.title):
        message = f"{entry.title}: {message}"
    named = PipelineError(replace(error.finding, message=message), error.others, entry.folder)
    named.__cause__ = error.__cause__
    return named


def _entries(inputs: Sequence[Path], asked: Asked, progress: Progress) -> tuple[list[Entry], Scan]:
    """Find the bundles and series among the inputs; just one if one file is wanted."""
    bundles, rest = _apart(inputs)
    folders = InputFolders(inputs)
    if bundles and asked.in_one and len(bundles) + len(rest) > 1:
        raise _several_with_a_bundle([*bundles, *rest])
    if not rest:
        return _bundle_entries(bundles, [], folders, asked.policy), Scan((), ())
    found = scan(rest, lambda done: progress("reading headers", done, 0), asked.looks.header)
    convertible = [series for series in found.series if series.kind != "other"]
    if not convertible and not asked.in_one:
        raise nothing_convertible(found)
    convertible = _without_given_images(convertible, asked)
    if asked.in_one or asked.request.series is not None:
        convertible = [choose(replace(found, series=tuple(convertible or found.series)), asked.request.series)]
    names = file_names(convertible, asked.policy)
    entries = [
        Entry(name, series, folder=folders.folder_of(header.path for header in series.headers))
        for name, series in zip(names, convertible, strict=True)
    ]
    return [*_bundle_entries(bundles, names, folders, asked.policy), *entries], found


def _without_given_images(convertible: list[Series], asked: Asked) -> list[Series]:
    """Leave out images that --clean or --source names: what they go with is to be converted.

    Not where nothing else is there, nor where the user chose a series. Among many inputs of which nothing is said,
    `images_of_masks` says what becomes of a source.
    """
    request = asked.request
    is_described = asked.in_one or request.export.is_given or bool(request.clean)
    if request.series is not None or asked.policy.as_ == "image" or len(convertible) < 2:
        return convertible
    given = [paths for paths in (request.clean, request.source if is_described else ()) if paths]
    files = files_of_series(image for paths in given for image in images_in(Scan(()), paths, asked.looks)[1])
    return [s for s in convertible if s.kind != "image" or not files_of_series([s]) <= files] or convertible


def _bundle_entries(
    bundles: Sequence[Path], names: Sequence[str], folders: InputFolders, policy: Policy
) -> list[Entry]:
    """Name each bundle, by its folder where names are kept, with a number where another bundle or a series has that name.

    names: of the series.
    """
    taken = {name.casefold() for name in names}
    entries = []
    for path in bundles:
        plain = (plain_name(path.resolve().name) if policy.keep_names else "") or "bundle"
        name = next(n for n in chain([plain], (f"{plain}_{k}" for k in count(2))) if n.casefold() not in taken)
        taken.add(name.casefold())
        folder = folders.folder_of([path if look_at_input(path).is_file else path / "bundle.json"])
        entries.append(Entry(name, Series("", "bundle", (), ()), path, folder))
    return entries


def _apart(inputs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """List the bundles among the inputs, also those that lie side by side in a folder, and what else is there to scan."""
    bundles: list[Path] = []
    rest: list[Path] = []
    for path in inputs:
        inside = find_bundles(path)
        bundles += inside
        if not inside:
            rest.append(path)
        elif inside != [path]:
            rest += [child for child in list_input(path) if child not in inside]
    return bundles, rest


def _maker(kind: str) -> _Maker:
    """Import the module of a representation; a conversion needs one of them."""
    return cast(_Maker, import_module(f".{BY_KIND[kind].module}", __package__))


def _keep_tilt(product: Product, policy: Policy) -> Product:
    """Keep the grid a product came with, which may lean. Raises GANTRY_TILT where the policy does not allow that."""
    tilted = tilt_of_grid(product.grid, policy)
    if tilted is None:
        return product
    return replace(product, findings=(*product.findings, keep_tilt(tilted, policy, "masks of a bundle")))


def _several_with_a_bundle(inputs: Sequence[Path]) -> PipelineError:
    return refuse(
        Code.SEVERAL_SERIES,
        f"there are {len(inputs)} inputs with a Mimics bundle among them, and one file holds one",
        "Give the bundle alone, -o a folder (ending in /) for everything, or --merge.",
        where=tuple(path.name for path in inputs),
        measured=len(inputs),
        limit=1,
        unit="inputs",
    )


def _is_given_source(series: Series, asked: Asked) -> bool:
    """Whether a series is the one and only that --source names: then it is an image, and its pixels need not say so."""
    if series.kind != "image" or not asked.request.source:
        return False
    images = images_in(Scan(()), asked.request.source, asked.looks)[1]
    return len(images) == 1 and not files_of_series(images).isdisjoint(files_of_series([series]))


def _is_source(series: Series) -> PipelineError:
    return refuse(
        Code.NOT_A_MASK,
        f"{series.title} is the image that --source names, and no mask",
        "Leave --source out to have it read as a mask.",
        where=(series.uid,),
    )


def _not_convertible(series: Series) -> PipelineError:
    modality = series.modality or "no modality"
    return refuse(
        Code.NOT_CONVERTIBLE,
        f"{series.title} is of kind {series.kind} ({modality}): neither planes, SEG nor RTSTRUCT",
        "Choose another with --series; verimask series lists them.",
        where=(series.uid,),
    )
