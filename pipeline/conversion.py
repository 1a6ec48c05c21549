"""The stages in order: scan, choose, lay, decode, write, read back, cross-check. The only module that knows them all.

Rules:
- One volume becomes one file; many become a folder of files, each with its own Outcome.
- A file that begins like DICOM and cannot be read may be a plane of the series: it refuses the conversion.
- What one input refuses does not keep others from being converted, where many were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import parts as parts_
from pipeline.crosscheck.panel import Panel
from pipeline.decode.image import decode_image, decode_mask
from pipeline.exported import Told, of_planes
from pipeline.findings import Code, Finding, PipelineError, Severity, refuse
from pipeline.finish import Progress, checked_target, finish, silent, with_suffix
from pipeline.laying import Laid, lay
from pipeline.mask import Mask, Voxels
from pipeline.mimics import is_bundle
from pipeline.names import file_names
from pipeline.outcome import Outcome
from pipeline.parts import Part
from pipeline.policy import Policy
from pipeline.product import Product, of_part, of_time
from pipeline.series import Scan, Series, choose, nothing_convertible, scan
from pipeline.sources import Source, find_source, place_on, with_grey_values

Path_ = str | Path


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of the inputs. series: UID, number or description. part: number or name of one of several volumes.

    source: folders or files of the images the mask was drawn on. like: a NIfTI file whose grid the mask is to have.
    wanted: names or numbers of ROIs, segments or masks; all when None. told: what an export with a mask in its image is;
    clean: the same export with masks hidden. merge: all masks as one of several labels; order: who lies on top.
    page: whether a page will be written beside each file, whose place is to be free.
    """

    series: str | None = None
    part: str | None = None
    source: tuple[Path, ...] = ()
    like: Path | None = None
    wanted: tuple[str, ...] | None = None
    told: Told = Told()  # noqa: RUF009  (frozen)
    clean: tuple[Path, ...] = ()
    merge: bool = False
    order: tuple[str, ...] = ()
    page: bool = False


def convert(
    inputs: Sequence[Path_],
    output: Path_,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
    panel: Panel | None = None,
) -> Outcome:
    """One mask or image among the inputs (folders or files) to one NIfTI file with its proof beside it.

    output: a path ending in .nii or .nii.gz. request: which, where there are several, and on which grid. panel: the
    witnesses, where the caller has started them; he ends them.
    Raises PipelineError for every refusal; then no file is left.
    """
    policy, request = policy or Policy(), request or Request()
    target = checked_target(Path(output))
    with nullcontext(panel) if panel else Panel(policy) as asked:
        if request.merge:
            found, product = _all_in_one([Path(p) for p in inputs], request, policy, progress)
        else:
            found, products = _everything([Path(p) for p in inputs], request, policy, progress)
            if len(products) > 1:
                raise _several(products)
            product = _on_source(products[0], found, request, policy)
        target = with_suffix(target, "resampled" if _resampled(product) else "")
        others = () if found is None else found.left_out
        return finish(
            product,
            target,
            policy,
            asked,
            like=request.like,
            page=request.page,
            others=others,
            progress=progress,
            command=command,
        )


def convert_all(
    inputs: Sequence[Path_],
    folder: Path_,
    *,
    request: Request | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
    command: Sequence[str] = (),
    panel: Panel | None = None,
) -> tuple[list[Outcome], list[PipelineError]]:
    """Every mask or image among the inputs to a folder: what was done, and what was refused. panel: see `convert`."""
    policy, request = policy or Policy(), request or Request()
    target = Path(folder)
    done: list[Outcome] = []
    refused: list[PipelineError] = []
    with nullcontext(panel) if panel else Panel(policy) as asked:
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refuse(Code.OUTPUT_NAME, f"the folder {target} cannot be made: {error.strerror}") from error
        for name, found, item in _each([Path(p) for p in inputs], request, policy, progress):
            if isinstance(item, PipelineError):
                refused.append(item)
                continue
            try:
                product = _on_source(item, found, request, policy)
                suffix = "_".join(p for p in (product.suffix, "resampled" if _resampled(product) else "") if p)
                path = _unused(with_suffix(target / f"{name}.nii.gz", suffix), done)
                made = finish(
                    *(product, path, policy, asked),
                    like=request.like,
                    page=request.page,
                    progress=progress,
                    command=command,
                )
                done.append(made)
            except PipelineError as error:
                refused.append(_naming(item.series, error))
    return done, refused


