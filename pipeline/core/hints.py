"""Keep of a hint what the command at hand can do.

Rules:
- A hint is written once, for every command that may show it. A sentence that names an option counts where that is known, or where
  it is about another command.
"""

from __future__ import annotations

import re
from collections.abc import Collection


def keep_known_options(hint: str, known: Collection[str]) -> str:
    """Leave out the sentences of a hint that name options that are not known.

    Args:
        hint: sentences, on one line or several.
        known: options as they are typed, such as --on-gap.

    Returns: the sentences that are left.
    """
    kept = []
    for line in hint.split("\n"):
        sentences = re.split(r"(?<=[.?!]) +(?=[^a-z])", line)
        kept.append(" ".join(sentence for sentence in sentences if _is_about(sentence, known)))
    return "\n".join(kept).strip("\n")


def _is_about(sentence: str, known: Collection[str]) -> bool:
    """Whether a sentence names known options only, or is about another command."""
    named = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", sentence)
    return all(option in known for option in named) or re.search(r"\b(verimask [a-z]|pip )", sentence) is not None
