"""Choose the image of each channel among the images of a case.

Rules:
- A channel has exactly one image. Several that fit, or one that fits several, are refused by name; a missing one is reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ...core.findings import Code, Finding, PipelineError, Severity
from ..facts import SeriesFacts
from .label_map import LabelMap


class ChosenChannels(NamedTuple):
    """The images of a case by channel, None where there is none or no single one. others: that fit no channel."""

    images: tuple[SeriesFacts | None, ...]
    others: tuple[SeriesFacts, ...]
    findings: tuple[Finding, ...]


def choose_channels(images: Sequence[SeriesFacts], label_map: LabelMap) -> ChosenChannels:
    """Choose the image of every channel of a label map; without channels the one image there is.

    The findings are an error, CHANNEL_AMBIGUOUS, where it cannot be chosen, and a warning, CHANNEL_MISSING, where there is none.
    """
    fitting: dict[int, list[SeriesFacts]] = defaultdict(list)
    others: list[SeriesFacts] = []
    findings: list[Finding] = []
    for facts in images:
        try:
            channel = label_map.channel_of(facts)
        except PipelineError as error:
            findings.append(error.finding)
            continue
        if channel is None:
            others.append(facts)
        else:
            fitting[channel].append(facts)
    names = [channel.name for channel in label_map.channels] or ["image"]
    findings += [_several(name, fitting[n]) for n, name in enumerate(names) if len(fitting[n]) > 1]
    findings += [_missing(name, n) for n, name in enumerate(names) if not fitting[n]]
    chosen = tuple(fitting[n][0] if len(fitting[n]) == 1 else None for n in range(len(names)))
    return ChosenChannels(chosen, tuple(others), tuple(findings))


def _several(name: str, images: Sequence[SeriesFacts]) -> Finding:
    titles = tuple(facts.title for facts in images)
    return Finding(
        Code.CHANNEL_AMBIGUOUS,
        f"{len(images)} images of the case fit the channel “{name}”: {', '.join(titles)}",
        "Make the description of the channel narrower, or choose one in the table that is given back.",
        where=titles,
        measured=len(images),
        limit=1,
        unit="images",
    )


def _missing(name: str, channel: int) -> Finding:
    return Finding(
        Code.CHANNEL_MISSING,
        f"no image of the case fits the channel “{name}” (number {channel})",
        "Make the channel wider, or find the image; it may lie in another frame or folder.",
        Severity.WARNING,
        where=(name,),
    )
