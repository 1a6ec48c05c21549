"""Name the findings that keep a result from VERIFIED, whatever a witness says.

Rules:
- A finding that only explains (INFO) leaves no doubt, whatever its code.
"""

from __future__ import annotations

from .codes import Code

# What a witness that agrees cannot settle: not all of the input was seen, its bytes allow two readings, or what was
# written lies where no voxel of the input did.
DOUBTS = frozenset(
    {
        Code.CORRUPT_FILE,
        Code.FILE_UNREAD,
        Code.FRACTIONAL_MAXIMUM,
        Code.FRAME_COUNT,
        Code.PIXEL_LENGTH,
        Code.BITS_ABOVE_STORED,
        Code.FLAT_PLANES,
        Code.COLOUR_ENCODING,
        Code.INVERTED_DISPLAY,
        Code.BACKGROUND_ASSUMED,
        Code.REAL_WORLD_VALUES,
        Code.DOSE_UNSCALED,
        Code.REVERSED_ROWS,
        Code.LOSSY_MASK,
        Code.CONTOUR_DATA,
        Code.CONTOUR_TYPE,
        Code.CONTOURS_OVERLAP,
        Code.MIXED_STUDY,
        Code.OTHER_SPACING,
        Code.PLACE_STATED,
        Code.REPEATS_BY_NUMBER,
        Code.RESAMPLED,
        Code.SAME_FRAME_STATED,
        Code.SEGMENT_IS_PADDING,
        Code.WITNESS_REFUSED,
    }
)
