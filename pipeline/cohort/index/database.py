"""Open the SQLite file of an index for one process, and commit to it.

Rules:
- One process at a time: it holds SQLite's exclusive lock until it closes the file or dies. Nothing has to be cleaned up.
- A rollback journal, not a write-ahead log, which needs shared memory and does not work on network file systems. Every
  commit reaches the disk: after kill -9, or a power cut, the last commit holds and nothing of the next.
- Commits are made about once a second while folders are scanned, and at once for what came of a case.
- The folder is private: paths and identifiers stand in it.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import time
from contextlib import suppress
from errno import EIO, ENOSPC, EROFS
from pathlib import Path

from ...core.findings import Code, PipelineError, refuse
from ...core.text_file import read_text
from ...core.write_refusals import cannot_write

SCHEMA = 1  # of the tables below
_COMMIT_S = 1.0  # a commit costs some milliseconds, on a network file system far more
_CACHE_KIB = 1 << 16  # of pages in memory
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE folders (id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, digest BLOB, is_archive INTEGER);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER, mtime_ns INTEGER,
    series INTEGER, image INTEGER, reason TEXT, may_be_plane INTEGER, archive INTEGER, sha256 BLOB);
CREATE INDEX files_folder ON files (folder);
CREATE INDEX files_series ON files (series) WHERE series IS NOT NULL;
CREATE INDEX files_left_out ON files (folder) WHERE reason IS NOT NULL;
CREATE INDEX files_archive ON files (archive) WHERE archive IS NOT NULL;
CREATE INDEX files_unread ON files (folder) WHERE may_be_plane = 1;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, home INTEGER, alike INTEGER, is_stale INTEGER, facts TEXT, images BLOB);
CREATE INDEX series_home ON series (home);
CREATE INDEX series_alike ON series (alike) WHERE alike IS NOT NULL;
CREATE INDEX series_stale ON series (id) WHERE is_stale = 1;
CREATE TABLE named (uid INTEGER, series INTEGER);
CREATE INDEX named_uid ON named (uid);
CREATE INDEX named_series ON named (series);
CREATE TABLE results (case_id TEXT PRIMARY KEY, result TEXT NOT NULL) WITHOUT ROWID;
"""
_NOT_WRITTEN = {"is full": ENOSPC, "readonly": EROFS}  # as SQLite words it
README = """This folder is private. It holds file paths, Patient IDs and names of patients as the inputs have them.

Nothing else in the data set has them: share the data set without this folder (.verimask).
Without it the data set stays whole, but another run of `verimask cohort` reads all inputs again.
"""


class Database:
    """The open file. `db`: the connection."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises COHORT_IN_USE where another process has it, INDEX_UNREADABLE, CANNOT_WRITE."""
        self._path, self._holder = path, path.with_name("holder.txt")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(stat.S_IRWXU)
            self.db = _open(path, self._holder)
            self._committed = time.monotonic()
            path.chmod(stat.S_IRUSR | stat.S_IWUSR)
            path.with_name("README.txt").write_text(README, "utf-8")
            self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", "utf-8")
        except OSError as error:
            raise cannot_write(path.parent.name, error) from error

    def close(self, error: BaseException | None = None) -> None:
        """Let others have the file.

        Args:
            error: what ended the work; then what was not committed is undone, since a folder may be half replaced.

        Raises: PipelineError CANNOT_WRITE, INDEX_UNREADABLE in place of an error of SQLite.
        """
        try:
            if error is None:
                self.db.commit()
            else:
                self.db.rollback()
        except sqlite3.Error as failed:
            error = error or failed
        finally:
            self.db.close()
            with suppress(OSError):
                self._holder.unlink()
        if isinstance(error, sqlite3.Error):
            raise _refusal(self._path, self._holder, error) from error

    def commit(self, *, if_due: bool = False) -> None:
        """Make what was written last. if_due: only where the last commit is some time ago."""
        if not if_due or time.monotonic() - self._committed > _COMMIT_S:
            self.db.commit()
            self._committed = time.monotonic()

    def meta(self, name: str) -> str | None:
        """Get a value by its name."""
        row = self.db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_meta(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
        self.commit()


def _open(path: Path, holder: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, timeout=0)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.execute("BEGIN EXCLUSIVE")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _TABLES.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.commit()
        found = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise _refusal(path, holder, error) from error
    if found != SCHEMA:
        db.close()
        raise refuse(
            Code.UNSUPPORTED_VERSION,
            f"{path.name} has version {found} of its tables; this verimask reads {SCHEMA}",
            "Use the verimask that wrote it, or another output folder.",
            where=(path.name,),
        )
    return db


def _refusal(path: Path, holder: Path, error: sqlite3.Error) -> PipelineError:
    if "locked" in str(error):
        try:
            name = read_text(holder)
        except OSError:
            name = "another process"
        return refuse(
            Code.COHORT_IN_USE,
            f"{name} is working on this data set, and only one can write its index at a time",
            "Wait until it has ended, or end it. Nothing has to be removed afterwards.",
            where=(path.name,),
        )
    number = next((number for words, number in _NOT_WRITTEN.items() if words in str(error)), 0)
    if getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_WRITE":  # from Python 3.11: a share that is used up, say
        number = EIO
    if number:
        return cannot_write(path.name, OSError(number, os.strerror(number)))
    return refuse(
        Code.INDEX_UNREADABLE,
        f"{path.name}, the index of the data set, cannot be read: {error}",
        "Was it copied while something wrote to it, or is its file system without locks? Put it back from a copy, or write to "
        "another output folder.",
        where=(path.name,),
    )
