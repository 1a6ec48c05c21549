"""Convert one case: write its images and masks on one grid, below a folder that mirrors the output folder.

Rules:
- All goes through `conversion`: the same proofs, witnesses and records as of one input.
- The image decides the grid; a mask that does not lie on it voxel for voxel is refused. What is written of both is compared
  once more: their headers place voxels by the same bytes.
- A mask that is refused keeps no other from being written, and makes the case INCOMPLETE; an image that is refused refuses it.
- Nothing that is written names the patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...conversion.looks import Looks
from ...conversion.one_series import refuse_broken
from ...conversion.option_effects import Asked
from ...conversion.product import Entry, Product, product_of_part
from ...conversion.products import finish_product, items_of, names_in
from ...conversion.public_record import publish_product
from ...conversion.record import Outcome
from ...conversion.request import Request, RunDetails
from ...conversion.write import finish
from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...core.policy import Policy
from ...core.unexpected import as_refusal
from ...crosscheck.panel import Panel
from ...dicom.files import archive_of
from ...dicom.scan import Scan, Series
from ...dicom.split_volumes import split
from ...nifti.streams import open_stream
from ...volume.mask import MaskVolume
from ..case import Case, CaseSeries
from ..links import SETTLED
from ..public_rows import MASK

_PLACING = (slice(40, 56), slice(76, 108), slice(252, 328))  # of a NIfTI-1 header: dim, pixdim; codes, qform and sform
_OWN_GRID = ("image", "bundle")  # kinds of masks that are moved onto their image


class MemberMask(NamedTuple):
    """A mask of a case. member: the series it is of."""

    member: CaseSeries
    product: Product

    @property
    def name(self) -> str:
        """What it is called: the ROI's, segment's or mask's own name, else that of its series."""
        return self.product.volume.name or self.member.mask_name or self.member.title

    def public_name(self, policy: Policy) -> str:
        """What its file is called: its name, unless that is of a folder and names are not kept."""
        product = self.product if policy.strips_names else publish_product(self.product, policy)
        if product.volume.name or policy.keep_names:
            return product.volume.name or self.name
        return MASK if self.member.kind == "bundle" or self.member.mask_name else self.member.title


class CaseRefusal(NamedTuple):
    """What refuses a series of a case, or a mask of it."""

    member: CaseSeries
    error: PipelineError


class LackingMask(NamedTuple):
    """An ROI or segment that a series declares, and of which no mask came."""

    member: CaseSeries
    name: str


class CaseProducts(NamedTuple):
    """What a case holds, ready to be written.

    images: one a channel. looks: what was looked at to make them. lacking: what no mask came of. of_several: by key, that an
    image is one volume of several.
    """

    images: list[tuple[CaseSeries, Product]]
    masks: list[MemberMask]
    refused: list[CaseRefusal]
    looks: Looks
    lacking: list[LackingMask]
    of_several: dict[str, Finding]


def make_products(case: Case, policy: Policy) -> CaseProducts:
    """Make the products of a case.

    Args:
        case: what is converted together.
        policy: tolerances and choices, for masks.

    Returns: images and masks on one grid, and every mask that is refused.

    Raises: PipelineError that refuses an image, and with it the case.
    """
    looks = Looks()
    reader = _CaseReader(case, looks)
    masks: list[MemberMask] = []
    refused: list[CaseRefusal] = []
    for member in case.masks:
        try:
            for made in _masks_of(member, reader, policy):
                if isinstance(made, PipelineError):
                    refused.append(CaseRefusal(member, made))
                else:
                    masks.append(MemberMask(member, made))
        except Exception as error:
            refused.append(CaseRefusal(member, as_refusal(error)))
    images = [(member, _image_of(member, reader, policy, masks)) for member in case.images]
    grid = images[0][1].grid
    for member, product in images[1:]:
        _refuse_other_grid(member.title, product, images[0][1])
    kept = []
    for mask in masks:
        try:
            _refuse_other_grid(f"“{mask.name}”", mask.product, images[0][1])
        except PipelineError as error:
            refused.append(CaseRefusal(mask.member, error))
        else:  # a grid of its own may be called by another Frame of Reference: the image's holds
            kept.append(mask._replace(product=replace(mask.product, volume=replace(mask.product.volume, grid=grid))))
    return CaseProducts(images, kept, refused, looks, _lacking(reader, masks, refused), reader.of_several)