def _unused(path: Path, done: Sequence[Outcome]) -> Path:
    """Another name where this run has already written one: two masks of a study may be called the same."""
    written = {made.output for made in done}
    names = (with_suffix(path, str(n)) for n in range(2, len(written) + 3))
    return path if path not in written else next(p for p in names if p not in written)


def laid_series(inputs: Sequence[Path], series: str | None, part: str | None, policy: Policy) -> tuple[Series, Laid]:
    """One series of planes among the inputs, laid on its grid; for what explains and compares."""
    found = scan(inputs)
    _refuse_broken(found.left_out)
    chosen = choose(found, series)
    return chosen, lay(_chosen_part(chosen, part).frames, policy, chosen.title)


def image_of(laid: Laid) -> Voxels:
    """The stored grey values of a laid series, on its grid."""
    decoded = decode_image(laid.frames, padded=not laid.whole)
    return laid.place(decoded.voxels, decoded.padding)


def mask_of(series: Series, laid: Laid, policy: Policy) -> Voxels:
    """The labels of a laid mask series, on its grid."""
    return laid.place(decode_mask(laid.frames, policy, series.description).voxels, 0)


def _everything(
    inputs: list[Path], request: Request, policy: Policy, progress: Progress
) -> tuple[Scan | None, list[Product]]:
    """The products of the one bundle or the one chosen series."""
    bundles = [p for p in inputs if is_bundle(p)]
    if bundles:
        from pipeline.masks import of_bundle

        return None, of_bundle(bundles[0], request.wanted, policy)
    found = scan(inputs, lambda n: progress("reading headers", n, 0))
    _refuse_broken(found.left_out)
    chosen = choose(found, request.series)
    if chosen.kind == "image":
        return found, _of_part(chosen, _chosen_part(chosen, request.part), found, request, policy)
    products = _of_masks(chosen, found, request, policy)
    _refuse_broken(products[0].findings)
    return found, products


def _all_in_one(
    inputs: list[Path], request: Request, policy: Policy, progress: Progress
) -> tuple[Scan | None, Product]:
    """Every mask among the inputs as one of several labels. Raises what refuses any of them, and SEGMENTS_OVERLAP."""
    from pipeline.masks import merged

    found: Scan | None = None
    products = []
    for _, found, item in _each(inputs, request, policy, progress):
        if isinstance(item, PipelineError):
            raise item
        products.append(_on_source(item, found, request, policy))
    if not products:
        raise refuse(Code.NOT_CONVERTIBLE, "there is no mask to merge", "Look with verimask series.")
    return found, merged(products, request.order)


def _each(
    inputs: list[Path], request: Request, policy: Policy, progress: Progress
) -> Iterator[tuple[str, Scan | None, Product | PipelineError]]:
    """File name, scan, and product or refusal, of everything among the inputs."""
    for path in (p for p in inputs if is_bundle(p)):
        from pipeline.masks import of_bundle

        for product in of_bundle(path, request.wanted, policy):
            yield path.resolve().name, None, product
    rest = [p for p in inputs if not is_bundle(p)]
    if not rest:
        return
    found = scan(rest, lambda n: progress("reading headers", n, 0))
    for broken in (f for f in found.left_out if f.severity is Severity.ERROR):
        yield "", found, PipelineError(broken)
    convertible = [s for s in found.series if s.kind != "other"]
    if not convertible:
        raise nothing_convertible(found)
    wanted = convertible if request.series is None else [choose(found, request.series)]
    for series, name in zip(wanted, file_names(wanted), strict=True):
        try:
            products: Sequence[Product | PipelineError] = (
                _of_parts(series, found, request, policy)
                if series.kind == "image"
                else _of_masks(series, found, request, policy)
            )
        except PipelineError as error:
            products = [_naming(series, error)]
        for item in products:
            yield name, found, item
        first = products[0] if products else None
        if isinstance(first, Product):
            for broken in (f for f in first.findings if f.severity is Severity.ERROR):
                yield name, found, _naming(series, PipelineError(broken))


