"""What is to become a file: every product of the inputs, one after the other, each on the grid it is wanted on.

Rules:
- A file that cannot be read may be a plane of the series: it refuses those series that it may belong to, as what is
  converted and as its source (see `left_out_beside`).
- What one input is refused for does not keep others from being products, where many were asked for.
- What has no effect on any of them is refused before the first is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.policy import Policy
from ..core.unexpected import as_refusal
from ..dicom import split_volumes
from ..dicom.pixels import about_files
from ..dicom.scan import Scan, Series, choose, left_out_beside, nothing_convertible, scan
from ..dicom.split_volumes import Part
from ..dicom.unread_files import place_among
from ..mimics import is_bundle
from ..stacking.defects import keep_tilt, tilt_of_grid
from ..volume.mask import Mask
from .embedded_masks import of_planes
from .file_names import file_names
from .one_series import chosen_part, refuse_broken
from .option_effects import Asked, Subject, is_settled, possible, refuse_idle
from .product import Product, of_part, of_time
from .request import Request
from .source import Source, find_source, made_with, place_on, with_grey_values
from .write import Progress

Item = tuple[str, Scan | None, Product | PipelineError]  # file name, what was scanned, and what became of it


def products_of_one(inputs: Sequence[Path], wanted: Asked, progress: Progress) -> tuple[Scan | None, list[Product]]:
    """The products of the one bundle or the one chosen series. Raises IDLE_OPTION as soon as it is known."""
    request, policy = wanted.request, wanted.policy
    if any(is_bundle(p) for p in inputs):
        from .mask_objects import of_bundle

        if len(inputs) > 1:
            raise _beside_a_bundle(inputs)
        refuse_idle(wanted, possible("bundle", wanted))
        return None, of_bundle(inputs[0], request.wanted, policy)
    found = scan(inputs, lambda n: progress("reading headers", n, 0))
    chosen = choose(found, request.series)
    refuse_idle(wanted, possible(chosen.kind, wanted))
    told = left_out_beside(found, chosen, policy)
    if chosen.kind == "image":
        products = _of_part(chosen, chosen_part(chosen, request.part), found, request, policy)
    else:
        products = _of_masks(chosen, found, request, policy)
        refuse_broken(products[0].findings)
    refuse_idle(wanted, [Subject.of(product, request) for product in products])
    return found, [_telling(product, told) for product in products]


def _beside_a_bundle(inputs: Sequence[Path]) -> PipelineError:
    return refuse(
        Code.SEVERAL_SERIES,
        f"there are {len(inputs)} inputs with a Mimics bundle among them, and one file holds one",
        "Give the bundle alone, -o a folder (ending in /) for everything, or --merge.",
        where=tuple(p.name for p in inputs),
        measured=len(inputs),
        limit=1,
        unit="inputs",
    )


def merged_product(inputs: Sequence[Path], wanted: Asked, progress: Progress) -> Product:
    """Every mask among the inputs as one of several labels, in the order of the inputs, then of the folders.

    Raises what refuses any of them, and SEGMENTS_OVERLAP.
    """
    from .mask_objects import files_of, merged, origin_of

    given: list[tuple[Scan | None, Product]] = []
    for _, found, item in each_product(inputs, wanted, progress):
        if isinstance(item, PipelineError):
            raise item
        given.append((found, item))
    if not given:
        raise refuse(Code.NOT_CONVERTIBLE, "there is no mask to merge", "Look with verimask series.")
    given.sort(key=lambda pair: (*place_among(inputs, files_of(pair[1])), _number_and_file(pair[1])))
    products = [on_source(product, found, wanted.request, wanted.policy) for found, product in given]
    return merged(products, [origin_of(product) for _, product in given], wanted.request.order)


def _number_and_file(product: Product) -> tuple[bool, int, str]:
    """What masks of one folder are ordered by."""
    from .mask_objects import files_of

    number = product.series.number
    return number is None, number or 0, min((path.name for path in files_of(product)), default="")


def each_product(inputs: Sequence[Path], wanted: Asked, progress: Progress) -> Iterable[Item]:
    """File name, scan, and product or refusal, of everything among the inputs. Raises IDLE_OPTION before the first."""
    bundles = [p for p in inputs if is_bundle(p)]
    rest = [p for p in inputs if not is_bundle(p)]
    found = scan(rest, lambda n: progress("reading headers", n, 0)) if rest else Scan((), ())
    convertible = [s for s in found.series if s.kind != "other"]
    if rest and not convertible:
        raise nothing_convertible(found)
    request = wanted.request
    chosen = convertible if request.series is None or not rest else [choose(found, request.series)]
    kinds = ["bundle" for _ in bundles] + [s.kind for s in chosen]
    refuse_idle(wanted, [subject for kind in kinds for subject in possible(kind, wanted)])
    items = _of_all(bundles, chosen, found, request, wanted.policy)
    if is_settled(wanted, kinds):
        return items
    known = list(items)
    if not any(isinstance(item, PipelineError) for _, _, item in known):  # what was refused may be what it was for
        refuse_idle(wanted, [Subject.of(item, request) for _, _, item in known if isinstance(item, Product)])
    return known


def _of_all(
    bundles: Sequence[Path], chosen: Sequence[Series], found: Scan, request: Request, policy: Policy
) -> Iterator[Item]:
    for path in bundles:
        from .mask_objects import of_bundle

        name = path.resolve().name
        try:
            masks: Sequence[Product | PipelineError] = of_bundle(path, request.wanted, policy)
        except Exception as error:
            masks = [naming(f"bundle {name}", as_refusal(error))]
        for mask in masks:
            yield name, None, mask
    for series, name in zip(chosen, file_names(chosen), strict=True):
        told: tuple[Finding, ...] = ()
        try:
            told = left_out_beside(found, series, policy)
            products: Sequence[Product | PipelineError] = (
                _of_parts(series, found, request, policy)
                if series.kind == "image"
                else _of_masks(series, found, request, policy)
            )
        except Exception as error:
            products = [naming(series.title, as_refusal(error))]
        for item in products:
            yield name, found, _telling(item, told) if isinstance(item, Product) else item
        first = products[0] if products else None
        if isinstance(first, Product):
            for broken in (f for f in first.findings if f.severity is Severity.ERROR):
                yield name, found, naming(series.title, PipelineError(broken))


def _of_part(series: Series, part: Part, found: Scan, request: Request, policy: Policy) -> list[Product]:
    """One volume of an image series: as the image it is, or as the masks it is or holds."""
    if policy.as_ == "image":
        return [of_part(series, part, policy)]
    source = _source(series, found, request, policy)
    clean = find_source(found, request.clean, policy) if request.clean else None
    products = of_planes(series, part, policy, request.told, source, clean, request.wanted)
    return [made_with(made_with(p, "source", source), "clean", clean) for p in products]


def _source(series: Series, found: Scan, request: Request, policy: Policy) -> Source | None:
    if not request.source:
        return None
    return find_source(found, request.source, policy, frame_of_reference_uid=series.frame_of_reference_uid)


def _of_parts(series: Series, found: Scan, request: Request, policy: Policy) -> list[Product | PipelineError]:
    """All volumes of an image series, or one 4-D product where they are volumes over time of an image."""
    parts = split_volumes.split(series.frames) if request.part is None else [chosen_part(series, request.part)]
    if len(parts) > 1 and policy.as_ == "image" and all(p.over_time for p in parts):
        try:
            over_time = of_time(series, parts, policy)
        except PipelineError:
            over_time = None  # each part says for itself what is wrong with it
        if over_time is not None:
            return [over_time]
    made: list[Product | PipelineError] = []
    for part in parts:
        try:
            made += _of_part(series, part, found, request, policy)
        except Exception as error:
            made.append(naming(series.title, as_refusal(error)))
    return made


def _of_masks(series: Series, found: Scan, request: Request, policy: Policy) -> list[Product]:
    """The masks of a SEG series or a structure set, on their source's grid where it is known."""
    from ..decode.rtstruct import structure_set
    from ..decode.seg import decode as seg
    from .mask_objects import of_rtstruct, of_seg

    if series.kind == "seg":
        source = find_source(
            found,
            request.source,
            policy,
            series_uids=seg.referenced_series_uids(series),
            frame_of_reference_uid=series.frame_of_reference_uid,
        )
        return [made_with(p, "source", source) for p in of_seg(series, source, request.wanted, policy)]
    if series.kind == "rtstruct":
        source = find_source(
            found,
            request.source,
            policy,
            series_uids=structure_set.referenced_series_uids(series),
            image_uids=structure_set.referenced_image_uids(series),
        )
        return [made_with(p, "source", source) for p in of_rtstruct(series, source, request.wanted, policy)]
    raise refuse(
        Code.NOT_CONVERTIBLE,
        f"{series.title} is of kind {series.kind} ({series.modality or 'no modality'}): neither planes, SEG nor RTSTRUCT",
    )


