"""Hold the labels that were taken out of an export with a mask in its image, and make masks of them.

Rules:
- A label is a value (or a colour) that the export has there, exactly. Nothing is smoothed, filled or left out by size.
- Labels are numbered 1, 2, ... in the order they were named, else in ascending order of their values.
- Voxels are in the order of the export's frames, one plane at a time; nothing is on a grid yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.arguments import bad_option, check_whole
from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...dicom.frame import Frame
from ...dicom.modality import rescales_of_mask
from ...volume.label_table import Colour
from ...volume.mask import Array, Physical, Segment, Voxels, smallest_unsigned
from ..image import Decoded


@dataclass(frozen=True, slots=True)
class Named:
    """A label to look for: its name, and the stored value or the colour (red, green, blue) it has in the export."""

    name: str
    value: int | Colour

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise bad_option("Named.name", self.name, "a text")
        if not isinstance(self.value, tuple):
            check_whole("Named.value", self.value)
        elif len(self.value) != 3:
            raise bad_option("Named.value", self.value, "a whole number, or a colour as three of them")
        else:
            for part in self.value:
                check_whole("Named.value", part, 0, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The labels of one mask, in the order of the export's frames.

    Attributes:
        voxels: 0 and the numbers of the segments.
        segments: of the mask.
        findings: on the way.
        name: for the output file; "" where the name of the series will do.
        expected: (n, plane) -> the stored values that a reader of the export sees in frame n if `plane` are its labels;
            None where the pixels do not show them (overlays, colours).
        shared_values: how many different grey values it was found to share with the image it was compared with.
        stored_labels: see `Decoded`; by default the source value of each segment.
    """

    voxels: Voxels
    segments: tuple[Segment, ...]
    findings: tuple[Finding, ...]
    name: str = ""
    expected: Physical | None = None
    shared_values: int = 0
    stored_labels: tuple[tuple[int, int], ...] = ()

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of what is stored for a label and its number."""
        own = tuple((s.source_value, s.number) for s in self.segments if s.source_value is not None)
        return self.stored_labels or own

    def decoded(self, frames: Sequence[Frame]) -> Decoded:
        """Return it in the form every decoder of frames gives; `expected` with the modality rescale of the frames."""
        physical, expected = None, self.expected
        slopes, _ = rescales_of_mask(frames)
        if expected is not None and slopes is not None:

            def physical(n: int, plane: Array) -> Array:
                return expected(n, plane) * slopes[n][0] + slopes[n][1]

        return Decoded(self.voxels, self.findings, physical, segments=self.segments, stored_labels=self.pairs)


def number_segments(values: Sequence[int], named: Sequence[Named], only: str) -> tuple[Segment, ...]:
    """Make segments for values, numbered from 1.

    Args:
        values: stored values that are labels, in their order.
        named: the labels that have names.
        only: name of a label that has none and is the only one; "" for none.

    Returns:
        One segment for each value.
    """
    names = {n.value: n.name for n in named}
    unnamed = only if len(values) == 1 and only else ""
    return tuple(
        Segment(number, names.get(value) or unnamed or f"value {value}", source_value=value)
        for number, value in enumerate(values, 1)
    )


def label_values(shown: Voxels, segments: Sequence[Segment], outside: Callable[[int, Array], Array | None]) -> Voxels:
    """Label every voxel that has the source value of a segment.

    Args:
        shown: stored values of the export.
        segments: with their source values.
        outside: (k, stored plane) -> (rows, columns), where such voxels do not count; or None.

    Returns:
        Voxels with the numbers of the segments, and 0.
    """
    dtype = smallest_unsigned(len(segments))

    def plane(k: int) -> Array:
        stored = shown.plane(k)
        labels = np.zeros(stored.shape, dtype)
        for segment in segments:
            labels[stored == segment.source_value] = segment.number
        left_out = outside(k, stored) if labels.any() else None
        if left_out is not None:
            labels[left_out] = 0
        return labels

    return Voxels(shown.shape, dtype, plane)


def expect_values(shown: Voxels, segments: Sequence[Segment]) -> Physical:
    """Return `Labelled.expected` of burned-in labels: the constant where a label is, and what is stored elsewhere."""
    table = np.zeros(len(segments) + 1, np.int64)
    for segment in segments:
        table[segment.number] = segment.source_value or 0
    return lambda n, plane: np.where(plane > 0, table[plane], shown.plane(n))


def separate(labelled: Labelled) -> tuple[Labelled, ...]:
    """Make a mask of 0 and 1 for each segment, named by it; one segment stays as it is."""
    if len(labelled.segments) < 2:
        return (labelled,)
    return tuple(_extract(labelled, segment) for segment in labelled.segments)


def _extract(labelled: Labelled, segment: Segment) -> Labelled:
    voxels = Voxels(
        labelled.voxels.shape,
        np.dtype(np.uint8),
        lambda k: (labelled.voxels.plane(k) == segment.number).astype(np.uint8),
    )
    expected = labelled.expected
    number = segment.number
    return Labelled(
        voxels,
        (replace(segment, number=1),),
        labelled.findings,
        segment.name,
        # What is stored holds the other labels already, so only this one is put in.
        None if expected is None else lambda n, plane: expected(n, np.where(plane > 0, number, 0)),
        stored_labels=tuple((stored, int(n == number)) for stored, n in labelled.pairs),
    )


def parse_labels(text: str) -> tuple[Named, ...]:
    """Parse "liver=254,tumour=#ff8000": names with stored values or exact colours, in their order.

    Raises BAD_LABELS for a part that is no NAME=VALUE, and for a name or a value given twice.
    """
    named = [_parse_label(part, text) for part in text.split(",")]
    for what in (Counter(n.name for n in named), Counter(str(n.value) for n in named)):
        word, times = what.most_common(1)[0]
        if times > 1:
            raise _bad_labels(text, f"{word} is given {times} times")
    return tuple(named)


def _parse_label(part: str, text: str) -> Named:
    name, equals, value = (piece.strip() for piece in part.rpartition("="))
    if not (name and equals and value):
        raise _bad_labels(text, f"“{part.strip()}” is not NAME=VALUE")
    try:
        if value.startswith("#") and len(value) == 7:
            red, green, blue = bytes.fromhex(value[1:])
            return Named(name, (red, green, blue))
        return Named(name, int(value))
    except ValueError:
        raise _bad_labels(text, f"“{value}” is neither a whole number nor a colour like #ff8000") from None


def _bad_labels(text: str, why: str) -> PipelineError:
    return refuse(
        Code.BAD_LABELS,
        f"the labels “{text}” cannot be read: {why}",
        'Write them like --labels "liver=254,tumour=253".',
        where=(text,),
    )


def report_taken(segments: Sequence[Segment], counts: dict[int, int], why: str) -> Finding:
    """Report which values became labels.

    Args:
        segments: with their source values.
        counts: number of a segment to how many voxels it has.
        why: these values were taken.

    Returns:
        A finding that lists them.
    """
    listed = ", ".join(f"{s.source_value} is “{s.name}” ({counts[s.number]:,} voxels)" for s in segments)
    return Finding(Code.VALUES_TAKEN, f"{why}: {listed}", severity=Severity.INFO)
