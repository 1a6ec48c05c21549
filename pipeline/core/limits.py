"""Limits that more than one room holds to. What one module alone needs stands there; what a user may choose, in `policy`."""

from __future__ import annotations

SAME_PLACE_MM = 1e-3  # nearer than positions are printed: one place
LEANS_DEGREES = 0.005  # a stack leans by more; less is what printed cosines leave
MOST_PLANES = 32767  # along an axis: dim[] of NIfTI-1 is int16
MOST_LABELS = 255  # different values of a mask; more are an image
DEFLATE_MOST = 1032  # bytes that one byte of deflate can become: a match of 258 in two bits
MOST_MEMBERS = 100_000  # files of one ZIP archive that are looked at: a study has some thousands
MOST_MEMBER_BYTES = 1 << 31  # of one file in an archive, which is held in memory whole
MOST_TEXT_BYTES = 1 << 26  # of JSON, TOML or a table: the record of 30 000 planes has 12 MB
FEW_VALUES = 16  # so many are labels, or constants of an export, whatever they look like
