"""List the representations of masks and images that are read, one line each.

Rules:
- A representation is one line here and one module of `conversion` that makes products of it; nothing else asks for its
  name. A DICOM one is recognised by its SOP Class (PS3.4 B.5); planes are what is left.
- A form is what an input turns out to be when it is read. What an option can act on follows from the traits of the form.
"""

from __future__ import annotations

from enum import Flag, auto
from typing import NamedTuple


class Trait(Flag):
    """What is true of every product of a form."""

    SERIES = auto()  # of a DICOM series, which can be chosen
    MASK = auto()  # of labels, not of grey values
    IMAGES = auto()  # of the planes of one or several image volumes
    FRAMES = auto()  # of frames that are stacked, so that they can lean
    MOVABLE = auto()  # on a grid of its own, from which it can be taken to that of a source
    ON_SOURCE = auto()  # on its source's grid from the start, where there is a source
    RESAMPLES = auto()  # onto that grid by the nearest voxel, where it has another one
    COMBINES = auto()  # of segments that can share a file


class Form(NamedTuple):
    """What an input turned out to be. words: for people, with the article."""

    name: str
    words: str
    traits: Trait


class Representation(NamedTuple):
    """One way a file or folder can hold masks or images.

    kind: as `verimask series` shows it. module: of `conversion`, with `products` and `names`. sop_classes: that are it.
    """

    kind: str
    module: str
    sop_classes: tuple[str, ...]
    forms: tuple[Form, ...]


_PLANES = Trait.SERIES | Trait.MASK | Trait.IMAGES | Trait.FRAMES | Trait.MOVABLE
_SEG = Trait.SERIES | Trait.MASK | Trait.FRAMES | Trait.ON_SOURCE | Trait.RESAMPLES | Trait.COMBINES

REPRESENTATIONS = (
    Representation(
        "image",
        "from_planes",
        (),
        (
            Form("image", "an image", Trait.SERIES | Trait.IMAGES | Trait.FRAMES),
            Form("labels", "a label series", _PLANES),
            Form("burned", "an image with the mask burned in", _PLANES),
            Form("masked", "a masked original", _PLANES),
            Form("colour", "a colour export", _PLANES),
            Form("overlay", "overlay planes", _PLANES),
        ),
    ),
    Representation(
        "seg",
        "from_seg",
        ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"),
        (Form("seg", "a DICOM SEG", _SEG), Form("fractional", "a fractional DICOM SEG", _SEG)),
    ),
    Representation(
        "rtstruct",
        "from_rtstruct",
        ("1.2.840.10008.5.1.4.1.1.481.3",),
        (Form("rtstruct", "a structure set", Trait.SERIES | Trait.MASK | Trait.ON_SOURCE),),
    ),
    Representation(
        "bundle",
        "from_bundle",
        (),
        (Form("bundle", "a Mimics bundle", Trait.MASK | Trait.FRAMES | Trait.MOVABLE),),
    ),
)
FORMS = {form.name: form for representation in REPRESENTATIONS for form in representation.forms}
BY_KIND = {representation.kind: representation for representation in REPRESENTATIONS}
KIND_BY_SOP_CLASS = {uid: row.kind for row in REPRESENTATIONS for uid in row.sop_classes}