def write_product(product: Product, target: Path, policy: Policy, panel: Panel, looks: Looks) -> Outcome:
    """Write a product with its record.

    Args:
        product: on its grid.
        target: the path; its folder is made.
        policy: tolerances and choices.
        panel: the witnesses.
        looks: what was looked at to make it.

    Returns: what was done.

    Raises: PipelineError as `finish` does.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    details = RunDetails(looks, command=("verimask", "cohort"))
    return finish(product, target, policy, panel, details)


def refuse_other_header(image: Path, mask: Path) -> None:
    """Compare the bytes that place voxels in the headers of two files. Raises GRID_DIFFERS."""
    ours, theirs = (_header_of(path) for path in (image, mask))
    if any(ours[part] != theirs[part] for part in _PLACING):
        raise refuse(
            Code.GRID_DIFFERS,
            f"{mask.name} was written, and its header places voxels elsewhere than that of {image.name}",
            "This is a bug of verimask; please report it.",
            where=(mask.name,),
        )


def image_policy(policy: Policy) -> Policy:
    """The policy that a case's images are read by."""
    return replace(policy, as_="image", combine="auto", keep_values=False, labels_file="none")


class _CaseReader:
    """Reads the series of a case, each once."""

    def __init__(self, case: Case, looks: Looks) -> None:
        self.case, self.looks = case, looks
        self.of_several: dict[str, Finding] = {}

    def paths(self, member: CaseSeries) -> tuple[Path, ...]:
        """What is scanned for a series: its files, and those near it that may be a plane of it; whole archives."""
        unread = (other for other in self.case.others if other.kind == "unread" and other.link == member.key)
        near = (file for other in unread for file in other.files)
        paths = [Path(file.path) for file in (*member.files, *near)]
        archives = {folder: archive_of(folder / "any") for folder in {path.parent for path in paths}}
        return tuple(dict.fromkeys(archives[path.parent] or path for path in paths))

    def read(self, member: CaseSeries) -> tuple[Series, Scan]:
        """The series with the scan it is of. Raises SEVERAL_SERIES where its files are not one series any more."""
        found = self.looks.scan(self.paths(member))
        own = {Path(file.path) for file in member.files}
        series = [s for s in found.series if s.kind == member.kind and any(h.path in own for h in s.headers)]
        if len(series) != 1:
            raise refuse(
                Code.SEVERAL_SERIES,
                f"the {len(own)} files of {member.title} are {len(series)} series when they are read together",
                "Put the files of each series into a folder of its own.",
                where=(member.title,),
                measured=len(series),
                limit=1,
                unit="series",
            )
        named = replace(series[0], mask_name=member.mask_name) if member.kind == "image" else series[0]
        return named, found  # alone it may have another name than beside the others of its study


def _masks_of(member: CaseSeries, reader: _CaseReader, policy: Policy) -> Iterator[Product | PipelineError]:
    """Make the masks of one series that lie on the images of the case."""
    image = reader.case.images[0]
    on_own_grid = member.kind in _OWN_GRID or member.link == SETTLED
    source = reader.paths(image) if on_own_grid else ()
    asked = Asked(Request(source=source), policy, gzipped=True, in_one=False, looks=reader.looks)
    on_this_grid = (*reader.case.images, *(o for o in reader.case.others if o.kind == "image" and o.link))
    uids = {reader.read(one)[0].uid for one in on_this_grid}
    if member.kind == "bundle":
        path = next(Path(file.path).parent for file in member.files if file.path.endswith("/bundle.json"))
        entry, found = Entry(path.name, Series("", "bundle", (), ()), path), Scan((), ())
    else:
        series, found = reader.read(member)
        entry = Entry(member.key, series)
        if not on_own_grid:
            found = _together(found, *(reader.read(one)[1] for one in _images_of(reader.case)))
    for item in items_of(entry, found, asked):
        made = item.result if isinstance(item.result, PipelineError) else _on_source(item.result, found, asked)
        if isinstance(made, PipelineError) or made.extra.get("SourceSeriesInstanceUID") in uids:
            yield made
        elif "SourceSeriesInstanceUID" not in made.extra:
            yield _stays_off(made)


def _on_source(product: Product, found: Scan, asked: Asked) -> Product | PipelineError:
    """Finish a mask, put on its source where one is given; a refusal keeps no other from that."""
    try:  # an ERROR among its findings is of a mask that could not be made, and has an item of its own
        return finish_product(product, found, asked)
    except Exception as error:
        return as_refusal(error)


