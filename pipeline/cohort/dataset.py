"""Make what holds for a whole data set out of its options: the layout, and the labels.

Rules:
- It follows from the options alone, so that every process makes the same of them.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.findings import Code, refuse
from .labels.label_map import LabelMap
from .labels.label_map_file import parse_label_map
from .layouts import LAYOUTS
from .layouts.layout import DatasetLabel, DatasetLayout, LayoutSettings
from .plan import CohortOptions


class Dataset(NamedTuple):
    """The layout of a data set, and the labels of its masks; None where each mask is a file by its own name."""

    layout: DatasetLayout
    label_map: LabelMap | None


def dataset_of(options: CohortOptions) -> Dataset:
    """Make layout and labels. Raises PipelineError BAD_LABELS, and BAD_OPTION for what the layout does not take."""
    label_map = parse_label_map(options.labels) if options.labels else None
    make = LAYOUTS[options.layout]
    labels: tuple[DatasetLabel, ...] = ()
    channels: tuple[str, ...] = ()
    if label_map is not None:
        channels = tuple(channel.name for channel in label_map.channels)
        labels = tuple(_label(label_map, n) for n in range(len(label_map.labels)))
    layout = make(LayoutSettings(options.title, labels, channels))
    if options.separate and layout.needs_labels:
        raise refuse(
            Code.BAD_OPTION,
            f"the layout {layout.name} has one label map a case, and no file a mask",
            "Leave --separate out, or choose another layout.",
            where=("--separate",),
        )
    return Dataset(layout, label_map)


def label_names(options: CohortOptions) -> frozenset[str]:
    """The names of the labels that the user gave, which are public."""
    label_map = dataset_of(options).label_map
    return frozenset() if label_map is None else frozenset(label.name for label in label_map.labels)


def _label(label_map: LabelMap, number: int) -> DatasetLabel:
    """The label that is painted as this one from the bottom, as a layout knows it."""
    label = label_map.painted[number]
    values = label_map.values_of(label)
    return DatasetLabel(label.name, label.value, label.colour, values if len(values) > 1 else ())
