"""Show records as pages a person looks at: one HTML file with everything in it.

Rules:
- A page shows the proven file or nothing: the NIfTI file's digest must be the one its record holds.
- Nothing is fetched: style, pictures and script are in the page. Without script everything can be read.
- Whatever comes from a file is escaped. Patient data appears only when asked for, and only from the source series.
- Pictures are cut along the grid's own axes, never turned or blended; how far these lean from the patient's is said.
"""

from __future__ import annotations

from .cohort_page import make_cohort_page
from .group import make_group_page
from .page import make_page
from .record import find_outcomes

__all__ = ["find_outcomes", "make_cohort_page", "make_group_page", "make_page"]
