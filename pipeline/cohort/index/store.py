"""Keep folders, files and series in the index, and look them up.

Rules:
- What one folder gave is replaced as a whole. A series that lies in several folders is marked, to be put together.
- A path is kept once, with its folder. Text that is not UTF-8 is kept as the bytes it came from.
- Nothing is committed here: whoever writes says when a folder is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from ..facts import InputFile
from .database import Database
from .rows import KnownFile, ScannedFolder, SeriesRow, join
from .walk import ListedFile


class Store(Database):
    """The tables of an index. `db`: for reading; what is written goes through the methods."""

    def folder(self, path: str) -> tuple[int, bytes] | None:
        """Get number and digest of a folder; None where it is not known."""
        row: tuple[int, bytes] | None = self.db.execute(
            "SELECT id, digest FROM folders WHERE path = ?", (_text(path),)
        ).fetchone()
        return row

    def known_files(self, folder: int) -> dict[str, KnownFile]:
        """List what is known of the files of a folder, by name."""
        rows = self.db.execute(
            "SELECT name, id, size, mtime_ns, archive, sha256 FROM files WHERE folder = ?", (folder,)
        )
        return {path_text(name): KnownFile(*rest) for name, *rest in rows}

    def known_of(self, paths: Iterable[str]) -> Iterator[tuple[str, KnownFile]]:
        """List what is known of files, or members of archives, each with its path; those that are not known are left out."""
        listed: dict[int, dict[str, KnownFile]] = {}
        for path in sorted(paths):  # so that the files of one folder follow each other
            folder = os.path.dirname(path)
            while (known := self.folder(folder)) is None and folder != os.path.dirname(folder):
                folder = os.path.dirname(folder)
            if known is None:
                continue
            if known[0] not in listed:
                listed = {known[0]: self.known_files(known[0])}
            file = listed[known[0]].get(path[len(os.path.join(folder, "")) :])
            if file is not None:
                yield path, file

    def set_state(self, folder: int, digest: bytes, changed: Iterable[tuple[int, ListedFile]] = ()) -> None:
        """Keep a new digest of a folder whose files hold what they held.

        Args:
            folder: its number.
            digest: of its names, sizes and times.
            changed: rows whose size or time is another one.
        """
        self.db.execute("UPDATE folders SET digest = ? WHERE id = ?", (digest, folder))
        rows = ((entry.size, entry.mtime_ns, row) for row, entry in changed)
        self.db.executemany("UPDATE files SET size = ?, mtime_ns = ? WHERE id = ?", rows)

    def put_folder(self, scanned: ScannedFolder) -> int:
        """Replace all that is known of a folder. Hashes of files stay known where size and time are the same. Returns its number."""
        known = self.folder(scanned.path)
        hashes: dict[tuple[str, int, int], bytes] = {}
        before: dict[int, None] = {}
        if known is None:
            number = self._insert(
                "INSERT INTO folders (path, digest, is_archive) VALUES (?, ?, ?)",
                (_text(scanned.path), scanned.digest, int(scanned.is_archive)),
            )
        else:
            number = known[0]
            for name, size, mtime, series, sha256 in self.db.execute(
                "SELECT name, size, mtime_ns, series, sha256 FROM files WHERE folder = ?", (number,)
            ):
                if sha256 is not None:
                    hashes[path_text(name), size, mtime] = sha256
                if series is not None:
                    before[series] = None
            self.db.execute("DELETE FROM files WHERE folder = ?", (number,))
            self.set_state(number, scanned.digest)
        numbers = {row.key: self._put_series(row, number) for row in scanned.series}
        archives = {row.archive: self.number_of(row.archive) for row in scanned.files if row.archive}
        self.db.executemany(
            "INSERT INTO files (folder, name, size, mtime_ns, series, image, reason, may_be_plane, archive, sha256) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    number, _text(f.name), f.size, f.mtime_ns, numbers.get(f.series), f.image, f.reason or None,
                    f.may_be_plane or None, archives.get(f.archive), hashes.get((f.name, f.size, f.mtime_ns)),
                )
                for f in scanned.files
            ),
        )  # fmt: skip
        self._release(before.keys() - numbers.values(), number)
        return number

    def number_of(self, archive: str) -> int | None:
        """Get the number of an archive that was kept."""
        known = self.folder(archive)
        return None if known is None else known[0]

    def drop_folder(self, number: int) -> int:
        """Forget a folder or an archive, and the archives in it. Returns how many files it had."""
        rows = self.db.execute("SELECT series, archive FROM files WHERE folder = ?", (number,)).fetchall()
        self.db.execute("DELETE FROM files WHERE folder = ?", (number,))
        self.db.execute("DELETE FROM folders WHERE id = ?", (number,))
        self._release({series for series, _ in rows if series is not None}, number)
        inner = [archive for _, archive in rows if archive is not None]
        return len(rows) - len(inner) + sum(self.drop_folder(archive) for archive in inner)

    def _put_series(self, row: SeriesRow, folder: int) -> int:
        """Keep a series of one folder; one that another folder has a part of is marked, to be put together."""
        known = self.db.execute("SELECT id, home FROM series WHERE key = ?", (row.key,)).fetchone()
        if known is None:
            number = self._insert("INSERT INTO series (key, home) VALUES (?, ?)", (row.key, folder))
            self._put_facts(number, row, is_new=True)
            return number
        number, home = known
        if home == folder:
            self._put_facts(number, row)
        else:
            self.db.execute("UPDATE series SET home = NULL, is_stale = 1 WHERE id = ?", (number,))
        return int(number)

    def _put_facts(self, number: int, row: SeriesRow, *, is_new: bool = False) -> None:
        self.db.execute(
            "UPDATE series SET alike = ?, facts = ?, images = ? WHERE id = ?",
            (row.alike, row.facts, row.images, number),
        )
        if not is_new:
            self.db.execute("DELETE FROM named WHERE series = ?", (number,))
        self.db.executemany("INSERT INTO named VALUES (?, ?)", ((uid, number) for uid in row.named))

    def _release(self, series: Iterable[int], folder: int) -> None:
        """Forget series that a folder has no part of any more; those that others have a part of are marked."""
        for number in series:
            if self.db.execute("SELECT 1 FROM series WHERE id = ? AND home = ?", (number, folder)).fetchone():
                self._drop_series(number)
            else:
                self.db.execute("UPDATE series SET is_stale = 1 WHERE id = ?", (number,))

    def _drop_series(self, number: int) -> None:
        self.db.execute("DELETE FROM series WHERE id = ?", (number,))
        self.db.execute("DELETE FROM named WHERE series = ?", (number,))

    def stale_series(self) -> list[tuple[int, str]]:
        """List the series whose facts are to be found anew, from all folders they lie in: number and key."""
        return self.db.execute("SELECT id, key FROM series WHERE is_stale = 1 ORDER BY key").fetchall()

    def settle_series(self, number: int, row: SeriesRow | None) -> None:
        """Keep the facts of a series of several folders. row: None where they stay; a series without files is forgotten."""
        homes = self.db.execute("SELECT DISTINCT folder FROM files WHERE series = ?", (number,)).fetchall()
        if not homes:
            self._drop_series(number)
            return
        home = homes[0][0] if len(homes) == 1 else None
        self.db.execute("UPDATE series SET home = ?, is_stale = NULL WHERE id = ?", (home, number))
        if row is not None:
            self._put_facts(number, row)

    def clear_inputs(self) -> None:
        """Forget all that is known of the inputs. Results and values stay."""
        for table in ("folders", "files", "series", "named"):
            self.db.execute(f"DELETE FROM {table}")
        self.commit()

    def folder_numbers(self) -> list[int]:
        """List the numbers of all folders that are no archives."""
        return [number for (number,) in self.db.execute("SELECT id FROM folders WHERE is_archive = 0")]

    def is_in_use(self, archive: int) -> bool:
        """Whether a file is the archive of this number."""
        return bool(self.db.execute("SELECT 1 FROM files WHERE archive = ? LIMIT 1", (archive,)).fetchone())

    def paths_of(self, series: int) -> list[str]:
        """List the paths of the files of a series, ascending."""
        return [file.path for file, _ in self.files("files.series = ?", (series,))]

    def files(self, condition: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[InputFile, str]]:
        """List files with the reason why they were left out, by path. condition: in SQL, on files and folders."""
        rows = self.db.execute(
            "SELECT folders.path, files.name, files.size, files.mtime_ns, files.reason FROM files "
            f"JOIN folders ON folders.id = files.folder WHERE {condition} ORDER BY folders.path, files.name",
            values,
        )
        for folder, name, size, mtime_ns, reason in rows:
            yield InputFile(join(path_text(folder), path_text(name)), size, mtime_ns), reason or ""

    def is_named(self, uid: int) -> bool:
        """Whether a mask of another kind names the series of this UID, given by its digest, as its images."""
        return bool(self.db.execute("SELECT 1 FROM named WHERE uid = ? LIMIT 1", (uid,)).fetchone())

    def series_number(self, key: str) -> int | None:
        """Get the number of a series by its key."""
        row = self.db.execute("SELECT id FROM series WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def folders_of(self, series: int) -> list[str]:
        """List the folders that a series has files in."""
        rows = self.db.execute(
            "SELECT path FROM folders WHERE id IN (SELECT DISTINCT folder FROM files WHERE series = ?)", (series,)
        )
        return [path_text(path) for (path,) in rows]

    def spread_series(self) -> list[int]:
        """List the numbers of the series that lie in several folders."""
        return [number for (number,) in self.db.execute("SELECT id FROM series WHERE home IS NULL")]

    def is_home(self, folder: str) -> bool:
        """Whether all files of some series lie in a folder."""
        known = self.folder(folder)
        return known is not None and bool(
            self.db.execute("SELECT 1 FROM series WHERE home = ? LIMIT 1", (known[0],)).fetchone()
        )

    def has_series_below(self, folder: str) -> bool:
        """Whether some series has files below a folder."""
        start = os.path.join(folder, "")
        rows = self.db.execute(
            "SELECT id FROM folders WHERE path >= ? AND path < ?", (start, start[:-1] + chr(ord(start[-1]) + 1))
        )
        return any(
            self.db.execute("SELECT 1 FROM files WHERE folder = ? AND series IS NOT NULL LIMIT 1", row).fetchone()
            for row in rows
        )

    def unread_files(self) -> Iterator[tuple[str, InputFile]]:
        """List the files that were left out and may be planes, with their folders."""
        for file, _ in self.files("files.may_be_plane = 1"):
            yield os.path.dirname(file.path), file

    def _insert(self, statement: str, values: tuple[Any, ...]) -> int:
        number = self.db.execute(statement, values).lastrowid
        return int(number or 0)


def path_text(kept: str | bytes) -> str:
    """Give text as it was before it was kept."""
    return kept if isinstance(kept, str) else os.fsdecode(kept)


def _text(text: str) -> str | bytes:
    """Give text as SQLite keeps it: names that are not UTF-8 as bytes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text
