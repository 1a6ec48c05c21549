"""Find, unpack, make or fetch the inputs of a case, and list their files with the SHA-256 of each.

Rules:
- A ZIP archive is given to the conversion as it is; a tar archive is unpacked first, into a folder of the run, and only its
  regular files, none of which may lead out of that folder.
- A command of the user's is run only where the caller says so. What it wrote is kept when its SHA-256 is that of the case.
- The SHA-256 of a case is that of its file, where it is one file (an archive is one), else over the sorted SHA-256 of all
  of them, hexadecimal and joined. What operating systems leave in folders is no input.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..core.atomic_file import folder_in_place
from ..core.findings import Code, PipelineError, refuse
from ..core.limits import MOST_MEMBERS
from ..core.plain_text import escape_bytes
from ..core.regular_file import is_there, open_regular
from ..dicom.archive import list_members
from ..dicom.files import begins_like_zip, find_files
from ..dicom.source_file import sha256
from .case_list import TARGET, CaseList, RegressionCase

CACHE = ".regress-cache"  # beside CASES.toml: what was fetched, by its SHA-256
_NO_INPUT = {".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"}


class CaseInputs(NamedTuple):
    """What a case is made of. given: for `convert`. folder: what was unpacked or made lies there, None for others.

    files: by their names. sha256: of all of it, as in CASES.toml.
    """

    given: tuple[Path, ...]
    folder: Path | None
    files: Mapping[str, str]
    sha256: str


def why_left_out(cases: CaseList, case: RegressionCase, *, fetch: bool) -> str:
    """Say why a case cannot be run here and need not be; "" where it can.

    Args:
        cases: the list that holds it.
        case: one of them.
        fetch: whether its command may be run.

    Returns: the reason, without the name of the case.
    """
    base = cases.base_of(case)
    if case.root and not base.is_dir():
        root = cases.roots[case.root]
        variable = f" (set {root.environment})" if root.environment else ""
        return f"the root {case.root} is not there: {base}{variable}"
    if case.fetch and not fetch and _present(cases, case) is None:
        return "its input was not fetched; --fetch runs its command"
    return ""


def find_inputs(cases: CaseList, case: RegressionCase, scratch: Path) -> CaseInputs:
    """Find the inputs of a case; unpack, make or fetch them where they are not there.

    Args:
        cases: the list that holds it.
        case: one of them.
        scratch: a folder for what is unpacked or made; it exists, and is the case's own.

    Returns: the inputs.

    Raises:
        PipelineError: NO_SUCH_INPUT, FILE_UNREAD, CASE_INPUT, CORRUPT_FILE, and what refuses a recipe.
    """
    if case.recipe:
        from .recipes import make_inputs

        made = scratch / "inputs"
        made.mkdir()
        file = {"file": str(cases.folder / case.recipe["file"])} if "file" in case.recipe else {}
        make_inputs({**case.recipe, **file}, made)
        files = _files_below(made, "")
        return CaseInputs((made,), made, files, _digest_of(files.values()))
    if case.archive:
        return _of_archive(_one_path(cases, case, case.archive), case.archive, scratch)
    given = [_one_path(cases, case, path) for path in case.path]
    files = {}
    for path, name in zip(given, case.path, strict=True):
        files |= _files_below(path, PurePosixPath(name).as_posix())
    return CaseInputs(tuple(given), None, files, _digest_of(files.values()))


def files_of_options(
    cases: CaseList, case: RegressionCase, inputs: CaseInputs, paths: Iterable[Path]
) -> dict[str, str]:
    """List the files that options of a case name: sources, clean exports, a grid to write on.

    Args:
        cases: the list that holds it.
        case: one of them.
        inputs: what it is made of.
        paths: that its options name.

    Returns: SHA-256 by name, relative to what was made, to the root or to CASES.toml.
    """
    files: dict[str, str] = {}
    for path in paths:
        base = next((b for b in (inputs.folder, cases.base_of(case)) if b and path.is_relative_to(b)), cases.folder)
        name = PurePosixPath(Path(os.path.relpath(path, base))).as_posix()
        files |= _files_below(path, name)
    return files


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not."""
    try:
        with open_regular(path) as file:
            return tarfile.is_tarfile(file)
    except OSError:
        return False


def is_zip(path: Path) -> bool:
    """Whether a file begins like a ZIP archive."""
    try:
        with open_regular(path) as file:
            return begins_like_zip(file.read(4))
    except OSError:
        return False


