"""Ask the readers of masks about what was read from a segmentation, a structure set or an export, and judge each.

Rules:
- A reader is started when its kind of input is found, reads a mask while we write it, and is asked about one mask after the
  other. One that failed is not asked about the same files again.
- Where voxels were not asked for, only those readers are that cost little beside the conversion (`MaskReader.by_default`).
- One that refuses for a reason that is not understood (`refusals`) leaves doubt where voxels were asked for; else the result
  is as good as without it, and says that nobody else saw the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..volume.representations import BY_KIND
from .child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..core.policy import Policy
    from ..geometry.grid import Grid
    from ..volume.mask import Array
    from .agreement import Agreement
    from .testimony import MaskJob, Testimony


@dataclass(frozen=True, slots=True)
class MaskReader:
    """One reader of masks. package: that it is imported from. module: of `mask_readers`. extra: that installs it.

    forms: of masks that it reads. by_default: those that it is asked about though voxels were not asked for.
    """

    name: str
    package: str
    module: str
    extra: str
    forms: frozenset[str]
    by_default: frozenset[str]

    def asked_about(self, deep: bool) -> frozenset[str]:
        """The forms that it is asked about. deep: whether voxels were asked for."""
        return self.forms if deep else self.by_default


_SEG, _RTSTRUCT = frozenset({"seg", "fractional"}), frozenset({"rtstruct"})
# Beside the conversion, on a machine that does nothing else: highdicom costs 0.8 to 1.1 of it, Shapely 0.2 to 0.3, and GDCM a
# quarter of an overlay's but more than half of what is as cheap to convert as labels and grey values.
_OVERLAYS, _VALUES = frozenset({"overlay"}), frozenset({"burned", "masked", "colour", "labels"})
READERS = (
    MaskReader("highdicom", "highdicom", "highdicom", "seg", _SEG, frozenset()),
    MaskReader("dcmqi", "dcmqi", "dcmqi", "witnesses", _SEG, frozenset()),
    MaskReader("Shapely", "shapely", "polygons", "witnesses", _RTSTRUCT, _RTSTRUCT),
    MaskReader("GDCM", "gdcm", "gdcm", "", _OVERLAYS | _VALUES, _OVERLAYS),
)


@dataclass(frozen=True, slots=True, eq=False)
class WrittenMask:
    """What a reader's mask is held against. grid: of our labels (LPS, mm). slack_mm: how much farther than the limit of
    witnesses a corner may lie. planes(): our labels in the order of k, None for an empty plane, anew at every call."""

    grid: Grid
    slack_mm: float
    planes: Callable[[], Iterable[Array | None]]


class MaskPanel:
    """Readers of masks, each a process of its own, started when it is needed and ended by `close`. only: see `Panel`."""

    def __init__(self, policy: Policy, only: str = "") -> None:
        self._policy = policy
        self._only = only
        self._children: dict[str, Child] = {}
        self._failures: dict[str, Testimony] = {}  # of readers, about the files they were last asked about
        self._jobs: Sequence[MaskJob] = ()

    def start(self, kinds: Iterable[str]) -> None:
        """Start the readers of the masks that inputs hold, so that they are ready when the first is decoded.

        Args:
            kinds: of the inputs (`representations.BY_KIND`). What a series of planes holds is not known yet: none is started.
        """
        for kind in {"seg", "rtstruct"}.intersection(kinds):
            forms = {form.name for form in BY_KIND[kind].forms}
            for reader in self._readers(forms):
                if find_spec(reader.package):
                    self._child_of(reader)

    def begin(self, jobs: Sequence[MaskJob]) -> None:
        """Give the readers the masks that one result was made of, one after the other; they read the first while we write."""
        if {job.mask_files for job in jobs} != {job.mask_files for job in self._jobs}:
            self._failures.clear()
        self._jobs = jobs
        for reader in self._readers(self._forms):
            if find_spec(reader.package):
                self._send(reader, self._jobs_of(reader)[0])

    def verdicts(self, masks: Sequence[WrittenMask]) -> list[list[Agreement]]:
        """Judge every reader's answers about the masks of the last `begin`.

        Args:
            masks: ours, in the order of the jobs.

        Returns: for each reader of their forms, installed or not, an agreement for each mask it was asked about.
        """
        return [self._verdicts(reader, masks) for reader in self._readers(self._forms)]

    def renew(self, policy: Policy) -> None:
        """Forget what was asked before, as `Panel.renew` does."""
        for child in self._children.values():
            if not child.is_idle:
                child.close()
        self._jobs = ()
        self._failures.clear()
        self._policy = policy

    def close(self) -> None:
        """End the processes. The next `begin` starts them anew."""
        for child in self._children.values():
            child.close()

    @property
    def _is_deep(self) -> bool:
        return self._policy.crosscheck == "voxels"

    @property
    def _forms(self) -> set[str]:
        return {job.form for job in self._jobs}

    def _readers(self, forms: set[str]) -> list[MaskReader]:
        """Those that are asked about masks of these forms."""
        if self._policy.crosscheck == "off":
            return []
        able = (reader for reader in READERS if reader.asked_about(self._is_deep) & forms)
        return [reader for reader in able if self._only in ("", reader.name)]

    def _jobs_of(self, reader: MaskReader) -> list[int]:
        forms = reader.asked_about(self._is_deep)
        return [number for number, job in enumerate(self._jobs) if job.form in forms]

    def _verdicts(self, reader: MaskReader, masks: Sequence[WrittenMask]) -> list[Agreement]:
        from .agreement import report_absent

        numbers = self._jobs_of(reader)
        if not find_spec(reader.package):
            return [replace(report_absent(reader.name, reader.extra), saw="voxels")] * len(numbers)
        agreements = []
        for number, following in zip(numbers, [*numbers[1:], None], strict=True):
            testimony = self._failures.get(reader.name) or self._children[reader.name].receive(
                self._policy.witness_limit_s
            )
            agreements.append(self._judge(testimony, masks[number]))
            if following is not None:
                self._send(reader, following)
        return agreements

    def _judge(self, testimony: Testimony, mask: WrittenMask) -> Agreement:
        from .mask_agreement import judge_mask
        from .refusals import is_understood_of_mask

        if testimony.failure:
            self._failures[testimony.witness] = testimony
        agreement = judge_mask(testimony, mask.grid, self._policy.witness_limit_mm + mask.slack_mm, mask.planes())
        doubtful = self._is_deep and agreement.status == "REFUSED" and not is_understood_of_mask(testimony)
        return replace(agreement, saw="voxels", leaves_doubt=doubtful)

    def _send(self, reader: MaskReader, number: int) -> None:
        """Ask a reader about a job, unless it failed with the same files."""
        if reader.name not in self._failures:
            self._child_of(reader).send(self._jobs[number])

    def _child_of(self, reader: MaskReader) -> Child:
        child = self._children.get(reader.name)
        if child is None or child.ended:
            self._children[reader.name] = child = Child(f"{__package__}.mask_readers.{reader.module}", reader.name)
        return child
