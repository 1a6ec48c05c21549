"""Make cases of what the index knows: which images and masks are converted together, and what is in no case.

Rules:
- A case is one image that has masks; with channels in labels.toml, the images of one subject and session on one grid, one a
  channel, and the masks of all of them.
- Every series of the index is in a case or has a row with the reason why not.
- Names follow from all facts together, in one order, and hold no identifier.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from ..conversion.file_names import safe
from ..core.findings import Code, Finding, Severity
from ..core.plain_text import escape_bytes
from ..core.policy import Policy
from .case import Case, CaseSeries, CaseStatus, Place, TableRow
from .case_rows import finding_cells
from .facts import InputFile, SeriesFacts
from .labels.channels import choose_channels
from .labels.label_map import LabelMap
from .layouts.layout import DatasetLayout
from .links import Links
from .privacy import Cleaner
from .public_rows import public_key

_NOTHING_LOST = ("FILE_LEFT_OUT", "NO_DICOM", "NOT_THIS_KIND")  # why files are left out that are no DICOM
SubjectSession = tuple[str, str]  # subject and session


class Files(Protocol):
    """What is asked of the index."""

    def files_of(self, key: str) -> list[InputFile]:
        """The files of a series."""

    def unread_beside(self, key: str) -> list[InputFile]:
        """Files that were left out and may be a plane of it."""

    def left_out(self) -> Iterator[tuple[str, str, str]]:
        """Path, code and message of every file that belongs to no series."""


class Built(NamedTuple):
    """The cases, in the order of their places; and a row for each series that is in none. named: files that these name."""

    cases: list[Case]
    rows: list[TableRow]
    named: list[str]


@dataclass(frozen=True, slots=True)
class Known:
    """All that cases are made of. subjects: subject and session of every series. images: "partners" of masks, or "all"."""

    facts: Mapping[str, SeriesFacts]
    links: Links
    subjects: Mapping[str, SubjectSession]
    files: Files
    layout: DatasetLayout
    label_map: LabelMap | None = None
    images: str = "partners"
    refused: Mapping[str, Finding] = field(default_factory=dict)  # series without a subject, by key
    cleaner: Cleaner = field(default_factory=lambda: Cleaner({}))  # of all patients
    root: str = ""  # that folders are relative to
    policy: Policy = field(default_factory=Policy)  # keep_names and strip
    salt: bytes = b""  # of the output folder


class _CaseGroup(NamedTuple):
    """What becomes one case. images: by channel."""

    images: dict[int, SeriesFacts]
    masks: dict[str, tuple[str, str]]  # image and reason of the link, by key
    alike: frozenset[str] = frozenset()  # images on the same grid that are no channel


class _Groups(NamedTuple):
    """What becomes cases. refused: why series are in none, by key. unwanted: keys of images that are no channel, and their masks."""

    groups: list[_CaseGroup]
    refused: Mapping[str, Finding]
    unwanted: Collection[str] = ()


def build_cases(known: Known) -> Built:
    """Make the cases of a cohort.

    Args:
        known: facts, links, subjects and the layout.

    Returns: the cases and the rows of the rest.

    Raises: PipelineError BAD_LABELS where an image fits two channels.
    """
    reasons: dict[str, dict[str, str]] = defaultdict(dict)  # of image, of mask
    for link in known.links.links:
        reasons[link.image][link.mask] = link.reason
    groups, refused, unwanted = _groups(known, reasons)
    named = _names(known, groups)
    order = sorted(range(len(groups)), key=lambda n: named[n])
    places = known.layout.fit_places([named[n] for n in order])
    cases = [_case(known, groups[n], place, reasons) for n, place in zip(order, places, strict=True)]
    used = {member.key for case in cases for member in (*case.images, *case.masks)}
    seen = {file.path for case in cases for other in case.others if other.kind == "unread" for file in other.files}
    why = {**known.links.refused, **known.refused, **refused}
    rows = [_row_of_rest(known, f, why.get(key), unwanted) for key, f in known.facts.items() if key not in used]
    in_messages = {name for row in rows for name in _named_in(row.get("message", ""), row["key"], known)}
    lost = [_row_of_file(known, *left) for left in known.files.left_out() if _is_lost(left, seen)]
    return Built(cases, rows + lost, sorted(in_messages))


def _groups(known: Known, reasons: Mapping[str, Mapping[str, str]]) -> _Groups:
    """Say which images become cases, alone or as channels."""
    images = [facts for facts in known.facts.values() if facts.role == "image" and facts.key not in known.refused]
    label_map = known.label_map
    if label_map is not None and label_map.channels:
        return _groups_of_channels(known, images, reasons, label_map)
    wanted = [facts for facts in images if facts.key in reasons or known.images == "all"]
    return _Groups([_CaseGroup({0: facts}, _masks_on([facts], reasons)) for facts in wanted], {})


def _groups_of_channels(
    known: Known, images: Sequence[SeriesFacts], reasons: Mapping[str, Mapping[str, str]], label_map: LabelMap
) -> _Groups:
    """Put the images together that are channels of one case."""
    by_grid: dict[Hashable, list[SeriesFacts]] = defaultdict(list)
    for facts in images:
        by_grid[_grid_of(known, facts)].append(facts)
    groups: list[_CaseGroup] = []
    refused: dict[str, Finding] = {}
    unwanted: set[str] = set()
    for members in by_grid.values():
        masks = _masks_on(members, reasons)
        if not masks and known.images != "all":
            continue
        chosen = choose_channels(members, label_map)
        one_each = [facts for facts in chosen.images if facts is not None]
        if len(one_each) == len(label_map.channels):
            alike = frozenset(facts.key for facts in members if facts not in one_each)
            groups.append(_CaseGroup(dict(enumerate(one_each)), masks, alike))
            continue
        keys = {*(facts.key for facts in members), *masks}
        if not one_each and len(chosen.others) == len(members):
            unwanted |= keys
        refused |= dict.fromkeys(keys, replace(chosen.findings[0], severity=Severity.ERROR))
    return _Groups(groups, refused, unwanted)


def _grid_of(known: Known, facts: SeriesFacts) -> Hashable:
    """What the channels of one case have in common: subject, session, Frame of Reference and grid."""
    grid = [(g.shape, tuple(round(number, 4) for number in g.lps)) for g in facts.grids[:1]]
    return known.subjects[facts.key], facts.frame_of_reference_uid, tuple(grid) or facts.key


def _names(known: Known, groups: Sequence[_CaseGroup]) -> list[Place]:
    """A place for each group: its case is called by the modality, with as much more as tells it from its neighbours."""
    firsts = [group.images[min(group.images)] for group in groups]
    subjects = [known.subjects[facts.key] for facts in firsts]
    neighbours = Counter(subjects)
    texts = [_candidates(known, facts, subject) for facts, subject in zip(firsts, subjects, strict=True)]
    counts = [Counter((s, options[n].casefold()) for s, options in zip(subjects, texts, strict=True)) for n in range(4)]
    places = []
    for subject, options in zip(subjects, texts, strict=True):
        name = next((t for n, t in enumerate(options) if t and counts[n][subject, t.casefold()] == 1), options[-1])
        places.append(Place(*subject, name, neighbours[subject] == 1))
    return places


def _candidates(known: Known, facts: SeriesFacts, subject: SubjectSession) -> tuple[str, str, str, str]:
    """What a case may be called, the shortest first."""
    clean = Cleaner(dict.fromkeys(facts.identifiers, subject[0])).clean
    modality = safe(facts.modality) or "image"
    described = "" if known.policy.strips_names else facts.description
    folder = facts.folder.rpartition("/")[2] if known.policy.keep_names else ""
    description = safe(clean(described)) or safe(clean(folder))
    key = public_key(facts.key, known.salt) if known.policy.strips_uids else facts.key
    longer = f"{modality}_{description}" if description else ""
    number = "" if facts.number is None else f"{longer or modality}_{facts.number}"
    return modality, longer, number, f"{longer or modality}_{key[:8]}"


def _case(known: Known, group: _CaseGroup, place: Place, reasons: Mapping[str, Mapping[str, str]]) -> Case:
    images = tuple(_image(known, facts, n) for n, facts in sorted(group.images.items()))
    masks = tuple(
        _member(known, known.facts[key], group.masks[key][1])._replace(image=group.masks[key][0])
        for key in sorted(group.masks, key=_in_order(known))
    )
    own = {member.key for member in images}
    further = {
        image for image, linked in reasons.items() if image not in own and not group.masks.keys().isdisjoint(linked)
    }
    on_this_grid = dict.fromkeys(group.alike, "on the same grid")
    others = [_member(known, known.facts[key], on_this_grid.get(key, "")) for key in sorted(further)]
    unread = [_unread(known, member) for member in (*images, *masks, *others)]
    identifiers = sorted({text for member in (*images, *masks) for text in known.facts[member.key].identifiers})
    return Case(place, images, masks, (*others, *(one for one in unread if one.files)), tuple(identifiers))


def _masks_on(images: Sequence[SeriesFacts], reasons: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    """The masks that lie on images, with the image and the reason of the link, by key."""
    return {key: (facts.key, why) for facts in images for key, why in reasons.get(facts.key, {}).items()}


def _in_order(known: Known) -> Callable[[str], tuple[object, ...]]:
    """The order of the masks of a case: it is that of the labels where nothing else says it."""

    def place(key: str) -> tuple[object, ...]:
        facts = known.facts[key]
        return facts.number is None, facts.number or 0, facts.folder, key

    return place


def _image(known: Known, facts: SeriesFacts, channel: int) -> CaseSeries:
    channels = known.label_map.channels if known.label_map else ()
    name = channels[channel].name if channels else ""
    return _member(known, facts, "")._replace(channel=channel, channel_name=name)


def _member(known: Known, facts: SeriesFacts, link: str) -> CaseSeries:
    return CaseSeries(
        key=facts.key,
        kind=facts.kind,
        title=facts.title,
        folder=facts.folder,
        link=link,
        files=tuple(known.files.files_of(facts.key)),
        modality=facts.modality,
        description=facts.description,
        mask_name=facts.mask_name,
    )


def _unread(known: Known, member: CaseSeries) -> CaseSeries:
    files = tuple(known.files.unread_beside(member.key))
    return CaseSeries("", "unread", "", member.folder, member.key, files)


def _row_of_rest(known: Known, facts: SeriesFacts, finding: Finding | None, unwanted: Collection[str]) -> TableRow:
    """The row of a series that is in no case, with the reason."""
    subject, session = known.subjects[facts.key]
    clean = known.cleaner.clean
    cells = finding_cells(finding, clean)
    if finding is None and facts.problem:
        code, _, message = facts.problem.partition(": ")
        cells = {"code": code, "message": clean(message)}
    return {
        "subject": subject,
        "session": session,
        "status": _status_of_rest(facts, finding, unwanted),
        "role": facts.role,
        "series": clean(facts.title),
        "kind": facts.kind,
        "folder": clean(facts.folder),
        "key": facts.key,
        "modality": facts.modality,
        **cells,
    }


def _named_in(message: str, key: str, known: Known) -> Iterator[str]:
    """The names of files of a series that stand in its message, as they stand there: an identifier within one is replaced."""
    files = (*known.files.files_of(key), *known.files.unread_beside(key)) if message else ()
    for file in files:
        name = escape_bytes(file.path.rpartition("/")[2])
        yield from (form for form in {name, known.cleaner.clean(name)} if form in message)


def _is_lost(left: tuple[str, str, str], seen: Collection[str]) -> bool:
    """Whether a file that was left out held something that cannot be read, and is of no case that says so."""
    path, code, _ = left
    return code not in _NOTHING_LOST and path not in seen


def _row_of_file(known: Known, path: str, code: str, message: str) -> TableRow:
    """The row of a file that could not be read."""
    folder, _, name = path.rpartition("/")
    return {
        "status": "REFUSED",
        "role": "other",
        "kind": "file",
        "series": known.cleaner.clean(name),
        "folder": known.cleaner.clean(folder.removeprefix(known.root).strip("/")),
        "verdict": "REFUSED",
        "code": code,
        "message": known.cleaner.clean(message),
    }


def _status_of_rest(facts: SeriesFacts, finding: Finding | None, unwanted: Collection[str]) -> CaseStatus:
    if facts.key in unwanted:
        return "LEFT_OUT"
    if finding is not None and facts.role != "other":
        if finding.code is Code.SEVERAL_SERIES:
            return "AMBIGUOUS"
        return "NO_IMAGE" if finding.code is Code.NO_SOURCE and facts.role == "mask" else "REFUSED"
    return "NO_MASK" if facts.role == "image" else "NO_IMAGE" if facts.role == "mask" else "LEFT_OUT"
