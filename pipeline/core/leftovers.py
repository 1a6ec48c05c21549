"""Tell whose the unfinished files and folders are that lie about, and remove those whose owner is no more.

Every temporary name begins with the mark of the process that made it: machine, boot, process number, and when that process
was started. So the next run that writes there can tell a file that is being written from one that a kill has left.

Rules:
- The name says it, and not a lock: names work on every file system, network folders and Windows too, and nothing can hang.
  The price: what was left on another machine or in another container is left alone, since nobody here can know its owner.
- Removed is only what has such a name, belongs to this user, and is a file or folder itself: no link is followed.
- An image whose record is in place already was finished but for its last move: it gets its place, see `_committed`. Files that
  were being replaced together get theirs, or the old ones do: see `exchange`.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .exchange import DECIDED, PREPARED, make_up_for
from .regular_file import open_regular, read_bytes

BEGIN, ENDING = "verimask-", ".partial"
_LONGEST_NAME = 255  # bytes, on nearly all file systems
_FIRST_NAMESPACE = "pid:[4026531836]"  # of Linux' own processes, outside of all containers
_HEX = frozenset("0123456789abcdef")
_UNKNOWN_PROCESS = 87  # of Windows: ERROR_INVALID_PARAMETER, where no process has the number

_own: set[tuple[int, Path]] = (
    set()
)  # what this process is writing to, with its number: a fork has the set, but owns nothing
_looked_at: set[Path] = set()  # folders in which leftovers were looked for


class _Owner(NamedTuple):
    """What a mark says. started: by the clock of the system, "0" where it does not tell."""

    machine: str
    boot: str
    pid: str
    started: str


def own_mark() -> str:
    """What every temporary name of this process begins with; it ends in a hyphen and holds no dot."""
    return _mark_of(os.getpid())


@lru_cache(maxsize=2)
def _mark_of(pid: int) -> str:
    machine, boot = _here()
    return f"{BEGIN}{machine}-{boot}-{pid:x}-{_started(pid)}-"


def partial_path(target: Path) -> Path:
    """A name in the same folder that nobody else has; its ending tells what is being written."""
    begin = f".{own_mark()}{os.urandom(4).hex()}."
    room = _LONGEST_NAME - len(begin) - len(ENDING)
    name = os.fsencode(target.name)[-room:].decode("utf-8", "ignore")
    return target.parent / f"{begin}{name}{ENDING}"


def exchange_path(folder: Path) -> Path:
    """A name in a folder that nobody else has, for an exchange of files there."""
    return folder / f".{own_mark()}{os.urandom(4).hex()}{PREPARED}"


def hold(path: Path) -> None:
    """Note what is being written to, so that it is removed however this process ends, short of a kill."""
    _own.add((os.getpid(), path))


def let_go(path: Path) -> None:
    """Forget it: it has its place, or is removed."""
    _own.discard((os.getpid(), path))


def remove_own() -> None:
    """Remove whatever this process has not finished. Called at its end, from any thread."""
    for pid, path in list(_own):
        if pid == os.getpid():
            remove(path)
            let_go(path)


def remove(path: Path) -> None:
    """Remove a file or a folder of ours, as far as that can be."""
    with suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def remove_of(folder: Path, mark: str) -> None:
    """Settle what one process that is no more was writing into a folder. mark: of that process, "" before it had one."""
    if mark:  # every name would fit, those of others too
        with suppress(OSError):  # the folder may be gone as well
            left = [path for path in folder.glob(f".{mark}*") if path.suffix in (ENDING, PREPARED, DECIDED)]
            _settle([path for path in left if _is_ours(path)])


def look_again(folder: Path) -> None:
    """Remove what processes that have ended since left in a folder, and wherever they were looked for before."""
    folders = {*_looked_at, folder}
    _looked_at.clear()
    for each in folders:
        remove_dead(each)


def remove_dead(folder: Path) -> None:
    """Remove what dead processes left in a folder that is written to; looked for once."""
    if folder in _looked_at:
        return
    _looked_at.add(folder)
    with suppress(OSError):  # what cannot be listed is found out by who writes there
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.lstrip(".").startswith(BEGIN)]
        _settle(list(_dead(folder, names)))


def _settle(dead: Sequence[Path]) -> None:
    """Finish what only had to be moved, in what dead processes left in a folder, and remove the rest."""
    exchanges = [path for path in dead if path.suffix in (PREPARED, DECIDED) and path.is_dir()]
    for path in exchanges:
        with suppress(OSError):
            make_up_for(path)
    for path in [part for image in dead for part in _committed(image, dead)]:
        with suppress(OSError):
            move_new(path, path.with_name(_target_name(path)))
    for path in dead:
        if path not in exchanges:
            remove(path)


def other_owner(target: Path) -> int | None:
    """The number of another process of this machine that writes to a target now; None for none. Raises OSError."""
    with os.scandir(target.parent) as entries:
        names = [entry.name for entry in entries if _target_name(Path(entry.name)) == target.name]
    for owner in filter(None, map(_owner_of, names)):
        if owner.machine == _here()[0] and int(owner.pid, 16) != os.getpid() and not _is_dead(owner):
            return int(owner.pid, 16)
    return None


def move_new(temporary: Path, target: Path) -> None:
    """Rename, but raise FileExistsError where the target is there. Raises OSError."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # exFAT and some network folders have no links: take the name, then replace our own empty file
        target.open("xb").close()
        try:
            temporary.replace(target)
        except OSError:
            target.unlink()
            raise


