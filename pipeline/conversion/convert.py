"""The stages in order: scan, choose, lay, decode, write, read back, cross-check. The only module that knows them all.

Rules:
- One volume becomes one file; many become a folder of files, each with its own Outcome.
- A file that cannot be read may be a plane of the series: it refuses those series that it may belong to, as what is
  converted and as its source (see `left_out_beside`).
- What one input refuses does not keep others from being converted, where many were asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.conversion.embedded_masks import of_planes
from pipeline.conversion.file_names import file_names, merged_name
from pipeline.conversion.one_series import chosen_part, refuse_broken
from pipeline.conversion.option_effects import Asked, Subject, everything, is_settled, possible, refuse_idle
from pipeline.conversion.product import Product, of_part, of_time
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import Request
from pipeline.conversion.source import Source, find_source, made_with, place_on, with_grey_values
from pipeline.conversion.write import Progress, checked_target, finish, silent, with_suffix
from pipeline.core import arguments
from pipeline.core.extras import require_extra
from pipeline.core.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.core.policy import Policy
from pipeline.core.unexpected import as_refusal
from pipeline.crosscheck.panel import Panel
from pipeline.dicom import split_volumes
from pipeline.dicom.pixels import about_files
from pipeline.dicom.scan import Scan, Series, choose, left_out_beside, nothing_convertible, scan
from pipeline.dicom.split_volumes import Part
from pipeline.dicom.unread_files import place_among
from pipeline.mimics import is_bundle
from pipeline.stacking.defects import keep_tilt, tilt_of_grid
from pipeline.volume.mask import Mask

if TYPE_CHECKING:
    from pipeline.core.arguments import OneOrManyPaths

Item = tuple[str, Scan | None, Product | PipelineError]  # file name, what was scanned, and what became of it


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
    refuse_idle(wanted, everything())
    if page:
        require_extra("report")
    how: dict[str, Any] = {"like": request.like, "request": request.as_json(), "command": command, "page": page}
    with nullcontext(panel) if panel else Panel(policy) as asked:
        if request.merge:
            product = _all_in_one(given, wanted, progress)
        else:
            found, products = _everything(given, wanted, progress)
            if len(products) > 1:
                raise _several(products)
            product = _on_source(products[0], found, request, policy)
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
    refuse_idle(wanted, everything())
    if page:
        require_extra("report")
    how: dict[str, Any] = {"like": request.like, "request": request.as_json(), "command": command, "page": page}
    done: list[Outcome] = []
    refused: list[PipelineError] = []
    with nullcontext(panel) if panel else Panel(policy) as asked:
        if request.merge:
            product = _all_in_one(given, wanted, progress)
            _make_folder(target)
            path = with_suffix(target / f"{merged_name(given)}.nii.gz", "resampled" if _resampled(product) else "")
            return [finish(product, path, policy, asked, progress=progress, **how)], []
        items = _each(given, wanted, progress)
        _make_folder(target)  # not before what has no effect was refused
        for name, found, item in items:
            if isinstance(item, PipelineError):
                refused.append(item)
                continue
            try:
                product = _on_source(item, found, request, policy)
                suffix = "_".join(p for p in (product.suffix, "resampled" if _resampled(product) else "") if p)
                path = _unused(with_suffix(target / f"{name}.nii.gz", suffix), done)
                done.append(finish(product, path, policy, asked, progress=progress, **how))
            except Exception as error:
                refused.append(_naming(item.series.title, as_refusal(error)))
    return done, refused


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


def _everything(inputs: Sequence[Path], wanted: Asked, progress: Progress) -> tuple[Scan | None, list[Product]]:
    """The products of the one bundle or the one chosen series. Raises IDLE_OPTION as soon as it is known."""
    request, policy = wanted.request, wanted.policy
    if any(is_bundle(p) for p in inputs):
        from pipeline.conversion.mask_objects import of_bundle

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


def _all_in_one(inputs: Sequence[Path], wanted: Asked, progress: Progress) -> Product:
    """Every mask among the inputs as one of several labels, in the order of the inputs, then of the folders.

    Raises what refuses any of them, and SEGMENTS_OVERLAP.
    """
    from pipeline.conversion.mask_objects import files_of, merged, origin_of

    given: list[tuple[Scan | None, Product]] = []
    for _, found, item in _each(inputs, wanted, progress):
        if isinstance(item, PipelineError):
            raise item
        given.append((found, item))
    if not given:
        raise refuse(Code.NOT_CONVERTIBLE, "there is no mask to merge", "Look with verimask series.")
    given.sort(key=lambda pair: (*place_among(inputs, files_of(pair[1])), _number_and_file(pair[1])))
    products = [_on_source(product, found, wanted.request, wanted.policy) for found, product in given]
    return merged(products, [origin_of(product) for _, product in given], wanted.request.order)


def _number_and_file(product: Product) -> tuple[bool, int, str]:
    """What masks of one folder are ordered by."""
    from pipeline.conversion.mask_objects import files_of

    number = product.series.number
    return number is None, number or 0, min((path.name for path in files_of(product)), default="")


def _each(inputs: Sequence[Path], wanted: Asked, progress: Progress) -> Iterable[Item]:
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
        from pipeline.conversion.mask_objects import of_bundle

        name = path.resolve().name
        try:
            masks: Sequence[Product | PipelineError] = of_bundle(path, request.wanted, policy)
        except Exception as error:
            masks = [_naming(f"bundle {name}", as_refusal(error))]
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
            products = [_naming(series.title, as_refusal(error))]
        for item in products:
            yield name, found, _telling(item, told) if isinstance(item, Product) else item
        first = products[0] if products else None
        if isinstance(first, Product):
            for broken in (f for f in first.findings if f.severity is Severity.ERROR):
                yield name, found, _naming(series.title, PipelineError(broken))


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
            made.append(_naming(series.title, as_refusal(error)))
    return made


def _of_masks(series: Series, found: Scan, request: Request, policy: Policy) -> list[Product]:
    """The masks of a SEG series or a structure set, on their source's grid where it is known."""
    from pipeline.conversion.mask_objects import of_rtstruct, of_seg
    from pipeline.decode.rtstruct import decode as rtstruct
    from pipeline.decode.seg import decode as seg

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
            series_uids=rtstruct.referenced_series_uids(series),
            image_uids=rtstruct.referenced_image_uids(series),
        )
        return [made_with(p, "source", source) for p in of_rtstruct(series, source, request.wanted, policy)]
    raise refuse(
        Code.NOT_CONVERTIBLE,
        f"{series.title} is of kind {series.kind} ({series.modality or 'no modality'}): neither planes, SEG nor RTSTRUCT",
    )


def _on_source(product: Product, found: Scan | None, request: Request, policy: Policy) -> Product:
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


def _several(products: Sequence[Product]) -> PipelineError:
    return refuse(
        Code.SEVERAL_MASKS,
        f"there are {len(products)} masks here, and one file holds one",
        "Give -o a folder (ending in /) for one file each, or choose with --rois:\n"
        + "\n".join(f"  {p.volume.name}" for p in products),
    )


def _telling(product: Product, findings: Sequence[Finding]) -> Product:
    """A product with findings made before it, each told once."""
    return replace(product, findings=tuple(dict.fromkeys((*findings, *product.findings))))


def _resampled(product: Product) -> bool:
    return any(f.code is Code.RESAMPLED for f in product.findings)


def _naming(title: str, error: PipelineError) -> PipelineError:
    """The same refusal, naming its series: one among many must say which it speaks of."""
    message = error.finding.message
    if not message.startswith(title):
        message = f"{title}: {message}"
    return PipelineError(replace(error.finding, message=message), error.others)
