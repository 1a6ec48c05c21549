"""Why a series is refused that another reader has right, by the refusing Code: what the files leave open, or who decides it."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "BAD_COSINES": "The two directions contradict themselves by more than rounding; which number is wrong is not said.",
    "CORRUPT_FILE": (
        "A file lacks what says to which series it belongs, or the palette that was asked for; the other readers "
        "write without it."
    ),
    "DUPLICATE_POSITION": (
        "Several planes at one place are no volume; the other reader writes them as volumes over time, or takes one."
    ),
    "GANTRY_TILT": (
        "Most programs drop the shear of an affine, so it is kept, or resampled away, only on request: `--on-tilt`."
    ),
    "MISSING_PLANES": (
        "Nothing says what was in the missing planes: `--on-gap` says what to put there. The other reader "
        "resamples unasked."
    ),
    "MISSING_PLANE_ATTRIBUTES": (
        "A plane, or all frames but the first, says not where it lies; the other readers leave it out or go by the "
        "order of the frames, which `--assume-spacing` does on request."
    ),
    "MIXED_FRAME_OF_REFERENCE": (
        "Several planes each share one of two coordinate systems, and nothing says that the two are one. The other "
        "readers do not look."
    ),
    "MIXED_ORIENTATION": "One file was asked for, and there are several volumes: `--part` chooses, `-o FOLDER/` writes each.",
    "MIXED_SIZE": "One file was asked for, and there are several volumes: `--part` chooses, `-o FOLDER/` writes each.",
    "MOSAIC": (
        "How many slices the sheet holds, or where they lie, is not said; the other readers write the sheet as one "
        "plane."
    ),
    "NO_SUCH_PART": "What was asked for is not there; the other readers were not asked for it.",
    "NO_SUCH_SERIES": "What was asked for is not there; the other readers were not asked for it.",
    "SEVERAL_SERIES": (
        "One file was asked for, and there are several series, or files that may be: `--series` chooses, "
        "`-o FOLDER/` writes each."
    ),
    "SEVERAL_VOLUMES": (
        "One file was asked for, and there are several volumes, or planes that nothing tells apart: `--part` "
        "chooses, `-o FOLDER/` writes each."
    ),
    "UNEVEN_SPACING": "One affine has one step: `--on-gap resample` makes it even. The other reader resamples unasked.",
    "UNREADABLE_NUMBER": "Two different numbers stand where one belongs; the other readers take the first.",
    "UNSUPPORTED_PIXELS": (
        "The palette that was asked for is a supplemental one; the other readers write stored values, as verimask "
        "does without the option."
    ),
}