def _dead(folder: Path, names: Iterable[str]) -> Iterable[Path]:
    for name in names:
        path = folder / name
        owner = _owner_of(name)
        if owner is not None and _is_dead(owner) and _is_ours(path):
            yield path


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    is_own = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return is_own and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))


def _owner_of(name: str) -> _Owner | None:
    """Who made a name; None where it is none of ours."""
    words = name.removeprefix(".").split(".")[0].removeprefix(BEGIN).split("-")
    if len(words) != 5 or not all(word and _HEX.issuperset(word) for word in words[:4]):
        return None
    return _Owner(*words[:4])


def _is_dead(owner: _Owner) -> bool:
    """Whether a process is known to have ended."""
    machine, boot = _here()
    if owner.machine != machine:
        return False
    pid = int(owner.pid, 16)
    if owner.boot != boot:
        return True
    return not _is_alive(pid) or _started(pid) not in (owner.started, "0")


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _is_alive_on_windows(pid: int) -> bool:
    """There `os.kill` would end it."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        if handle := kernel.OpenProcess(0x00100000, False, pid):  # SYNCHRONIZE
            ended = kernel.WaitForSingleObject(handle, 0) == 0
            kernel.CloseHandle(handle)
            return not ended
        return ctypes.get_last_error() != _UNKNOWN_PROCESS
    return True


def _started(pid: int) -> str:
    """When a process was started, in clock ticks since the boot; "0" where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return f"{int(file.read().rpartition(b')')[2].split()[19]):x}"
    except (OSError, ValueError, IndexError):
        return "0"


@lru_cache(maxsize=1)
def _here() -> tuple[str, str]:
    """What tells this machine from others, and this boot from those before. A container is a machine of its own each time."""
    from zlib import crc32  # quick to import, and nobody gains by names that are alike

    def short(*words: str) -> str:
        return f"{crc32(chr(0).join(words).encode('utf-8', 'replace')):08x}"

    if not sys.platform.startswith("linux"):
        from socket import gethostname
        from uuid import getnode

        return short(gethostname(), f"{getnode()}"), "0"
    boot = _first_line("/proc/sys/kernel/random/boot_id")
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = f"unknown to {os.getpid()}"  # then only this process knows its own names
    machine = _first_line("/etc/machine-id")
    lasting = machine if machine and namespace == _FIRST_NAMESPACE else f"{namespace} {boot}"
    return short(os.uname().nodename, lasting), short(boot)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _target_name(path: Path) -> str:
    """What was being written to a partial file."""
    return path.name.removeprefix(".").partition(".")[2].removesuffix(ENDING)


def _committed(path: Path, dead: Iterable[Path]) -> list[Path]:
    """The files that only have to be moved where the record of an image has its place already: it says what they hold."""
    name = _target_name(path)
    stem = name.removesuffix(".gz").removesuffix(".nii")
    if stem == name or not path.is_file():
        return []
    try:
        record = json.loads(read_bytes(path.with_name(f"{stem}.json")))
        proof = record["Provenance"]
        if record["Output"] != name or proof["OutputSHA256"] != _sha256(path):
            return []
        labels = proof.get("LabelsFile") or {"File": "", "SHA256": ""}
        of_labels = [other for other in dead if _target_name(other) == labels["File"] and other.is_file()]
        return [*(other for other in of_labels if _sha256(other) == labels["SHA256"]), path]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _sha256(path: Path) -> str:
    from hashlib import sha256

    digest = sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