def _of_part(series: Series, part: Part, found: Scan, request: Request, policy: Policy) -> list[Product]:
    """One volume of an image series: as the image it is, or as the masks it is or holds."""
    if policy.as_ == "image":
        return [of_part(series, part, policy)]
    source = _source(series, found, request, policy)
    clean = find_source(found, request.clean, policy) if request.clean else None
    return of_planes(series, part, policy, request.told, source, clean)


def _source(series: Series, found: Scan, request: Request, policy: Policy) -> Source | None:
    if not request.source:
        return None
    return find_source(found, request.source, policy, frame_of_reference_uid=series.frame_of_reference_uid)


def _of_parts(series: Series, found: Scan, request: Request, policy: Policy) -> list[Product | PipelineError]:
    """All volumes of an image series, or one 4-D product where they are volumes over time of an image."""
    parts = parts_.split(series.frames) if request.part is None else [_chosen_part(series, request.part)]
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
        except PipelineError as error:
            made.append(_naming(series, error))
    return made


def _of_masks(series: Series, found: Scan, request: Request, policy: Policy) -> list[Product]:
    """The masks of a SEG series or a structure set, on their source's grid where it is known."""
    from pipeline.decode import rtstruct, seg
    from pipeline.masks import of_rtstruct, of_seg

    if series.kind == "seg":
        source = find_source(
            found,
            request.source,
            policy,
            series_uids=seg.referenced_series_uids(series),
            frame_of_reference_uid=series.frame_of_reference_uid,
        )
        return of_seg(series, source, request.wanted, policy)
    if series.kind == "rtstruct":
        source = find_source(
            found,
            request.source,
            policy,
            series_uids=rtstruct.referenced_series_uids(series),
            image_uids=rtstruct.referenced_image_uids(series),
        )
        return of_rtstruct(series, source, request.wanted, policy)
    raise refuse(
        Code.NOT_CONVERTIBLE,
        f"{series.title} is of kind {series.kind} ({series.modality or 'no modality'}): neither planes, SEG nor RTSTRUCT",
    )


def _on_source(product: Product, found: Scan | None, request: Request, policy: Policy) -> Product:
    """A mask of planes or of a bundle on the grid of the source that was given; others are there already."""
    if not request.source:
        return product
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
    if product.series.kind not in ("seg", "rtstruct"):
        product = place_on(product, source, policy)
    return with_grey_values(product, source) if policy.grey_values else product


def _chosen_part(series: Series, wanted: str | None) -> Part:
    """The one volume to convert. Raises SEVERAL_VOLUMES, NO_SUCH_PART."""
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


def _several(products: Sequence[Product]) -> PipelineError:
    return refuse(
        Code.SEVERAL_MASKS,
        f"there are {len(products)} masks here, and one file holds one",
        "Give -o a folder (ending in /) for one file each, or choose with --rois:\n"
        + "\n".join(f"  {p.volume.name}" for p in products),
    )


def _refuse_broken(findings: Sequence[Finding]) -> None:
    broken = next((f for f in findings if f.severity is Severity.ERROR), None)
    if broken is not None:
        raise PipelineError(broken, tuple(f for f in findings if f is not broken))


def _resampled(product: Product) -> bool:
    return any(f.code is Code.RESAMPLED for f in product.findings)


def _naming(series: Series, error: PipelineError) -> PipelineError:
    """The same refusal, naming its series: one among many must say which it speaks of."""
    message = error.finding.message
    if not message.startswith(series.title):
        message = f"{series.title}: {message}"
    return PipelineError(replace(error.finding, message=message), error.others)
