"""Keep witnesses running between conversions, so that each costs what it costs beside others in one command.

Rules:
- A result is the same as without a session: nothing but the processes goes from one call to the next.
- A witness that died, hung or was left with a question is ended, and another is started for the next call.
- A session belongs to the process that made it. Threads may share it; they take turns.
- Its processes end with it: when it is closed, when nobody holds it any more, and when the interpreter ends.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING
from weakref import finalize

from ..core.findings import Code, PipelineError, refuse
from ..core.policy import Policy
from ..crosscheck.panel import Panel

# What converts is imported at the first call, since the witnesses that are started here take longer to start than that.
if TYPE_CHECKING:
    from pathlib import Path

    from ..conversion.record import Outcome
    from ..conversion.request import Progress, Request
    from ..core.arguments import OneOrManyPaths
    from ..dicom.scan import Scan
    from .labelled_array import Image, Mask

_AT_WORK = "this session is at work: it was asked again by what shows its progress, or before its read_all had ended"
_NEW_ONE = "Make a new one: with verimask.Session() as session:"


class Session:
    """Convert and read many inputs, one call after the other, with witnesses that keep running.

    >>> with verimask.Session() as session:
    ...     for folder in folders:
    ...         outcome = session.convert(folder, f"{folder.name}.nii.gz")

    Its functions do what those of verimask do, and take the same arguments; their results are the same. What it has in
    addition is time: a witness needs a second to start, which is most of a small conversion.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        """Start the witnesses.

        Args:
            policy: of every call that gives none of its own. A call with another `crosscheck` starts its witnesses anew.
        """
        self.policy = policy or Policy()
        self._lock = RLock()
        self._process = os.getpid()
        self._entered = self._closed = self._busy = False
        self._start(self.policy)

    def __enter__(self) -> Session:
        self._check_usable()
        if self._entered:
            raise _unusable("this session was entered already")
        self._entered = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> str:
        raise _unusable("a session cannot be given to another process")

    def close(self) -> None:
        """End the witnesses, once no thread converts any more. What was closed stays closed."""
        if self._process != os.getpid():
            return  # a copy that a fork made: the witnesses are not its own
        with self._lock:
            if self._busy:
                raise _unusable(_AT_WORK)
            self._closed = True
            self._end()

    def convert(
        self,
        inputs: OneOrManyPaths,
        output: str | Path,
        *,
        request: Request | None = None,
        policy: Policy | None = None,
        progress: Progress | None = None,
        page: bool = False,
    ) -> Outcome:
        """Convert the one mask or image among the inputs, as `verimask.convert` does.

        Args:
            inputs: folders or files, one or several.
            output: a path ending in .nii or .nii.gz.
            request: which, where there are several, and on which grid.
            policy: tolerances and choices; those of the session when None.
            progress: called with the stage, how much is done, and of how much.
            page: whether the caller writes a page beside the output.

        Returns: what was done.

        Raises: PipelineError as `verimask.convert` does, and SESSION_UNUSABLE.
        """
        with self._panel_for(policy) as panel:
            from ..conversion.convert import convert
            from ..conversion.request import silent

            return convert(
                inputs,
                output,
                request=request,
                policy=policy or self.policy,
                progress=progress or silent,
                panel=panel,
                page=page,
            )

    def convert_all(
        self,
        inputs: OneOrManyPaths,
        folder: str | Path,
        *,
        request: Request | None = None,
        policy: Policy | None = None,
        progress: Progress | None = None,
        page: bool = False,
    ) -> tuple[list[Outcome], list[PipelineError]]:
        """Convert every mask or image among the inputs into a folder, as `verimask.convert_all` does, in this process.

        Args:
            inputs: folders or files, one or several.
            folder: where the files go; it is made.
            request: which of them, and on which grid.
            policy: tolerances and choices; those of the session when None.
            progress: called with the stage, how much is done, and of how much.
            page: whether the caller writes a page beside each output.

        Returns: the outcome of every file, and every refusal, named.

        Raises: PipelineError as `verimask.convert_all` does, and SESSION_UNUSABLE.
        """
        with self._panel_for(policy) as panel:
            from ..conversion.convert import convert_all
            from ..conversion.request import silent

            return convert_all(
                inputs,
                folder,
                request=request,
                policy=policy or self.policy,
                progress=progress or silent,
                panel=panel,
                page=page,
            )

    def read(
        self, inputs: OneOrManyPaths, *, request: Request | None = None, policy: Policy | None = None
    ) -> Mask | Image:
        """Read the one mask or image among the inputs into an array, as `verimask.read` does.

        Args:
            inputs: folders or files, one or several.
            request: which, where there are several, and on which grid.
            policy: tolerances and choices; those of the session when None.

        Returns: the array, with its affine and its proof.

        Raises: PipelineError as `verimask.read` does, and SESSION_UNUSABLE.
        """
        with self._panel_for(policy) as panel:
            from .read import read

            return read(inputs, request=request, policy=policy or self.policy, panel=panel)

    def read_all(
        self, inputs: OneOrManyPaths, *, request: Request | None = None, policy: Policy | None = None
    ) -> Generator[Mask | Image | PipelineError, None, None]:
        """Read every mask and image among the inputs, one after the other, as `verimask.read_all` does.

        The session is at work until the last one was given: meanwhile it can be asked nothing else.

        Args:
            inputs: folders or files, one or several.
            request: which of them, and on which grid.
            policy: tolerances and choices; those of the session when None.

        Returns: each array, or the refusal of one of many, as soon as it is there.

        Raises: PipelineError as `verimask.read_all` does, and SESSION_UNUSABLE.
        """
        with self._panel_for(policy) as panel:
            from .read import read_all

            yield from read_all(inputs, request=request, policy=policy or self.policy, panel=panel)

    def scan(self, inputs: OneOrManyPaths) -> Scan:
        """Find what is in folders or files, as `verimask.scan` does; no witness is asked."""
        self._check_usable()
        from ..dicom.scan import scan

        return scan(inputs)

    @contextmanager
    def _panel_for(self, policy: Policy | None) -> Iterator[Panel]:
        """Lend the witnesses to one call. Raises SESSION_UNUSABLE."""
        self._check_usable()  # before the lock, which a fork may have copied while another thread held it
        with self._lock:
            self._check_usable()
            if self._busy:  # in this very thread: the others wait for the lock
                raise _unusable(_AT_WORK)
            wanted = policy or self.policy
            if wanted.crosscheck != self._asks:
                self._end()
                self._start(wanted)
            self._panel.renew(wanted)
            self._busy = True
            try:
                yield self._panel
            finally:
                self._busy = False

    def _check_usable(self) -> None:
        if self._process != os.getpid():
            raise _unusable("this session belongs to another process, from which this one was forked")
        if self._closed:
            raise _unusable("this session is closed")

    def _start(self, policy: Policy) -> None:
        self._asks = policy.crosscheck
        self._panel = Panel(policy).__enter__()
        self._finalizer = finalize(self, _close, self._panel, os.getpid())

    def _end(self) -> None:
        self._finalizer()


def _close(panel: Panel, process: int) -> None:
    """End the witnesses in the process that started them: a fork has a copy of this, and no right to it."""
    if process == os.getpid():
        panel.close()


def _unusable(why: str) -> PipelineError:
    return refuse(Code.SESSION_UNUSABLE, why, _NEW_ONE, where=("session",))