def _lacking(reader: _CaseReader, masks: Sequence[MemberMask], refused: Sequence[CaseRefusal]) -> list[LackingMask]:
    """List what structure sets and SEGs of one image declare, and no mask or refusal is of."""
    if any(other.kind == "image" for other in reader.case.others):  # it may lie on another image
        return []
    found = []
    for member in reader.case.masks:
        if member.kind not in ("rtstruct", "seg") or any(one.member == member for one in refused):
            continue
        made = {
            s.name
            for m in masks
            if m.member == member and isinstance(m.product.volume, MaskVolume)
            for s in m.product.volume.segments
        }
        names = names_in(reader.read(member)[0])
        found += [LackingMask(member, name) for _, name in names if name not in made]
    return found


def _one_of_several(number: int, count: int) -> Finding:
    return Finding(
        Code.SEVERAL_VOLUMES,
        f"this is volume {number} of {count} in the series, the one that the masks lie on; the others are not written",
        severity=Severity.WARNING,
    )


def _images_of(case: Case) -> list[CaseSeries]:
    """Every image that a mask of the case may lie on."""
    return [*case.images, *(other for other in case.others if other.kind == "image")]


def _together(*scans: Scan) -> Scan:
    return Scan(
        tuple(dict.fromkeys(series for scan in scans for series in scan.series)),
        tuple(left for scan in scans for left in scan.left_out),
    )


def _image_of(member: CaseSeries, reader: _CaseReader, policy: Policy, masks: Sequence[MemberMask]) -> Product:
    """Make the image: of several volumes the one that the masks lie on."""
    series, found = reader.read(member)
    asked = Asked(Request(), image_policy(policy), gzipped=True, in_one=False, looks=reader.looks)
    volumes = reader.looks.once(split, series.frames)
    planes = {id(frame) for mask in masks for frame in mask.product.frames if frame is not None}
    meant = [part for part in volumes if any(id(frame) in planes for frame in part.frames)]
    if len(volumes) > 1 and len(meant) == 1:
        reader.of_several[member.key] = _one_of_several(meant[0].number, len(volumes))
        return finish_product(product_of_part(series, meant[0], asked.policy), found, asked)
    items = list(items_of(Entry(member.key, series), found, asked))
    first = items[0].result
    if isinstance(first, PipelineError):
        raise first
    if len(items) > 1:
        raise _several_volumes(member, len(items))
    refuse_broken(first.findings)
    return finish_product(first, found, asked)


def _refuse_other_grid(what: str, product: Product, image: Product) -> None:
    """Refuse a product that is not on the grid of the image, to the bit. Raises GRID_DIFFERS."""
    ours, theirs = image.grid, product.grid
    if ours.shape == theirs.shape and bool((ours.lps == theirs.lps).all()):
        return
    raise refuse(
        Code.GRID_DIFFERS,
        f"{what} lies on a grid of its own ({' × '.join(map(str, theirs.shape))} voxels), and the image has "
        f"{' × '.join(map(str, ours.shape))}",
        "A pair is one grid. --resample nearest takes a mask onto its image, and says how far.",
        where=(what,),
    )


def _stays_off(product: Product) -> PipelineError:
    """The refusal of a mask that lies on no image of the case."""
    why = next((f for f in product.findings if f.code in (Code.OFF_SOURCE_GRID, Code.OUTSIDE_SOURCE)), None)
    if why is not None:
        return refuse(why.code, why.message, why.hint, where=why.where)
    return refuse(
        Code.NO_SOURCE,
        f"“{product.volume.name}” lies on none of the images that its series was linked to",
        "Settle its image in the column image of cohort.tsv, and give that table with --table.",
        where=(product.series.title,),
    )


def _several_volumes(member: CaseSeries, count: int) -> PipelineError:
    return refuse(
        Code.SEVERAL_VOLUMES,
        f"{member.title} holds {count} volumes, and nothing says which of them is the image of this case",
        "Put the files of the one that is meant into a folder of its own.",
        where=(member.title,),
        measured=count,
        limit=1,
        unit="volumes",
    )


def _header_of(path: Path) -> bytes:
    with open_stream(path, "rb", gzipped=True) as file:
        return file.read(348)
