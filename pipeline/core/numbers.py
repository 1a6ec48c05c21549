"""Tell the numbers that can be computed with from everything else that JSON, TOML, DICOM text or a caller may hold.

Rules:
- A whole number may have any length there, and one of 400 digits is larger than every float: to ask `isfinite` of it is an
  error of its own.
"""

from __future__ import annotations

import sys
from typing import TypeGuard


def is_finite_number(value: object) -> TypeGuard[float]:
    """Whether a value is a whole number or a float, no bool, and as a float neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
