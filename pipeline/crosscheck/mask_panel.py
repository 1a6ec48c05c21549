"""Ask the readers of masks about what was read from a segmentation, a structure set or an export, and judge each.

Rules:
- A reader is started when the first mask of its kind is there, reads while we write, and is asked about one mask after the
  other. One that failed is not asked about the same files again.
- Where voxels were not asked for, only those readers are that cost little beside the conversion (`Reader.by_default`).
- One that refuses for a reason that is not understood (`refusals`) leaves doubt where voxels were asked for; else the result
  is as good as without it, and says that nobody else saw the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..core.policy import Policy
    from ..geometry.grid import Grid
    from ..volume.mask import Array
    from .agreement import Agreement
    from .testimony import MaskJob, Testimony


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader of masks. package: that it is imported from. module: of this folder. extra: that installs it."""

    name: str
    package: str
    module: str
    extra: str
    forms: frozenset[str]
    by_default: bool


READERS = (
    Reader("highdicom", "highdicom", "highdicom", "seg", frozenset({"seg", "fractional"}), True),
    Reader("dcmqi", "dcmqi", "dcmqi", "witnesses", frozenset({"seg", "fractional"}), False),
    Reader("Shapely", "shapely", "polygons", "witnesses", frozenset({"rtstruct"}), True),
    Reader("GDCM", "gdcm", "gdcm", "", frozenset({"overlay", "burned", "masked", "colour", "labels"}), True),
)


class MaskPanel:
    """Readers of masks, each a process of its own, started when it is needed and ended by `close`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._children: dict[str, Child] = {}
        self._failures: dict[str, Testimony] = {}  # of readers, about the files they were last asked about
        self._job: MaskJob | None = None
        self._asked: list[Reader] = []

    def begin(self, job: MaskJob | None) -> None:
        """Give the readers of its form a mask; they read while we write. None where there is nothing to be seen."""
        if job is None or self._job is None or job.mask_files != self._job.mask_files:
            self._failures.clear()
        self._job, self._asked = job, []
        if job is None or self._policy.crosscheck == "off":
            return
        deep = self._policy.crosscheck == "voxels"
        self._asked = [reader for reader in READERS if job.form in reader.forms and (deep or reader.by_default)]
        for reader in self._asked:
            if find_spec(reader.package) and reader.name not in self._failures:
                self._child_of(reader).send(job)

    def verdicts(
        self, grid: Grid, slack_mm: float, planes: Callable[[], Iterable[Array | None]]
    ) -> tuple[Agreement, ...]:
        """Judge every reader's answer about the mask of the last `begin`.

        Args:
            grid: of our labels (LPS, mm).
            slack_mm: how much farther than the limit of witnesses a corner may lie.
            planes: gives our labels in the order of k, None for an empty plane, anew at every call.

        Returns: an agreement for each reader of the form, installed or not.
        """
        return tuple(self._verdict(reader, grid, slack_mm, planes) for reader in self._asked)

    def close(self) -> None:
        """End the processes. The next `begin` starts them anew."""
        for child in self._children.values():
            child.close()

    def _verdict(
        self, reader: Reader, grid: Grid, slack_mm: float, planes: Callable[[], Iterable[Array | None]]
    ) -> Agreement:
        from .agreement import report_absent
        from .mask_agreement import judge_mask
        from .refusals import is_understood_of_mask

        if not find_spec(reader.package):
            return replace(report_absent(reader.name, reader.extra), saw="voxels")
        testimony = self._failures.get(reader.name) or self._children[reader.name].receive(self._policy.witness_limit_s)
        if testimony.failure:
            self._failures[reader.name] = testimony
        agreement = judge_mask(testimony, grid, self._policy.witness_limit_mm + slack_mm, planes())
        deep = self._policy.crosscheck == "voxels"
        doubtful = deep and agreement.status == "REFUSED" and not is_understood_of_mask(testimony)
        return replace(agreement, saw="voxels", leaves_doubt=doubtful)

    def _child_of(self, reader: Reader) -> Child:
        child = self._children.get(reader.name)
        if child is None or child.ended:
            self._children[reader.name] = child = Child(f"{__package__}.{reader.module}", reader.name)
        return child
