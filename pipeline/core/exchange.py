"""Replace several files as one: whatever cuts it off, in the end all of them are the new ones, or all the old ones.

Rules:
- Old and new ones lie under their own names in a private folder beside the first one's place. An old one is a hard link, so that each
  place always holds a whole file; where the file system has no links, it is moved there.
- The folder's ending is the journal. While it is PREPARED nothing new counts, and what was moved there belongs back. Once it
  is DECIDED every new file is whole on disk, and a kill is made up for by giving the rest their places.
- What goes without a new one, since it belongs to what is replaced, goes in the same step.
- Who makes up for a kill replaces nothing but what was kept aside: what came there meanwhile is somebody's.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PREPARED, DECIDED = ".prepared", ".decided"
_OLD, _NEW, _GONE = "old", "new", "gone"


class Exchange:
    """One exchange of files in a folder or below it. targets: their places. at: a free name in that folder, ending in PREPARED.

    gone: the places of files that go with it.
    """

    def __init__(self, targets: Sequence[Path], at: Path, gone: Sequence[Path] = ()) -> None:
        self.current = targets[0]  # what is being seen to, for whoever has to say what could not be
        self._at, self._moved = at, list[tuple[Path, Path]]()
        self._places = [(target, target.relative_to(at.parent)) for target in targets]
        self._gone = [(path, path.relative_to(at.parent)) for path in gone]

    def run(self, files: Sequence[Path]) -> None:
        """Put new files in their places, in order. What was there is kept until `forget`.

        Args:
            files: the new ones, beside their places and whole on disk.

        Raises: OSError; then everything is as it was before, and the new ones are gone.
        """
        decided = self._at.with_suffix(DECIDED)
        try:
            self._prepare(files)
            self._at.rename(decided)
            for target, name in self._places:
                self.current = target
                (decided / _NEW / name).replace(target)
                self._moved.append((target, name))
            for path, name in self._gone:
                self.current = path
                _drop(path, decided / _GONE / name)
        except BaseException:  # Ctrl-C in a program that uses this package, too
            self._undo(decided)
            raise

    def forget(self) -> None:
        """Remove what was kept, once the new names are on disk. What cannot be removed stays for the next run."""
        shutil.rmtree(self._at.with_suffix(DECIDED), ignore_errors=True)

    def _prepare(self, files: Sequence[Path]) -> None:
        self._at.mkdir(0o700)
        for inner, places in ((_OLD, self._places), (_NEW, self._places), (_GONE, self._gone)):
            for _, name in places:
                (self._at / inner / name).parent.mkdir(parents=True, exist_ok=True)
        for file, (target, name) in zip(files, self._places, strict=True):
            self.current = target
            file.rename(self._at / _NEW / name)
        for target, name in self._places:
            self.current = target
            _keep(target, self._at / _OLD / name)
        for path, name in self._gone:
            self.current = path
            _keep(path, self._at / _GONE / name)

    def _undo(self, decided: Path) -> None:
        """Take the new ones back first, while a kill would still give them their places; then nothing new counts any more."""
        for target, name in self._moved:
            with suppress(OSError):
                target.replace(decided / _NEW / name)
        with suppress(OSError):
            decided.rename(self._at)
        with suppress(OSError):
            for inner in (_OLD, _GONE):
                for name in _files_in(self._at / inner):
                    (self._at / inner / name).replace(self._at.parent / name)
        with suppress(OSError):
            make_up_for(self._at)


def make_up_for(folder: Path) -> None:
    """Bring an exchange that was cut off to one of its two ends. Raises OSError where that cannot be; then the folder stays.

    Several processes may do so at the same time: what is gone from it was seen to by another.
    """
    is_decided = folder.suffix == DECIDED
    for inner in (_NEW,) if is_decided else (_OLD, _GONE):
        for name in _files_in(folder / inner):
            place = folder.parent / name
            if not os.path.lexists(place) or (is_decided and _is_same(place, folder / _OLD / name)):
                with suppress(FileNotFoundError):
                    (folder / inner / name).replace(place)
    if is_decided:
        for name in _files_in(folder / _GONE):
            _drop(folder.parent / name, folder / _GONE / name)
    shutil.rmtree(folder, ignore_errors=True)


def _keep(target: Path, aside: Path) -> None:
    try:
        is_folder = stat.S_ISDIR(target.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_folder:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    try:
        if os.link in os.supports_follow_symlinks:
            os.link(target, aside, follow_symlinks=False)
        else:
            os.link(target, aside)
    except OSError:  # exFAT and some network folders have no links, and some systems none to files of others
        target.rename(aside)


def _drop(place: Path, aside: Path) -> None:
    """Take a file away from where it was kept aside; what came there meanwhile is somebody's, and stays."""
    if _is_same(place, aside):
        place.unlink(missing_ok=True)


def _files_in(folder: Path) -> list[Path]:
    """The paths of its files, and of links, in it; none where it is not there yet, or no more."""
    found = []
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        found += [Path(root, name).relative_to(folder) for name in (*names, *links)]
    return found


def _is_same(place: Path, old: Path) -> bool:
    try:
        return os.path.samestat(place.lstat(), old.lstat())
    except FileNotFoundError:
        return False
