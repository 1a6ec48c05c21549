"""Name the exit codes of the command line, which the codes of findings lead to."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line; the name is printed with the number."""

    VERIFIED = 0
    INTERNAL_ERROR = 1
    NOTHING_TO_CONVERT = 2
    CORRUPT_INPUT = 4
    NO_SUCH_INPUT = 5
    OUTPUT_PATH = 6
    CANNOT_WRITE = 7
    PARTLY_DONE = 8
    REFUSED = 10
    DISPUTED = 11
    MISMATCH = 12
    UNCONFIRMED = 13
    USAGE = 64
