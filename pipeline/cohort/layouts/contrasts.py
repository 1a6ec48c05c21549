"""Choose the BIDS suffix of an MR image: what the user named its channel, else what its description says.

Rules:
- A name that is a suffix of BIDS is that suffix; another name is refused, never guessed at.
- A description decides where it speaks of one contrast alone. What no suffix holds (diffusion, maps, perfusion) is refused.
"""

from __future__ import annotations

import re

from ...core.findings import Code, refuse
from .layout import CaseImage

# Anatomical suffixes that need no further entity (schema of BIDS 1.11, rules/files/raw/anat: nonparametric, parametric).
SUFFIXES = (
    "T1w", "T2w", "PDw", "T2starw", "FLAIR", "inplaneT1", "inplaneT2", "PDT2", "angio",
    "T1map", "T2map", "T2starmap", "R1map", "R2map", "R2starmap", "PDmap", "MTRmap", "MTsat", "UNIT1", "T1rho", "MWFmap",
    "MTVmap", "Chimap", "S0map", "M0map",
)  # fmt: skip
_BY_NAME = {suffix.casefold(): suffix for suffix in SUFFIXES}
_OTHER = re.compile(
    r"diff|dwi|dti|trace|(?<![a-z])(adc|asl|swi|map|pwi|perf|bold|fieldmap|loc|localizer|scout)(?![a-z])"
)
_CONTRASTS = (
    ("FLAIR", re.compile(r"flair|dark.?fluid")),
    ("T2starw", re.compile(r"t2(\*|.?star)")),
    ("T1w", re.compile(r"(?<![a-rt-z0-9])t1(?!\d|.?rho)|mp.?rage")),
    ("T2w", re.compile(r"(?<![a-rt-z0-9])t2(?!\d|\*|.?star)")),
    ("PDw", re.compile(r"(?<![a-z])pd(?![a-z])|pdw|proton.?density")),
)


def suffix_of(image: CaseImage) -> str:
    """The suffix of an MR image.

    Raises: PipelineError UNKNOWN_CONTRAST where neither the channel's name nor the description gives one.
    """
    if image.name:
        if image.name.casefold() in _BY_NAME:
            return _BY_NAME[image.name.casefold()]
        raise _unknown(f"channel “{image.name}” is called by no suffix of BIDS", image)
    text = image.description.casefold().replace("_", " ")
    found = [suffix for suffix, pattern in _CONTRASTS if pattern.search(text)]
    if _OTHER.search(text):
        raise _unknown("its description speaks of something other than an anatomical image", image)
    if found == ["FLAIR", "T2w"]:  # FLAIR is T2-weighted
        found = ["FLAIR"]
    if len(found) != 1:
        raise _unknown(f"its description names {'several contrasts' if found else 'no contrast'}", image)
    return found[0]


def _unknown(why: str, image: CaseImage) -> Exception:
    return refuse(
        Code.UNKNOWN_CONTRAST,
        f"BIDS has a suffix for each contrast of MR, and which one channel {image.channel} has is not known: {why}",
        f"Name the channel by its suffix ({', '.join(SUFFIXES[:5])}, …) under [[channels]] of labels.toml.",
        where=(f"channel {image.channel}",),
    )
