"""Find the inputs of a result again by their content, and hold the planes in them against the recorded ones.

Rules:
- An input is found by its SHA-256, wherever it lies below the folders given and whatever it is called. Files of a recorded
  name are hashed first, all others only where an input is still missing; each file once a run.
- Extra is what a conversion would take into the same series: a file of it in a folder that holds an input.
- A file is never opened that is no regular one; members of ZIP archives are files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.findings import PipelineError
from ..core.plain_text import escape_bytes
from ..dicom.archive import list_members
from ..dicom.files import archive_of, find_files
from ..dicom.frame import Frame
from ..dicom.scan import Scan, scan
from ..dicom.source_file import sha256
from ..geometry.grid import Plane
from ..geometry.stack import residuals_mm
from .verify_record import first_plane, grid_of
from .verify_result import Broken, NotChecked, Note, RecordValues, computed, near, same

PLANES = "planes in the files"
_RESIDUAL_MM = 1e-6
_MOST = 5  # names of files that may be a missing one


class FoundInputs(NamedTuple):
    """The inputs of one result. paths: by role, those that were found. changed: in the place of one, with other bytes."""

    paths: dict[str, list[Path]]
    notes: list[Note]
    changed: frozenset[Path]

    @property
    def all_found(self) -> bool:
        """Whether every input is there."""
        return not self.notes

    def all_paths(self) -> list[Path]:
        """Every input that was found."""
        return list(dict.fromkeys(path for paths in self.paths.values() for path in paths))


class SourceFolders:
    """What lies below the folders given, found by content. It holds a path and a digest of each file, and one scan."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._digest: dict[Path, str] = {}
        self._paths: dict[str, list[Path]] = defaultdict(list)
        self._scan: tuple[tuple[Path, ...], Scan] | None = None
        self._all_hashed = False
        for path in _files_below(folders):
            self._by_name[escape_bytes(path.name)].append(path)

    def find(self, record: RecordValues) -> FoundInputs:
        """Find every input of a record, and name those that are changed or missing."""
        entries = record["Provenance"]["Inputs"]
        self._hash(path for name in dict.fromkeys(e["File"] for e in entries) for path in self._by_name.get(name, ()))
        if not self._all_hashed and any(entry["SHA256"] not in self._paths for entry in entries):
            self._hash(path for paths in self._by_name.values() for path in paths)
            self._all_hashed = True
        held = Counter(path.parent for digest in {e["SHA256"] for e in entries} for path in self._paths.get(digest, ()))
        paths: dict[str, list[Path]] = defaultdict(list)
        missing: list[dict[str, str]] = []
        for entry in entries:
            there = self._paths.get(entry["SHA256"], ())
            # Of several copies the one by its name, in the folder that holds most of the others: that of a bundle, or series.
            ranked = [((escape_bytes(path.name) == entry["File"], held[path.parent]), path) for path in there]
            if ranked:
                paths[entry.get("Role", "")].append(max(ranked, key=lambda one: one[0])[1])
            else:
                missing.append(entry)
        in_place = self._in_place(paths, missing, record)
        if missing and not paths and not self._may_hold(record):
            none = Broken("input missing", "all of them", f"{len(missing)} files", "no file of the series")
            return FoundInputs(paths, [none], frozenset())
        return self._with_missing(paths, missing, {entry["SHA256"] for entry in entries}, in_place)

    def _may_hold(self, record: RecordValues) -> bool:
        """Whether any file is of a series that a result was made of; without its UIDs, names alone may say so."""
        known = {record.get("SeriesInstanceUID"), *(one["SOPInstanceUID"] for one in record["Slices"])} - {None, ""}
        if not known:
            return True
        around = self.scan_around(FoundInputs({}, [], frozenset()))
        return any(
            series.uid in known or not known.isdisjoint(frame.sop_instance_uid for frame in series.frames)
            for series in (around.series if around else ())
        )

    def _in_place(
        self, paths: dict[str, list[Path]], missing: Sequence[dict[str, str]], record: RecordValues
    ) -> dict[str, list[Path]]:
        """The files that stand in the place of missing inputs, by what a record calls these where names were not kept.

        A file is told by the planes that it holds. What is left lies in the folders of the others: as many as are missing.
        """
        if not missing or record["Policy"].get("KeepNames", True):
            return {}
        names = [entry["File"] for entry in missing]
        found = self._by_planes(paths, names, record)
        folders = {path.parent for some in paths.values() for path in some}
        strange = self._list_strange(record, {path for some in found.values() for path in some})
        left = [name for name in dict.fromkeys(names) if name not in found]
        near_by = [path for path in strange if path.parent in folders]
        for others in (near_by, strange):
            if len(others) == len(left):
                return found | {name: [path] for name, path in zip(left, others, strict=True)}
        return found | dict.fromkeys(left, near_by)

    def _list_strange(self, record: RecordValues, taken: set[Path]) -> list[Path]:
        """Every file that is no input by its content, but for those that are taken."""
        known = {entry["SHA256"] for entry in record["Provenance"]["Inputs"]}
        there = sorted(path for some in self._by_name.values() for path in some)
        return [path for path in there if self._digest.get(path) not in known and path not in taken]

    def _by_planes(
        self, paths: dict[str, list[Path]], names: Sequence[str], record: RecordValues
    ) -> dict[str, list[Path]]:
        """The files that hold the planes of these inputs, by their names in the record."""
        uids = {one["SOPInstanceUID"]: one["File"] for one in record["Slices"] if one["File"] in names}
        around = self.scan_around(FoundInputs(paths, [], frozenset()))
        found: dict[str, list[Path]] = defaultdict(list)
        for frame in (frame for series in (around.series if around else ()) for frame in series.frames):
            name = uids.get(frame.sop_instance_uid)
            if name is not None and frame.path not in found[name]:
                found[name].append(frame.path)
        return found

    def _with_missing(
        self,
        paths: dict[str, list[Path]],
        missing: Sequence[dict[str, str]],
        known: set[str],
        in_place: dict[str, list[Path]],
    ) -> FoundInputs:
        """Say of each missing input whether another file stands in its place."""
        folders = {path.parent for found in paths.values() for path in found}
        notes: list[Note] = []
        changed = set()
        for entry in missing:
            named = in_place.get(entry["File"], ()) or self._by_name.get(entry["File"], ())
            others = [path for path in named if self._digest.get(path) not in known]
            near_others = [path for path in others if path.parent in folders or entry["File"] in in_place]
            near_others = near_others or (others if not folders else [])
            if len(near_others) == 1:
                changed.add(near_others[0])
                digest = self._digest.get(near_others[0], "a file that cannot be read")
                notes.append(Broken("input changed", near_others[0].name, entry["SHA256"], digest))
            else:
                names = ", ".join(path.name for path in others[:_MOST])
                why = f"no file with that content; others, such as {names}, have another" if others else "no file"
                notes.append(Broken("input missing", entry["File"], entry["SHA256"], why))
        return FoundInputs(paths, notes, frozenset(changed))

    def scan_around(self, found: FoundInputs) -> Scan | None:
        """Read the headers of what lies in the folders of the inputs, in all where none was found; None where it is no DICOM."""
        folders = {path.parent for path in found.all_paths()} or {
            path.parent for paths in self._by_name.values() for path in paths
        }
        near_by = [path for paths in self._by_name.values() for path in paths if path.parent in folders]
        files = tuple(sorted(dict.fromkeys(archive_of(path) or path for path in near_by)))
        if self._scan is None or self._scan[0] != files:
            try:
                self._scan = files, scan(files)
            except PipelineError:
                self._scan = files, Scan(())
        return self._scan[1] if self._scan[1].series else None

    def check_extra(self, found: FoundInputs, around: Scan, record: RecordValues) -> Iterator[Broken]:
        """Name every file that belongs to the series of an input and is none.

        Args:
            found: the inputs.
            around: a scan that holds them.
            record: as its schema says.

        Returns: every such file, as broken.
        """
        own, known = set(found.all_paths()), {entry["SHA256"] for entry in record["Provenance"]["Inputs"]}
        for series in around.series:
            if own.isdisjoint(header.path for header in series.headers):
                continue
            for path in sorted(header.path for header in series.headers):
                if path not in own and path not in found.changed:
                    self._hash([path])
                    digest = self._digest.get(path, "")
                    if digest not in known:
                        yield Broken("input extra", path.name, "no such file in the series", digest)

    def _hash(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if path in self._digest:
                continue
            try:
                digest = sha256(path)
            except OSError:
                continue
            self._digest[path] = digest
            self._paths[digest].append(path)


def _files_below(folders: Iterable[Path]) -> Iterator[Path]:
    """Every regular file below the folders, and every member of the archives there."""
    for found in find_files(folders):
        if found.why_unreadable:
            continue
        yield found.path
        if found.path.suffix.casefold() == ".zip":
            with suppress(OSError, PipelineError):
                yield from (member.path for member in list_members(found.path) if not member.why_unreadable)


def check_planes(found: FoundInputs, around: Scan, record: RecordValues) -> Iterator[Note]:
    """Hold the planes of the inputs against the recorded ones, and against the affine.

    Args:
        found: the inputs.
        around: a scan that holds them.
        record: as its schema says.

    Returns: what is broken, and what could not be checked.
    """
    yield from computed(PLANES, "Slices", lambda: _check_planes(found, around, record))


def _check_planes(found: FoundInputs, around: Scan, record: RecordValues) -> Iterator[Note]:
    own = set(found.all_paths())
    frames: dict[str, list[Frame]] = defaultdict(list)
    for series in around.series:
        for frame in series.frames:
            if frame.path in own:
                frames[frame.sop_instance_uid].append(frame)
    read: list[tuple[int, Plane]] = []
    unread = Counter[str]()
    for n, entry in enumerate(record["Slices"]):
        if "PositionLPS" not in entry or "Pairing" in entry:
            continue
        planes = [
            (f.plane, f.path.name)
            for f in frames.get(entry["SOPInstanceUID"], ())
            if f.plane and f.number == entry.get("Frame", f.number)
        ]
        if not planes:
            unread["the planes are not in the DICOM files that were found"] += 1
            continue
        chosen, chosen_name = next((one for one in planes if list(one[0].position) == entry["PositionLPS"]), planes[0])
        where = f"{chosen_name} (plane {n})"
        yield from near(PLANES, where, entry["PositionLPS"], chosen.position)
        read.append((n, chosen))
    yield from (NotChecked(f"{count} of the planes in the files", why) for why, count in unread.items())
    if read:
        yield from _check_residual(read, record)


def _check_residual(read: Sequence[tuple[int, Plane]], record: RecordValues) -> Iterator[Broken]:
    """No corner of any plane lies farther from the affine than the proof says; and the first plane is the recorded one."""
    grid, count = grid_of(record), record["Geometry"]["GridShape"][2]
    residuals = residuals_mm(grid.lps, [plane for _, plane in read], np.array([n % count for n, _ in read]))
    stated, worst = record["Geometry"]["CornerResidualMm"], int(residuals.argmax())
    if not residuals[worst] <= stated + _RESIDUAL_MM:
        where = f"plane {read[worst][0]}"
        yield Broken(PLANES, where, f"at most {stated:.6g} mm", f"{residuals[worst]:.6g} mm")
    recorded = first_plane(record)
    if recorded is not None and read[0][0] == 0:
        yield from same(PLANES, "Geometry.FirstPlane", recorded, read[0][1])