def on_source(product: Product, found: Scan | None, request: Request, policy: Policy) -> Product:
    """A mask of planes or of a bundle on the grid of the source that was given; others are there already.

    Every product passes here once: what its files' bytes say of them becomes part of it.
    """
    product = replace(product, findings=(*product.findings, *about_files(product.series.headers)))
    if not request.source:
        return _keeping_tilt(product, policy) if product.form == "bundle" else product
    if not isinstance(product.volume, Mask):
        raise refuse(Code.NOT_A_MASK, "--source is for masks; an image has a grid of its own", "Leave --source out.")
    source = find_source(
        found or Scan((), ()),
        request.source,
        policy,
        series_uids={str(product.extra.get("SourceSeriesInstanceUID", ""))},
        frame_of_reference_uid=product.grid.frame_of_reference_uid,
    )
    assert source is not None  # a given source is found, or refused
    product = made_with(product, "source", source)
    if product.series.kind not in ("seg", "rtstruct"):
        product = place_on(product, source, policy)
    return with_grey_values(product, source) if policy.grey_values else product


def _keeping_tilt(product: Product, policy: Policy) -> Product:
    """A product on the grid it came with, which may lean. Raises GANTRY_TILT where the policy does not keep that."""
    tilted = tilt_of_grid(product.grid, policy)
    if tilted is None:
        return product
    return replace(product, findings=(*product.findings, keep_tilt(tilted, policy, "masks of a bundle")))


def _telling(product: Product, findings: Sequence[Finding]) -> Product:
    """A product with findings made before it, each told once."""
    return replace(product, findings=tuple(dict.fromkeys((*findings, *product.findings))))


def naming(title: str, error: PipelineError) -> PipelineError:
    """The same refusal, naming its series: one among many must say which it speaks of."""
    message = error.finding.message
    if not message.startswith(title):
        message = f"{title}: {message}"
    return PipelineError(replace(error.finding, message=message), error.others)