def digest_of_files(path: Path) -> str:
    """Compute the SHA-256 of a file, or of all files of a folder, as CASES.toml has it."""
    return _digest_of(_files_below(path, "").values())


def _digest_of(digests: Iterable[str]) -> str:
    listed = sorted(digests)
    return listed[0] if len(listed) == 1 else hashlib.sha256("".join(listed).encode()).hexdigest()


def _files_below(path: Path, name: str) -> dict[str, str]:
    """SHA-256 of every file at or below a path, by its name as a record has it: that of the path, and the way on from there."""
    files = {}
    for found in find_files([path]):
        inside = found.path.relative_to(path)
        if found.why_unreadable or any(part in _NO_INPUT or part.startswith("._") for part in inside.parts):
            continue
        files[escape_bytes((PurePosixPath(name) / inside.as_posix()).as_posix())] = _sha256(found.path)
    return files


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise _no_input(path.name, f"cannot be read: {error.strerror or error}") from error


def _of_archive(path: Path, name: str, scratch: Path) -> CaseInputs:
    """The files of an archive, each by the archive's name and its own."""
    if is_zip(path):
        path = Path(os.path.abspath(path))  # as its members are named
        members = {m.path.relative_to(path).as_posix(): m.path for m in list_members(path) if not m.why_unreadable}
        files = {escape_bytes(f"{name}/{member}"): _sha256(where) for member, where in members.items()}
        return CaseInputs((path,), None, files, _sha256(path))
    if not is_tar(path):
        raise _no_input(path.name, "is no archive: neither ZIP nor tar")
    folder = scratch / "inputs"
    folder.mkdir()
    _unpack_tar(path, folder)
    return CaseInputs((folder,), folder, _files_below(folder, name), _sha256(path))


def _unpack_tar(path: Path, folder: Path) -> None:
    """Write the regular files of a tar archive. Raises CASE_INPUT for a damaged one, and for a name that leads out of it."""
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file) as archive:
            for count, member in enumerate(archive, 1):
                inside = PurePosixPath(member.name.replace("\\", "/"))
                target = folder / inside
                if ".." in inside.parts or not target.is_relative_to(folder) or count > MOST_MEMBERS:
                    raise _no_input(path.name, f"holds {member.name}, which leads out of it, or too many files")
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("xb") as unpacked:
                    shutil.copyfileobj(content, unpacked)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise _no_input(path.name, f"cannot be unpacked: {error}") from error


def _one_path(cases: CaseList, case: RegressionCase, name: str) -> Path:
    """Where an input is; it is fetched where it is not there."""
    if not case.fetch:
        return cases.base_of(case) / name
    return _present(cases, case) or _fetch(cases, case)


def _present(cases: CaseList, case: RegressionCase) -> Path | None:
    """Where the input of a case that can be fetched is already: where the case says, or in the cache."""
    name = case.archive or case.path[0]
    places = (cases.base_of(case) / name, _cached(cases, case))
    return next((place for place in places if is_there(place)), None)


def _cached(cases: CaseList, case: RegressionCase) -> Path:
    return cases.folder / CACHE / case.sha256 / PurePosixPath(case.archive or case.path[0]).name


def _fetch(cases: CaseList, case: RegressionCase) -> Path:
    """Run the command of a case, and keep what it wrote where its SHA-256 is right."""
    kept = _cached(cases, case)
    kept.parent.parent.mkdir(exist_ok=True)
    (kept.parent.parent / ".gitignore").write_text("*\n", "utf-8")
    with folder_in_place(kept.parent) as temporary:
        target = temporary / kept.name
        _run([word.replace(TARGET, str(target)) for word in case.fetch], cases.folder, case.id)
        if not target.exists():
            raise _no_input(case.id, f"was not fetched: {case.fetch[0]} ended well, and wrote no {TARGET}")
        digest = digest_of_files(target)
        if digest != case.sha256:
            raise _no_input(
                case.id, f"was fetched and is another: its SHA-256 is {digest}, and the case has {case.sha256}"
            )
    return kept


def _run(words: Sequence[str], folder: Path, name: str) -> None:
    try:
        done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise _no_input(name, f"was not fetched: {words[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise _no_input(
            name, f"was not fetched: {words[0]} ended with {done.returncode}: {lines[-1] if lines else 'no word'}"
        )


def _no_input(name: str, what: str) -> PipelineError:
    return refuse(
        Code.CASE_INPUT, f"{name} {what}", "Put the input of the case right, and run it again.", where=(name,)
    )
