"""Put files and folders in their place whole: written beside it under another name, and moved there at the end.

Rules:
- What exists is never replaced unless the caller says so, not even where it appears during the writing. What is no regular
  file, such as a folder, a pipe or a device, is never replaced.
- Whatever fails leaves nothing behind, neither half a file nor its temporary name. What a process that was killed leaves
  has the mark of that process, and the next one that writes there removes it: see `leftovers`.
- A temporary file is made under a name nobody can foresee, and never through a link; a temporary folder is private until it
  has its place.
- What has its place has reached the disk before (fsync), and so has its name when the block is left: after a power cut it
  is whole or absent. VERIMASK_NO_FSYNC=1 leaves that out, for scratch disks.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from . import leftovers
from .exchange import Exchange
from .findings import Code, PipelineError, refuse
from .regular_file import kind_of
from .stop_signals import not_now
from .write_refusals import cannot_write

_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)  # what fsync says where bytes are not on the disk; else it has no fsync
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def in_place(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary file beside `target` to write to, which becomes `target` when the block ends well.

    Raises OUTPUT_EXISTS, also where the target appears while the block runs, and CANNOT_WRITE.
    """
    with all_in_place((target,), overwrite=overwrite) as (temporary,):
        yield temporary


@contextmanager
def all_in_place(targets: Sequence[Path], *, overwrite: bool, gone: Sequence[Path] = ()) -> Iterator[tuple[Path, ...]]:
    """Temporary files beside targets, in the folder of the first or below it, which become these when the block ends well: all
    of them, or none.

    They are moved in order, and nothing but a kill comes between, which the next run makes up for: see `exchange` for those
    that replace others.

    Args:
        targets: the places.
        overwrite: whether to replace what is there.
        gone: what goes with the old ones, where several are replaced.

    Yields: the temporary files.

    Raises: as `in_place`.
    """
    for folder in {target.parent for target in targets}:
        leftovers.remove_dead(folder)  # before a refusal: a file may have its place, and its temporary name still
    for target in targets:
        refuse_special(target)
        if not overwrite and os.path.lexists(target):
            raise _exists(target, "is already there and was left alone")
    temporaries = tuple(map(leftovers.partial_path, targets))
    try:
        for temporary in temporaries:
            _make_file(temporary)
        yield temporaries
        for temporary in temporaries:
            reach_disk(temporary)
        if overwrite and len(targets) > 1:
            _exchange(temporaries, targets, gone)
        else:
            _move_all(temporaries, targets, overwrite=overwrite)
    except OSError as error:
        raise cannot_write(targets[-1].name, error) from error
    finally:
        for temporary in temporaries:
            drop_partial(temporary)


def new_partial(target: Path) -> Path:
    """Make an empty temporary file beside a target; the caller moves it, or removes it with `drop_partial`. Raises OSError."""
    leftovers.remove_dead(target.parent)
    temporary = leftovers.partial_path(target)
    _make_file(temporary)
    return temporary


def drop_partial(temporary: Path) -> None:
    """Remove a temporary file or folder, unless it has its place."""
    leftovers.remove(temporary)
    leftovers.let_go(temporary)


def _make_file(temporary: Path) -> None:
    with not_now():
        os.close(os.open(temporary, _NEW, 0o666))
        leftovers.hold(temporary)


def _move_all(temporaries: Sequence[Path], targets: Sequence[Path], *, overwrite: bool) -> None:
    moved: list[Path] = []
    with not_now():
        for temporary, target in zip(temporaries, targets, strict=True):
            try:
                temporary.replace(target) if overwrite else leftovers.move_new(temporary, target)
            except OSError as error:
                for path in moved:  # what belongs to it could not follow
                    path.unlink(missing_ok=True)
                if isinstance(error, FileExistsError):
                    raise _exists(target, "appeared while it was being written; it was left alone") from error
                raise cannot_write(target.name, error) from error
            moved.append(target)
    _note_all(targets)


def _exchange(temporaries: Sequence[Path], targets: Sequence[Path], gone: Sequence[Path]) -> None:
    exchange = Exchange(targets, leftovers.exchange_path(targets[0].parent), gone)
    with not_now():
        try:
            exchange.run(temporaries)
        except OSError as error:
            raise cannot_write(exchange.current.name, error) from error
        _note_all(targets)  # before the old ones go
        exchange.forget()


def _note_all(targets: Sequence[Path]) -> None:
    for folder in {target.parent for target in targets}:
        note_on_disk(folder)


@contextmanager
def folder_in_place(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` to fill, which becomes `target` when the block ends well.

    `target` may be an empty folder; its parents are made. Raises OUTPUT_EXISTS, CANNOT_WRITE.
    """
    private = leftovers.partial_path(target)
    try:
        leftovers.remove_dead(target.parent)  # before a refusal, as above
        if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
            raise _exists(target, "is already there and not an empty folder; it was left alone")
        target.parent.mkdir(parents=True, exist_ok=True)
        with not_now():
            private.mkdir(0o700)
            leftovers.hold(private)
        temporary = (
            private / target.name
        )  # has the rights that a folder gets here, and nobody reaches it until it is moved
        temporary.mkdir()
        yield temporary
        _reach_disk_below(temporary)
        if sys.platform == "win32" and target.is_dir():
            target.rmdir()  # it does not rename onto a folder
        temporary.rename(target)
        note_on_disk(target.parent)
    except OSError as error:
        raise cannot_write(target.name, error) from error
    finally:
        drop_partial(private)


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, with those above it, where it is not there. Raises CANNOT_WRITE."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder.name, error) from error


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Make a folder for what the block writes there. Where the block fails, what was made of it and is empty goes again.

    Raises CANNOT_WRITE.
    """
    made = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    try:
        make_folder(folder)
        yield
    except BaseException:
        for one in made:  # the innermost comes first
            with suppress(OSError):
                one.rmdir()
        raise


def refuse_special(target: Path) -> None:
    """Refuse to write a file where a folder, a pipe, a socket or a device is, or nothing can be.

    Raises OUTPUT_EXISTS, CANNOT_WRITE.
    """
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(target.name, error) from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else kind_of(mode)
        raise _exists(target, f"is {kind}, which is never replaced; it was left alone")


def reach_disk(path: Path) -> None:
    """Wait until the bytes of a file are on its disk. Raises OSError where they cannot be."""
    if os.environ.get("VERIMASK_NO_FSYNC") == "1":
        return
    descriptor = os.open(path, (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY) | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _LOST:
            raise
    finally:
        os.close(descriptor)


def _reach_disk_below(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            reach_disk(Path(root, name))
        note_on_disk(Path(root))


def note_on_disk(folder: Path) -> None:
    """Wait until the names in a folder are on its disk, where the system can: what has its place is whole in any case."""
    if sys.platform != "win32":
        with suppress(OSError):
            reach_disk(folder)


def _exists(target: Path, what: str) -> PipelineError:
    hint = "Give another name, or move the old one away."
    return refuse(Code.OUTPUT_EXISTS, f"{target.name} {what}", hint, where=(target.name,))
