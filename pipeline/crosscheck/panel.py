"""Ask the witnesses of a conversion, and judge each by its own limit.

Rules:
- dicom2nifti is always asked (unless the check is off), for its affine or for its voxels too. SimpleITK and dcm2niix are
  asked for voxels only, when installed.
- A witness process starts before the first header is read, and is given the files as soon as they are known, those of all
  volumes at once, so that it works while we do. One panel serves many series.
- It answers for each volume. Where it gives voxels, it begins a volume when the one before was judged, so that no more
  than one array is kept.
- A witness may differ by as much as our own grid leaves the planes unexplained, and by the skew that is kept as
  printed: it may weigh jitter differently, or make the axes orthogonal.
- One that differs is compared with what it is known to give for such a series (`known_wrong`), to its own limit.
- A witness that failed is not asked about the same series again, and is started anew for the next one.
- What the witnesses gave is kept until they are begun on other frames, or deeper: for the next result on the same frames
  nobody is asked again, and one that failed stays failed. That their files are still the same is held by `conversion.looks`.
- One that was asked for voxels and refuses them for a reason that is not understood (`refusals`) leaves doubt.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .child import Child
from .mask_panel import MaskPanel

# Little is imported before the processes are started, since they take longer to start than we do.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..core.policy import Policy
    from ..dicom.frame import Frame
    from ..geometry.grid import Grid
    from ..geometry.stack import Stack
    from ..volume.mask import Array, Physical
    from .agreement import Agreement, Saw
    from .testimony import Job, Testimony


_SIZE_OF_LIMIT = 1 << 30  # bytes that one time limit is for: the slowest witness decodes some 2 MB a second
WITNESSES = ("dicom2nifti", "SimpleITK", "dcm2niix")  # of planes; each is the package that it is imported from
_EXTRAS = {"dicom2nifti": ""}
_PROCESSES = {"dicom2nifti": f"{__package__}.dicom2nifti", "SimpleITK": f"{__package__}.simpleitk"}


class Panel:
    """Witness processes, started on entering and ended on leaving. masks: the readers of masks among them.

    only: the one that is asked and nobody else; "" for all that the policy wants.
    """

    def __init__(self, policy: Policy, only: str = "") -> None:
        self._policy = policy
        self._only = only
        self.masks = MaskPanel(policy, only)
        self._children: dict[str, Child] = {}
        self._absent: list[str] = []
        self._failures: dict[str, Testimony] = {}  # of witnesses, about the series they were last asked about
        self._jobs: list[Job] = []  # one for each volume
        self._frames: tuple[Frame, ...] = ()  # that the jobs are about
        self._answers: list[Testimony] = []  # about a single volume, once they were collected

    def __enter__(self) -> Panel:
        wanted = {"off": (), "affine": WITNESSES[:1], "voxels": WITNESSES}
        for name in wanted[self._policy.crosscheck]:
            if self._only not in ("", name):
                continue
            if not find_spec(name):
                self._absent.append(name)
            elif name in _PROCESSES:
                self._children[name] = Child(_PROCESSES[name], name, pixels=self._policy.crosscheck == "voxels")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, where they have not ended yet. The next `begin` starts them anew."""
        self._jobs, self._answers = [], []
        if any(child.pixels and not child.ended for child in self._children.values()):
            gc.collect()  # arrays mapped from their files, in cycles of libraries: Windows removes no file that is mapped
        for child in self._children.values():
            child.close()
        self.masks.close()

    def renew(self, policy: Policy) -> None:
        """Forget what was asked before: what comes next may be other files of the same names, judged by another policy.

        A witness that died, or still owes an answer that nobody waits for, is ended; the next `begin` starts it anew.
        policy: the limits from now on. Its crosscheck, which decides who is asked, is to be that of the start.
        """
        for child in self._children.values():
            if not child.is_idle:
                child.close()
        self._frames, self._jobs, self._answers = (), [], []
        self._failures.clear()
        self._policy = policy
        self.masks.renew(policy)

    def begin(self, frames: Sequence[Frame], *, voxels: bool, volumes: int = 1) -> None:
        """Give every witness the files, in our order; they work while we write.

        Args:
            frames: one for each plane, in the order of our planes, volume after volume.
            voxels: whether voxels can be compared.
            volumes: how many follow each other, with equally many planes.
        """
        # The order of a mosaic's tiles shows in the voxels alone: its affine is that of a whole block either way.
        deep = voxels and (self._policy.crosscheck == "voxels" or any(f.tile for f in frames))
        if volumes == len(self._jobs) == 1 and (self._frames, self._jobs[0].voxels) == (tuple(frames), deep):
            return
        count = len(frames) // volumes
        self._jobs = [_make_job(frames[start : start + count], deep) for start in range(0, len(frames), count)]
        self._frames, self._answers = tuple(frames), []
        self._failures.clear()
        for name, child in self._children.items():
            if child.ended or (deep and not child.pixels):
                child.close()
                self._children[name] = child = Child(_PROCESSES[name], name, pixels=deep or child.pixels)
            child.send(*self._jobs[: 1 if deep else None])

    def verdicts(
        self,
        grid: Grid,
        stack: Stack,
        frames: Sequence[Frame],
        physical: Physical | None,
        planes: Callable[[], Iterable[Array]],
        volume: int = 0,
    ) -> tuple[Agreement, ...]:
        """Judge every witness's answer about one volume of the last `begin`; volumes come in their order.

        Args:
            grid: the grid of our file (LPS, mm).
            stack: the stack of the frames, whose residual a witness may differ by.
            frames: one for each plane, in the order of our planes.
            physical: (k, plane) to rescaled values; None where voxels cannot be compared.
            planes: gives the planes of our file, read anew at every call.
            volume: its number, from 0.

        Returns: an agreement for each witness asked, then one for each that is not installed.
        """
        from .agreement import judge, report_absent
        from .known_wrong import predict
        from .refusals import is_understood

        if not self._jobs or self._policy.crosscheck == "off":
            return ()
        job = self._jobs[volume]
        for child in self._children.values() if volume and job.voxels else ():
            child.send(job)
        slack = stack.residual_mm + 2 * stack.kept_skew_mm
        agreements = []
        for testimony in self._testimonies(job, frames):
            limit = self._policy.dcm2niix_limit_mm if testimony.witness == "dcm2niix" else self._policy.witness_limit_mm
            known = predict(testimony.witness, stack, frames, physical)
            agreement = judge(testimony, grid, limit, physical, planes, known, slack)
            doubtful = agreement.status == "REFUSED" and job.voxels and not is_understood(testimony, frames[0])
            saw: Saw = "grid" if agreement.voxels_differing is None else "voxels"
            agreements.append(replace(agreement, leaves_doubt=doubtful, saw=saw))
        return (*agreements, *(report_absent(name, _EXTRAS.get(name, "witnesses")) for name in self._absent))

    def _testimonies(self, job: Job, frames: Sequence[Frame]) -> list[Testimony]:
        """Collect the answer of every witness, one after the other, and keep which of them failed."""
        from . import dcm2niix

        if self._answers:
            return self._answers
        jobs, self._jobs = self._jobs, []  # where anything breaks this off, the next `begin` asks anew
        limit_s = self._limit_s(job)
        testimonies = [self._failures.get(name) or child.receive(limit_s) for name, child in self._children.items()]
        if job.voxels and self._only in ("", dcm2niix.NAME) and find_spec(dcm2niix.NAME):
            philips = "philips" in str(frames[0].get("Manufacturer", "")).casefold()
            failed = self._failures.get(dcm2niix.NAME)
            testimonies.append(failed or dcm2niix.ask(job, philips=philips, limit_s=limit_s, within=self._folder()))
        self._failures = {testimony.witness: testimony for testimony in testimonies if testimony.failure}
        self._jobs = jobs
        if len(jobs) == 1:
            self._answers = testimonies
        return testimonies

    def _folder(self) -> str:
        """A folder that a process of ours removes, whatever becomes of this one; "" where there is none."""
        return next((child.folder for child in self._children.values() if os.path.isdir(child.folder)), "")

    def _limit_s(self, job: Job) -> float:
        """Time to wait for an answer: the policy's limit, once for every GiB that is read."""
        from pathlib import Path

        from ..dicom.source_file import size_of

        size = 0
        for path in set(job.files):
            with suppress(OSError):
                size += size_of(Path(path))
        return self._policy.witness_limit_s * max(1.0, size / _SIZE_OF_LIMIT)


def _make_job(frames: Sequence[Frame], voxels: bool) -> Job:
    from .testimony import Job

    paths = tuple(os.path.abspath(f.path) for f in frames)
    return Job(paths, tuple(f.number for f in frames), voxels, _is_whole(frames))


def _is_whole(frames: Sequence[Frame]) -> bool:
    """Whether the files hold these frames and no others: single-frame files, or one file with all its frames."""
    if frames[0].tile:
        return True
    declared = frames[0].get("NumberOfFrames", 1)
    if len({f.path for f in frames}) == 1:
        return bool(declared == len(frames))
    return all(f.header.number_of_frames == 1 for f in frames)
