"""Remember what one run has looked at, so that it looks at each thing once.

Rules:
- One `Looks` serves one run and goes with it: a file may change between two runs, and a process that makes many must not grow.
- It holds headers, grids, findings and digests, never pixels; what it holds grows with the files of the run, not with what is
  made of them. A refusal is remembered like an answer.
- A digest is that of the bytes as they were when they were hashed. It is taken again only while the file has the size, the
  times and the place on disk that it had then; else the file is hashed anew, and other bytes refuse what is made of it, since
  nobody could say which of the two were read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, ParamSpec, TypeVar

from ..core.findings import Code, Finding, PipelineError, refuse
from ..dicom.header import Header, read_header
from ..dicom.scan import Scan, scan
from ..dicom.source_file import FileState, sha256, state_of

P = ParamSpec("P")
T = TypeVar("T")


class _Refusal(NamedTuple):
    """What a PipelineError said."""

    finding: Finding
    others: tuple[Finding, ...]


class Looks:
    """What one run has looked at. It can be pickled for another process, with all that it holds."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Hashable, ...], Any] = {}
        self._last: dict[Hashable, tuple[Any, Any]] = {}
        self._digests: dict[Path, tuple[FileState, str]] = {}
        self._paths: dict[Path, None] = {}
        self._hashing = Lock()

    @property
    def paths(self) -> Collection[Path]:
        """Every file whose header was asked for, DICOM or not."""
        return self._paths

    def __getstate__(self) -> tuple[Any, ...]:
        return self._seen, self._last, self._digests, self._paths

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._seen, self._last, self._digests, self._paths = state
        self._hashing = Lock()

    def once(self, look: Callable[P, T], *at: P.args, **how: P.kwargs) -> T:
        """Call a function for these arguments, or return what it gave for them before.

        Args:
            look: a function of a module, whose answer is kept for the run.
            at: its arguments; hashable, and alike only where the same thing is meant.
            how: its named arguments.

        Returns: what it returned; not to be changed.

        Raises: PipelineError that it raised, every time.
        """
        key = (look, at, tuple(how.items()))
        if key not in self._seen:
            try:
                self._seen[key] = look(*at, **how)
            except PipelineError as error:  # which holds on to all that it came through
                self._seen[key] = _Refusal(error.finding, error.others)
                raise
        seen = self._seen[key]
        if isinstance(seen, _Refusal):
            raise PipelineError(seen.finding, seen.others)
        return seen  # type: ignore[no-any-return]

    def last(self, look: Callable[P, T], *at: P.args, **how: P.kwargs) -> T:
        """Do as `once`, and keep only the last answer of each function: for what is asked for in a row, and would add up."""
        kept = self._last.get(look)
        if kept is None or kept[0] != (at, how):
            self._last[look] = kept = (at, how), look(*at, **how)
        return kept[1]

    def scan(self, inputs: Iterable[Path]) -> Scan:
        """Find what there is below the inputs. A header that was read before is not read again. Raises as `scan`."""
        return self.once(scan, tuple(inputs), no_progress, self.header)

    def header(self, path: Path) -> Header:
        """Read the header of a file once. Raises as `read_header`."""
        self._paths[path] = None
        return self.once(read_header, path)

    def forget_headers(self) -> None:
        """Drop the headers by their files, once all scans are done. A scan keeps its own."""
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] is not read_header}

    def digests(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Find the SHA-256 of files, each read once while it stays as it is. May be called in several threads.

        Args:
            paths: files, or members of archives.

        Returns: the digest of each.

        Raises: PipelineError INPUT_CHANGED for a file that has other bytes than before in this run; OSError.
        """
        with self._hashing:  # where one result is refused, its files may still be hashed when the next one asks
            return {path: self._digest(path) for path in dict.fromkeys(paths)}

    def _digest(self, path: Path) -> str:
        state = state_of(path)
        known = self._digests.get(path)
        if known is not None and known[0] == state:
            return known[1]
        digest = sha256(path)
        if known is not None and known[1] != digest:
            raise _changed(path)
        self._digests[path] = state, digest
        return digest


def no_progress(done: int) -> None:
    """Show nothing. done: how many headers were read."""


def _changed(path: Path) -> PipelineError:
    return refuse(
        Code.INPUT_CHANGED,
        f"{path.name} was changed while it was being converted: its bytes have another SHA-256 than before",
        "Convert again when nothing writes to the inputs any more.",
        where=(path.name,),
    )
