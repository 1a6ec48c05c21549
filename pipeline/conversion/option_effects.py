"""Refuse an option that can do nothing for what is converted, so that none is ignored in silence.

Rules:
- An instruction ("do X") takes effect on at least one of the results, or is refused before a file is written.
- A policy ("if X occurs, do Y") is fine where X does not occur, and refused where X cannot occur.
- Given means: other than its default. That is one rule for the command line and for Python, and a default that is spelt
  out asks for nothing that is not done.
- Tolerances (`Policy.*_mm`, `*_limit`, `*_fraction`) always hold and have no line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from ..core.findings import Code, PipelineError, refuse
from ..core.policy import Policy
from ..volume.representations import BY_KIND, FORMS, Trait
from .looks import Looks
from .product import Product

if TYPE_CHECKING:
    from .request import Request


class Subject(NamedTuple):
    """What an option may act on. form: of `representations.FORMS`. sourced: whether it lies on source images that were found or given."""

    form: str
    sourced: bool

    @classmethod
    def of(cls, product: Product, request: Request) -> Subject:
        """What a product turned out to be."""
        return cls(product.form, bool(request.source) or "SourceSeriesInstanceUID" in product.extra)


class Asked(NamedTuple):
    """All that was asked for. gzipped: whether the output is. in_one: whether one input is to become one file (not for a merge).

    looks: what the run has looked at so far. aside: whether an image among masks is set aside, and not shown value by value.
    lone_images: whether images are written as images where there is no mask at all; else such inputs are refused.
    """

    request: Request
    policy: Policy
    gzipped: bool
    in_one: bool
    looks: Looks
    aside: bool = False
    lone_images: bool = False

    @property
    def seeks_partners(self) -> bool:
        """Whether masks with grids of their own are laid on those of images among the inputs."""
        return self.request.images and not self.request.source and self.policy.as_ == "mask"


Acts = Callable[[Asked, Subject], bool]


class OptionRule(NamedTuple):
    """One option. field: of Request ("request.…") or Policy ("policy.…"). is_policy: see the rules of this module."""

    option: str
    field: str
    is_policy: bool
    acts: Acts
    needs: str


_PLANES = tuple(form.name for form in BY_KIND["image"].forms if Trait.MASK in form.traits)


def _of(*forms: str) -> Acts:
    return lambda asked, subject: subject.form in forms


def _with(trait: Trait) -> Acts:
    return lambda asked, subject: trait in FORMS[subject.form].traits


def _always(asked: Asked, subject: Subject) -> bool:
    return True


def _gives_mask(asked: Asked, subject: Subject) -> bool:
    kept = subject.form == "fractional" and asked.policy.fractional == "keep"
    return Trait.MASK in FORMS[subject.form].traits and not kept


def _lays_planes(asked: Asked, subject: Subject) -> bool:
    return Trait.IMAGES in FORMS[subject.form].traits or subject.sourced


def _stacks_frames(asked: Asked, subject: Subject) -> bool:
    return Trait.FRAMES in FORMS[subject.form].traits or subject.sourced


def _may_be_disputed(asked: Asked, subject: Subject) -> bool:
    return asked.policy.crosscheck != "off" and _lays_planes(asked, subject)


def _may_resample(asked: Asked, subject: Subject) -> bool:
    traits = FORMS[subject.form].traits
    moved = bool(asked.request.source) and Trait.MOVABLE in traits
    resampled = subject.sourced and Trait.RESAMPLES in traits
    return resampled or (_gives_mask(asked, subject) and (moved or asked.request.like is not None))


def _combines(asked: Asked, subject: Subject) -> bool:
    separates = subject.form in _PLANES and asked.policy.combine == "separate"
    return not asked.request.merge and (
        separates or (_gives_mask(asked, subject) and _with(Trait.COMBINES)(asked, subject))
    )


def _keeps_values(asked: Asked, subject: Subject) -> bool:
    return subject.form == "labels" and not asked.request.export.inside


def _writes_images(asked: Asked, subject: Subject) -> bool:
    """In a run for many files, of masks whose grid is that of their image."""
    several = not asked.in_one and not asked.request.merge and asked.request.series is None
    return several and asked.request.like is None and _with(Trait.MASK)(asked, subject)


def _reads_dicom(asked: Asked, subject: Subject) -> bool:
    return Trait.SERIES in FORMS[subject.form].traits or subject.sourced


def _settles(asked: Asked, subject: Subject) -> bool:
    has_image = bool(asked.request.clean or asked.request.source)
    return has_image and subject.form in ("burned", "masked")


RULES = (
    OptionRule("--series", "request.series", False, _with(Trait.SERIES), "it chooses a DICOM series"),
    OptionRule("--part", "request.part", False, _with(Trait.IMAGES), "it chooses one volume of a series of planes"),
    OptionRule("--rois", "request.wanted", False, _with(Trait.MASK), "it chooses among masks"),
    OptionRule("--source", "request.source", False, _with(Trait.MASK), "it is for masks"),
    OptionRule("--like", "request.like", False, _gives_mask, "it lays a mask on the grid of an image"),
    OptionRule(
        "--images",
        "request.images",
        False,
        _writes_images,
        "it writes the images of masks as files of their own, into a folder, where masks lie on the grids of their images",
    ),
    OptionRule(
        "--merge",
        "request.merge",
        False,
        _gives_mask,
        "it puts masks into one file",
    ),
    OptionRule("--order", "request.order", True, lambda a, s: a.request.merge, "it says who lies on top under --merge"),
    OptionRule(
        "--inside or --labels",
        "request.export.inside",
        False,
        _of("labels", "burned", "colour"),
        "it names values of a label series, of an image with the mask burned in, or colours",
    ),
    OptionRule("--outside", "request.export.outside", False, _of("masked"), "it is for a masked original"),
    OptionRule(
        "--kind", "request.export.kind", False, _of(*_PLANES), "it says what a series of planes is when read as a mask"
    ),
    OptionRule(
        "--undecided",
        "request.export.undecided",
        True,
        _settles,
        "it is for a burned-in mask or a masked original that is compared with --clean or --source",
    ),
    OptionRule("--clean", "request.clean", False, _of("burned", "masked"), "it tells a mask that is in its image"),
    OptionRule("--as", "policy.as_", False, _of("image"), "only a series of planes can be written as an image"),
    OptionRule("--palette", "policy.palette", True, _of("image"), "it gives an image the colours of its palette"),
    OptionRule("--keep-values", "policy.keep_values", True, _keeps_values, "it keeps the two values of a label series"),
    OptionRule("--allow-empty", "policy.allow_empty", True, _gives_mask, "it lets an empty mask pass"),
    OptionRule("--fractional", "policy.fractional", False, _of("fractional"), "it is for a fractional DICOM SEG"),
    OptionRule(
        "--combine",
        "policy.combine",
        False,
        _combines,
        "it is for the segments of a DICOM SEG (and separate for the labels of planes), without --merge",
    ),
    OptionRule(
        "--interpolate", "policy.interpolate", False, _of("rtstruct"), "it is for the contours of a structure set"
    ),
    OptionRule("--mm-per-unit", "policy.mm_per_unit", False, _of("bundle"), "it is for a Mimics bundle"),
    OptionRule(
        "--grey-values",
        "policy.grey_values",
        False,
        lambda a, s: bool(a.request.source) and _gives_mask(a, s),
        "it looks at the images given with --source under a mask",
    ),
    OptionRule(
        "--same-frame",
        "policy.same_frame",
        True,
        lambda a, s: s.sourced and _with(Trait.MASK)(a, s),
        "it is for a mask and the images it lies on",
    ),
    OptionRule(
        "--resample",
        "policy.resample",
        True,
        _may_resample,
        "it is for a mask that is moved onto --like, or onto its source from planes, a bundle or a DICOM SEG",
    ),
    OptionRule(
        "--orient",
        "policy.orient",
        False,
        lambda a, s: a.request.like is None,
        "--like takes over the order of the axes of its file",
    ),
    OptionRule("--on-tilt", "policy.on_tilt", True, _stacks_frames, "there are no planes to lay"),
    OptionRule("--on-gap", "policy.on_gap", True, _lays_planes, "there are no planes of images to lay"),
    OptionRule("--on-duplicate", "policy.on_duplicate", True, _lays_planes, "there are no planes of images to lay"),
    OptionRule("--assume-spacing", "policy.assume_spacing", True, _lays_planes, "there are no planes of images to lay"),
    OptionRule("--on-lossy", "policy.on_lossy", True, _of(*_PLANES), "it is for a mask of planes"),
    OptionRule("--on-unread", "policy.on_unread", True, _reads_dicom, "no DICOM file is read"),
    OptionRule("--crosscheck", "policy.crosscheck", True, _always, ""),
    OptionRule(
        "--witness-limit",
        "policy.witness_limit_s",
        True,
        _may_be_disputed,
        "no other reader is asked that could take long",
    ),
    OptionRule(
        "--keep-disputed",
        "policy.keep_disputed",
        True,
        _may_be_disputed,
        "no other reader is asked that could dispute the result",
    ),
    OptionRule("--labels-file", "policy.labels_file", False, _gives_mask, "an image has no labels"),
    OptionRule("--gzip-level", "policy.gzip_level", False, lambda a, s: a.gzipped, "it is for an output in .nii.gz"),
    OptionRule("--write", "policy.write", True, _always, ""),
    OptionRule("--keep-names", "policy.keep_names", True, _always, ""),
    OptionRule("--strip", "policy.strip", True, _always, ""),
)


def given(asked: Asked) -> list[OptionRule]:
    """The rules of what was asked for beyond the defaults."""
    nothing = asked._replace(request=type(asked.request)(), policy=Policy())
    return [r for r in RULES if attrgetter(r.field)(asked) != attrgetter(r.field)(nothing)]


def everything() -> list[Subject]:
    """Every subject there can be: what even these cannot give effect to contradicts itself."""
    return [Subject(form, sourced) for form in FORMS for sourced in (False, True)]


def possible(kind: str, asked: Asked) -> list[Subject]:
    """List what an input of this kind (see `representations`) may turn out to be; "other" may be anything."""
    if kind not in BY_KIND:
        return everything()
    sourced = bool(asked.request.source)
    subjects = []
    for name, _, traits in BY_KIND[kind].forms:
        if Trait.ON_SOURCE not in traits:
            subjects.append(Subject(name, sourced))
        elif sourced or Trait.FRAMES not in traits:  # contours have no grid without a source
            subjects.append(Subject(name, True))
        else:  # a source may be found among the inputs
            subjects += [Subject(name, False), Subject(name, True)]
    if kind == "image":
        as_image = asked.policy.as_ == "image"
        return [Subject(s.form, sourced and not as_image) for s in subjects if (s.form == "image") == as_image]
    return subjects


def refuse_idle(asked: Asked, subjects: Sequence[Subject]) -> None:
    """Refuse the first option given that can act on none of the subjects. Raises IDLE_OPTION."""
    for rule in given(asked):
        if not any(rule.acts(asked, subject) for subject in subjects):
            raise _idle(rule, subjects)


def is_settled(asked: Asked, kinds: Iterable[str]) -> bool:
    """Whether every option given acts on one of these series or bundles for certain, whatever it turns out to be."""
    several = [possible(kind, asked) for kind in kinds]
    return all(any(all(rule.acts(asked, s) for s in subjects) for subjects in several) for rule in given(asked))


def _idle(rule: OptionRule, subjects: Sequence[Subject]) -> PipelineError:
    forms = {s.form for s in subjects}
    words = [form.words for form in FORMS.values() if form.name in forms]
    if forms.issuperset(_PLANES):  # which of them is not known yet
        others = forms.difference(_PLANES)
        words = ["a series of planes", *(form.words for form in FORMS.values() if form.name in others)]
    on = "" if len(forms) in (0, len(FORMS)) else " for " + " or ".join(words)
    python = rule.field.replace("request.", "Request.").replace("policy.", "Policy.")
    return refuse(
        Code.IDLE_OPTION,
        f"{rule.option} has no effect here{on}: {rule.needs}",
        f"Leave it out (from Python: {python}).",
        where=(rule.option,),
    )
