"""Say what there is to know of the segments of one SEG instance.

Rules:
- What was read otherwise than the table of segments has it is a warning. Where the bytes allow two readings, it is one that
  leaves doubt.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.findings import Code, Finding, PipelineError, Severity, refuse
from ...volume.mask import Segment
from .segment_table import SegmentTable

_FRACTION_CLAUSE = "PS3.3 C.8.20.2.3"


def find_in_table(name: str, table: SegmentTable, *, stored: set[int], undescribed: Sequence[Segment]) -> list[Finding]:
    """Return what there is to know of all segments of one instance.

    Args:
        name: of its file.
        table: of its segments.
        stored: values that occur in a label map; empty for other kinds.
        undescribed: segments with pixels that the table does not have.

    Returns:
        Warnings; none where everything is as the standard has it.
    """
    found = [_remapped(name, segment) for segment in table.segments if segment.source_value != segment.number]
    if undescribed:
        numbers = ", ".join(str(s.number) for s in undescribed)
        words = f"{name} has pixels of segment {numbers}, which its table does not name"
        found.append(_warning(Code.SEGMENT_NOT_DESCRIBED, words, "They are kept, under their number.", name))
    if table.padding is not None and table.padding.source_value in stored:
        number = table.padding.source_value
        words = (
            f"{name}: {number} is Pixel Padding Value (0028,0120), which is background, and the number of segment "
            f"“{table.padding.name}”; its voxels were left as background"
        )
        hint = "Was it exported with the wrong padding value? Then have it written again without one."
        found.append(_warning(Code.SEGMENT_IS_PADDING, words, hint, name))
    return found


def assumed_segment(name: str, segment: Segment) -> Finding:
    """Warn that frames without a Referenced Segment Number were taken to show the only segment there is."""
    words = f"{name}: frames do not say which segment they show; “{segment.name}” is the only one that is described"
    return _warning(
        Code.SEGMENT_NOT_IDENTIFIED, words, "They were taken to show that one.", name, clause="PS3.3 C.8.20.3.1"
    )


def without_pixels(name: str, segments: Sequence[Segment]) -> Finding:
    """Say which segments have no pixel. segments: at least one."""
    return Finding(
        Code.SEGMENT_WITHOUT_FRAMES,
        f"{name}: no pixel for segment " + ", ".join(f"{s.number} “{s.name}”" for s in segments),
        "They are empty; they stay in the table of segments.",
        Severity.INFO,
        where=(name,),
    )


def threshold_taken(name: str, table: SegmentTable, threshold: float) -> Finding:
    """Say from which fraction on a voxel is inside.

    Args:
        name: of the file.
        table: gives Maximum Fractional Value (0062,000E).
        threshold: as a part of it.

    Returns:
        A note.
    """
    return Finding(
        Code.FRACTIONAL_THRESHOLD,
        f"{name} holds fractions ({table.fractional_type or 'their type is not given'}); a voxel is inside "
        f"from {threshold:g} of {table.maximum}, its Maximum Fractional Value, upwards",
        "Choose another threshold, or keep the values, with --fractional.",
        Severity.INFO,
        where=(name,),
        clause=_FRACTION_CLAUSE,
    )


def check_maximum(name: str, table: SegmentTable, largest: int, bits: int) -> Finding | None:
    """Warn of fractions that do not fit their maximum.

    Args:
        name: of the file.
        table: gives Maximum Fractional Value (0062,000E).
        largest: stored value.
        bits: allocated for a pixel.

    Returns:
        The warning, which leaves doubt; None where they fit.
    """
    if bits == 1 and table.maximum != 1:
        words = f"{name} holds one bit a pixel, and {table.maximum} as Maximum Fractional Value; a bit that is set was taken as 1"
        hint = "It is probably a binary segmentation under the wrong Segmentation Type."
        return _warning(Code.FRACTIONAL_MAXIMUM, words, hint, name, clause=_FRACTION_CLAUSE)
    if largest <= table.maximum:
        return None
    words = f"{name} holds fractions up to {largest}, beyond {table.maximum}, its Maximum Fractional Value, which stands for 1"
    hint = "The values or the maximum are wrong, or they are no fractions. Look at them: --fractional keep."
    return _warning(
        Code.FRACTIONAL_MAXIMUM, words, hint, name, clause=_FRACTION_CLAUSE, measured=largest, limit=table.maximum
    )


def below_threshold(name: str, table: SegmentTable, largest: int, threshold: float) -> PipelineError:
    """Make the refusal of fractions that all lie below the threshold.

    Args:
        name: of the file.
        table: gives Maximum Fractional Value (0062,000E).
        largest: stored value.
        threshold: as a part of the maximum.

    Returns:
        EMPTY, to be raised.
    """
    reaching = int(100 * largest / table.maximum) / 100
    lower = f"choose a lower threshold, such as --fractional {reaching:g}, or " if reaching else ""
    return refuse(
        Code.EMPTY,
        f"no voxel of {name} reaches {threshold:g} of {table.maximum}, its Maximum Fractional Value: the largest value is {largest}",
        f"If these are fractions, {lower}keep them with --fractional keep. If they are flags or labels, nothing in the file "
        "says what they mean: it is no fractional segmentation then.",
        where=(name,),
        measured=largest,
        limit=threshold * table.maximum,
        clause=_FRACTION_CLAUSE,
    )


def _remapped(name: str, segment: Segment) -> Finding:
    words = f"segment 0 “{segment.name}” of {name} is not background; it became label {segment.number}"
    return _warning(
        Code.LABELS_REMAPPED,
        words,
        "Label 0 is the background of every mask, so a segment cannot keep it.",
        name,
        clause="",
    )


def _warning(code: Code, words: str, hint: str, name: str, clause: str = "PS3.3 C.8.20.2", **numbers: float) -> Finding:
    return Finding(code, words, hint, Severity.WARNING, clause, (name,), **numbers)  # type: ignore[arg-type]
