"""Say in words how a SEG tells where its masks are. Returns lines of text; prints nothing.

Rules:
- A SEG keeps frames, each with a position of its own, and none where a segment has no pixel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ..core.plain_text import escape_controls
from ..decode.seg.instance import Instance

_LISTED = 30  # masks that are described one by one


def describe_seg(instance: Instance, source: str) -> list[str]:
    """Describe which planes the frames of one SEG lie on.

    Args:
        instance: with its frames placed on the grid.
        source: what the images are called whose grid it is; "" where the frames span a grid of their own.

    Returns:
        Lines without line ends.
    """
    layout, frames = instance.layout, instance.frames
    planes, there = layout.grid.shape[layout.axis], len(set(layout.at.tolist()))
    empty = planes - there
    by_segment: dict[int, list[int]] = defaultdict(list)
    for frame, k in zip(frames, layout.at.tolist(), strict=True):
        by_segment[frame.segment_number or 0].append(k)
    names = {
        segment.number: escape_controls(segment.name) for segment in (*instance.table.segments, *instance.undescribed)
    }
    first = frames[0]
    position = " \\ ".join(f"{c + 0.0:g}" for c in first.known_plane.position)
    axis = "ijk"[layout.axis]
    whose = (
        f"the grid is that of its source, {source}" if source else "without its source, the grid is the one they span"
    )
    lines = [
        "What a segmentation (SEG) holds",
        f"  {len(frames)} frames, each the mask of one segment on one plane; where a segment has no pixel there need be no "
        f"frame. Each frame says in its functional groups where it lies (Plane Position Sequence), and {whose}.",
        f"  They lie on {there} of its {planes} planes; {f'the {empty} others are' if empty > 1 else 'the other is'} empty."
        if empty
        else f"  They lie on all of its {planes} planes.",
    ]
    if instance.is_labelmap:
        lines.append("  It is a label map: a frame holds all segments of a plane, each as a value of its own.")
    else:
        lines += [
            f"  segment {number} “{names.get(number, 'without a name')}”: {_count(len(ks), 'frame')}, at {axis} = {_ranges(ks)}"
            for number, ks in sorted(by_segment.items())[:_LISTED]
        ]
        lines += _more(len(by_segment), "segments")
    lines.append(
        f"  For example frame {first.number} lies at {position}: by the matrix below, that is {axis} = {int(layout.at[0])}, "
        f"within {layout.residuals[0]:.4f} mm."
    )
    return [*lines, ""]


def _ranges(numbers: Iterable[int]) -> str:
    """3, 4, 5, 7 -> "3 to 5, 7"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _more(count: int, what: str) -> list[str]:
    return [f"  and {count - _LISTED} more {what}"] if count > _LISTED else []
