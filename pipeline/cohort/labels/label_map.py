"""Read labels.toml, which gives the masks of a whole cohort their labels, and find the label of a mask.

Rules:
- A mask is found by its name, else by its code, else by a regular expression. Names are compared regardless of case, spaces,
  underscores, hyphens and the way Unicode writes a letter; a label's own name is one of its names.
- Two labels that fit a mask equally well are refused by name; nothing is guessed from the order of the file.
- `[ignore]` lists what is left out on purpose. Its regular expressions are asked last, so `.*` is “everything else”.
- The label that stands first in the file lies on top. Under overlap = "regions" a label lies on top of the one it is
  `inside` of, wherever they stand.
- What the file holds and nobody understands is refused with the name of its table, never passed over.

    [labels.liver]                     # the name in the data set
    value = 1                          # the voxel value, from 1
    names = ["Liver", "liver_v2"]      # further names of it
    regex = ["^liver.*"]               # Python, the whole name, ignoring case
    codes = ["SCT:10200004"]           # SCHEME:VALUE of the type of a segment
    colour = "#dd8265"
    required = false                   # a case may lack it; without this line a case that does is incomplete
    join = true                        # several masks of one case that fit are put together
    inside = "body"                    # with overlap = "regions": the label that this one is a part of

    [ignore]                           # left out on purpose
    names = ["couch", "external"]

    [options]
    overlap = "order"                  # a voxel of two labels: the first in the file ("order"), "refuse", or "regions"

    [[channels]]                       # nnU-Net: which image is which channel, from 0
    name = "CT"
    modality = "CT"
    description = ".*portal.*"         # Python, of the Series Description
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import chain
from typing import Literal, NamedTuple

from ...core.findings import Code, refuse
from ...core.plain_text import escape_bytes
from ..facts import SeriesFacts

OverlapRule = Literal["order", "refuse", "regions"]
MatchWay = Literal["name", "code", "regex", "ignored", ""]
LARGEST_VALUE = 65535  # Segment Number (0062,0004) has 16 bits, and so have the predictions of nnU-Net
CODE = re.compile(r"\s*[^\s:][^:]*:\s*\S.*")  # SCHEME:VALUE
_NAMES = 1 << 16  # that are remembered: a cohort has few, each of them many times
BACKGROUND, IGNORE = "background", "ignore"  # names that mean something in a dataset.json of nnU-Net


@dataclass(frozen=True, slots=True)
class MaskRule:
    """What masks it fits. names: further ones, as written. patterns: of whole names. codes: SCHEME:VALUE."""

    names: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelRule:
    """One label of the data set. value: of its voxels. inside: the label that it is a region of, "" for none."""

    name: str
    value: int
    masks: MaskRule = MaskRule()
    colour: tuple[int, int, int] | None = None
    required: bool = True
    join: bool = False
    inside: str = ""


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """One channel of the data set. modality: (0008,0060), "" for any. description: of the whole Series Description."""

    name: str
    modality: str = ""
    description: re.Pattern[str] | None = None

    def fits(self, facts: SeriesFacts) -> bool:
        """Whether a series may be this channel."""
        if self.modality and facts.modality.strip().upper() != self.modality.upper():
            return False
        return self.description is None or self.description.fullmatch(_composed(facts.description)) is not None


class LabelMatch(NamedTuple):
    """What a mask is. label: None where it is ignored on purpose or nothing fits. way: how it was found, "" for nothing."""

    label: LabelRule | None
    way: MatchWay


@dataclass(frozen=True)
class LabelMap:
    """All that labels.toml says, checked. labels: in the order of the file, the one on top first. sha256: of the text."""

    labels: tuple[LabelRule, ...]
    ignored: MaskRule = MaskRule()
    overlap: OverlapRule = "order"
    channels: tuple[ChannelRule, ...] = ()
    sha256: str = ""

    def match(self, name: str, codes: Iterable[str] = ()) -> LabelMatch:
        """Find the label of a mask by its name, and by the codes of its type, SCHEME:VALUE.

        Raises PipelineError BAD_LABELS where two labels fit it equally well.
        """
        key = fold(name)
        if key in self._by_name:
            label = self._by_name[key]
            return LabelMatch(label, "ignored" if label is None else "name")
        wanted = {fold_code(code) for code in codes}
        coded = {code: label for code, label in self._by_code.items() if code in wanted}
        if coded:
            found = dict.fromkeys(coded.values())
            label = self._only(name, [one for one in found if one is not None], "code")
            return LabelMatch(label, "ignored" if label is None else "code")
        text = _composed(name)
        fitting = [label for label in self.labels if any(p.fullmatch(text) for p in label.masks.patterns)]
        if fitting:
            return LabelMatch(self._only(name, fitting, "regex"), "regex")
        return LabelMatch(None, "ignored" if any(p.fullmatch(text) for p in self.ignored.patterns) else "")

    def channel_of(self, facts: SeriesFacts) -> int | None:
        """Return the number of the channel that a series is, from 0; None for none. Without channels all images are 0.

        Raises PipelineError CHANNEL_AMBIGUOUS where it fits two.
        """
        if not self.channels:
            return 0
        fitting = [n for n, channel in enumerate(self.channels) if channel.fits(facts)]
        if len(fitting) > 1:
            names = " and ".join(f"“{self.channels[n].name}”" for n in fitting)
            raise refuse(
                Code.CHANNEL_AMBIGUOUS,
                f"{facts.title} fits the channels {names}",
                "Make the descriptions of [[channels]] narrower.",
                where=(facts.title, *(self.channels[n].name for n in fitting)),
            )
        return fitting[0] if fitting else None

    @property
    def painted(self) -> tuple[LabelRule, ...]:
        """The labels from the bottom to the top: each lies on top of those before it."""
        if self.overlap != "regions":
            return self.labels[::-1]
        return tuple(self._with_inner(""))

    def values_of(self, label: LabelRule) -> tuple[int, ...]:
        """The voxel values that the region of a label consists of, ascending: its own, and those of all inside of it."""
        if self.overlap != "regions":
            return (label.value,)
        return tuple(sorted((label.value, *(one.value for one in self._with_inner(label.name)))))

    def _with_inner(self, outer: str) -> Iterator[LabelRule]:
        """Yield the labels inside of one, each before those inside of it, the first of the file last."""
        for label in reversed(self.labels):
            if label.inside == outer:
                yield label
                yield from self._with_inner(label.name)

    @cached_property
    def _by_name(self) -> Mapping[str, LabelRule | None]:
        """The label of every name, None for what is ignored."""
        ignored: dict[str, LabelRule | None] = {fold(name): None for name in self.ignored.names}
        return ignored | {fold(n): label for label in self.labels for n in chain([label.name], label.masks.names)}

    @cached_property
    def _by_code(self) -> Mapping[str, LabelRule | None]:
        ignored: dict[str, LabelRule | None] = {fold_code(code): None for code in self.ignored.codes}
        return ignored | {fold_code(code): label for label in self.labels for code in label.masks.codes}

    @staticmethod
    def _only(name: str, fitting: list[LabelRule], way: str) -> LabelRule | None:
        """Return the one label that fits, None for none. Raises BAD_LABELS where several do."""
        if len(fitting) > 1:
            names = " and ".join(f"“{label.name}”" for label in fitting)
            raise refuse(
                Code.BAD_LABELS,
                f"the mask “{name}” fits the labels {names}, each by a {way}",
                "Write its name among the names of the right one: names come first.",
                where=(name, *(label.name for label in fitting)),
            )
        return fitting[0] if fitting else None


@lru_cache(maxsize=_NAMES)
def fold(name: str) -> str:
    """Return what names are compared by: without case, spaces, underscores, hyphens and signs that nobody sees.

    A name of nothing but such signs keeps its underscores and hyphens.
    """
    text = escape_bytes(name)
    while True:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        visible = "".join(sign for sign in folded if not _is_blank(sign))
        folded = "".join(sign for sign in visible if not _is_joint(sign)) or visible
        if folded == text:
            return folded
        text = folded


def fold_code(code: str) -> str:
    """Return what codes are compared by: SCHEME:VALUE without spaces around either, the scheme in capitals."""
    scheme, _, value = code.partition(":")
    return f"{scheme.strip().upper()}:{value.strip()}"


def digest_of(text: str) -> str:
    """The SHA-256 that a label map is known by in records."""
    return sha256(text.encode()).hexdigest()


def _composed(text: str) -> str:
    """Text as regular expressions see it: letters composed, nothing around it."""
    return unicodedata.normalize("NFC", escape_bytes(text)).strip(" \t\r\n\0")


def _is_blank(sign: str) -> bool:
    """Whether a sign is a space, or none that can be seen."""
    return sign.isspace() or unicodedata.category(sign) in ("Cc", "Cf")


def _is_joint(sign: str) -> bool:
    """Whether a sign joins words: an underscore or a hyphen of any kind."""
    return sign == "_" or unicodedata.category(sign) == "Pd"
