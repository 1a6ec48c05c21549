"""Link every mask of a cohort to the images it was drawn on, and say on what each link rests.

Rules:
- What a mask says counts as in `conversion.source_choice`: images it names, then series it refers to, then its Frame of
  Reference; by the last alone only an image whose grid it fits in whole voxels, or the only image where it has no grid.
- A SEG, structure set or bundle that refers to what is not here has no image: another one in its Frame of Reference is not
  what it was drawn on. Planes may have copied what they name with the header of an image, so that their grid decides.
- Study and folder are hints: they stand in the text of a refusal and link nothing. The one exception: Frame of Reference UIDs
  are absent, and just one image of the same study has the same voxels.
- Two patients never meet, and neither do two subjects: where Patient IDs are absent, or one for all, they alone tell patients
  apart. A mask that names images of another patient or subject is refused by name.
- A structure set or SEG that names several images has a link to each; which ROI or segment lies on which is for the conversion.
- What the user settled in the table holds, except between two Patient IDs. Where it is what the evidence says as well, the
  evidence is the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..conversion.source_choice import SourceReferences, Statement, choose_source
from ..core.findings import Code, Finding, PipelineError, refuse
from .facts import SeriesFacts
from .fitting_images import fit_of, fitting_images

Holds = Callable[[str, Collection[int]], int]

SETTLED = "settled in the table"
_BY_FRAME_AND_GRID = "Frame of Reference and grid"
_BY_FRAME = "only image in its Frame of Reference"
_BY_STUDY_AND_GRID = "only image of its study with its grid; no Frame of Reference"
ON_SEVERAL = ("rtstruct", "seg")  # kinds whose ROIs or segments may each lie on another image
_SETTLE = "Fill the column image of cohort.tsv with the key of the right one, and give it back with --table."


class Link(NamedTuple):
    """A mask and an image it lies on, by their keys. reason: on what that rests, in a few words for cohort.tsv."""

    mask: str
    image: str
    reason: str


class Links(NamedTuple):
    """Every link, in the order of the masks; and why a mask has none, by its key.

    SEVERAL_SERIES is an ambiguous mask, NO_SOURCE one whose image is not here, PATIENT_DIFFERS one that names another patient's.
    """

    links: tuple[Link, ...]
    refused: dict[str, Finding]


def link(
    facts: Sequence[SeriesFacts],
    holds: Holds,
    settled: Mapping[str, Collection[str]],
    subjects: Mapping[str, str] | None = None,
) -> Links:
    """Find the images of every mask.

    Args:
        facts: every series of the cohort.
        holds: how many of these image digests the series with this key holds.
        settled: keys of the images of a mask as the user's table has them, by the key of the mask.
        subjects: of each series by its key, without its session; "" or absent for none.

    Returns: the links, and the refusals of masks without one.
    """
    images = _Images.of(facts, subjects or {})
    links: list[Link] = []
    refused: dict[str, Finding] = {}
    for mask in facts:
        if mask.role != "mask":
            continue
        wanted = settled.get(mask.key, ())
        try:
            own = _links_of(mask, images, holds)
        except PipelineError as error:
            own = []
            if not wanted:
                refused[mask.key] = error.finding
        if wanted and {entry.image for entry in own} != set(wanted):
            own = [Link(mask.key, key, SETTLED) for key in sorted(set(wanted))]
            strangers = images.of_other_patient(mask, wanted)
            if strangers:
                own, refused[mask.key] = [], _of_another_patient(mask, strangers).finding
        links += own
    return Links(tuple(links), refused)


@dataclass(frozen=True, slots=True)
class _Images:
    """The image series of a cohort, by what a mask may share with them."""

    by_patient: Mapping[str, list[SeriesFacts]]
    by_uid: Mapping[str, list[SeriesFacts]]
    by_study: Mapping[str, list[SeriesFacts]]
    by_frame: Mapping[str, list[SeriesFacts]]
    subjects: Mapping[str, str]

    @classmethod
    def of(cls, facts: Iterable[SeriesFacts], subjects: Mapping[str, str]) -> _Images:
        tables: list[defaultdict[str, list[SeriesFacts]]] = [defaultdict(list) for _ in range(4)]
        for image in facts:
            if image.role == "image":
                values = (image.patient, image.uid, image.study_uid, image.frame_of_reference_uid)
                for table, value in zip(tables, values, strict=True):
                    table[value].append(image)
        patients, uids, studies, frames = tables
        return cls(patients, uids, studies, frames, subjects)

    def near(self, mask: SeriesFacts) -> list[SeriesFacts]:
        """Images of any patient that share a UID with a mask."""
        found = [image for uid in mask.series_uids for image in self.by_uid.get(uid, ())]
        found += self.by_study.get(mask.study_uid, ()) if mask.study_uid else ()
        found += self.by_frame.get(mask.frame_of_reference_uid, ()) if mask.frame_of_reference_uid else ()
        return list({image.key: image for image in found}.values())

    def of_patient(self, mask: SeriesFacts) -> list[SeriesFacts]:
        """Images that may be of the patient of a mask: all where it names none."""
        names = (mask.patient, "") if mask.patient else self.by_patient
        return [image for name in names for image in self.by_patient.get(name, ())]

    def may_meet(self, mask: SeriesFacts, image: SeriesFacts) -> bool:
        """Whether nothing says that a mask and an image are of two patients."""
        one, other = self.subjects.get(mask.key, ""), self.subjects.get(image.key, "")
        return not _are_of_two_patients(mask, image) and (one == other or not one or not other)

    def of_other_patient(self, mask: SeriesFacts, keys: Collection[str]) -> list[SeriesFacts]:
        """Those of the images with these keys that have another Patient ID than a mask."""
        others = (image for name, images in self.by_patient.items() if name != mask.patient for image in images)
        return [image for image in others if image.key in keys and _are_of_two_patients(mask, image)]


@dataclass(frozen=True, slots=True)
class _ImageAsked:
    """An image as `choose_source` asks it. held: how many of the images that the mask names are in it."""

    facts: SeriesFacts
    held: int

    @property
    def uid(self) -> str:
        return self.facts.uid

    @property
    def frame_of_reference_uid(self) -> str:
        return self.facts.frame_of_reference_uid

    def holds_some_of_each(self, images: Sequence[Collection[Hashable]]) -> bool:
        """Whether it holds some of the images that the mask names, which are one set."""
        return self.held > 0


def _links_of(mask: SeriesFacts, images: _Images, holds: Holds) -> list[Link]:
    """Link one mask by the strongest evidence there is. Raises SEVERAL_SERIES, NO_SOURCE, PATIENT_DIFFERS."""
    near = images.near(mask)
    further = images.of_patient(mask) if mask.images else []
    own = [image for image in near if images.may_meet(mask, image)]
    named, by = _named_first(
        mask,
        holds,
        own,
        [image for image in further if images.may_meet(mask, image)],
        # What names images and no patient is of the patient of those images.
        [image for image in (*near, *further) if image.patient and not mask.patient],
    )
    if named and not _is_copied(mask, named, own):
        if len(named) > 1 and mask.kind not in ON_SEVERAL:
            named = [_only(mask, fitting_images(mask, named) or named, "of those it refers to")]
        return [Link(mask.key, image.key, _reason(mask, by)) for image in named]
    _refuse_strangers(mask, [image for image in (*near, *further) if not images.may_meet(mask, image)], holds)
    if mask.kind != "image" and (mask.images or mask.series_uids):
        raise _not_here(mask, own)
    return [_by_frame(mask, own)]


def _refuse_strangers(mask: SeriesFacts, others: Sequence[SeriesFacts], holds: Holds) -> None:
    """Refuse a mask that names images of another patient. Raises PATIENT_DIFFERS."""
    strangers, _ = _named(mask, list({image.key: image for image in others}.values()), holds)
    if strangers:
        raise _of_another_patient(mask, strangers)


def _named_first(
    mask: SeriesFacts, holds: Holds, *several: Sequence[SeriesFacts]
) -> tuple[list[SeriesFacts], Statement | None]:
    """The images that a mask names among the first of several lists that has any, as `_named`."""
    for images in several:
        named, by = _named(mask, images, holds)
        if named:
            return named, by
    return [], None


def _is_copied(mask: SeriesFacts, named: Sequence[SeriesFacts], own: Sequence[SeriesFacts]) -> bool:
    """Whether what a header names was copied with the header of an image: only images that are not named fit the planes."""
    return mask.kind == "image" and not fitting_images(mask, named) and bool(fitting_images(mask, _in_frame(mask, own)))


def _are_of_two_patients(one: SeriesFacts, other: SeriesFacts) -> bool:
    return one.patient != other.patient and bool(one.patient) and bool(other.patient)


def _named(
    mask: SeriesFacts, images: Sequence[SeriesFacts], holds: Holds
) -> tuple[list[SeriesFacts], Statement | None]:
    """The images that a mask names or refers to, and by which statement."""
    candidates = [_ImageAsked(image, holds(image.key, mask.images) if mask.images else 0) for image in images]
    drawn_on = (mask.images,) if mask.images else ()
    choice = choose_source(candidates, SourceReferences(drawn_on, mask.series_uids))
    return [candidate.facts for candidate in choice.candidates], choice.by


def _reason(mask: SeriesFacts, by: Statement | None) -> str:
    if mask.kind == "bundle":
        return "source of the bundle"
    if by == "series":
        return "refers to its series"
    return "was derived from its images" if mask.kind == "image" else "names its images"


def _by_frame(mask: SeriesFacts, images: Sequence[SeriesFacts]) -> Link:
    """Link a mask that names nothing that is here: by Frame of Reference and grid."""
    in_frame = _in_frame(mask, images)
    if in_frame:
        fitting = fitting_images(mask, in_frame)
        if fitting:
            return Link(mask.key, _only(mask, fitting, "with its Frame of Reference and grid").key, _BY_FRAME_AND_GRID)
        open_ones = [image for image in in_frame if not (mask.grids and image.grids)]
        if not open_ones:
            raise _on_no_grid(mask, in_frame)
        return Link(mask.key, _only(mask, open_ones, "in its Frame of Reference").key, _BY_FRAME)
    same = [image for image in images if _lacks_frame(mask, image) and fit_of(mask, image) == 2]
    if same:
        return Link(mask.key, _only(mask, same, "of its study with its grid").key, _BY_STUDY_AND_GRID)
    raise _not_here(mask, images)


def _in_frame(mask: SeriesFacts, images: Sequence[SeriesFacts]) -> list[SeriesFacts]:
    uid = mask.frame_of_reference_uid
    return [image for image in images if uid and image.frame_of_reference_uid == uid]


def _lacks_frame(mask: SeriesFacts, image: SeriesFacts) -> bool:
    """Whether a mask and an image are of one study, and one of them names no Frame of Reference."""
    frames = mask.frame_of_reference_uid, image.frame_of_reference_uid
    return "" in frames and mask.study_uid == image.study_uid != ""


def _only(mask: SeriesFacts, images: Sequence[SeriesFacts], what: str) -> SeriesFacts:
    """The only one of several images. Raises SEVERAL_SERIES, with a suggestion."""
    if len(images) == 1:
        return images[0]
    raise refuse(
        Code.SEVERAL_SERIES,
        f"{mask.title} in {mask.folder or '.'} may lie on each of {len(images)} images {what}: {_listed(images)}",
        f"{_suggestion(mask, images)}{_SETTLE}",
        where=(mask.key, *(image.key for image in images)),
        measured=len(images),
        limit=1,
        unit="images",
    )


def _suggestion(mask: SeriesFacts, images: Sequence[SeriesFacts]) -> str:
    """Which of several images study and folder point to; "" where they point to none alone."""
    left, why = list(images), "has its Frame of Reference"
    same_study = [image for image in left if mask.study_uid and image.study_uid == mask.study_uid]
    if same_study and len(same_study) < len(left):
        left, why = same_study, "is of the same study"
    if len(left) > 1:
        shared = [_shared_folders(mask.folder, image.folder) for image in left]
        left, why = [image for image, n in zip(left, shared, strict=True) if n == max(shared)], "lies nearest to it"
    return f"It may be {left[0].key}, which {why}; that alone links nothing. " if len(left) == 1 else ""


def _shared_folders(one: str, other: str) -> int:
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(one.count("/"), other.count("/")) + 1)


def _listed(images: Sequence[SeriesFacts], most: int = 5) -> str:
    rest = f" and {len(images) - most} more" if len(images) > most else ""
    return ", ".join(f"{image.key} ({image.title}, {image.folder or '.'})" for image in images[:most]) + rest


def _of_another_patient(mask: SeriesFacts, strangers: Sequence[SeriesFacts]) -> PipelineError:
    what, hint = "subject", f"If both are one patient, give them one subject in the column subject; or: {_SETTLE}"
    if any(_are_of_two_patients(mask, image) for image in strangers):
        what, hint = "Patient ID (0010,0020)", "Was one of the two anonymised alone? Then anonymise both alike."
    return refuse(
        Code.PATIENT_DIFFERS,
        f"{mask.title} in {mask.folder or '.'} refers to images that are of another {what}: {_listed(strangers)}",
        f"Is it in the right folder? {hint}",
        where=(mask.key, *(image.key for image in strangers)),
        clause="PS3.3 C.7.1.1",
    )


def _on_no_grid(mask: SeriesFacts, images: Sequence[SeriesFacts]) -> PipelineError:
    return refuse(
        Code.NO_SOURCE,
        f"{mask.title} in {mask.folder or '.'} refers to no image that is here, and fits the grid of none of the "
        f"{len(images)} in its Frame of Reference: {_listed(images)}",
        f"Add the images it was drawn on. {_SETTLE}",
        where=(mask.key, *(image.key for image in images)),
        clause="PS3.3 C.7.4.1",
    )


def _not_here(mask: SeriesFacts, images: Sequence[SeriesFacts]) -> PipelineError:
    """images: that share a UID with it."""
    uids = [*mask.series_uids[:3], *(["more"] if len(mask.series_uids) > 3 else [])]
    refers = f"refers to series {', '.join(uids)}" if uids else "refers to no series"
    if mask.images and not uids:
        refers = f"names {len(mask.images)} images of a series it does not refer to"
    frame, in_frame = mask.frame_of_reference_uid, _in_frame(mask, images)
    lies = f"lies in Frame of Reference {frame}" if frame else "names no Frame of Reference"
    return refuse(
        Code.NO_SOURCE,
        f"{mask.title} in {mask.folder or '.'} {refers}, and {lies}: the images it was drawn on are not here",
        f"Add the images it was drawn on. {_suggestion(mask, fitting_images(mask, in_frame) or in_frame)}{_SETTLE}",
        where=(mask.key, *mask.series_uids, *((frame,) if frame else ())),
    )
