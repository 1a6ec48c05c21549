"""Explain every finding: what it means, what to do, and the clause of the standard it rests on.

Rules:
- One row per Code, in the order of `Code`; a test holds that none is missing. docs/findings.md is made from it.
- A meaning is one plain sentence about the code as such. What was found in one file is said by the finding itself.
- No command imports this module when it starts.
"""

from __future__ import annotations

from typing import NamedTuple

from .codes import Code
from .help_of_input import ROWS as ROWS_OF_INPUT
from .help_of_masks import ROWS as ROWS_OF_MASKS


class FindingHelp(NamedTuple):
    """The explanation of one Code. clause: of the DICOM or NIfTI standard, or ""."""

    meaning: str
    remedy: str
    clause: str = ""


HELP = {Code[name]: FindingHelp(*row) for name, row in (ROWS_OF_INPUT | ROWS_OF_MASKS).items()}
