"""Write texts from outside into the cells of a table, and read them back.

Rules:
- A cell is one line of plain text: tabs, line breaks and whatever else is obeyed or not seen stand as escapes, \\x09.
- A spreadsheet takes a cell that begins with = + - @ (or their wide forms) for a formula, and one that begins with " for the
  first half of something quoted. Such a text gets an apostrophe in front, which spreadsheets take for "this is text". Numbers,
  and a sign alone, stay as they are.
- What is read back is the text: the apostrophe is taken off where this module put it, and nowhere else. `shared.js` has the
  same rule for the tables that a page saves.
"""

from __future__ import annotations

import re

from .plain_text import escape_controls

# Patterns as text: they are compiled when a table is written, which most commands do not do.
_FORMULA = "'*[=+\\-@\"＝＋－＠]"
_HARMLESS = r"'*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]"
_MARK = "'"


def write_cell(text: str) -> str:
    """The cell of a text: one line, with single spaces, that a spreadsheet takes for text or a number."""
    line = " ".join(escape_controls(text).split())
    return _MARK + line if _is_marked(line) else line


def read_cell(cell: str) -> str:
    """The text of a cell that `write_cell` made; any other cell as it is."""
    return cell[1:] if cell.startswith(_MARK) and _is_marked(cell[1:]) else cell


def _is_marked(line: str) -> bool:
    return re.match(_FORMULA, line) is not None and re.fullmatch(_HARMLESS, line) is None
