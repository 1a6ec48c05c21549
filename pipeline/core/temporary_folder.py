"""Make temporary folders: the one way to do so in this package.

Rules:
- A folder is private (0700), under a name nobody can foresee that has the mark of its process: see `leftovers`.
- It goes with the block, or with the process. What a kill left in the same place goes when the next one is made there.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import leftovers
from .stop_signals import not_now
from .workers import kill_all

_registered: list[bool] = []  # whether the process ends with `end_all`


def end_all() -> None:
    """End every process that was started here, then remove whatever is not finished. Called from any thread, more than once."""
    from tempfile import gettempdir

    if kill_all():  # none of them could clear up after itself
        leftovers.look_again(Path(gettempdir()))
    leftovers.remove_own()


def make_temporary_folder(within: str | Path = "") -> Path:
    """Make a folder that is removed by `remove_temporary_folder`, or when the process ends.

    Args:
        within: the folder for it; by default the system's for temporary files.

    Raises: OSError where none can be made.
    """
    from tempfile import gettempdir, mkdtemp

    place = Path(os.path.abspath(within or gettempdir()))
    leftovers.remove_dead(place)
    if not _registered:
        _registered.append(True)
        atexit.register(end_all)
    with not_now():
        folder = Path(mkdtemp(prefix=leftovers.own_mark(), dir=place))
        leftovers.hold(folder)
    return folder


def remove_temporary_folder(folder: Path) -> None:
    """Remove a folder of `make_temporary_folder`, as far as that can be: Windows keeps files that are open."""
    leftovers.remove(folder)
    if not os.path.lexists(folder):
        leftovers.let_go(folder)


@contextmanager
def temporary_folder(within: str | Path = "") -> Iterator[Path]:
    """A folder for the block. Raises OSError where none can be made."""
    folder = make_temporary_folder(within)
    try:
        yield folder
    finally:
        remove_temporary_folder(folder)
